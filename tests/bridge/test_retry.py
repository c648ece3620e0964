"""`retry`: a user's own messages, told truly, and put back in their places."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge.commands.reply import Reply
from dm_bridge.bridge.commands.retry import LISTED, RetryCommand
from dm_bridge.bridge.second_tries import SecondTries
from dm_bridge.errors import UserError
from dm_bridge.ids import EventId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.matrix.formatting import notice
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.undelivered import UndeliveredStore
from tests.store.stored import OWNER, ROMEO, message

from .room_world import BOT, NAMESPACE, ROOM, World, a_world

MANAGEMENT = RoomId("!management")
NURSE = UserId("@nurse:example.org")


class Asked:
    """The command, over a database."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database
        self.outbox = OutboxStore(database)
        self.connected = True
        self.woken: list[Collection[RoomId]] = []
        self.woken_chats: list[Collection[PortalKey]] = []
        self.tries = SecondTries(
            UndeliveredStore(database),
            self,  # type: ignore[arg-type]
            BOT,
            NAMESPACE,
            self._wake,
            self.woken_chats.append,
        )
        self.command = RetryCommand(self.tries)

    async def row(self, login: LoginId) -> LoginRow:
        return self.world.login

    def session(self, login: LoginId) -> object | None:
        return object() if self.connected else None

    async def _wake(self, rooms: set[RoomId]) -> None:
        self.woken.append(rooms)

    async def wrote(
        self,
        *texts: str,
        state: str = "failed",
        room: RoomId = ROOM,
        sender: UserId = OWNER,
        attempted: bool = False,
        **content: Any,
    ) -> None:
        """Messages with an outcome."""
        for text in texts:
            event = EventId(f"${text[:50]}")
            raw = {
                "type": "m.room.message",
                "sender": sender,
                "event_id": event,
                "content": {"msgtype": "m.text", "body": text, **content},
            }
            (row,) = await self.outbox.add([OutboxRow(event, room, sender, raw)])
            if attempted:
                await self.outbox.attempt(row)
            if state != "waiting":
                await self.outbox.finish(row, state)

    async def say(self, rest: str = "", user: UserId = OWNER) -> str:
        said: list[str] = []

        async def answer(reply: Reply) -> None:
            said.append(notice(reply.text)["body"])

        await self.command.run(user, MANAGEMENT, rest, answer)
        return "\n".join(said)

    async def numbers(self) -> list[int]:
        return [int(number) for number in re.findall(r"^- `(\d+)`", await self.say(), re.MULTILINE)]

    async def waiting(self, room: RoomId = ROOM) -> list[str]:
        return [row.event["content"]["body"] for row in await self.outbox.waiting(room, 100)]


@pytest_asyncio.fixture
async def asked(database: Database) -> Asked:
    return Asked(await a_world(database), database)


async def test_what_was_not_delivered_is_listed_with_contact_time_and_beginning(
    asked: Asked,
) -> None:
    await asked.wrote("But soft, what light through yonder window breaks?", "*It is the east*")
    await asked.wrote("delivered", state="delivered")
    await asked.wrote("waiting", state="waiting")
    said = await asked.say()
    assert f"to `{ROMEO}`, just now: “But soft, what light through yonder win…”" in said
    assert "“*It is the east*”" in said
    assert "delivered”" not in said
    assert "waiting”" not in said
    assert len(await asked.numbers()) == 2


async def test_what_was_done_to_messages_is_listed_too(asked: Asked) -> None:
    new = {"msgtype": "m.text", "body": "new"}
    edit = {
        "msgtype": "m.text",
        "body": "* new",
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$a"},
        "m.new_content": new,
    }
    likes = {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$a", "key": "👍"}}
    done: list[tuple[str, dict[str, Any]]] = [
        ("m.room.message", edit),
        ("m.reaction", likes),
        ("m.room.redaction", {"redacts": "$a"}),
    ]
    for kind, content in done:
        row = OutboxRow(EventId(f"${kind}"), ROOM, OWNER, {})
        raw = {"type": kind, "sender": OWNER, "event_id": row.id, "content": content}
        (row,) = await asked.outbox.add([replace(row, event=raw)])
        await asked.outbox.finish(row, "failed")
    said = await asked.say()
    for shown in ("“(edited) new”", "“(reaction) 👍”", "“(deleted a message)”"):
        assert shown in said
    assert len(await asked.numbers()) == 3


async def test_one_is_tried_again_by_its_number_which_stays_the_same(asked: Asked) -> None:
    await asked.wrote("one", "two", "three")
    first, second, third = await asked.numbers()
    said = await asked.say(str(first))
    assert f"I try it again, in its old place: “one”, to `{ROMEO}`." in said
    assert "may have arrived" not in said
    assert asked.woken == [{ROOM}]
    assert await asked.numbers() == [second, third]
    assert "“three”" in await asked.say(f"`{third}`.")
    assert await asked.waiting() == ["one", "three"]


async def test_all_are_tried_again_in_their_old_places(asked: Asked) -> None:
    await asked.wrote("one", "two")
    await asked.wrote("new", state="waiting")
    assert "I try 2 messages again, in their old places." in await asked.say("ALL")
    assert await asked.waiting() == ["one", "two", "new"]
    assert "can be tried again" in await asked.say()


@pytest.mark.parametrize(("state", "attempted"), [("uncertain", False), ("parked", True)])
async def test_what_may_have_arrived_is_said_to(asked: Asked, state: str, attempted: bool) -> None:
    await asked.wrote("surely not")
    await asked.wrote("perhaps", state=state, attempted=attempted)
    assert "“perhaps” (it may have arrived)" in await asked.say()
    assert "1 of them may have arrived already. Where" in await asked.say("all")


async def test_what_can_never_be_sent_is_left_out_and_it_is_said_so(asked: Asked) -> None:
    await asked.wrote("picture.png", msgtype="m.image")  # without an address
    said = await asked.say()
    assert said == await asked.say("all")
    assert "can be tried again" in said
    assert "One message is left out: what the bridge cannot read" in said
    await asked.wrote("text")
    assert "left out" in await asked.say()
    await asked.say("all")
    assert await asked.waiting() == ["text"]


async def test_what_others_wrote_is_neither_shown_nor_tried_again(
    asked: Asked, database: Database
) -> None:
    await asked.wrote("mine")
    await asked.wrote("by a guest in my chat", sender=NURSE)
    await asked.wrote("in no chat", room=RoomId("!elsewhere"))
    (number,) = await asked.numbers()
    with pytest.raises(UserError, match="no message"):
        await asked.say(f"{number} {number + 1}")
    assert await asked.waiting() == []
    assert "can be tried again" in await asked.say("all", user=NURSE)
    assert await UndeliveredStore(database).put_back(NURSE, [number]) == set()
    assert await asked.waiting() == []


async def test_what_was_written_in_the_room_before_is_found_too(
    asked: Asked, database: Database
) -> None:
    await asked.wrote("there", room=RoomId("!before"))
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO former_room (room_id, login_id, chat_id) VALUES ('!before', $1, $2)",
            asked.world.key.login,
            asked.world.key.chat,
        )
    assert len(await asked.numbers()) == 1


