"""Spaces over a database and over rooms in memory: made once, kept in step, given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge import spaces as module
from dm_bridge.bridge.room_portals import Found, RoomPortals
from dm_bridge.bridge.spaces import Spaces, SpaceSettings
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import LoginId, RoomId, UserId
from dm_bridge.matrix import spaces as matrix_spaces
from dm_bridge.network.api import Network
from dm_bridge.store.database import Database
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore
from dm_bridge.store.portals import Membership, PortalStore
from dm_bridge.store.spaces import SpaceMode, SpaceStore
from tests.store.stored import GHOST, OWNER, ROMEO, a_login, key_of

from .matrix_rooms import MatrixRooms
from .room_world import BOT, FakeAccounts, XmppFakes


class FakeLogins:
    """One login, of `OWNER`."""

    def __init__(self, row: LoginRow) -> None:
        self.only = row

    async def row(self, login: LoginId) -> LoginRow | None:
        return self.only if login == self.only.id else None

    def owner(self, login: LoginId) -> UserId | None:
        return self.only.owner if login == self.only.id else None

    def network_of(self, login: LoginRow) -> Network:
        return XmppFakes()


@dataclass
class World:
    """A login with chats in rooms, which `start` gives to a new process."""

    database: Database
    logins: FakeLogins
    rooms: MatrixRooms
    accounts: FakeAccounts
    store: SpaceStore
    portals: PortalStore
    spaces: Spaces
    task: asyncio.Task[None] | None = None

    @property
    def login(self) -> LoginId:
        return self.logins.only.id

    async def start(self, *, new_logins: bool = False) -> None:
        """The process that was there is no more, and another one begins."""
        await self.end()
        self.spaces = Spaces(
            self.rooms,  # type: ignore[arg-type]
            self.accounts,  # type: ignore[arg-type]
            self.store,
            lambda: self.logins,  # type: ignore[arg-type, return-value]
            SpaceSettings(BOT, "example.org", auto_join=True, new_logins=new_logins),
            delay=0.0,
            pause=0.0,
        )
        await self.spaces.started([OWNER])
        self.task = asyncio.create_task(self.spaces.turns.run())

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def chat(self, name: str, membership: Membership = Membership.JOIN) -> RoomId:
        key, room = key_of(self.login, name), RoomId(f"!{name}")
        await self.portals.reserve(key, ROMEO, GHOST)
        await self.portals.set_open(key, room, membership)
        return room

    async def look(self) -> None:
        """Return when what there is to do has been done."""
        await self.spaces.turns.take(self.login, 10.0)

    @property
    def made(self) -> list[RoomId]:
        """The spaces that there are: those that the bot is in."""
        return [
            room
            for room, state in self.rooms.state.items()
            if state["m.room.create", ""]["content"].get("type") == "m.space"
            and self.rooms.membership(room, BOT) == "join"
        ]

    def children(self, space: RoomId) -> list[str]:
        return sorted(
            key
            for (kind, key), event in self.rooms.state[space].items()
            if kind == "m.space.child" and event["content"] == {"via": ["example.org"]}
        )


async def a_world(database: Database) -> World:
    row = await LoginStore(database).get(await a_login(database))
    assert row is not None
    rooms = MatrixRooms()
    world = World(
        database,
        FakeLogins(replace(row, state=LoginState.ACTIVE)),
        rooms,
        FakeAccounts(rooms),
        SpaceStore(database),
        PortalStore(database),
        None,  # type: ignore[arg-type]
    )
    await world.start()
    return world


@pytest_asyncio.fixture
async def world(database: Database) -> AsyncIterator[World]:
    world = await a_world(database)
    yield world
    await world.end()


async def test_who_wants_a_space_is_in_it_with_their_chats_and_may_only_look(world: World) -> None:
    await world.chat("one")
    await world.chat("left", Membership.LEAVE)
    await world.spaces.want(world.login)
    (space,) = world.made
    assert world.rooms.membership(space, OWNER) == "join"
    assert world.children(space) == ["!one"]
    invites = [
        e
        for (kind, key), e in world.rooms.state[space].items()
        if (kind, key) == ("m.room.member", OWNER)
    ]
    assert "is_direct" not in invites[0]["content"]


async def test_nothing_is_asked_for_logins_without_a_space(world: World) -> None:
    world.spaces.note(world.login)
    await world.spaces.logged_in(world.logins.only)
    await asyncio.sleep(0.05)
    assert world.rooms.calls == 0


async def test_new_logins_have_one_unasked_where_the_admin_says_so(world: World) -> None:
    await world.start(new_logins=True)
    await world.spaces.logged_in(world.logins.only)
    await world.look()
    assert len(world.made) == 1
    await world.spaces.refuse(world.login)
    await world.spaces.logged_in(world.logins.only)  # they have decided
    await asyncio.sleep(0.05)
    assert world.made == []


async def test_chats_that_come_and_go_are_followed(world: World) -> None:
    await world.chat("one")
    await world.chat("two")
    await world.spaces.want(world.login)
    (space,) = world.made
    key = key_of(world.login, "one")
    await world.portals.replace_room(key, RoomId("!one"), None)
    await world.portals.set_open(key, RoomId("!one-again"), Membership.INVITE)
    await world.portals.delete(key_of(world.login, "two"))
    world.rooms.put(space, "m.space.child", "!theirs", {"via": ["example.org"]}, OWNER)
    world.spaces.note(world.login)
    await world.look()
    assert world.children(space) == ["!one-again", "!theirs"]


async def test_many_chats_come_a_page_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        await world.chat(f"chat{number}")
    await world.spaces.want(world.login)
    (space,) = world.made
    async with asyncio.timeout(30):
        while len(world.children(space)) < 5:
            await world.look()


async def test_who_leaves_is_not_brought_back_unasked(world: World) -> None:
    await world.spaces.want(world.login)
    (space,) = world.made
    await world.rooms.leave(space, user=OWNER)
    await world.spaces.changed(space)
    await world.look()
    await world.chat("one")
    world.spaces.note(world.login)
    await world.start()
    await asyncio.sleep(0.05)
    row = await world.spaces.row(world.login)
    assert row is not None
    assert row.mode is SpaceMode.LEFT
    assert (world.rooms.membership(space, OWNER), world.children(space)) == ("leave", [])
    await world.spaces.want(world.login)
    assert world.made == [space]
    assert (world.rooms.membership(space, OWNER), world.children(space)) == ("join", ["!one"])


async def test_who_left_while_the_bridge_was_away_is_not_brought_back_either(world: World) -> None:
    await world.spaces.want(world.login)
    (space,) = world.made
    await world.rooms.leave(space, user=OWNER)
    await world.start()
    await world.look()
    row = await world.spaces.row(world.login)
    assert row is not None
    assert row.mode is SpaceMode.LEFT
    assert world.rooms.membership(space, OWNER) == "leave"


async def test_who_can_only_be_invited_is_invited_once(world: World) -> None:
    world.accounts.access = False
    await world.spaces.want(world.login)
    (space,) = world.made
    first = world.rooms.state[space]["m.room.member", OWNER]
    await world.look()
    assert world.rooms.state[space]["m.room.member", OWNER] is first
    assert first["content"] == {"membership": "invite"}


@pytest.mark.parametrize("how", ["removed", "replaced", "forgotten"])
async def test_a_space_that_is_lost_is_made_anew(world: World, how: str) -> None:
    await world.chat("one")
    await world.spaces.want(world.login)
    (space,) = world.made
    if how == "removed":
        world.rooms.put(space, "m.room.member", BOT, {"membership": "leave"}, OWNER)
    elif how == "replaced":
        world.rooms.put(space, "m.room.tombstone", "", {"replacement_room": "!x"}, OWNER)
    else:
        del world.rooms.state[space]
    await world.spaces.changed(space)
    await world.look()
    (new,) = world.made
    assert new != space
    assert world.children(new) == ["!one"]


async def test_who_wants_it_no_more_has_it_no_more(world: World) -> None:
    await world.chat("one")
    await world.spaces.want(world.login)
    (space,) = world.made
    await world.spaces.refuse(world.login)
    assert world.made == []
    assert world.rooms.membership(space, OWNER) == "leave"
    row = await world.spaces.row(world.login)
    assert row is not None
    assert (row.mode, row.room) == (SpaceMode.OFF, None)


async def test_who_has_logged_out_keeps_a_space_and_gets_no_new_one(world: World) -> None:
    await world.spaces.want(world.login)
    (space,) = world.made
    await world.chat("one")
    world.logins.only = replace(world.logins.only, state=LoginState.LOGGED_OUT)
    world.spaces.note(world.login)
    await world.look()
    assert world.children(space) == ["!one"]
    del world.rooms.state[space]
    await world.look()
    assert world.made == []


async def test_what_the_homeserver_refuses_is_told_and_the_next_look_tries_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> RoomId:
        raise HomeserverError("You may make no rooms.", status=403)

    with monkeypatch.context() as patch:
        patch.setattr(matrix_spaces, "create_space", refused)
        await world.spaces.want(world.login)
    assert world.spaces.trouble(world.login) == "You may make no rooms."
    await world.look()
    assert world.spaces.trouble(world.login) is None
    assert len(world.made) == 1


async def test_a_space_is_known_for_one_and_so_no_room_with_the_bot(world: World) -> None:
    class NoRooms:
        async def user_of(self, room: RoomId) -> None: ...

    await world.spaces.want(world.login)
    (space,) = world.made
    rooms = RoomPortals(world.portals, Any, Any, NoRooms(), world.spaces)  # type: ignore[arg-type]
    assert await rooms.find(space, OWNER) == Found(space=OWNER)
    assert await rooms.find(RoomId("!another"), OWNER) == Found()


async def test_whoever_is_given_to_another_process_is_left_alone(world: World) -> None:
    await world.spaces.want(world.login)
    await world.spaces.give([OWNER])
    await world.chat("one")
    before = world.rooms.calls
    world.spaces.note(world.login)
    await asyncio.sleep(0.05)
    assert world.rooms.calls == before
    await world.start()  # the other process
    await world.look()
    assert world.children(world.made[0]) == ["!one"]


async def test_who_leaves_for_good_leaves_no_space(world: World) -> None:
    await world.spaces.want(world.login)
    await world.spaces.end(OWNER)
    await world.spaces.end(OWNER)
    world.spaces.note(world.login)
    await asyncio.sleep(0.05)
    assert world.made == []


async def test_a_room_that_somebody_else_made_with_its_marker_is_not_taken_for_a_space(
    world: World,
) -> None:
    marker = module._marker(world.login)
    mallory, forged = UserId("@mallory:example.org"), RoomId("!forged")
    world.rooms.create(forged, mallory, **{"type": "m.space", matrix_spaces.MARKER: marker})
    world.rooms.put(forged, "m.room.member", BOT, {"membership": "join"}, BOT)
    await world.store.want(world.login)
    await world.store.set_creating(world.login)
    await world.start()
    await world.look()
    row = await world.store.get(world.login)
    assert row is not None
    assert row.room not in (None, forged)
    assert world.rooms.membership(forged, OWNER) == ""


@pytest.mark.parametrize("lost_answers", [False, True], ids=["no effect", "lost answer"])
async def test_wherever_it_is_cut_short_there_is_one_space_in_the_end(
    database: Database, lost_answers: bool
) -> None:
    world = await a_world(database)
    try:
        await world.chat("one")
        for number in range(100):
            calls = world.rooms.calls = 0
            world.rooms.fail_at, world.rooms.lost_answers = number, lost_answers
            await world.spaces.want(world.login)
            calls, world.rooms.fail_at = world.rooms.calls, None
            await world.start()
            await world.look()
            (space,) = world.made
            assert world.rooms.membership(space, OWNER) == "join"
            assert world.children(space) == ["!one"]
            # and so it is when it is given up
            world.rooms.calls, world.rooms.fail_at = 0, number
            await world.spaces.refuse(world.login)
            world.rooms.fail_at = None
            await world.start()
            await world.look()
            assert world.made == []
            if calls <= number:
                return
        pytest.fail("it never ended")
    finally:
        await world.end()
