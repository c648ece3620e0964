"""What was written before a login, while the network fails, people write, and the bridge is killed, at random."""

from __future__ import annotations

import asyncio
import random

import pytest

from dm_bridge.bridge import import_search, importing
from dm_bridge.bridge import imports as module
from dm_bridge.bridge.import_asking import ImportSettings
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId
from dm_bridge.network.events import RemoteMessage, RemoteReactions
from dm_bridge.network.history import HistoryPage, RecordEntry, RecordPart
from dm_bridge.store.database import Database

from .test_imports import FakeSession, World, connect, liked, said

SEEDS = 16
KILLS = 10
"""At most: where there are always more it never comes to an end."""
STRANGER = ChatId("stranger")


class RandomSession(FakeSession):
    """``record_of`` in any order; answers come late, or fail. ``most``: asked for at once, but for urgent ones."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(*(f"chat{n:02d}" for n in range(dice.randrange(20))), messages=0)
        self.dice, self.part = dice, dice.choice([2, 5, 20])
        self.failing, self.slow = dice.choice([0, 0.1, 0.2]), dice.choice([0.002, 0.02])
        self.asking, self.most = 0, 0
        self.world: World
        dated: list[tuple[float, RemoteMessage | RemoteReactions]] = []
        for chat, messages in self.record_of.items():
            messages += [said(chat, n) for n in range(dice.choice([1, 2, 5, 12]))]
            dates = sorted(dice.random() for _ in messages)
            dated += zip(dates, messages, strict=True)
            if dice.random() < 0.6:
                dated.append((dice.uniform(dates[-1], 1), liked(chat)))
        self.all = [event for _, event in sorted(dated, key=lambda each: each[0])]

    async def _answer(self) -> None:
        await asyncio.sleep(self.slow * self.dice.random())
        if self.dice.random() < self.failing:
            raise NetworkError("It is busy.", retry_after=0.001)

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        await self._answer()
        end = len(self.all) if further is None else int(further)
        begin = max(0, end - self.part)
        entries = tuple(RecordEntry(self.all[n], str(n)) for n in range(begin, end))
        return RecordPart(entries, str(begin) if begin else None, len(entries), {})

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        one = self.world.imports._imports.get(self.world.login.id)
        calm = one is not None and not one.state.is_urgent(chat)
        self.asking += calm
        self.most = max(self.most, self.asking)
        try:
            await self._answer()
        finally:
            self.asking -= calm
        assert place is not None
        there = [n for n in range(int(place)) if self.all[n].chat == chat]
        texts = [n for n in there if isinstance(self.all[n], RemoteMessage)][-messages:]
        if not texts:
            return HistoryPage((), None)
        page = tuple(self.all[n] for n in there if n >= texts[0])
        return HistoryPage(page, str(texts[0]))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_is_lost_doubled_or_out_of_order(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr(importing, "TOGETHER", dice.choice([1, 2, 5, 50]))
    monkeypatch.setattr(importing, "AT_ONCE", dice.choice([1, 4, 16]))
    monkeypatch.setattr(import_search, "UNEVENTFUL", dice.choice([1, 2]))
    monkeypatch.setattr(module, "PATIENCE", dice.choice([0.02, 30.0]))
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    session = RandomSession(dice)
    world = session.world = World(database, session)
    world.settings = ImportSettings(dice.choice([4, 10, 50]), dice.choice([3, 5, 8]))
    world.may_make = lambda chat: asyncio.sleep(0.005 * dice.random())
    world.start_over()
    await world.begin()
    connect(world)
    news: dict[str, list[str]] = {}
    kills = 0
    writing, killing = dice.choice([0, 0.3]), dice.choice([0, 0.1])
    async with asyncio.timeout(30):
        while await world.store.of(world.login.id) is not None:
            await asyncio.sleep(0.01 * dice.random())
            if dice.random() < writing:
                chat = dice.choice([*session.record_of, STRANGER])
                names = news.setdefault(chat, [])
                names.append(f"new {len(names)}")
                await world.news(chat, names[-1])
            if dice.random() < killing and kills < KILLS:
                kills += 1
                await world.kill()
                session.asking = 0
                await world.start_over().started(None)
                world.wake(await world.inbox.chats_waiting())
                connect(world)
        while await world.inbox.chats_waiting() or world.lanes:
            world.wake(await world.inbox.chats_waiting())
            await asyncio.sleep(0.01)
    states = {known.chat: known.state for known in await world.store.chats(world.login.id)}
    for chat in [*session.record_of, STRANGER]:
        new = news.get(chat, [])
        there = [
            each.id.removeprefix(f"{chat} ") for each in session.record_of.get(ChatId(chat), ())
        ]
        old = there[-world.settings.messages :] if states.get(ChatId(chat)) == "shown" else []
        got = world.of(chat)
        if not killing:  # else it may be unknown here that something was shown
            assert got == [*old, *new]
        assert got == [each for each in [*old, *new] if each in got]
    assert set(states.values()) <= ({"shown"} if not news else {"shown", "passed"})
    assert world.log.count("hold") == world.log.count("let go")
    assert session.most <= importing.ASKED_AT_ONCE
    assert "failed" not in world.told
    await world.kill()
