"""What each way of noticing changes of m.direct costs a homeserver: ``python -m benchmarks.observation``.

A real Synapse with a thousand accounts, and nothing else beside it: pushes by the module, idle
watches, reads after activity, and a sweep. Figures are the processor time of the Synapse process,
as the kernel counts it, less what it uses at rest.

The rule that must never break: a change that did not arrive where it should fails the run.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib.metadata
import io
import json
import os
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import aiohttp
import yaml
from aiohttp import web
from mautrix.api import Path as ApiPath

from benchmarks import report
from dm_bridge.bridge.sweep import Sweep
from dm_bridge.errors import BridgeError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix import ghosts
from dm_bridge.matrix.accounts import get_direct, put_direct
from dm_bridge.matrix.direct_push import DirectPush, DirectPushEndpoint, PushAnswer
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.watch import POLL, DirectWatch, watch_session
from dm_bridge.testing.processes import LOOPBACK
from dm_bridge.testing.synapse import Synapse

DOMAIN = "bench.localhost"
DOCS = Path(__file__).resolve().parent.parent / "docs" / "observation.md"
ENTRIES = 30
IN_FLIGHT = 8
ROOM = 50
MESSAGES = 40
SWEEP_RATE = 100.0
HEADER = ("way", "what was measured", "Synapse's CPU", "requests per account and hour")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Broken(Exception):
    """A change did not arrive."""


@dataclass
class Receiver:
    """Where the module pushes. ``wanted``: whether accounts count as kept."""

    wanted: bool = True
    epoch: int = 0
    known: str = ""
    arrived: dict[UserId, int] = field(default_factory=dict)
    contents: int = 0

    def receive(self, push: DirectPush) -> PushAnswer:
        self.known = push.epoch
        for update in push.updates:
            self.contents += update.content is not None
            self.arrived[update.account] = self.arrived.get(update.account, 0) + 1
        strangers = () if self.wanted else tuple({update.account for update in push.updates})
        kept = tuple({update.account for update in push.updates}) if self.wanted else ()
        return PushAnswer(str(self.epoch), strangers, kept)


@dataclass(frozen=True)
class Cost:
    """Processor seconds of Synapse, and seconds by the clock."""

    cpu: float
    seconds: float


class Bench:
    """The servers and what is known of them."""

    def __init__(
        self, synapse: Synapse, receiver: Receiver, session: aiohttp.ClientSession
    ) -> None:
        self.synapse = synapse
        self.receiver = receiver
        self.homeserver = Homeserver(synapse.url, _TOKEN, session)
        self.users: list[UserId] = []
        self.at_rest = 0.0  # CPU seconds per second
        self._version = 0

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.synapse.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> float:
        """Resident memory in MiB."""
        pages = Path(f"/proc/{self.synapse.pid}/statm").read_text().split()[1]
        return int(pages) * _PAGE / 2**20

    async def cost(self, work: Awaitable[object]) -> Cost:
        """What Synapse spends on ``work``, less what it would have spent at rest."""
        cpu, begin = self.cpu(), time.monotonic()
        await work
        seconds = time.monotonic() - begin
        return Cost(max(0.0, self.cpu() - cpu - self.at_rest * seconds), seconds)

    async def for_all(self, call: Callable[[UserId], Awaitable[object]]) -> None:
        """Call for every user, a few at a time."""
        users = iter(self.users)

        async def worker() -> None:
            for user in users:
                await call(user)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    async def write(self, user: UserId) -> None:
        """Change the user's m.direct."""
        self._version += 1
        document = {
            f"@contact{number}:{DOMAIN}": [f"!room{number}-{self._version}"]
            for number in range(ENTRIES)
        }
        await put_direct(self.homeserver, user, json.dumps(document))


_TOKEN = secrets.token_hex(16)
_HS_TOKEN = secrets.token_hex(16)


async def _measure(bench: Bench) -> list[tuple[str, ...]]:
    n = len(bench.users)
    hour = 3600 / POLL
    _say("at rest")
    await asyncio.sleep(5)
    cpu = bench.cpu()
    await asyncio.sleep(15)
    bench.at_rest = (bench.cpu() - cpu) / 15
    rows: list[tuple[str, ...]] = [
        ("nothing", "a Synapse at rest", f"{bench.at_rest * 60:.2f} s a minute", "0")
    ]

    _say("writes, with and without the module's push")
    pushed, plain = await _pushes(bench)
    rows.append(("", "a client writes m.direct, not pushed", _ms(plain), ""))
    what = f"pushed: added to a write ({ENTRIES} contacts)"
    rows.append(("module", what, "+ " + _ms(pushed - plain), "1 per write (heartbeat: 360 in all)"))

    _say("reads")
    reads = [
        await bench.cost(bench.for_all(lambda user: get_direct(bench.homeserver, user)))
        for _ in range(3)
    ]
    read = median(cost.cpu for cost in reads) / n
    rows.append(("activity", "one read", _ms(read), "60 at most"))

    _say("a sweep")
    swept = await bench.cost(_sweep(bench))
    what = f"a sweep of {n} accounts, {swept.seconds:.0f} s at {SWEEP_RATE:.0f}/s"
    rows.append(("sweep", what, f"{swept.cpu:.2f} s, {_ms(swept.cpu / n)} each", "1/24"))

    _say("watches")
    rows += await _watches(bench, hour, plain)
    return rows


