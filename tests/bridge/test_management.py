"""The bot as people meet it: alone, polite, and deaf to other bots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dm_bridge.bridge.commands import Answer, Reply
from dm_bridge.bridge.management import (
    Management,
)
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, GhostNamespace, RoomId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.store.database import Database
from dm_bridge.store.rooms import RoomStore
from dm_bridge.texts import phrase

from .fakes import FakeHomeserver

BOT = UserId("@bridge:example.org")
USER = UserId("@juliet:example.org")
STRANGER = UserId("@tybalt:other.example")
GHOST = UserId("@_ghost_romeo:example.org")
ROOM = RoomId("!room")


class FakeCommands:
    """Records what it is asked to run; answers with ``replies``."""

    def __init__(self) -> None:
        self.ran: list[tuple[UserId, RoomId, str]] = []
        self.replies = [Reply("answered")]

    def is_waiting(self, user: UserId, room: RoomId) -> bool:
        return False

    async def forget(self, user: UserId, room: RoomId) -> None: ...

    def first_step(self, user: UserId) -> str:
        return "Write `login fake`."

    async def run(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        self.ran.append((user, room, text))
        for reply in self.replies:
            await answer(reply)


class World:
    def __init__(self, database: Database) -> None:
        self.homeserver = FakeHomeserver()
        self.accounts_homeserver = FakeHomeserver()
        self.commands = FakeCommands()
        self.store = RoomStore(database)
        accounts = Accounts(self.accounts_homeserver, "example.org", lambda user: user == USER)  # type: ignore[arg-type]
        accounts.available = True
        self.management = Management(
            self.homeserver,  # type: ignore[arg-type]
            accounts,
            self.store,
            self.commands,  # type: ignore[arg-type]
            BOT,
            GhostNamespace("_ghost_", "example.org"),
            lambda user: user.endswith(":example.org"),
            "example.org",
        )

    def room_of(self, *users: UserId) -> None:
        self.homeserver.rooms[ROOM] = dict.fromkeys(users, "join")

    async def write(self, user: UserId, text: str | None, event: str = "$command") -> None:
        await self.management.command(ROOM, user, EventId(event), text)

    @property
    def said(self) -> list[str]:
        return [text for _, text in self.homeserver.said]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_an_invite_by_a_user_is_accepted_greeted_and_kept_in_mind(world: World) -> None:
    world.room_of(USER)
    assert await world.management.invited(ROOM, USER) == []
    assert world.said == [f"{phrase('notice-greeting')} Write `login fake`."]
    assert await world.management.user_of(ROOM) == USER


async def test_a_space_of_a_user_is_no_room_with_the_bot(world: World) -> None:
    world.room_of(USER)
    world.homeserver.state["m.room.create"] = {"type": "m.space"}
    assert await world.management.invited(ROOM, USER) == []
    assert world.said == []
    assert BOT not in world.homeserver.rooms[ROOM]
    assert await world.management.user_of(ROOM) is None


async def test_in_an_encrypted_room_the_greeting_says_that_it_cannot_be_read(world: World) -> None:
    world.room_of(USER)
    world.homeserver.state["m.room.encryption"] = {"algorithm": "m.megolm.v1.aes-sha2"}
    assert await world.management.invited(ROOM, USER) == []
    assert world.said == [phrase("notice-greeting-encrypted")]
    assert "cannot read" in world.said[0]


async def test_what_was_written_before_the_bot_came_is_answered_instead_of_a_greeting(
    world: World,
) -> None:
    world.room_of(USER)
    world.homeserver.timeline = [
        {
            "event_id": "$early",
            "type": "m.room.message",
            "sender": USER,
            "content": {"body": "help"},
        },
        {"event_id": "$other", "type": "m.room.message", "sender": BOT, "content": {"body": "x"}},
    ]
    (row,) = await world.management.invited(ROOM, USER)
    assert (row.id, row.room, row.sender) == ("$early", ROOM, USER)
    assert world.said == []


async def test_a_stranger_is_not_greeted(world: World) -> None:
    world.room_of(STRANGER)
    await world.management.invited(ROOM, STRANGER)
    assert world.said == []


async def test_a_group_gets_an_explanation_and_no_bot(world: World) -> None:
    world.room_of(USER, STRANGER)
    await world.management.invited(ROOM, USER)
    assert world.said == [phrase("notice-not-alone")]
    assert [call[2] for call in world.homeserver.verbs("leave")] == [BOT]
    assert await world.management.user_of(ROOM) is None


async def test_an_invite_by_one_of_our_ghosts_is_no_invite(world: World) -> None:
    assert await world.management.invited(ROOM, GHOST) == []
    assert world.homeserver.calls == []


async def test_a_command_is_run_for_the_user_who_wrote_it_and_answered(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    await world.write(USER, "ping")
    assert world.commands.ran == [(USER, ROOM, "ping")]
    assert world.said == ["answered"]


async def test_a_command_in_a_room_that_the_bot_forgot_is_answered_if_they_are_alone(
    world: World,
) -> None:
    world.room_of(USER, BOT)
    await world.write(USER, "ping")
    assert world.said == ["answered"]
    assert await world.management.user_of(ROOM) == USER


async def test_a_command_in_a_group_is_not_answered(world: World) -> None:
    world.room_of(USER, BOT, STRANGER)
    await world.write(USER, "login fake juliet@example.com secret")
    assert world.commands.ran == []
    assert world.said == []


async def test_somebody_else_in_a_management_room_commands_nothing(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    other = UserId("@nurse:example.org")
    world.room_of(USER, BOT, other)
    await world.write(other, "logins")
    await world.write(USER, "logins", "$later")
    assert world.commands.ran == []
    assert await world.management.user_of(ROOM) is None


async def test_a_stranger_is_refused_once_and_then_never_answered(world: World) -> None:
    await world.store.add_management(ROOM, STRANGER)
    for number in range(3):
        await world.write(STRANGER, "help", f"$e{number}")
    await world.write(STRANGER, None, "$e4")
    assert world.commands.ran == []
    assert len(world.said) == 1
    assert "not open to you" in world.said[0]
    assert "example.org" in world.said[0]


async def test_what_cannot_be_read_is_said_so(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    await world.write(USER, None)
    assert world.said == [phrase("notice-unreadable")]
    assert world.commands.ran == []


async def test_an_event_that_is_handled_again_is_answered_once(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    world.commands.replies = [Reply("one"), Reply("two")]
    await world.write(USER, "ping")
    await world.write(USER, "ping")
    assert world.said == ["one", "two"]


Refusal = Callable[[World], Awaitable[None]]


async def hide(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    world.commands.replies = [Reply("", hide_request=True), Reply("done")]
    await world.write(USER, "login fake juliet@example.com secret", "$secret")


async def test_a_secret_is_redacted_by_the_bot_where_it_may(world: World) -> None:
    await hide(world)
    assert world.homeserver.verbs("redact") == [("redact", "$secret", BOT)]
    assert world.accounts_homeserver.calls == []
    assert world.said == ["done"]


async def test_a_secret_is_redacted_as_the_user_where_the_bot_may_not(world: World) -> None:
    world.homeserver.refuses["redact"] = HomeserverError("no power", status=403)
    await hide(world)
    assert world.accounts_homeserver.verbs("redact") == [("redact", "$secret", USER)]
    assert world.said == ["done"]


async def test_a_secret_that_stays_is_admitted(world: World) -> None:
    for homeserver in (world.homeserver, world.accounts_homeserver):
        homeserver.refuses["redact"] = HomeserverError("no power", status=403)
    await hide(world)
    assert "could not remove your password" in world.said[0]
    assert not any("secret" in text for text in world.said)


async def test_news_reach_every_room_of_a_user_and_no_other(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    await world.store.add_management(RoomId("!second"), USER)
    await world.store.add_management(RoomId("!other"), STRANGER)
    await world.management.tell(USER, "news")
    await world.management.tell(USER, "news")
    assert sorted(world.homeserver.said) == sorted(
        [(ROOM, "news"), (RoomId("!second"), "news")] * 2
    )


async def test_news_are_not_for_who_came_along(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    world.room_of(USER, BOT, UserId("@nurse:example.org"))
    await world.management.tell(USER, "news")
    assert world.said == [phrase("notice-not-alone")]
    assert BOT not in world.homeserver.rooms[ROOM]
    assert await world.management.user_of(ROOM) is None


async def test_a_secret_that_is_sent_when_somebody_came_along_is_removed(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    await world.store.ask_secret(ROOM)
    world.room_of(USER, BOT, UserId("@nurse:example.org"))
    await world.write(USER, "secret", "$secret")
    assert world.homeserver.verbs("redact") == [("redact", "$secret", BOT)]
    assert world.commands.ran == []


async def test_what_is_about_the_same_is_said_once(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    for about in ("one", "one", "other"):
        await world.management.tell(USER, about, about)
    assert world.homeserver.said == [(ROOM, "one"), (ROOM, "other")]


async def test_a_room_that_was_left_is_not_talked_into(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    await world.management.left(ROOM)
    await world.management.tell(USER, "news")
    assert world.said == []


async def test_an_answer_that_can_be_sent_later_is_not_given_up(world: World) -> None:
    await world.store.add_management(ROOM, USER)
    busy: dict[str, Any] = {"send": HomeserverError("busy", status=502, retry_after=1)}
    world.homeserver.refuses = busy
    with pytest.raises(HomeserverError):
        await world.write(USER, "ping")
    world.homeserver.refuses = {"send": HomeserverError("not in the room", status=403)}
    await world.write(USER, "ping")
    world.homeserver.refuses = {}
    await world.write(USER, "ping")
    assert world.said == ["answered"]
