"""What users have read while nobody heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio

from dm_bridge.bridge import missed_reads as missed_reads_module
from dm_bridge.bridge import turns as turns_module
from dm_bridge.bridge.attention import Attention
from dm_bridge.bridge.missed_reads import MissedReads
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.matrix.ephemeral import ReadBy
from dm_bridge.network.abilities import OutgoingRead
from dm_bridge.network.api import Capabilities
from dm_bridge.network.events import SessionStatus
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome
from dm_bridge.store.portals import Membership
from dm_bridge.store.references import ReferenceStore
from tests.store.stored import OWNER, message

from .fakes import until
from .room_world import ROOM, a_world
from .test_reading import THEIRS, Scene

SECOND = EventId("$second")


class Read:
    """An account, and what it has read; ``asked``: how often that was looked up."""

    def __init__(self) -> None:
        self.how = Access.MASQUERADE
        self.asked = 0
        self.found = {ROOM: THEIRS, RoomId("!other:example.org"): EventId("$other")}
        self.trouble: HomeserverError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def access(self, user: UserId) -> Access:
        return self.how if user == OWNER else Access.NONE

    async def reads(self, user: UserId) -> dict[RoomId, EventId]:
        assert user == OWNER
        self.asked += 1
        found, trouble, self.trouble = dict(self.found), self.trouble, None
        await self.gate.wait()
        if trouble is not None:
            raise trouble
        return found


class Missing:
    """A `Scene` whose contact has written twice, and what looks for missed reads there."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.account = scene, Read()
        self.login = scene.key.login
        self.start()

    def start(self) -> None:
        """A bridge that knows nothing but what is in the database."""
        scene = self.scene
        references = ReferenceStore(scene.database)
        logins, account = cast(Any, scene.logins), cast(Any, self.account)
        matrix = cast(Any, scene.matrix)
        self.attention = Attention(matrix, scene.world.store, references, logins)
        self.reads = MissedReads(account, scene.world.store, logins, self.attention.missed)
        self.task = asyncio.create_task(self.reads.run())

    async def stop(self) -> None:
        self.task.cancel()
        await self.attention.stop()

    async def again(self) -> None:
        """The bridge is started again, and its login is connected."""
        await self.stop()
        self.start()
        self.reads.connected(self.login)

    async def looked(self, count: int) -> None:
        await until(lambda: self.account.asked == count and not self.reads._turns.alone.locked())
        await until(lambda: not self.attention._tasks)

    @property
    def told(self) -> list[str]:
        return [each.id for each in self.scene.session.said if isinstance(each, OutgoingRead)]

    async def kept(self) -> EventId | None:
        return (await self.scene.world.row()).read_event


@pytest_asyncio.fixture
async def missing(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Missing]:
    monkeypatch.setattr(missed_reads_module, "DELAY", 0.0)
    monkeypatch.setattr(missed_reads_module, "PAUSE", 0.0)
    scene = Scene(await a_world(database), database)
    await scene.begin()
    await scene.inbox.add([(scene.key.login, message(2))])
    await scene.inbox.finish(scene.key, [InboxOutcome(message(2).id, "delivered", SECOND)])
    missing = Missing(scene)
    yield missing
    await missing.stop()


async def test_what_was_read_meanwhile_is_told_once(missing: Missing) -> None:
    missing.reads.connected(missing.login)
    await missing.looked(1)
    assert (missing.told, await missing.kept()) == (["id-1"], THEIRS)
    await missing.again()
    await missing.looked(2)
    assert missing.told == ["id-1"]
    missing.account.found[ROOM] = SECOND
    await missing.again()
    await missing.looked(3)
    assert (missing.told, await missing.kept()) == (["id-1", "id-2"], SECOND)


async def test_a_login_that_comes_back_is_not_looked_at_but_after_refusals(
    missing: Missing,
) -> None:
    missing.reads.connected(missing.login)
    await missing.looked(1)
    missing.reads.connected(missing.login)
    missing.account.found[ROOM] = SECOND
    missing.reads.look_again()
    await missing.looked(2)
    assert missing.told == ["id-1", "id-2"]


