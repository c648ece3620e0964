"""Edits, reactions and redactions of a user, as their network is told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge.sending import TELL_AFTER
from dm_bridge.bridge.sent_before import REMOTE_ID
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId, EventId, RemoteId, UserId, message_id
from dm_bridge.network.abilities import (
    OutgoingEdit,
    OutgoingReactions,
    OutgoingRetraction,
    Reference,
)
from dm_bridge.network.api import Capabilities, OutgoingMessage
from dm_bridge.network.events import RemoteEdit, SessionStatus, Text
from dm_bridge.network.media import Media, MediaKind, OutgoingMedia
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.references import Reaction, ReferenceStore
from tests.store.stored import OWNER, message

from .room_world import GHOST, ROOM, a_world
from .test_to_remote import Carrier, Session

THEIRS = EventId("$theirs")
HIDDEN = '<span data-mx-spoiler="end">he dies</span>'
REPLIES = {"m.in_reply_to": {"event_id": THEIRS}}


class AbleSession(Session):
    """One that can do everything. ``done``: all that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []
        self.capabilities = Capabilities(replies=True, edits=True, retractions=True, reactions=True)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        return await self._do(message)

    async def edit(self, edit: OutgoingEdit) -> RemoteId:
        return await self._do(edit)

    async def retract(self, retraction: OutgoingRetraction) -> RemoteId:
        return await self._do(retraction)

    async def react(self, reactions: OutgoingReactions) -> RemoteId:
        return await self._do(reactions)

    async def _do(self, what: Any) -> RemoteId:
        self.done.append(what)
        if self.fails:
            error = self.fails.pop(0)
            if error is not None:
                raise error
        return RemoteId(what.id)


class Reviser(Carrier):
    """A chat in which the contact has written, too."""

    def start_over(self) -> None:
        self.session: AbleSession = AbleSession()
        self.logins._session = self.session
        super().start_over()

    async def push(self, id_: str, kind: str, content: dict[str, Any], **more: object) -> None:
        raw = {"type": kind, "sender": OWNER, "event_id": id_, "content": content, **more}
        await self.outbox.add([OutboxRow(EventId(id_), ROOM, OWNER, raw)])

    async def text(self, id_: str, body: str, **relation: object) -> None:
        content: dict[str, Any] = {"msgtype": "m.text", "body": body}
        if relation:
            content["m.relates_to"] = relation
        await self.push(id_, "m.room.message", content)

    async def edit(self, id_: str, target: str, body: str) -> None:
        content = {
            "msgtype": "m.text",
            "body": f"* {body}",
            "m.new_content": {"msgtype": "m.text", "body": body},
            "m.relates_to": {"rel_type": "m.replace", "event_id": target},
        }
        await self.push(id_, "m.room.message", content)

    async def react(self, id_: str, target: str, emoji: str) -> None:
        relation = {"rel_type": "m.annotation", "event_id": target, "key": emoji}
        await self.push(id_, "m.reaction", {"m.relates_to": relation})

    async def redact(self, id_: str, target: str) -> None:
        await self.push(id_, "m.room.redaction", {"redacts": target})

    async def drain(self) -> list[Any]:
        await self.lane.drain(ROOM)
        assert await self.outbox.waiting(ROOM, 10) == []
        done, self.session.done = self.session.done, []
        return done


@pytest_asyncio.fixture
async def reviser(database: Database) -> Reviser:
    reviser = Reviser(await a_world(database), database)
    inbox, key = InboxStore(database), reviser.world.key
    await inbox.add([(reviser.world.login.id, message(1, body="hello"))])
    await inbox.finish(key, [InboxOutcome(RemoteId("id-1"), "delivered", THEIRS)])
    return reviser


def own(event: str, text: str) -> Reference:
    return Reference(message_id(EventId(event)), True, text)


ABOUT_THEIRS = Reference(RemoteId("id-1"), False, "hello")


