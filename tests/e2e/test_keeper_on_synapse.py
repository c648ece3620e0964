"""The keeper on a real homeserver whose module pushes every change to it, without the rest of the bridge.

A number in a name is the same case as in tests/direct/test_catalogue.py, where the engine alone meets it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from mautrix.api import Path as Api

from dm_bridge.bridge.documents import Documents
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.pushes import Pushes
from dm_bridge.direct import DMState
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.direct_push import DirectPush
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.journals import JournalStore
from tests.e2e.conftest import Workplace
from tests.observed import Observed, observed_synapse, until

GHOST = UserId("@_dm_romeo:demo.localhost")
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module")
async def observed(workplace: Workplace) -> AsyncIterator[Observed]:
    directory: Path = workplace("keeper")
    async with observed_synapse(directory) as observed:
        yield observed


class Process:
    """What one process of the bridge has of this."""

    def __init__(self, observed: Observed, database: Database, user: UserId) -> None:
        self.user = user
        self.observed = observed
        self.metrics = Metrics()
        self.store = DirectStore(database)
        accounts = Accounts(observed.homeserver, "demo.localhost", lambda user: True)
        accounts.available = True
        self.keeper = Keeper(
            Documents(observed.homeserver, accounts, lambda user: user == GHOST),
            database,
            self.store,
            JournalStore(database),
            lambda account: [UserId("@bot:demo.localhost")],
            self.metrics,
        )
        self.pushes = Pushes(self.keeper, self.keeper.last_seen, lambda: None)

    @property
    def puts(self) -> int:
        return int(self.metrics.direct_puts._value.get())

    async def open(self, room: str) -> None:
        await self.store.manage(self.user, RoomId(room), GHOST, DMState.ACTIVE)
        self.keeper.touch(self.user)

    async def settled(self) -> None:
        await self.keeper.settled(self.user, within=60)
        await until(lambda: self.user not in self.keeper._work)

    async def document(self) -> Any:
        path = Api.v3.user[self.user].account_data["m.direct"]
        return await self.observed.homeserver.request("GET", path, user=self.user)

    async def write(self, content: object) -> None:
        await self.observed.put(self.user, json.dumps(content))


class Relay(list[DirectPush]):
    """A list of pushes that hands on what is put into it."""

    def __init__(self, pushes: Pushes) -> None:
        self._pushes = pushes

    def append(self, push: DirectPush) -> None:
        super().append(push)
        self._pushes.receive(push)


@pytest_asyncio.fixture
async def process(
    observed: Observed, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Process]:
    """A process that is pushed to; its user has never set m.direct."""
    user = await observed.user(f"juliet{next(_numbers)}")
    process = Process(observed, database, user)
    monkeypatch.setattr(observed.receiver, "pushes", Relay(process.pushes))
    yield process
    await process.keeper.stop()


async def test_22_a_document_that_was_never_set_is_begun(process: Process) -> None:
    with pytest.raises(Exception, match="M_NOT_FOUND"):
        await process.document()
    await process.open("!room")
    await process.settled()
    assert await process.document() == {GHOST: ["!room"]}
    assert process.puts == 1


async def test_10_a_thousand_new_chats_are_at_most_five_writes(process: Process) -> None:
    for number in range(1000):
        await process.open(f"!room{number}")
        await asyncio.sleep(0.005)
    await process.settled()
    assert len((await process.document())[GHOST]) == 1000
    assert process.puts <= 5


async def test_our_own_writes_are_pushed_back_and_cause_nothing(process: Process) -> None:
    await process.open("!room")
    await process.settled()
    await until(lambda: process.pushes.received >= 1)
    await process.settled()
    await asyncio.sleep(0.5)
    assert process.puts == 1
    assert await process.document() == {GHOST: ["!room"]}


async def test_1_and_4_every_pushed_version_counts(process: Process) -> None:
    """Two clients write within milliseconds, the second from an old copy: both meant what they did."""
    for room in ("!a", "!b", "!c"):
        await process.open(room)
    await process.settled()
    await asyncio.sleep(0.3)
    old = await process.document()
    await process.write({GHOST: ["!b", "!c"], "@friend:x": ["!1"]})
    await asyncio.sleep(0.3)
    await process.settled()
    await process.write({**old, "@other:x": ["!2"]})
    expected = {GHOST: ["!b", "!c"], "@friend:x": ["!1"], "@other:x": ["!2"]}
    async with asyncio.timeout(60):
        while await process.document() != expected:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)
    await process.settled()
    opted_out = {dm.room for dm in await process.store.managed(process.user) if dm.opted_out}
    assert opted_out == {"!a"}


async def test_20_two_processes_on_one_account_agree(
    process: Process, observed: Observed, database: Database
) -> None:
    other = Process(observed, database, process.user)
    await process.write({"@friend:x": ["!theirs"]})
    rooms = [f"!room{number}" for number in range(40)]
    for number, room in enumerate(rooms):
        await (process if number % 2 else other).open(room)
        await asyncio.sleep(0.02)
    await asyncio.gather(process.settled(), other.settled())
    content = await process.document()
    assert content.keys() == {GHOST, "@friend:x"}
    assert sorted(content[GHOST]) == sorted(rooms)
    puts = process.puts + other.puts
    assert puts <= 8
    for one in (process, other):
        one.keeper.touch(process.user)
    await asyncio.gather(process.settled(), other.settled())
    assert process.puts + other.puts == puts
    await other.keeper.stop()


async def test_11_what_others_left_behind_is_kept_to_the_byte(
    process: Process, observed: Observed
) -> None:
    junk = (
        '{"@a:b":"x","n":null,"f":1.0,"deep":{"a":[{}]},"!x":["!1"],"mail@x.org":["!2"],"@e:x":[]}'
    )
    await observed.put(process.user, junk)
    await process.open("!room")
    await process.settled()
    session_path = (
        f"{observed.synapse.url}/_matrix/client/v3/user/{process.user}/account_data/m.direct"
    )
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": "Bearer as-token-of-the-tests"}
        async with session.get(
            session_path, headers=headers, params={"user_id": process.user}
        ) as answer:
            text = await answer.text()
    assert json.loads(text) == {**json.loads(junk), GHOST: ["!room"]}
    assert '"f":1.0' in text


async def test_a_large_document_is_kept(process: Process) -> None:
    content = {f"@friend{n}:x": [f"!room-{n}-{'x' * 30}:x"] for n in range(10_000)}
    await process.write(content)
    await process.open("!room")
    await process.settled()
    assert await process.document() == {**content, GHOST: ["!room"]}