async def test_it_is_looked_once_more_a_while_later(
    missing: Missing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_reads_module, "AGAIN", 0.2)
    missing.reads.connected(missing.login)
    await missing.looked(1)
    missing.account.found[ROOM] = SECOND
    await missing.looked(2)
    assert missing.told == ["id-1", "id-2"]


async def test_what_is_pushed_meanwhile_prevails(missing: Missing) -> None:
    missing.account.gate.clear()
    missing.reads.connected(missing.login)
    await until(lambda: missing.account.asked == 1)
    missing.attention.note(ReadBy(ROOM, OWNER, SECOND))
    await until(lambda: missing.told == ["id-2"])
    missing.account.gate.set()
    await missing.looked(1)
    assert (missing.told, await missing.kept()) == (["id-2"], SECOND)


async def test_what_is_pushed_at_the_same_moment_prevails(missing: Missing) -> None:
    portal = await missing.scene.world.row()
    missing.attention.note(ReadBy(ROOM, OWNER, SECOND))
    missing.attention.missed(portal, THEIRS)
    await until(lambda: not missing.attention._tasks)
    missing.attention.missed(portal, THEIRS)
    await until(lambda: not missing.attention._tasks)
    assert missing.told == ["id-2"]


async def test_what_waits_for_the_network_is_not_replaced_by_what_is_older(
    missing: Missing,
) -> None:
    logins, portal = missing.scene.logins, await missing.scene.world.row()
    logins.status = SessionStatus.TRANSIENT_DISCONNECT
    missing.attention.note(ReadBy(ROOM, OWNER, SECOND))
    await until(lambda: not missing.attention._tasks)
    missing.attention.missed(portal, THEIRS)
    await until(lambda: not missing.attention._tasks)
    logins.status = SessionStatus.CONNECTED
    missing.attention.connected(missing.login)
    await until(lambda: not missing.attention._tasks)
    assert missing.told == ["id-2"]


async def test_what_the_bridge_marked_itself_is_kept_and_not_told(missing: Missing) -> None:
    missing.attention.marked(missing.scene.key, SECOND)
    missing.attention.note(ReadBy(ROOM, OWNER, SECOND))
    await until(lambda: not missing.attention._tasks)
    assert (missing.told, await missing.kept()) == ([], SECOND)


async def test_of_chats_from_before_nothing_old_is_told(missing: Missing) -> None:
    await missing.scene.world.store.set_read(missing.scene.key, EventId(""))
    missing.reads.connected(missing.login)
    await missing.looked(1)
    assert (missing.told, await missing.kept()) == ([], THEIRS)


async def test_a_network_that_refuses_is_told_after_the_next_start(missing: Missing) -> None:
    missing.scene.session.trouble = cast(Any, HomeserverError("No."))
    missing.reads.connected(missing.login)
    await missing.looked(1)
    assert (missing.told, await missing.kept()) == ([], None)
    missing.scene.session.trouble = None
    await missing.again()
    await missing.looked(2)
    assert missing.told == ["id-1"]


async def test_a_homeserver_that_is_away_is_asked_later(
    missing: Missing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "LONGEST_PAUSE", 0.01)
    missing.account.trouble = HomeserverError("Away.", certain=False, retry_after=0.0)
    missing.reads.connected(missing.login)
    await missing.looked(2)
    assert missing.told == ["id-1"]


async def test_nobody_is_asked_where_it_must_not_be_or_there_is_nothing_to_tell(
    missing: Missing,
) -> None:
    async def nothing_asked() -> None:
        await missing.again()
        await until(lambda: not missing.reads._turns._turns)
        await until(lambda: not missing.reads._turns.alone.locked())
        assert (missing.account.asked, missing.told) == (0, [])

    missing.account.how = Access.TOKEN
    await nothing_asked()
    missing.account.how = Access.MASQUERADE
    missing.scene.session.capabilities = Capabilities(typing=True)
    await nothing_asked()
    missing.scene.session.capabilities = Capabilities(reads=True)
    await missing.scene.world.store.set_membership(missing.scene.key, Membership.INVITE)
    await nothing_asked()
