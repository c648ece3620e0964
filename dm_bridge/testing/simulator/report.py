"""Plays many histories on all processors, and says what was injected and what came of it.

The rule that must never break: a history that went wrong is named with its seed, and played again the same.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace

import click

from dm_bridge.testing.simulator.checks import Tally
from dm_bridge.testing.simulator.history import Result, play
from dm_bridge.testing.simulator.plan import KINDS, MANY, ONE, RESTORED, Plan, plan

HISTORIES = 10_000
TOGETHER = 100
"""Histories that one worker plays before it reports."""
MOST_SHRINKING = 300
SHARES = {ONE: 0.7, MANY: 0.15, RESTORED: 0.15}
"""How many of all histories are of each kind."""


class Report:
    """What came of all histories so far."""

    def __init__(self) -> None:
        self.histories = 0
        self.tally = Tally()
        self.injected: Counter[str] = Counter()
        self.lasted = 0.0
        self.processes = 0
        self.failed: list[Result] = []

    def add(self, results: Iterable[Result]) -> None:
        """Take some more."""
        for result in results:
            self.histories += 1
            self.injected += result.injected
            self.lasted += result.lasted
            self.processes += result.processes
            for one in fields(Tally):
                total = getattr(self.tally, one.name) + getattr(result.tally, one.name)
                setattr(self.tally, one.name, total)
            if result.violations:
                self.failed.append(result)

    def lines(self, seconds: float) -> list[str]:
        """All of it, to be read."""
        tally = self.tally
        return [
            "Faults injected:",
            *(f"{count:9,}  {fault}" for fault, count in sorted(self.injected.items(), key=_order)),
            "",
            f"{self.histories:,} histories, {self.processes:,} processes of the bridge, "
            f"{self.lasted / 3600:,.0f} hours of virtual time, in {seconds:.0f} s.",
            f"To Matrix: {tally.to_matrix:,} messages. To the network: {tally.to_network:,}.",
            f"Lost: {tally.lost}. Doubled: {tally.doubled}. Misordered: {tally.misordered}.",
            f"Reported: {tally.failed:,} failed, {tally.uncertain:,} uncertain, {tally.parked:,} put aside.",
            f"Histories with a violation: {len(self.failed):,}.",
        ]


def _order(item: tuple[str, int]) -> tuple[int, str]:
    number = item[0].split(" ")[0].split("-")[0]
    return (int(number) if number.isdigit() else 99, item[0])


def shared(histories: int, kind: str | None = None) -> dict[str, int]:
    """How many histories of each kind are played, of so many; all of one ``kind`` if it is named."""
    if kind is not None:
        return {kind: histories}
    others = {each: int(share * histories) for each, share in SHARES.items() if each != ONE}
    return {ONE: histories - sum(others.values())} | {each: n for each, n in others.items() if n}


def play_some(kind: str, seeds: Iterable[int]) -> list[Result]:
    """Play histories; the trace is kept only of those that went wrong."""
    results = []
    for seed in seeds:
        result = play(seed, kind)
        results.append(result if result.violations else replace(result, trace=()))
    return results


def shrunk(seed: int, kind: str = ONE) -> tuple[Plan, Result]:
    """The plan of a seed without whatever does not matter for that it goes wrong; and how it goes."""
    chosen, result = plan(seed, kind), play(seed, kind)
    tries, place = 0, 0
    while place < len(chosen.acts) and tries < MOST_SHRINKING:
        tries += 1
        shorter = replace(chosen, acts=chosen.acts[:place] + chosen.acts[place + 1 :])
        again = play(seed, kind, shorter)
        if again.violations:
            chosen, result = shorter, again
        else:
            place += 1
    return chosen, result


def _show(result: Result) -> None:
    click.echo("\n".join(result.trace))
    for violation in result.violations:
        click.echo(f"{result.kind} {result.seed}: {violation}")


@click.command()
@click.option("--histories", default=HISTORIES, show_default=True, help="how many to play")
@click.option("--first", type=int, help="the seed of the first one; else drawn, and shown")
@click.option("--kind", type=click.Choice(KINDS), help="of this kind only; with --seed: of which")
@click.option("--seed", type=int, help="play this history alone, and show its trace")
@click.option("--shrink", is_flag=True, help="with --seed: leave out what does not matter")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="processes")
def main(
    histories: int, first: int | None, kind: str | None, seed: int | None, shrink: bool, jobs: int
) -> None:
    """Simulate the bridge: histories with faults, each of which follows from its kind and seed alone."""
    if seed is not None:
        kind = kind or ONE
        chosen, result = shrunk(seed, kind) if shrink else (plan(seed, kind), play(seed, kind))
        click.echo(f"{chosen.setup}")
        _show(result)
        raise SystemExit(1 if result.violations else 0)
    first = secrets.randbelow(1_000_000_000) if first is None else first
    parts = []
    for each, many in shared(histories, kind).items():
        click.echo(f"Seeds of kind {each}: {first} to {first + many - 1}.")
        seeds = range(first, first + many)
        parts += [(each, seeds[begin : begin + TOGETHER]) for begin in range(0, many, TOGETHER)]
    report, began = Report(), time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for number, results in enumerate(pool.map(play_some, *zip(*parts, strict=True)), 1):
            report.add(results)
            if number % 10 == 0:
                click.echo(
                    f"{report.histories:,} played, {len(report.failed)} went wrong", err=True
                )
    if report.failed:
        shortest = min(report.failed, key=lambda result: len(result.trace))
        _show(shortest)
        for result in report.failed:
            click.echo(f"{result.kind} {result.seed}: {result.violations[0]}")
        again = f"--kind {shortest.kind} --seed {shortest.seed}"
        click.echo(f'Play one again: make simulate ARGS="{again}"')
    click.echo("\n".join(report.lines(time.monotonic() - began)))
    raise SystemExit(1 if report.failed else 0)
