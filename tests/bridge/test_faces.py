"""What ghosts are called and look like, as sessions tell it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from dm_bridge.bridge import faces as module
from dm_bridge.bridge.faces import MAX_AVATAR_ID, MAX_WAITING, Faces
from dm_bridge.errors import HomeserverError, NetworkError
from dm_bridge.ids import ChatId, ContactId, GhostNamespace, PortalKey, RoomId, UserId
from dm_bridge.matrix import ghosts as matrix_ghosts
from dm_bridge.network.api import Contact
from dm_bridge.network.people import MAX_AVATAR
from dm_bridge.network.signals import RemoteProfile
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import Membership

from .fakes import FAKE, until
from .people_world import NURSE, ROMEO, World, world

NAMESPACE = GhostNamespace("_dm_", "example.org")
GHOST = NAMESPACE.user_id(FAKE, ROMEO)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@dataclass
class Homeserver:
    """``spreads``: whether a new profile takes the place of what a ghost is called in a room."""

    names: dict[UserId, str] = field(default_factory=dict)
    avatars: dict[UserId, str | None] = field(default_factory=dict)
    uploads: list[tuple[bytes, str]] = field(default_factory=list)
    rooms: dict[RoomId, tuple[str, str | None]] = field(default_factory=dict)
    history: list[tuple[str, str | None]] = field(default_factory=list)
    calls: int = 0
    trouble: HomeserverError | None = None

    def _called(self) -> None:
        self.calls += 1
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble

    async def set_name(self, _: object, user: UserId, name: str) -> None:
        self._called()
        self.names[user] = name
        self._spread(user)

    async def set_avatar(self, _: object, user: UserId, url: str | None) -> None:
        self._called()
        self.avatars[user] = url
        self._spread(user)

    def _spread(self, user: UserId) -> None:
        """Some time later, as Synapse does."""
        shown = self.names.get(user, ""), self.avatars.get(user)

        def tell() -> None:
            for room in self.rooms:
                self.rooms[room] = shown
                self.history.append(shown)

        asyncio.get_running_loop().call_later(0.01, tell)

    async def upload(
        self, data: AsyncIterator[bytes], size: int, kind: str, name: str, *, user: UserId
    ) -> str:
        self._called()
        self.uploads.append((b"".join([part async for part in data]), kind))
        return f"mxc://example.org/{len(self.uploads)}"

    async def shown_in(self, _: object, user: UserId, room: RoomId) -> dict[str, str | None]:
        name, url = self.rooms[room]
        return {"displayname": name, "avatar_url": url}

    async def show_in(
        self, _: object, user: UserId, room: RoomId, name: str, url: str | None
    ) -> None:
        self._called()
        self.rooms[room] = name, url


@dataclass
class Shown:
    """Romeo's ghost, which exists, and a login that knows him."""

    world: World
    faces: Faces
    homeserver: Homeserver
    login: LoginRow

    async def chat(self, login: LoginRow, room: str) -> RoomId:
        key, name = PortalKey(login.id, ChatId(ROMEO)), RoomId(room)
        await self.world.portals.reserve(key, ROMEO, GHOST)
        await self.world.portals.set_open(key, name, Membership.JOIN)
        self.homeserver.rooms[name] = "Romeo", None
        return name

    async def is_done(self) -> None:
        """All that was told has been looked at."""
        await until(lambda: not self.faces._told and not self.faces._met)
        for _ in range(20):
            await asyncio.sleep(0)


@pytest_asyncio.fixture
async def shown(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shown]:
    homeserver = Homeserver()
    for name in ("set_name", "set_avatar", "shown_in", "show_in"):
        monkeypatch.setattr(matrix_ghosts, name, getattr(homeserver, name))
    monkeypatch.setattr(module, "_TURN", 0.002)
    async with world() as w:
        login = await w.log_in("juliet@example.com")
        await w.portals.ghost(FAKE, ROMEO, GHOST)
        await w.portals.set_ghost(GHOST, "Romeo")
        faces = Faces(None, homeserver, w.people, w.portals, w.logins)  # type: ignore[arg-type]
        running = asyncio.create_task(faces.run())
        yield Shown(w, faces, homeserver, login)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await faces.stop()


async def test_a_new_name_is_cleaned_and_set_once(shown: Shown) -> None:
    for _ in range(2):
        shown.faces.note(shown.login.id, RemoteProfile(ROMEO, name="Romeo\n\u202eM."))
        await shown.is_done()
    assert shown.homeserver.names == {GHOST: "Romeo M."}
    assert shown.homeserver.calls == 1


async def test_who_has_no_name_any_more_is_called_by_their_address(shown: Shown) -> None:
    contact = ContactId(r"r\40o@example.net")
    ghost = NAMESPACE.user_id(FAKE, contact)
    await shown.world.portals.ghost(FAKE, contact, ghost)
    await shown.world.portals.set_ghost(ghost, "R")
    shown.faces.note(shown.login.id, RemoteProfile(contact, name=""))
    await shown.is_done()
    assert shown.homeserver.names == {ghost: "r at o@example.net"}


