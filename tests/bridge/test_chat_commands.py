"""`delete-chat` and `moved`: how chats are named, and whose they may be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge.commands.chats import ChatCommands
from dm_bridge.bridge.commands.reply import Reply
from dm_bridge.bridge.contact_moves import Moved
from dm_bridge.errors import UserError
from dm_bridge.ids import ChatId, ContactId, LoginId, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.portals import Membership, PortalRow, PortalState

from .fakes import FAKE, FakeNetwork, FakeSession

USER = UserId("@juliet:example.org")
OTHER = UserId("@nurse:example.org")
ROMEO = ContactId("romeo@example.net")
GHOST = UserId("@_dm_fake_romeo=40example.net:example.org")


def login(name: str, owner: UserId = USER) -> LoginRow:
    remote = ContactId(f"{name}@example.com")
    return LoginRow(LoginId(name), owner, FAKE, remote, remote, LoginState.ACTIVE, "", None)


def portal(of: LoginRow, room: str | None, contact: ContactId = ROMEO) -> PortalRow:
    return PortalRow(
        PortalKey(of.id, ChatId(contact)),
        contact,
        GHOST,
        None if room is None else RoomId(room),
        PortalState.RESERVED if room is None else PortalState.OPEN,
        Membership.JOIN,
        False,
        None,
    )


class FakeStore:
    def __init__(self, world: World) -> None:
        self._world = world

    async def of_owner(self, owner: UserId) -> list[PortalRow]:
        owned = {row.id for row in self._world.logins.rows if row.owner == owner}
        return [row for row in self._world.portals.rows if row.key.login in owned]

    async def get(self, key: PortalKey) -> PortalRow | None:
        return next((row for row in self._world.portals.rows if row.key == key), None)

    async def by_former_room(self, room: RoomId) -> PortalRow | None:
        return self._world.portals.former.get(room)


class FakePortals:
    def __init__(self, world: World) -> None:
        self.store = FakeStore(world)
        self.rows: list[PortalRow] = []
        self.former: dict[RoomId, PortalRow] = {}
        self.aliases = {"#balcony:example.org": RoomId("!chat")}
        self.deleted: list[PortalRow] = []
        self.moves: list[tuple[Any, ...]] = []
        self.outcome = Moved.DONE

    async def room_of_alias(self, alias: str) -> RoomId | None:
        return self.aliases.get(alias)

    async def delete(self, row: PortalRow, login: LoginRow) -> None:
        assert row.key.login == login.id
        self.deleted.append(row)

    async def move_contact(self, key: PortalKey, *rest: object) -> Moved:
        self.moves.append((key, *rest[2:]))
        return self.outcome


class FakeLogins:
    def __init__(self) -> None:
        self.rows: list[LoginRow] = []
        self.offline: set[LoginId] = set()
        self.networks = [FakeNetwork()]

    def of(self, owner: UserId) -> list[LoginRow]:
        return [
            row
            for row in self.rows
            if row.owner == owner and row.state is not LoginState.LOGGED_OUT
        ]

    async def row(self, id: LoginId) -> LoginRow | None:
        return next((row for row in self.rows if row.id == id), None)

    def session(self, id: LoginId) -> FakeSession | None:
        return None if id in self.offline else FakeSession(None, None)  # type: ignore[arg-type]

    def network(self, name: NetworkName) -> FakeNetwork:
        return self.networks[0]


@dataclass
class World:
    """Juliet with a chat with Romeo, in ``!chat``; her nurse with one of her own."""

    def __post_init__(self) -> None:
        self.logins = FakeLogins()
        self.portals = FakePortals(self)
        self.commands = ChatCommands(self.logins, self.portals)  # type: ignore[arg-type]
        mine, hers = login("mine"), login("hers", OTHER)
        self.logins.rows = [mine, hers]
        self.chat, self.nurses = portal(mine, "!chat"), portal(hers, "!nurses")
        self.portals.rows = [self.chat, self.nurses]

    async def say(self, command: str, rest: str, user: UserId = USER) -> str:
        answers: list[str] = []

        async def answer(reply: Reply) -> None:
            answers.append(reply.text)

        run = {"delete-chat": self.commands.delete, "moved": self.commands.moved}[command]
        await run(user, RoomId("!management"), rest, answer)
        return "\n".join(answers)


@pytest_asyncio.fixture
async def world() -> World:
    return World()


@pytest.mark.parametrize(
    "named",
    [
        "!chat",
        "  !chat ",
        "https://matrix.to/#/!chat",
        "https://matrix.to/#/%21chat?via=example.org",
        "https://matrix.to/#/!chat/$event",
        "matrix:roomid/chat",
        "#balcony:example.org",
        "https://matrix.to/#/%23balcony:example.org",
        "romeo@example.net",
        "Romeo@Example.net",
        "`romeo@example.net`",
        GHOST,
        f"https://matrix.to/#/{GHOST}",
        "!before",
    ],
)
async def test_a_chat_is_named_by_its_room_or_its_contact(world: World, named: str) -> None:
    world.portals.former[RoomId("!before")] = world.chat
    answer = await world.say("delete-chat", named)
    assert world.portals.deleted == [world.chat]
    assert "no longer bridged" in answer
    assert "https://matrix.to/#/!chat" in answer


@pytest.mark.parametrize(
    "named",
    ["", "!nurses", "!elsewhere", "#nowhere:x", "tybalt@example.net", "@who:ever", "?", "[x"],
)
async def test_what_names_no_chat_of_the_user_deletes_nothing(world: World, named: str) -> None:
    with pytest.raises(UserError):
        await world.say("delete-chat", named)
    assert world.portals.deleted == []


async def test_a_chat_without_a_room_is_deleted_too(world: World) -> None:
    world.portals.rows = [replace(world.chat, room=None, state=PortalState.RESERVED)]
    assert "matrix.to" not in await world.say("delete-chat", ROMEO)
    assert world.portals.deleted == world.portals.rows


async def test_of_several_chats_with_one_contact_the_room_decides(world: World) -> None:
    second = login("second")
    world.logins.rows.append(second)
    world.portals.rows.append(portal(second, "!second"))
    with pytest.raises(UserError, match=r"!chat.*!second"):
        await world.say("delete-chat", ROMEO)
    await world.say("delete-chat", "!second")
    assert world.portals.deleted == [world.portals.rows[-1]]


async def test_the_chat_of_a_login_that_was_logged_out_can_be_deleted(world: World) -> None:
    world.logins.rows[0] = replace(world.logins.rows[0], state=LoginState.LOGGED_OUT)
    await world.say("delete-chat", "!chat")
    assert world.portals.deleted == [world.chat]


async def test_a_contact_moves_on_the_login_that_has_the_chat(world: World) -> None:
    world.logins.rows.append(login("second"))
    answer = await world.say("moved", "`romeo@example.net` <Romeo@Mantua.example>")
    new = "romeo@mantua.example"
    assert [move[:4] for move in world.portals.moves] == [(world.chat.key, ROMEO, new, new)]
    assert new in answer


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "Which contact"),
        ("romeo@example.net", "Which contact"),
        ("a b c d", "Which contact"),
        ("romeo@example.net romeo@example.net", "already"),
        ("romeo@example.net mine@example.com", "your own"),
        ("romeo@example.net nothing", "no address"),
        ("nothing romeo@mantua.example", "no address"),
        ("tybalt@example.net romeo@mantua.example", "no chat"),
        ("other romeo@example.net romeo@mantua.example", "no such login"),
        ("hers romeo@example.net romeo@mantua.example", "no such login"),
    ],
)
async def test_a_move_that_cannot_be_says_why(world: World, words: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        await world.say("moved", words)
    assert world.portals.moves == []


async def test_of_several_logins_with_the_contact_the_name_decides(world: World) -> None:
    second = login("second")
    world.logins.rows.append(second)
    world.portals.rows.append(portal(second, "!second"))
    with pytest.raises(UserError, match="Several"):
        await world.say("moved", "romeo@example.net romeo@mantua.example")
    await world.say("moved", "second romeo@example.net romeo@mantua.example")
    assert [move[0] for move in world.portals.moves] == [PortalKey(second.id, ChatId(ROMEO))]


async def test_two_chats_are_not_made_one_and_it_is_said_how_to_go_on(world: World) -> None:
    world.portals.outcome = Moved.TAKEN
    with pytest.raises(UserError, match="delete-chat"):
        await world.say("moved", "romeo@example.net romeo@mantua.example")


async def test_a_user_without_logins_is_told_to_log_in(world: World) -> None:
    with pytest.raises(UserError, match="not logged in"):
        await world.say("moved", "a@b c@d", user=UserId("@nobody:x"))