async def _pushes(bench: Bench) -> tuple[float, float]:
    """CPU seconds of one write that is pushed, and of one that is not."""
    pushed: list[float] = []
    plain: list[float] = []
    receiver = bench.receiver
    for _ in range(2):
        for wanted, into in ((False, plain), (True, pushed)):
            await _change_epoch(bench, wanted)
            await bench.for_all(bench.write)  # the module learns whom it need not push
            await asyncio.sleep(1)
            receiver.arrived.clear()
            receiver.contents = 0
            cost = await bench.cost(_written_and_settled(bench))
            expected = len(bench.users) if wanted else 0
            if not sum(receiver.arrived.values()) == receiver.contents == expected:
                raise Broken(f"{receiver.contents} documents were pushed instead of {expected}")
            into.append(cost.cpu / len(bench.users))
    return median(pushed), median(plain)


async def _written_and_settled(bench: Bench) -> None:
    await bench.for_all(bench.write)
    await asyncio.sleep(1)


async def _change_epoch(bench: Bench, wanted: bool) -> None:
    """From now on everybody is kept, or nobody; returns when the module knows."""
    receiver = bench.receiver
    receiver.wanted = wanted
    receiver.epoch += 1
    stranger = UserId(f"@stranger{receiver.epoch}:{DOMAIN}")  # whom the module still asks about
    await ghosts.register(bench.homeserver, stranger)
    await bench.write(stranger)
    async with asyncio.timeout(10):
        while receiver.known != str(receiver.epoch):  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0.01)


async def _sweep(bench: Bench) -> None:
    clock = time.monotonic
    sweep = Sweep(86_400, SWEEP_RATE)
    sweep.replace(bench.users, clock(), lambda _: None)
    sweep.hurry(clock(), lambda _: True)
    # The pace of the schedule itself is not what is measured here: take turns as fast as it allows.
    ahead = 86_400.0
    reads: set[asyncio.Task[bytes | None]] = set()
    done: set[UserId] = set()
    while len(done) < len(bench.users):
        turn = sweep.pop(clock() + ahead)
        if turn is None:
            await asyncio.sleep(0.001)
        elif turn[0] not in done:
            done.add(turn[0])
            task = asyncio.create_task(get_direct(bench.homeserver, turn[0]))
            reads.add(task)
            task.add_done_callback(reads.discard)
    await asyncio.gather(*reads)


async def _watches(bench: Bench, per_hour: float, plain: float) -> list[tuple[str, ...]]:
    n = len(bench.users)
    room = await _room(bench)
    talk = await bench.cost(_talk(bench, room, "unwatched"))
    before = bench.memory()
    seen: dict[UserId, int] = dict.fromkeys(bench.users, 0)
    async with watch_session(n) as session:
        homeserver = Homeserver(bench.synapse.url, _TOKEN, session)
        watches = {user: DirectWatch(homeserver, user, lambda _: True) for user in bench.users}

        async def follow(user: UserId) -> None:
            async for _ in watches[user]:
                seen[user] += 1

        tasks: list[asyncio.Task[None]] = []

        async def start() -> None:
            for user in bench.users:
                tasks.append(asyncio.create_task(follow(user)))
                await asyncio.sleep(0.02)
            async with asyncio.timeout(30):
                while not all(watch.live for watch in watches.values()):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.05)

        try:
            started = await bench.cost(start())
            memory = bench.memory() - before
            idle = await bench.cost(asyncio.sleep(60))
            if set(seen.values()) != {1}:
                raise Broken("a watch brought something though nothing changed")
            latency, write = await _watched_changes(bench, seen)
            busy = await bench.cost(_talk(bench, room, "watched"))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    woken = max(0.0, busy.cpu - talk.cpu) / (MESSAGES * ROOM)
    return [
        ("watch", "beginning one watch", _ms(started.cpu / n), ""),
        (
            "watch",
            f"{n} idle watches",
            f"{idle.cpu / idle.seconds * 60:.2f} s a minute, {memory:.0f} MiB",
            f"{per_hour:.0f}",
        ),
        (
            "watch",
            "added to a write that is watched",
            "+ " + _ms(max(0.0, write - plain)),
            "1 per write",
        ),
        ("watch", "a message in a room of the watched user", _ms(woken), "0"),
        ("watch", "from a write to the bridge (by the clock)", f"{latency * 1000:.0f} ms", ""),
    ]