async def test_an_answer_names_what_it_answers_also_what_was_sent_right_before(
    reviser: Reviser,
) -> None:
    await reviser.text("$a", "yes", **REPLIES)
    await reviser.text("$b", "and", **{"m.in_reply_to": {"event_id": "$a"}})
    await reviser.text("$c", "no", **{"m.in_reply_to": {"event_id": "$unknown"}})
    done = await reviser.drain()
    assert [each.reply_to for each in done] == [ABOUT_THEIRS, own("$a", "yes"), None]


async def in_the_room(reviser: Reviser, sender: UserId, of: str) -> str:
    """A second message of the contact is in the room, but not recorded yet; or it says it were that one."""
    inbox = InboxStore(reviser.database)
    own = replace(message(3, body="mine"), id=RemoteId("own"), from_self=True)
    await inbox.add([(reviser.world.login.id, each) for each in (message(2, body="again"), own)])
    event = reviser.world.rooms.say(ROOM, sender, "again")
    event["content"][REMOTE_ID] = of
    return str(event["event_id"])


@pytest.mark.parametrize("hidden", [True, False])
async def test_a_picture_that_is_not_to_be_seen_at_once_is_not_quoted(
    reviser: Reviser, hidden: bool
) -> None:
    event = await in_the_room(reviser, OWNER, "own")
    picture = reviser.world.rooms.messages[ROOM][-1]["content"]
    picture |= {"msgtype": "m.image", "body": "a spider", "filename": "a.png"}
    picture["page.codeberg.everypizza.msc4193.spoiler"] = hidden
    await reviser.text("$a", "yes", **{"m.in_reply_to": {"event_id": event}})
    (answer,) = await reviser.drain()
    assert answer.reply_to is not None
    assert answer.reply_to.text == ("" if hidden else "mine")


async def test_what_is_not_recorded_yet_is_answered_and_reacted_to(reviser: Reviser) -> None:
    event = await in_the_room(reviser, GHOST, "id-2")
    await reviser.text("$a", "yes", **{"m.in_reply_to": {"event_id": event}})
    await reviser.react("$r", event, "👍")
    await reviser.redact("$d", event)  # it is not the user's
    await reviser.react("$q", event, "🕊️")
    await reviser.redact("$w", "$q")
    answer, reaction, *others = await reviser.drain()
    assert [each.emojis for each in others] == [("👍", "🕊️"), ("👍",)]
    about = Reference(RemoteId("id-2"), False, "again")
    assert (answer.reply_to, reaction.target, reaction.emojis) == (about, about, ("👍",))
    done = InboxOutcome(RemoteId("id-2"), "delivered", EventId(event))
    await InboxStore(reviser.database).finish(reviser.world.key, [done])
    await reviser.redact("$u", "$r")
    (gone,) = await reviser.drain()
    assert (gone.target, gone.emojis) == (about, ())


@pytest.mark.parametrize(
    ("sender", "of"),
    [(OWNER, "id-2"), (UserId("@third:example.org"), "own"), (GHOST, "id-3"), (GHOST, "")],
)
async def test_what_only_says_it_were_a_message_is_none(
    reviser: Reviser, sender: UserId, of: str
) -> None:
    event = await in_the_room(reviser, sender, of)
    await reviser.text("$a", "yes", **{"m.in_reply_to": {"event_id": event}})
    await reviser.react("$r", event, "👍")
    (answer,) = await reviser.drain()
    assert answer.reply_to is None


@pytest.mark.parametrize(
    ("content", "newest", "quoted"),
    [
        ({"body": "hello"}, {"m.new_content": {"body": "hello there"}}, "hello there"),
        ({"body": "hello"}, {"m.new_content": {"body": 7}}, "hello"),
        ({"body": "hello"}, None, "hello"),
        ({}, None, ""),
        ({"body": "he dies", "formatted_body": HIDDEN}, None, ""),
        ({"body": "he dies", "formatted_body": HIDDEN}, {"m.new_content": {"body": "x"}}, "x"),
        (
            {"body": "hello"},
            {"m.new_content": {"body": "he dies", "formatted_body": HIDDEN}},
            "",
        ),
    ],
)
async def test_an_answer_quotes_what_a_message_says_by_now(
    reviser: Reviser, content: dict[str, Any], newest: dict[str, Any] | None, quoted: str
) -> None:
    relations = {} if newest is None else {"m.replace": {"content": newest}}
    event = {"event_id": THEIRS, "content": content, "unsigned": {"m.relations": relations}}
    reviser.world.rooms.messages[ROOM].append(event)
    await reviser.text("$a", "yes", **REPLIES)
    (answer,) = await reviser.drain()
    assert answer.reply_to == replace(ABOUT_THEIRS, text=quoted)


