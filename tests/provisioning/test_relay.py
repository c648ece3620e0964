"""Requests that come to a process which does not have their user."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from dm_bridge.errors import StorageError
from dm_bridge.ids import UserId
from dm_bridge.provisioning import relay as module
from dm_bridge.provisioning.calls import Answer, Call
from dm_bridge.provisioning.relay import ANSWER, CALL, Relay
from dm_bridge.store.instances import Errand
from dm_bridge.store.sealing import SealingKey
from dm_bridge.testing.memory import MemoryDatabase, MemoryInstanceStore, Tables

from .world import JULIET

PASSWORD = "the password, 🔑 \\ 'and' \"all\""
ODD = Call("createDM", JULIET, {"identifier": "a/b%c\n🙂"}, {"login_id": "x"}, PASSWORD.encode())


@dataclass
class Process:
    """One of several. ``has``: whose users; ``ran``: what it carried out; ``left``: every errand it left."""

    name: str
    tables: Tables
    key: SealingKey
    has: set[UserId] = field(default_factory=set)
    ran: list[Call] = field(default_factory=list)
    left: list[Errand] = field(default_factory=list)
    refusal: str | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.store = MemoryInstanceStore(MemoryDatabase(self.tables, instance=self.name))
        self.gate.set()
        self.relay = Relay(
            self.name,
            self.key,
            self.has.__contains__,
            self._adopt,
            self._leave,
            self._run,
            lambda: self.refusal,
        )

    async def join(self) -> None:
        await self.store.join("us", 10.0, "here", self.name, "1")

    async def take(self, user: UserId) -> None:
        self.has |= set(await self.store.take_new([user]))

    async def errands(self) -> None:
        for errand in await self.store.take_errands():
            {CALL: self.relay.asked, ANSWER: self.relay.answered}[errand.kind](errand)
            await asyncio.sleep(0.01)

    async def _adopt(self, users: Collection[UserId]) -> None:
        for user in users:
            await self.take(user)

    async def _leave(self, errands: Collection[Errand]) -> None:
        self.left += errands
        await self.store.leave_errands(list(errands))

    async def _run(self, call: Call) -> Answer:
        await self.gate.wait()
        self.ran.append(call)
        return Answer(201, f'{{"by":"{self.name}"}}', 7.5)


async def two() -> tuple[Process, Process]:
    """The second one has juliet."""
    tables, key = Tables(), SealingKey(bytes(32))
    first, second = Process("first", tables, key), Process("second", tables, key)
    await first.join()
    await second.join()
    await second.take(JULIET)
    return first, second


async def answered(call: Call, asker: Process, other: Process) -> Answer:
    """The answer, while both do their errands."""
    asking = asyncio.create_task(asker.relay.answer(call))
    async with asyncio.timeout(30):
        while not asking.done():
            await asyncio.sleep(0.005)
            await other.errands()
            await asker.errands()
    return await asking


async def test_whoever_is_asked_the_process_that_has_the_user_answers() -> None:
    first, second = await two()
    assert await answered(ODD, first, second) == Answer(201, '{"by":"second"}', 7.5)
    assert (first.ran, second.ran) == ([], [ODD])
    assert await answered(ODD, second, first) == Answer(201, '{"by":"second"}', 7.5)
    assert (len(first.left), len(second.left)) == (1, 1)


async def test_what_is_asked_lies_sealed_in_the_database() -> None:
    first, second = await two()
    await answered(ODD, first, second)
    [asked] = first.left
    assert (asked.for_whom, asked.kind) == (JULIET, CALL)
    for word in (PASSWORD, "createDM", "identifier"):
        assert word not in asked.subject
    assert PASSWORD not in repr(ODD)


async def test_what_is_asked_for_one_user_cannot_be_passed_off_as_anothers() -> None:
    first, second = await two()
    await answered(ODD, first, second)
    nurse = UserId("@nurse:example.org")
    await second.take(nurse)
    for subject in (first.left[0].subject, "", "x", "AAAA", "é"):
        second.relay.asked(Errand(nurse, CALL, subject))
    second.relay.answered(Errand("second", ANSWER, "nonsense"))
    second.relay.answered(Errand("second", ANSWER, "{}"))
    await asyncio.sleep(0.02)
    assert second.ran == [ODD]


async def test_a_stranger_is_taken_by_whoever_is_asked_first() -> None:
    first, second = await two()
    stranger = UserId("@stranger:example.org")
    call = Call("whoami", stranger, {}, {})
    assert (await answered(call, first, second)).body == '{"by":"first"}'
    assert (await answered(call, second, first)).body == '{"by":"first"}'


async def test_a_user_who_changes_hands_is_asked_about_again() -> None:
    first, second = await two()
    second.has.clear()  # on the way to somebody else, and recorded as its own still
    answer = await answered(ODD, first, second)
    assert (answer.status, answer.retry_after) == (503, 2.0)
    assert second.ran == []


async def test_a_process_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    first, _ = await two()
    assert (await first.relay.answer(ODD)).status == 504
    assert not first.relay._waiting


async def test_too_many_requests_for_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    first, second = await two()
    second.gate.clear()
    asking = [asyncio.create_task(first.relay.answer(ODD)) for _ in range(3)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status for task in done] == [503]
    second.gate.set()
    async with asyncio.timeout(30):
        while not all(task.done() for task in asking):
            await second.errands()
            await first.errands()
    assert sorted(task.result().status for task in asking) == [201, 201, 503]


async def test_a_process_that_others_may_take_for_dead_does_nothing() -> None:
    first, second = await two()
    second.refusal = "It could not show that it lives."
    assert (await second.relay.answer(ODD)).status == 503
    assert (await answered(ODD, first, second)).status == 503
    assert second.ran == []


async def test_a_process_that_ends_answers_nobody_any_more() -> None:
    _, second = await two()
    second.gate.clear()
    asking = asyncio.create_task(second.relay.answer(ODD))
    await asyncio.sleep(0.01)
    await second.relay.stop()
    assert (await second.relay.answer(ODD)).status == 503
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert second.ran == []


async def test_a_database_that_is_away_is_said_to_be() -> None:
    first, _ = await two()

    async def away(errands: Collection[Errand]) -> None:
        raise StorageError("PostgreSQL is away.", retry_after=1.0)

    first.relay._leave = away
    assert (await first.relay.answer(ODD)).status == 503


async def test_calls_that_wait_for_a_change_take_nothing_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    first, second = await two()
    second.gate.clear()
    waiting = Call("watch", JULIET, {}, {})
    asked = [asyncio.create_task(first.relay.answer(waiting)) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0.01)
        await second.errands()
    assert (await first.relay.answer(waiting)).status == 503
    other = asyncio.create_task(first.relay.answer(ODD))
    await asyncio.sleep(0.05)
    assert not other.done()
    await first.relay.stop()
    async with asyncio.timeout(30):
        assert {(await each).status for each in (*asked, other)} == {503}
    second.gate.set()
    await second.relay.stop()


async def test_a_call_that_nobody_waits_for_any_more_ends_where_the_user_is() -> None:
    first, second = await two()
    second.gate.clear()
    asking = asyncio.create_task(first.relay.answer(Call("watch", JULIET, {}, {})))
    while not first.left:  # noqa: ASYNC110 - it is left by another task
        await asyncio.sleep(0)
    await second.errands()
    asking.cancel()
    await asyncio.wait({asking})
    await second.errands()
    second.gate.set()
    await asyncio.sleep(0.01)
    assert (second.ran, second.left) == ([], [])