async def test_what_is_old_is_not_offered_unless_it_was_put_back_lately(
    asked: Asked, database: Database
) -> None:
    await asked.wrote("old", "put back")
    async with database.connection() as connection:
        await connection.execute("UPDATE outbox SET received_at = now() - interval '8 days'")
        await connection.execute(
            "UPDATE outbox SET requeued_at = now() - interval '1 day' WHERE event_id = '$put back'"
        )
    said = await asked.say()
    assert "put back" in said
    assert "“old”" not in said


async def test_a_long_list_is_cut_and_all_of_it_can_be_tried(asked: Asked) -> None:
    await asked.wrote(*(f"message {n}" for n in range(LISTED + 2)))
    said = await asked.say()
    assert "- 2 earlier ones" in said
    assert "“message 1”" not in said
    await asked.say("all")
    assert len(await asked.waiting()) == LISTED + 2


async def test_a_login_that_rests_is_to_be_logged_in_first(asked: Asked) -> None:
    await asked.wrote("one")
    asked.connected = False
    said = await asked.say("all")
    assert "is not connected" in said
    assert "`login xmpp` first, then `retry`" in said
    assert (await asked.waiting(), asked.woken) == ([], [])


@pytest.mark.parametrize("words", ["something", "1 all", "-1", "²", "1.5"])
async def test_what_is_no_number_is_answered_with_what_to_write(asked: Asked, words: str) -> None:
    await asked.wrote("one")
    with pytest.raises(UserError, match="Which message"):
        await asked.say(words)


async def test_numbers_that_no_database_holds_are_no_messages(asked: Asked) -> None:
    await asked.wrote("one")
    with pytest.raises(UserError, match="no message"):
        await asked.say("9" * 400)


async def test_what_a_network_brought_and_was_put_aside_is_shown_again_to_its_user_only(
    asked: Asked,
) -> None:
    inbox = InboxStore(asked.database)
    key = asked.world.key
    await inbox.add([(key.login, message(n, key.chat)) for n in (1, 2)])
    first, _ = await inbox.waiting(key, 10)
    await inbox.finish(key, [InboxOutcome(first.id, "parked", reason="it is too odd")])
    assert await asked.tries.not_shown(NURSE) == []
    [stuck] = await asked.tries.not_shown(OWNER)
    assert (stuck.room, stuck.reason) == (ROOM, "it is too odd")
    assert (stuck.contact, stuck.to_remote, stuck.waits) == (ROMEO, False, False)
    assert await asked.tries.show_again(NURSE, [stuck.seq]) == set()
    assert await asked.tries.show_again(OWNER, [stuck.seq, stuck.seq + 1]) == {stuck.seq}
    assert asked.woken_chats[-1] == {key}
    assert len(await inbox.waiting(key, 10)) == 2
    assert await asked.tries.not_shown(OWNER) == []


async def test_what_waits_long_is_told_once_for_each_chat(asked: Asked) -> None:
    key = asked.world.key
    inbox = InboxStore(asked.database)
    await inbox.add([(key.login, message(n, key.chat)) for n in (1, 2, 3)])
    await asked.wrote("one", "two", state="waiting")
    assert await asked.tries.waiting(OWNER) == []
    async with asked.database.connection() as connection:
        for table in ("inbox", "outbox"):
            await connection.execute(
                f"UPDATE {table} SET received_at = now() - interval '2 minutes'"  # noqa: S608
            )
    found = await asked.tries.waiting(OWNER)
    assert [(each.to_remote, each.behind) for each in found] == [(True, 1), (False, 2)]
    assert await asked.tries.waiting(NURSE) == []
