"""Checks that run at the same time tell of themselves only, and none is passed over."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from dm_bridge.errors import AdminError
from dm_bridge.testing.conformance import Case, Failed, NotOffered
from dm_bridge.testing.conformance.lanes import Lanes

from .loft import Loft
from .pigeon_adapter import PigeonAdapter


async def passes(case: Case) -> None:
    await case.connected()


async def fails(case: Case) -> None:
    raise Failed("it is broken")


async def does_not_apply(case: Case) -> None:
    raise NotOffered("there is none")


def test_each_check_tells_of_itself(tmp_path: Path) -> None:
    with Lanes(PigeonAdapter, tmp_path, 2, [fails, does_not_apply, passes]) as lanes:
        lanes.run(passes)
        with pytest.raises(NotOffered, match="there is none"):
            lanes.run(does_not_apply)
        with pytest.raises(Failed, match="it is broken"):
            lanes.run(fails)


def test_checks_run_at_the_same_time(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=10)

    async def one(case: Case) -> None:
        await asyncio.to_thread(both.wait)

    async def other(case: Case) -> None:
        await asyncio.to_thread(both.wait)

    with Lanes(PigeonAdapter, tmp_path, 2, [one, other]) as lanes:
        lanes.run(one)
        lanes.run(other)


class NoServer(PigeonAdapter):
    async def start(self, directory: Path) -> Loft:
        raise AdminError("The loft is not installed.")


def test_without_a_server_every_check_fails(tmp_path: Path) -> None:
    found: list[BaseException] = []
    with pytest.raises(AdminError, match="not installed"):
        _run(Lanes(NoServer, tmp_path, 2, [passes, fails]), found)
    assert [type(each) for each in found] == [AdminError, AdminError]


def _run(lanes: Lanes, found: list[BaseException]) -> None:
    with lanes:
        for check in (passes, fails):
            try:
                lanes.run(check)
            except (AdminError, Failed) as error:
                found.append(error)


class NeverEnds(PigeonAdapter):
    async def stop(self) -> None:
        raise AdminError("The loft does not stop.")


def test_a_server_that_does_not_stop_is_told_at_the_end(tmp_path: Path) -> None:
    with (
        pytest.raises(AdminError, match="does not stop"),
        Lanes(NeverEnds, tmp_path, 2, [passes]) as lanes,
    ):
        lanes.run(passes)