async def _watched_changes(bench: Bench, seen: dict[UserId, int]) -> tuple[float, float]:
    """Seconds from a write to its arrival, and CPU seconds of a write that is watched."""
    delays = []
    for user in bench.users[:100]:
        before = seen[user]
        begin = time.monotonic()
        await bench.write(user)
        async with asyncio.timeout(10):
            while seen[user] == before:  # noqa: ASYNC110 - it has no event of its own
                await asyncio.sleep(0.001)
        delays.append(time.monotonic() - begin)
    await _change_epoch(bench, False)  # without the module's share
    await bench.for_all(bench.write)
    await asyncio.sleep(1)
    watched = await bench.cost(_written_and_settled(bench))
    total = sum(seen.values())
    await asyncio.sleep(1)
    if total < 2 * len(bench.users):
        raise Broken("a watch missed a change")
    return median(delays), watched.cpu / len(bench.users)


async def _room(bench: Bench) -> RoomId:
    owner, *others = bench.users[:ROOM]
    body = {"preset": "public_chat"}
    answer = await bench.homeserver.request("POST", ApiPath.v3.createRoom, user=owner, body=body)
    room = RoomId(answer["room_id"])
    for user in others:
        await bench.homeserver.join(room, user=user)
    return room


async def _talk(bench: Bench, room: RoomId, prefix: str) -> None:
    for number in range(MESSAGES):
        content = {"msgtype": "m.text", "body": "hello"}
        await bench.homeserver.send(
            room, "m.room.message", content, f"{prefix}{number}", user=bench.users[0]
        )
    await asyncio.sleep(1)


async def _run(accounts: int, directory: Path) -> str:
    receiver = Receiver()
    app = web.Application()
    DirectPushEndpoint(_HS_TOKEN, receiver.receive).add_routes(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    registration = directory / "accounts.yaml"
    registration.write_text(yaml.safe_dump(_registration()), encoding="utf-8")
    module = {
        "module": "dm_bridge.synapse_module.DirectObserver",
        "config": {"url": url, "token": _HS_TOKEN},
    }
    load = os.getloadavg()[0]
    synapse = await Synapse.start(
        directory / "synapse",
        domain=DOMAIN,
        registrations=[registration],
        config_extra={"modules": [module]},
    )
    try:
        async with aiohttp.ClientSession() as session:
            bench = Bench(synapse, receiver, session)
            _say(f"registering {accounts} accounts")
            bench.users = [UserId(f"@user{number}:{DOMAIN}") for number in range(accounts)]
            await bench.for_all(lambda user: ghosts.register(bench.homeserver, user))
            await bench.for_all(bench.write)
            rows = await _measure(bench)
    finally:
        await synapse.stop()
        await runner.cleanup()
    return f"{_table(rows)}\n\n{_where(accounts, load)}"


def _registration() -> dict[str, object]:
    return {
        "id": "accounts",
        "url": None,
        "as_token": _TOKEN,
        "hs_token": secrets.token_hex(16),
        "sender_localpart": "accounts",
        "rate_limited": False,
        "namespaces": {"users": [{"regex": f"@.*:{DOMAIN}", "exclusive": False}]},
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [HEADER, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    out = io.StringIO()
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.write(f"| {' | '.join(cells)} |\n")
        if number == 0:
            out.write(f"|{'|'.join('-' * (width + 2) for width in widths)}|\n")
    return out.getvalue().rstrip("\n")


def _where(accounts: int, load: float) -> str:
    return (
        f"Measured {datetime.datetime.now(datetime.UTC).date()} with {accounts} accounts; "
        f"{len(os.sched_getaffinity(0))} cores, load {load:.1f} before the start; "
        f"{platform.system()}, Python {platform.python_version()}, "
        f"Synapse {importlib.metadata.version('matrix-synapse')} (SQLite, one process)."
    )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Parse the command line and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observation")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument(
        "--write-docs", action="store_true", help="put the table into docs/observation.md"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dm-bridge-bench-") as directory:
        try:
            text = asyncio.run(_run(options.accounts, Path(directory)))
            print(text)
            if options.write_docs:
                report.write_docs(DOCS, "figures", text)
        except (Broken, BridgeError, TimeoutError, OSError) as error:
            print(f"The benchmark could not be completed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