async def test_an_answer_to_a_file_names_it_as_it_is_called_here(reviser: Reviser) -> None:
    inbox, key = InboxStore(reviser.database), reviser.world.key
    file = Media(kind=MediaKind.FILE, url="https://x.org/abc")
    shared = replace(message(2, body=""), attachment=file)
    await inbox.add([(reviser.world.login.id, shared)])
    await inbox.finish(key, [InboxOutcome(shared.id, "delivered", EventId("$file"))])
    event = {"event_id": "$file", "content": {"msgtype": "m.image", "body": "cat.png"}}
    reviser.world.rooms.messages[ROOM].append(event)
    await reviser.text("$a", "nice", **{"m.in_reply_to": {"event_id": "$file"}})
    (answer,) = await reviser.drain()
    assert answer.reply_to == Reference(shared.id, False, "cat.png")


async def test_an_answer_does_not_wait_for_a_quote(reviser: Reviser) -> None:
    reviser.world.rooms.fail_at = reviser.world.rooms.calls
    await reviser.text("$a", "yes", **REPLIES)
    (answer,) = await reviser.drain()
    assert answer.reply_to == ABOUT_THEIRS


async def test_edits_name_the_first_message(reviser: Reviser) -> None:
    await reviser.text("$a", "one")
    await reviser.edit("$b", "$a", "two")
    await reviser.edit("$c", "$a", "three")
    _, *edits = await reviser.drain()
    assert [(each.target, each.content) for each in edits] == [
        (own("$a", "one"), Text("two")),
        (own("$a", "one"), Text("three")),
    ]
    assert len({each.id for each in edits}) == 2


async def test_what_was_taken_back_is_not_said_again_by_an_edit_of_another_device(
    reviser: Reviser,
) -> None:
    await reviser.text("$a", "secret")
    await reviser.drain()
    await reviser.redact("$x", "$a")
    reviser.world.rooms.messages[ROOM].append({"event_id": "$a", "content": {}})
    await reviser.edit("$b", "$a", "another secret")
    (retraction,) = await reviser.drain()
    assert isinstance(retraction, OutgoingRetraction)


async def test_who_names_an_edit_means_the_message(reviser: Reviser) -> None:
    inbox, key, changed = InboxStore(reviser.database), reviser.world.key, EventId("$changed")
    sender = ContactId(key.chat)
    edit = RemoteEdit(key.chat, RemoteId("id-2"), RemoteId("id-1"), sender, False, Text("hi"))
    await inbox.add([(reviser.world.login.id, edit)])
    await inbox.finish(key, [InboxOutcome(RemoteId("id-2"), "delivered", changed)])
    await reviser.text("$a", "one")
    await reviser.edit("$b", "$a", "two")
    await reviser.drain()
    for target in ("$b", changed):
        await reviser.text(f"$re-{target}", "yes", **{"m.in_reply_to": {"event_id": target}})
        await reviser.react(f"$on-{target}", target, "x")
        await reviser.redact(f"$off-{target}", f"$on-{target}")
    await reviser.react("$on-a", "$a", "y")
    own_re, own_on, own_off, re, on, off, both = await reviser.drain()
    assert (own_re.reply_to.id, re.reply_to.id) == (message_id(EventId("$a")), "id-1")
    assert {each.target.id for each in (own_on, own_off, both)} == {message_id(EventId("$a"))}
    assert [(each.target.id, each.emojis) for each in (on, off)] == [("id-1", ("x",)), ("id-1", ())]


