"""What rooms are told of what can be done there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge import features as module
from dm_bridge.bridge.features import ROOM_FEATURES, RoomFeatures, room_features
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ChatId, ContactId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.network.api import Capabilities
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.store.database import Database
from dm_bridge.store.features import FeatureStore
from dm_bridge.store.portals import Membership, PortalStore
from tests.store.stored import a_login

EVERYTHING = Capabilities(
    formatting=True, replies=True, edits=True, retractions=True, reactions=True, media=True,
    reads=True, typing=True,
)  # fmt: skip
MEGABYTE = 1_000_000


def test_all_that_a_session_can_do_is_offered() -> None:
    said = room_features(EVERYTHING, 100 * MEGABYTE)
    assert (said["reply"], said["edit"], said["delete"], said["reaction"]) == (2, 2, 2, 2)
    assert said["formatting"]["bold"] == 1
    assert said["file"]["m.image"] == {
        "mime_types": {"*/*": 2},
        "caption": 2,
        "max_size": 100 * MEGABYTE,
    }
    assert (said["read_receipts"], said["typing_notifications"]) == (True, True)


def test_what_a_session_cannot_do_is_refused_or_becomes_text() -> None:
    said = room_features(Capabilities(), 100 * MEGABYTE)
    assert (said["edit"], said["delete"], said["reaction"]) == (-2, -2, -2)
    assert (said["reply"], said["formatting"], said["file"]) == (0, {}, {})
    assert (said["read_receipts"], said["typing_notifications"]) == (False, False)


@pytest.mark.parametrize(
    ("network", "bridge", "largest"),
    [(None, 5, 5), (3, 5, 3), (7, 5, 5)],
    ids=["network has no limit", "network's is smaller", "ours is smaller"],
)
def test_files_are_as_large_as_both_let_them_be(
    network: int | None, bridge: int, largest: int
) -> None:
    said = room_features(Capabilities(media=True, largest_media=network), bridge)
    assert {kind["max_size"] for kind in said["file"].values()} == {largest}


def test_no_files_are_offered_where_none_are_carried() -> None:
    assert room_features(EVERYTHING, 0)["file"] == {}
    assert room_features(Capabilities(media=True, largest_media=0), 5)["file"] == {}


def test_the_name_of_a_set_of_features_is_its_own() -> None:
    sets = [
        room_features(EVERYTHING, 1),
        room_features(EVERYTHING, 2),
        room_features(Capabilities(), 1),
    ]
    assert len({each["id"] for each in sets}) == 3
    assert room_features(EVERYTHING, 1) == sets[0]


@dataclass
class FakeSession:
    capabilities: Capabilities = EVERYTHING


@dataclass
class FakeLogins:
    """One login, with a session."""

    session_: FakeSession = field(default_factory=FakeSession)
    status: SessionStatus = SessionStatus.CONNECTED

    def session(self, login: LoginId) -> FakeSession:
        return self.session_

    def state(self, login: LoginId) -> SessionState:
        return SessionState(self.status)


@dataclass
class FakeHomeserver:
    """``told``: what rooms were told, in order; ``trouble``: what the next call raises."""

    told: list[tuple[RoomId, dict[str, Any]]] = field(default_factory=list)
    trouble: HomeserverError | None = None

    async def set_state(
        self, room: RoomId, kind: str, key: str, content: dict[str, Any], *, user: UserId
    ) -> None:
        assert (kind, key, user) == (ROOM_FEATURES, "", UserId("@ghost:example.org"))
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        self.told.append((room, content))


class World:
    """A login with chats, and what tells their rooms."""

    def __init__(self, database: Database, login: LoginId) -> None:
        self.login = login
        self.logins, self.homeserver = FakeLogins(), FakeHomeserver()
        self.portals = PortalStore(database)
        self.features = RoomFeatures(
            self.homeserver,  # type: ignore[arg-type]
            FeatureStore(database),
            self.logins,  # type: ignore[arg-type]
            MEGABYTE,
            pause=0.0,
        )

    async def chat(self, name: str, room: str) -> PortalKey:
        key = PortalKey(self.login, ChatId(name))
        await self.portals.reserve(key, ContactId(name), UserId("@ghost:example.org"))
        await self.portals.set_open(key, RoomId(room), Membership.JOIN)
        return key

    @property
    def rooms(self) -> list[str]:
        return sorted(room for room, _ in self.homeserver.told)

    async def look(self) -> None:
        """A login has connected: do what is to be done."""
        self.features.note(self.login)
        await self.features.tell_waiting()


@pytest_asyncio.fixture
async def world(database: Database) -> World:
    return World(database, await a_login(database))


async def test_each_room_is_told_once(world: World) -> None:
    for number in range(3):
        await world.chat(f"chat{number}", f"!room{number}:example.org")
    await world.look()
    await world.look()
    assert world.rooms == [f"!room{number}:example.org" for number in range(3)]
    assert {content["id"] for _, content in world.homeserver.told} == {
        room_features(EVERYTHING, MEGABYTE)["id"]
    }


async def test_other_features_are_told_to_all(world: World) -> None:
    await world.chat("chat", "!room:example.org")
    await world.look()
    world.logins.session_.capabilities = Capabilities()
    await world.look()
    assert [content["edit"] for _, content in world.homeserver.told] == [2, -2]


async def test_a_chats_next_room_is_told_anew(world: World) -> None:
    key = await world.chat("chat", "!old:example.org")
    await world.look()
    await world.portals.set_open(key, RoomId("!new:example.org"), Membership.JOIN)
    await world.look()
    assert world.rooms == ["!new:example.org", "!old:example.org"]


async def test_a_login_that_is_not_connected_tells_nothing(world: World) -> None:
    await world.chat("chat", "!room:example.org")
    world.logins.status = SessionStatus.TRANSIENT_DISCONNECT
    await world.look()
    assert world.rooms == []


async def test_more_rooms_than_a_page_are_all_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        await world.chat(f"chat{number}", f"!room{number}:example.org")
    await world.look()
    assert len(world.rooms) == 5


async def test_a_room_that_refuses_it_is_not_asked_again(world: World) -> None:
    await world.chat("chat", "!room:example.org")
    world.homeserver.trouble = HomeserverError("No.", status=403)
    await world.look()
    await world.look()
    assert world.rooms == []


async def test_a_homeserver_that_is_away_is_asked_the_next_time(world: World) -> None:
    await world.chat("chat", "!room:example.org")
    world.homeserver.trouble = HomeserverError("Away.", status=502, retry_after=1.0)
    await world.look()
    assert world.rooms == []
    await world.look()
    assert world.rooms == ["!room:example.org"]
