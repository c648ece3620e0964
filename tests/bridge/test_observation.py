"""Every account is observed in the best way there is for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dm_bridge.bridge import observation as observation_module
from dm_bridge.bridge import sweep as sweep_module
from dm_bridge.bridge.observation import Observation, ObservationMode, ObservationSettings
from dm_bridge.direct.journal import Source
from dm_bridge.errors import StorageError
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.matrix.direct_push import DirectPush, PushAnswer, PushedDirect
from dm_bridge.matrix.watch import DirectWatch
from tests.observed import observed_synapse, until

JULIET, NURSE, REMOTE, LOCKED, GHOST = (
    UserId(f"@{name}:example.org") for name in ("juliet", "nurse", "remote", "locked", "_dm_romeo")
)


class FakeKeeper:
    """``told``: what it was told, in order."""

    def __init__(self) -> None:
        self.kept: set[UserId] = {JULIET, NURSE, REMOTE, LOCKED, GHOST}
        self.told: list[tuple[str, UserId, Source]] = []
        self.contents: list[bytes] = []

    def keeps(self, account: UserId) -> bool:
        return account in self.kept

    def look(self, account: UserId, source: Source) -> None:
        self.told.append(("look", account, source))

    def saw(self, account: UserId, content: bytes, source: Source) -> None:
        self.told.append(("saw", account, source))
        self.contents.append(content)


class QuietWatch:
    """A watch that is live at once, and brings what stands there."""

    def __init__(self) -> None:
        self.live = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.live = True
        yield b"{}"
        await asyncio.Event().wait()


class World:
    """An observation with everything around it made up, and a clock that the test may set ahead."""

    def __init__(self, settings: ObservationSettings) -> None:
        self.keeper = FakeKeeper()
        self.ahead = 0.0
        self.seen: dict[UserId, float] = {}
        self.accounts: set[UserId] = set()
        self.trouble: Exception | None = None
        self.opened: list[UserId] = []
        self.epoch = ""
        self.observation = Observation(
            self.keeper,
            self.open,
            self.access,
            lambda account: account == GHOST,
            self.read_accounts,
            self.seen.get,
            settings,
            clock=self.clock,
        )

    def clock(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead

    def open(self, account: UserId, patience: Callable[[], float]) -> QuietWatch:
        self.opened.append(account)
        return QuietWatch()

    def access(self, account: UserId) -> Access:
        return {REMOTE: Access.TOKEN, LOCKED: Access.NONE}.get(account, Access.MASQUERADE)

    async def read_accounts(self) -> set[UserId]:
        if self.trouble is not None:
            raise self.trouble
        return self.accounts

    def push(self, *updates: PushedDirect, gap: bool = False) -> PushAnswer | None:
        push = DirectPush("master", "r", self.epoch, gap, (), 0, updates)
        answer = self.observation.receive(push)
        self.epoch = "" if answer is None else answer.epoch
        return answer

    def how(self) -> dict[UserId, ObservationMode]:
        return {
            account: self.observation.how(account)
            for account in (JULIET, NURSE, REMOTE, LOCKED, GHOST)
        }


Start = Callable[..., World]


@asynccontextmanager
async def world(
    prepare: Callable[[World], None] | None = None, watch: int = 10
) -> AsyncIterator[World]:
    made = World(ObservationSettings(watch_accounts=watch, sweep_rate=1000))
    if prepare is not None:
        prepare(made)
    await made.observation.start()
    try:
        yield made
    finally:
        await made.observation.stop()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation_module, "AFTER", 0.02)
    monkeypatch.setattr(observation_module, "APART", 0.3)
    monkeypatch.setattr(sweep_module, "CATCHING_UP", 0.2)


async def test_each_account_is_observed_in_the_best_way_there_is() -> None:
    async with world() as here:
        here.observation.wrote(JULIET)
        here.observation.wrote(GHOST)
        await until(lambda: here.observation.how(JULIET) is ObservationMode.WATCHED)
        assert here.how() == {
            JULIET: ObservationMode.WATCHED,
            NURSE: ObservationMode.ACTIVITY,
            REMOTE: ObservationMode.ACTIVITY,
            LOCKED: ObservationMode.NONE,
            GHOST: ObservationMode.SWEPT,
        }
        assert here.opened == [JULIET]
        assert here.observation.watched == 1
        assert here.observation.pushed_since is None


def test_every_way_is_told_in_a_sentence() -> None:
    sentences = [mode.sentence for mode in ObservationMode]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)


async def test_with_the_module_everything_is_pushed_and_watches_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dm_bridge.bridge.watchers.TICK", 0.02)
    async with world() as here:
        here.observation.activity(JULIET)
        await until(lambda: here.observation.how(JULIET) is ObservationMode.WATCHED)
        here.push()
        here.push()
        assert here.observation.how(JULIET) is ObservationMode.PUSHED
        assert here.observation.pushed_since is not None
        await until(lambda: here.observation.watched == 0)
        here.keeper.told.clear()
        here.observation.activity(JULIET)
        here.observation.wrote(NURSE)
        here.push(PushedDirect(1, NURSE, 0.0, b"{}"))
        await asyncio.sleep(0.1)
        assert here.keeper.told == [("saw", NURSE, Source.PUSHED)]
        assert here.observation.pushes_received == 1


async def test_pushes_are_to_be_repeated_until_it_is_known_who_is_kept() -> None:
    here = World(ObservationSettings())
    assert here.push(PushedDirect(1, JULIET, 0.0, b"{}")) is None
    assert here.keeper.told == []


async def test_what_the_watch_brings_reaches_the_keeper() -> None:
    async with world() as here:
        here.observation.activity(JULIET)
        await until(lambda: here.keeper.told)
        assert here.keeper.told == [("saw", JULIET, Source.WATCHED)]
        assert here.keeper.contents == [b"{}"]


async def test_activity_of_an_account_that_cannot_be_watched_makes_us_look_once_in_a_while() -> (
    None
):
    async with world() as here:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for _ in range(60):
            here.observation.activity(REMOTE)
            await asyncio.sleep(0.01)
        elapsed = loop.time() - begin
        looks = here.keeper.told.copy()
        assert set(looks) == {("look", REMOTE, Source.ACTIVITY)}
        assert 2 <= len(looks) <= elapsed / 0.3 + 1
        await asyncio.sleep(0.35)
        assert len(here.keeper.told) <= len(looks) + 1


async def test_activity_beyond_the_number_of_watches_makes_us_look() -> None:
    async with world(watch=0) as here:
        here.observation.activity(JULIET)
        assert here.keeper.told == [], "clients write right after they join: not at once"
        await until(lambda: here.keeper.told)
        assert here.keeper.told == [("look", JULIET, Source.ACTIVITY)]


async def test_activity_of_others_costs_nothing() -> None:
    async with world() as here:
        here.keeper.kept.discard(NURSE)
        for account in (NURSE, GHOST, LOCKED):
            here.observation.activity(account)
        await asyncio.sleep(0.1)
        assert here.keeper.told == []
        assert here.opened == []


def looks(here: World) -> list[UserId]:
    """Whom the sweep asked to have looked at."""
    return [
        account for what, account, why in here.keeper.told if (what, why) == ("look", Source.SWEEP)
    ]


async def test_everybody_who_can_be_reached_is_swept() -> None:
    def prepare(here: World) -> None:
        here.accounts = here.keeper.kept

    async with world(prepare) as here:
        await until(lambda: len(looks(here)) == 4)
        await asyncio.sleep(0.3)
        assert sorted(looks(here)) == sorted((JULIET, NURSE, REMOTE, GHOST))


async def test_after_a_start_users_are_watched_or_looked_at_for_what_was_missed() -> None:
    def prepare(here: World) -> None:
        here.accounts = {JULIET, REMOTE, GHOST}
        here.seen.update(dict.fromkeys(here.accounts, here.clock()))

    async with world(prepare) as here:
        await until(lambda: sorted(looks(here)) == [JULIET, REMOTE])
        assert here.opened == [JULIET]


async def test_ghosts_and_pushed_accounts_are_swept_seldom() -> None:
    def prepare(here: World) -> None:
        here.accounts = {JULIET, GHOST}
        here.seen = dict.fromkeys(here.accounts, here.clock() - 2 * 86400)
        here.observation._last_seen = here.seen.get
        here.observation._missed = False

    async with world(prepare) as here:
        here.push()
        here.push()
        await asyncio.sleep(0.4)
        assert here.keeper.told == []

    def prepare_older(here: World) -> None:
        prepare(here)
        here.seen.update(dict.fromkeys(here.accounts, here.clock() - 7 * 86400))

    async with world(prepare_older) as here:
        here.push()
        here.push()
        await until(lambda: len(here.keeper.told) == 2)


async def test_after_a_gap_everybody_but_ghosts_is_looked_at() -> None:
    def prepare(here: World) -> None:
        here.accounts = {JULIET, NURSE, GHOST}
        here.seen.update(dict.fromkeys(here.accounts, here.clock()))

    async with world(prepare) as here:
        here.push()
        here.push(gap=True)
        await until(lambda: len(here.keeper.told) == 2)
        await asyncio.sleep(0.3)
        assert sorted(account for _, account, _ in here.keeper.told) == [JULIET, NURSE]


async def test_a_gap_that_is_told_before_the_accounts_are_known_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observation_module, "TRY_AGAIN", 0.1)

    def prepare(here: World) -> None:
        here.trouble = StorageError("no database")
        here.accounts = {JULIET}
        here.seen[JULIET] = here.clock()

    async with world(prepare) as here:
        here.push(gap=True)
        await asyncio.sleep(0.05)
        here.trouble = None
        await until(lambda: looks(here) == [JULIET])


async def test_an_account_that_comes_to_be_kept_is_watched_until_the_module_knows() -> None:
    async with world() as here:
        here.keeper.kept.discard(NURSE)
        here.push()
        answer = here.push(PushedDirect(1, NURSE, 0.0, b"{}"))
        assert answer is not None
        assert answer.not_kept == (NURSE,)
        here.keeper.kept.add(NURSE)
        here.observation.wrote(NURSE)
        await until(lambda: here.observation.how(NURSE) is ObservationMode.WATCHED)
        here.push()
        here.push()
        assert here.observation.how(NURSE) is ObservationMode.PUSHED


async def test_on_a_real_homeserver_watches_and_pushes_tell_of_every_change(tmp_path: Path) -> None:
    async with observed_synapse(tmp_path) as server:
        user = await server.user("juliet")
        keeper = FakeKeeper()
        keeper.kept = {user}

        async def accounts() -> set[UserId]:
            return {user}

        observation = Observation(
            keeper,
            lambda account, wait: DirectWatch(server.homeserver, account, lambda _: True, wait),
            lambda _: Access.MASQUERADE,
            lambda _: False,
            accounts,
            lambda _: time.time() - 60,
            ObservationSettings(),
        )
        await observation.start()
        await server.receiver.stop()  # at first without the module
        observation.wrote(user)
        await until(lambda: observation.how(user) is ObservationMode.WATCHED)
        await server.put(user, '{"n": [1]}')
        await until(lambda: keeper.told[-1:] == [("saw", user, Source.WATCHED)])

        server.receiver.receive = observation.receive  # type: ignore[assignment, method-assign]
        await server.receiver.start()
        await until(lambda: observation.how(user) is ObservationMode.PUSHED, 30)
        await server.put(user, '{"n": [2]}')
        await until(lambda: ("saw", user, Source.PUSHED) in keeper.told)
        await server.put(user, '{"n": [3]}')
        await until(lambda: json.loads(keeper.contents[-1]) == {"n": [3]})
        await observation.stop()