async def test_an_edit_that_names_an_edit_is_one_of_the_first_message(reviser: Reviser) -> None:
    content = {"body": "one", "m.relates_to": REPLIES}
    reviser.world.rooms.messages[ROOM].append({"event_id": "$a", "content": content})
    await reviser.text("$a", "one", **REPLIES)
    await reviser.edit("$b", "$a", "two")
    await reviser.edit("$c", "$b", "three")
    await reviser.edit("$d", "$c", "four")
    _, *edits = await reviser.drain()
    assert [(each.target.id, each.content.body, each.reply_to) for each in edits] == [
        (message_id(EventId("$a")), said, ABOUT_THEIRS) for said in ("two", "three", "four")
    ]


async def test_an_edit_of_an_answer_still_answers(reviser: Reviser) -> None:
    relation = {"m.in_reply_to": {"event_id": THEIRS}}
    await reviser.text("$a", "yes", **REPLIES)
    await reviser.drain()
    content = {"body": "yes", "m.relates_to": relation}
    reviser.world.rooms.messages[ROOM].append({"event_id": "$a", "content": content})
    await reviser.edit("$b", "$a", "no")
    (edit,) = await reviser.drain()
    assert (edit.target, edit.content, edit.reply_to) == (
        own("$a", "yes"),
        Text("no"),
        ABOUT_THEIRS,
    )


async def test_reactions_are_told_whole_and_taken_back(reviser: Reviser) -> None:
    await reviser.react("$r1", THEIRS, "a")
    await reviser.react("$r2", THEIRS, "b")
    await reviser.redact("$x1", "$r1")
    await reviser.redact("$x2", "$r2")
    done = await reviser.drain()
    assert [(each.emojis, each.added, each.removed) for each in done] == [
        (("a",), ("a",), ()),
        (("a", "b"), ("b",), ()),
        (("b",), (), ("a",)),
        ((), (), ("b",)),
    ]
    assert {each.target for each in done} == {ABOUT_THEIRS}


async def test_a_reaction_is_spelled_as_the_contact_spells_theirs(
    reviser: Reviser, database: Database
) -> None:
    theirs = Reaction(THEIRS, False, "😀\ufe0f", EventId("$said"))
    await ReferenceStore(database).add_reaction(reviser.world.key, theirs)
    await reviser.react("$r1", THEIRS, "😀")
    await reviser.react("$r2", THEIRS, "👍\ufe0f")
    await reviser.redact("$x", "$r1")
    first, both, left = [each.emojis for each in await reviser.drain()]
    assert (first, both) == (("😀\ufe0f",), ("😀\ufe0f", "👍\ufe0f"))
    assert left == ("👍\ufe0f",)


async def test_a_redaction_takes_the_users_own_message_back(reviser: Reviser) -> None:
    await reviser.text("$a", "one")
    await reviser.drain()
    await reviser.redact("$x", "$a")
    (retraction,) = await reviser.drain()
    assert retraction.target == own("$a", "one")


async def test_what_is_taken_back_before_it_was_sent_is_never_sent(reviser: Reviser) -> None:
    reviser.logins.status, reviser.later = SessionStatus.TRANSIENT_DISCONNECT, TELL_AFTER + 1
    await reviser.text("$a", "secret")
    await reviser.edit("$b", "$a", "another secret")
    await reviser.text("$c", "one")
    with pytest.raises(NetworkError):
        await reviser.lane.drain(ROOM)
    assert len(reviser.said.shown) == 1
    await reviser.redact("$x", "$a")
    reviser.logins.status = SessionStatus.CONNECTED
    (sent,) = await reviser.drain()
    assert sent.content == Text("one")
    assert reviser.said.shown == []


