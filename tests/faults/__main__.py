"""``python -m tests.faults``: real servers, a real bridge, and everything that can happen to them.

Exit code 0: nothing was lost, doubled or misordered, and nothing else was wrong. 1: something was.

The rule that must never break: what is judged are the very figures that are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import write_docs
from dm_bridge.testing.synapse import Synapse
from dm_bridge.testing.xmpp_client import quiet_slixmpp
from tests.faults.catalogue import SCENARIOS
from tests.faults.load import Result, Run
from tests.faults.report import Row, table
from tests.faults.scenarios import Scenario
from tests.faults.world import World, running

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "faults.md"


def main() -> int:
    """Parse the command line and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of all scenarios")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first round; then one more each"
    )
    parser.add_argument("--only", default="", help="scenarios or groups whose name has this in it")
    parser.add_argument("--worlds", type=int, default=1, help="sets of servers at the same time")
    parser.add_argument("--list", action="store_true", help="name the scenarios, and do nothing")
    parser.add_argument("--keep", action="store_true", help="leave the servers' files behind")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {DOCS.name}")
    options = parser.parse_args()
    chosen = [s for s in SCENARIOS if options.only in s.name or options.only == s.group]
    if not chosen:
        parser.error("no scenario has such a name; --list names them")
    if options.list:
        print("\n".join(f"{scenario.group}: {scenario.name}" for scenario in chosen))
        return 0
    quiet_slixmpp()
    rows = asyncio.run(_rounds(options, chosen))
    print(_text(options, rows))
    return 1 if any(row.complaints for row in rows) else 0


async def _rounds(options: argparse.Namespace, chosen: list[Scenario]) -> list[Row]:
    """Every round has servers of its own; with and without a pooler, others."""
    rows = {scenario.name: Row(scenario.name, scenario.group) for scenario in chosen}
    for seed in range(options.seed, options.seed + options.rounds):
        for pooled in (False, True):
            same = [scenario for scenario in chosen if scenario.pooled is pooled]
            parts = [same[at :: options.worlds] for at in range(options.worlds)]
            async with asyncio.TaskGroup() as worlds:
                for part in filter(None, parts):
                    worlds.create_task(_in_one_world(options, seed, part, rows))
    return list(rows.values())


async def _in_one_world(
    options: argparse.Namespace, seed: int, part: list[Scenario], rows: dict[str, Row]
) -> None:
    base = Path(tempfile.mkdtemp(prefix="dm_bridge_faults_"))
    async with running(base / "world", pooled=part[0].pooled) as world:
        for scenario in part:
            rows[scenario.name].add(await _play(world, scenario, seed))
            if options.write_docs:  # also when the rest is interrupted
                write_docs(DOCS, "figures", _text(options, list(rows.values())))
    if options.keep:
        print(f"the files of seed {seed} are in {base}", file=sys.stderr)
    else:
        shutil.rmtree(base, ignore_errors=True)


async def _play(world: World, scenario: Scenario, seed: int) -> Result:
    start = time.monotonic()
    result = await Run(world, scenario.name, seed).play(scenario)
    took = time.monotonic() - start
    print(f"seed {seed}, {scenario.name}: {took:.0f} s", file=sys.stderr)
    for complaint in result.complaints:
        print(f"  WRONG: {complaint}", file=sys.stderr)
    if result.complaints:
        world.start_afresh()
    return result


def _text(options: argparse.Namespace, rows: list[Row]) -> str:
    rows = [row for row in rows if row.runs]
    wrong = [f"{row.name}: {complaint}" for row in rows for complaint in row.complaints]
    verdict = "\n".join(["", "", *(f"* {each}" for each in wrong)]) if wrong else "nothing."
    return (
        f"{table(rows)}\n\n"
        f"{datetime.datetime.now(datetime.UTC).date()}; seeds from {options.seed}; "
        f"Synapse {Synapse.version()}, PostgreSQL and Prosody as in performance.md.\n\n"
        f"Went wrong: {verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())