async def test_nothing_is_asked_of_the_homeserver_for_who_has_no_ghost(shown: Shown) -> None:
    for number in range(MAX_WAITING + 5):
        shown.faces.note(shown.login.id, RemoteProfile(ContactId(f"{number}@x"), name="x"))
    assert len(shown.faces._told) == MAX_WAITING
    await shown.is_done()
    assert shown.homeserver.calls == 0


async def test_a_picture_is_uploaded_once_and_taken_away_again(shown: Shown) -> None:
    shown.world.network.people.pictures["abc"] = PNG
    for _ in range(2):
        shown.faces.note(shown.login.id, RemoteProfile(ROMEO, avatar="abc"))
        await shown.is_done()
    assert shown.homeserver.uploads == [(PNG, "image/png")]
    assert shown.homeserver.avatars == {GHOST: "mxc://example.org/1"}
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, avatar=""))
    await shown.is_done()
    assert shown.homeserver.avatars == {GHOST: None}


@pytest.mark.parametrize(
    "data", [b"<svg/>", PNG + b"\0" * MAX_AVATAR, b""], ids=["a page", "too large", "empty"]
)
async def test_what_is_no_picture_is_asked_for_once_and_never_uploaded(
    shown: Shown, data: bytes
) -> None:
    shown.world.network.people.pictures["bad"] = data
    for _ in range(2):
        shown.faces.note(shown.login.id, RemoteProfile(ROMEO, avatar="bad"))
        await shown.is_done()
    assert shown.homeserver.uploads == []
    assert shown.world.network.people.did == [("avatar bad", ROMEO)]


async def test_a_name_of_a_picture_that_is_too_long_is_passed_over(shown: Shown) -> None:
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, avatar="a" * (MAX_AVATAR_ID + 1)))
    await shown.is_done()
    assert shown.world.network.people.did == []


async def test_a_login_cannot_change_what_another_one_says_until_that_is_gone(
    shown: Shown,
) -> None:
    other = await shown.world.log_in("nurse@elsewhere.example", NURSE)
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, name="Romeo M."))
    await shown.is_done()
    shown.faces.note(other.id, RemoteProfile(ROMEO, name="Villain"))
    await shown.is_done()
    assert shown.homeserver.names == {GHOST: "Romeo M."}
    await shown.world.logins.logout(shown.login.id)
    shown.faces.note(other.id, RemoteProfile(ROMEO, name="Romeo again"))
    await shown.is_done()
    assert shown.homeserver.names == {GHOST: "Romeo again"}


async def test_what_a_user_calls_a_contact_is_shown_in_their_room_and_outlives_what_all_see(
    shown: Shown,
) -> None:
    room = await shown.chat(shown.login, "!mine")
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, private_name=" My\nlove "))
    await until(lambda: shown.homeserver.rooms[room] == ("My love", None))
    shown.world.network.people.pictures["abc"] = PNG
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, name="Romeo M.", avatar="abc"))
    url = "mxc://example.org/1"
    await until(lambda: shown.homeserver.avatars.get(GHOST) == url)
    await until(lambda: shown.homeserver.rooms[room] == ("My love", url))
    assert ("Romeo M.", url) in shown.homeserver.history
    await until(lambda: not shown.faces._spreading)
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, private_name=""))
    await until(lambda: shown.homeserver.rooms[room] == ("Romeo M.", url))


async def test_somebody_new_is_asked_after_as_soon_as_there_is_a_room(shown: Shown) -> None:
    people = shown.world.network.people
    people.contacts = [Contact(ROMEO, private_name="My love")]
    people.profiles[ROMEO] = RemoteProfile(ROMEO, name="Romeo M.")
    room = await shown.chat(shown.login, "!mine")
    shown.faces.met(shown.login, ROMEO)
    await until(lambda: shown.homeserver.names == {GHOST: "Romeo M."})
    await until(lambda: shown.homeserver.rooms[room][0] == "My love")


async def test_a_network_that_does_not_answer_costs_only_what_it_knows(shown: Shown) -> None:
    people = shown.world.network.people
    people.contacts = [Contact(ROMEO, private_name="My love")]
    people.trouble = NetworkError("Nobody there.", retry_after=1.0)
    room = await shown.chat(shown.login, "!mine")
    shown.faces.met(shown.login, ROMEO)
    await until(lambda: shown.homeserver.rooms[room][0] == "My love")


async def test_what_the_homeserver_cannot_do_now_is_done_later(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.05)
    shown.homeserver.trouble = HomeserverError("Away.", status=502, retry_after=1.0)
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, name="Late"))
    await until(lambda: shown.homeserver.names == {GHOST: "Late"})
    assert shown.homeserver.calls == 2


async def test_what_the_homeserver_refuses_for_good_is_not_tried_again(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.05)
    shown.homeserver.trouble = HomeserverError("No.", status=400, errcode="M_X")
    shown.faces.note(shown.login.id, RemoteProfile(ROMEO, name="Never"))
    await shown.is_done()
    assert not shown.faces._later
    assert shown.homeserver.calls == 1
