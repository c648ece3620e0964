"""Groups: one write for all who ask at the same time, in order, and nobody pays for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dm_bridge.errors import StorageError
from dm_bridge.store.groups import Groups


class Writes:
    """Takes writes: ``groups``, and what makes them fail."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.trouble: BaseException | None = None

    async def write(self, items: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(items))
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        if 13 in items:
            raise ValueError("13 cannot be written")
        return [item * 2 for item in items]


async def test_one_who_is_alone_is_written_at_once() -> None:
    writes = Writes()
    groups = Groups(writes.write)
    assert await groups.add(1) == 2
    assert await groups.add(2) == 4
    assert writes.groups == [[1], [2]]


async def test_while_one_group_is_written_the_next_gathers_in_order() -> None:
    writes = Writes()
    groups = Groups(writes.write, most=3)
    writes.gate.clear()
    first = groups.add(0)
    await asyncio.sleep(0)
    others = [groups.add(number) for number in range(1, 6)]
    await asyncio.sleep(0)
    assert writes.groups == [[0]]
    writes.gate.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10]
    assert writes.groups == [[0], [1, 2, 3], [4, 5]]


async def test_trouble_with_the_database_is_everybodys_and_over_with_the_next_group() -> None:
    writes = Writes()
    groups = Groups(writes.write)
    writes.trouble = StorageError("It is away.")
    results = await asyncio.gather(groups.add(1), groups.add(2), return_exceptions=True)
    assert [type(result) for result in results] == [StorageError, StorageError]
    writes.trouble = None
    assert await groups.add(3) == 6


async def test_what_cannot_be_written_takes_nothing_else_with_it() -> None:
    groups = Groups(Writes().write)
    one, bad, other = await asyncio.gather(
        groups.add(1), groups.add(13), groups.add(2), return_exceptions=True
    )
    assert (one, other) == (2, 4)
    assert isinstance(bad, ValueError)


async def test_who_gives_up_waiting_keeps_nobody_else_from_being_written() -> None:
    writes = Writes()
    groups = Groups(writes.write)
    writes.gate.clear()
    gone, there = groups.add(1), groups.add(2)
    await asyncio.sleep(0)
    gone.cancel()
    writes.gate.set()
    assert await there == 4
    assert writes.groups == [[1, 2]]


async def test_nobody_waits_for_ever_for_a_writer_that_was_cancelled() -> None:
    writes = Writes()
    groups = Groups(writes.write)
    writes.gate.clear()
    waiting = groups.add(1)
    await asyncio.sleep(0)
    assert groups._writing is not None
    groups._writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_nobody_waits_for_any_more_is_settled_once_it_is_written() -> None:
    writes = Writes()
    groups = Groups(writes.write, most=1)
    await groups.settled()
    writes.gate.clear()
    first, second = groups.add(1), groups.add(2)
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    settled = asyncio.create_task(groups.settled())
    await asyncio.sleep(0)
    later = groups.add(13)
    assert not settled.done()
    writes.gate.set()
    await settled
    assert writes.groups[:2] == [[1], [2]]
    with pytest.raises(ValueError, match="13"):
        await later
    await groups.settled()