@pytest.mark.parametrize(
    ("newest", "content", "says"),
    [
        (None, {"msgtype": "m.text", "body": "one"}, ["one"]),
        ({"msgtype": "m.text", "body": "two"}, {"msgtype": "m.text", "body": "one"}, ["two"]),
        (None, {}, []),  # the message was taken back, too
    ],
)
async def test_who_takes_an_edit_back_has_not_taken_the_message_back(
    reviser: Reviser, newest: dict[str, Any] | None, content: dict[str, Any], says: list[str]
) -> None:
    await reviser.text("$a", "one")
    await reviser.edit("$b", "$a", "a mistake")
    await reviser.drain()
    relations = {"m.replace": {"content": {"m.new_content": newest}}} if newest else {}
    event = {"event_id": "$a", "content": content, "unsigned": {"m.relations": relations}}
    reviser.world.rooms.messages[ROOM].append(event)
    await reviser.redact("$x", "$b")
    done = await reviser.drain()
    assert [(each.target, each.content.body) for each in done] == [
        (own("$a", "one"), body) for body in says
    ]
    assert all(isinstance(each, OutgoingEdit) for each in done)


async def test_what_is_about_nothing_of_the_users_is_not_told(reviser: Reviser) -> None:
    await reviser.edit("$b", THEIRS, "two")
    await reviser.redact("$x", THEIRS)
    await reviser.redact("$y", "$unknown")
    await reviser.react("$r", "$unknown", "a")
    assert await reviser.drain() == []
    assert reviser.said.notices == []


IMAGE = {
    "msgtype": "m.image",
    "body": "Look",
    "filename": "cat.png",
    "url": "mxc://x.org/abc",
    "info": {"size": 1_500_000},
}


async def test_a_network_without_files_gets_none_and_it_is_said_once(reviser: Reviser) -> None:
    await reviser.push("$a", "m.room.message", IMAGE)
    await reviser.push("$b", "m.sticker", IMAGE)
    await reviser.text("$c", "one")
    (text,) = await reviser.drain()
    assert text.content == Text("one")
    assert ["takes no files" in notice for notice in reviser.said.notices] == [True, True]


async def test_a_network_with_files_gets_them_up_to_its_limit(reviser: Reviser) -> None:
    able = replace(reviser.session.capabilities, media=True, largest_media=2_000_000)
    reviser.session.capabilities = able
    await reviser.push("$a", "m.room.message", IMAGE)
    await reviser.push("$b", "m.room.message", {**IMAGE, "info": {"size": 2_000_001}})
    (sent,) = await reviser.drain()
    assert isinstance(sent.attachment, OutgoingMedia)
    assert (sent.content, sent.attachment.name) == (Text("Look"), "cat.png")
    (told,) = reviser.said.notices
    assert "2.0 MB large" in told


async def test_what_the_network_cannot_do_is_said(reviser: Reviser) -> None:
    reviser.session.capabilities = Capabilities()
    await reviser.text("$a", "one")
    await reviser.edit("$b", "$a", "two")
    await reviser.react("$r", THEIRS, "a")
    assert len(await reviser.drain()) == 1
    await reviser.redact("$x", "$a")
    assert await reviser.drain() == []
    told = " ".join(reviser.said.notices)
    for words in ("still sees the old text", "has no reactions", "can still read it"):
        assert words in told


async def test_what_fails_for_now_is_tried_again_and_told_of_it(reviser: Reviser) -> None:
    await reviser.react("$r", THEIRS, "a")
    reviser.session.fails = [NetworkError("gone", certain=False, retry_after=1.0), None]
    with pytest.raises(NetworkError):
        await reviser.lane.drain(ROOM)
    first, second = [*reviser.session.done, *(await reviser.drain())][-2:]
    assert (first.attempted, second.attempted is not None) == (None, True)
    assert first.emojis == second.emojis == ("a",)


async def test_a_redaction_that_fails_for_now_still_knows_what_it_was_about(
    reviser: Reviser,
) -> None:
    await reviser.react("$r", THEIRS, "a")
    await reviser.drain()
    await reviser.redact("$x", "$r")
    reviser.session.fails = [NetworkError("gone", retry_after=1.0), None]
    with pytest.raises(NetworkError):
        await reviser.lane.drain(ROOM)
    *_, last = await reviser.drain()
    assert (last.emojis, last.removed) == ((), ("a",))
