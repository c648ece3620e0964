"""Carrying events into Matrix: what is decided about each, and contacts and rooms that move meanwhile."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import pytest_asyncio

from dm_bridge.bridge.delivery import Deliveries, DeliverySettings
from dm_bridge.bridge.files_in import FilesIn, Part, Shown
from dm_bridge.bridge.import_state import Door
from dm_bridge.bridge.sent_before import REMOTE_ID
from dm_bridge.bridge.signals import Signals
from dm_bridge.bridge.silence import HISTORY
from dm_bridge.bridge.to_matrix import EVENTS_OF_A_ROOM, ToMatrix, plausible_time
from dm_bridge.errors import HomeserverError, NetworkError, NotYet
from dm_bridge.ids import (
    ChatId,
    ContactId,
    EventId,
    LoginId,
    NetworkName,
    PortalKey,
    RemoteId,
    RoomId,
    UserId,
)
from dm_bridge.matrix.attachments import STICKER, to_media
from dm_bridge.matrix.media import MediaRepository, Mxc
from dm_bridge.network.api import Network
from dm_bridge.network.events import ContactMoved, RemoteEdit, RemoteMessage, RemoteRead, Text
from dm_bridge.network.media import Media, MediaKind
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.history import HistoryStore
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.outbox import OutboxStore
from dm_bridge.store.portals import Membership
from dm_bridge.store.references import ReferenceStore
from dm_bridge.web import Web
from tests.store.stored import OWNER, ROMEO, message

from .matrix_rooms import Json
from .room_world import (
    GHOST,
    NAMESPACE,
    ROOM,
    World,
    a_world,
    broken_at_every_call,
    know_ghost,
)

NOW = 1_800_000_000.0
HIDDEN = Text("This message is encrypted.")
MANTUA = ContactId("romeo@mantua.example")


@pytest.mark.parametrize("sent_at", [0.0, 1.5, NOW - 1, NOW])
def test_a_time_in_the_past_is_kept(sent_at: float) -> None:
    assert plausible_time(sent_at, NOW) == sent_at


@pytest.mark.parametrize("sent_at", [None, -1.0, -(2.0**63), NOW + 1, 2.0**63, math.inf, math.nan])
def test_any_other_time_counts_as_unknown(sent_at: float | None) -> None:
    assert plausible_time(sent_at, NOW) is None


class OneLogin:
    """The one login of a `World`, without a session."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def row(self, login: LoginId) -> LoginRow:
        return self._world.login

    def network(self, name: NetworkName) -> Network:
        return self._world.network

    def session(self, login: LoginId) -> None:
        return None


class Carrier:
    """A `World`, and what carries messages into it."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.inbox = InboxStore(database)
        self.happened: list[int] = []
        references = ReferenceStore(database)
        self.signals = Signals(
            world.rooms,  # type: ignore[arg-type]
            world.accounts,  # type: ignore[arg-type]
            world.store,
            references,
            OneLogin(world),  # type: ignore[arg-type]
            lambda user: False,
        )
        self.lane = ToMatrix(
            world.rooms,  # type: ignore[arg-type]
            world.accounts,  # type: ignore[arg-type]
            world.portals,
            OneLogin(world),  # type: ignore[arg-type]
            self.inbox,
            OutboxStore(database),
            references,
            world.store,
            Metrics(),
            Deliveries(
                world.rooms,  # type: ignore[arg-type]
                OutboxStore(database),
                world.store,
                DeliverySettings(receipts=False),
                self.signals.receipts,
            ),
            self.signals,
            FilesIn(
                world.rooms,  # type: ignore[arg-type]
                MediaRepository(world.rooms),  # type: ignore[arg-type]
                Web(),
                0,
            ),
            happens=lambda account, events: self.happened.append(events),
        )

    async def carry(self, *events: object, key: PortalKey | None = None) -> None:
        await self.inbox.add([(self.world.login.id, event) for event in events])  # type: ignore[misc]
        await self.lane.drain(key or self.world.key)
        assert await self.inbox.waiting(key or self.world.key, 10) == []


@pytest_asyncio.fixture
async def carrier(database: Database) -> Carrier:
    world = await a_world(database)
    await know_ghost(world, MANTUA)
    return Carrier(world, database)


def moved(contact: ContactId = MANTUA) -> ContactMoved:
    return ContactMoved(ChatId(ROMEO), RemoteId("move"), ROMEO, contact, ChatId(contact))


async def test_after_a_contact_moved_the_chat_goes_on_in_the_same_room(carrier: Carrier) -> None:
    world = carrier.world
    key = replace(world.key, chat=ChatId(MANTUA))
    await carrier.carry(message(1, body="before"), moved())
    await carrier.carry(message(2, MANTUA, body="after"), key=key)
    said = [
        event
        for event in world.rooms.messages[ROOM]
        if "org.dm_bridge.remote_id" in event["content"]
    ]
    senders = [(event["content"]["body"], event["sender"]) for event in said]
    assert senders == [("before", GHOST), ("after", NAMESPACE.user_id(world.network.name, MANTUA))]
    assert await carrier.inbox.delivered(key, RemoteId("id-1")) is not None


def move(old: str, new: str) -> ContactMoved:
    chats = ChatId(old), ChatId(new)
    return ContactMoved(
        chats[0], RemoteId(f"{old}>{new}"), ContactId(old), ContactId(new), chats[1]
    )


async def test_moves_are_made_in_the_order_in_which_they_were_whichever_chat_is_first(
    carrier: Carrier,
) -> None:
    world = carrier.world
    ends = ["a@x.example", "b@x.example"]
    for contact in ends:
        await know_ghost(world, ContactId(contact))
    chain = [ROMEO, *ends]
    keys = [replace(world.key, chat=ChatId(chat)) for chat in chain]
    for old, new in itertools.pairwise(chain):
        await carrier.inbox.add([(world.login.id, move(old, new))])
    await carrier.inbox.add([(world.login.id, message(2, ContactId(ends[1]), body="after"))])
    for key in reversed(keys[1:]):
        with pytest.raises(NotYet, match="earlier move") as caught:
            await carrier.lane.drain(key)
        assert caught.value.retry_after is not None
    for key in keys:
        await carrier.lane.drain(key)
    row = await world.row(keys[-1])
    assert (row.room, row.contact) == (ROOM, ends[1])
    assert world.rooms.bodies(ROOM)[-1] == "after"


async def test_two_contacts_who_swap_addresses_swap_chats(carrier: Carrier) -> None:
    world = carrier.world
    other = RoomId("!other")
    ghost = NAMESPACE.user_id(world.network.name, MANTUA)
    world.rooms.create(other, ghost)
    there = replace(world.key, chat=ChatId(MANTUA))
    await world.store.reserve(there, MANTUA, ghost)
    await world.store.set_open(there, other, Membership.JOIN)
    between = "between@x.example"
    await know_ghost(world, ContactId(between))
    await know_ghost(world, ROMEO)
    for old, new in ((ROMEO, between), (MANTUA, ROMEO), (between, MANTUA)):
        await carrier.inbox.add([(world.login.id, move(old, new))])
    middle = replace(world.key, chat=ChatId(between))
    for key in (there, middle):
        with pytest.raises(NotYet, match="earlier move"):
            await carrier.lane.drain(key)
    for key in (world.key, there, middle):
        await carrier.lane.drain(key)
    assert [(await world.row(key)).room for key in (world.key, there)] == [other, ROOM]


async def test_a_contact_who_moves_to_where_a_chat_is_already_is_reported_and_no_more(
    carrier: Carrier,
) -> None:
    world = carrier.world
    key = replace(world.key, chat=ChatId(MANTUA))
    other = RoomId("!other")
    ghost = NAMESPACE.user_id(world.network.name, MANTUA)
    world.rooms.create(other, ghost)
    row = await world.store.reserve(key, MANTUA, ghost)
    await world.store.set_open(row.key, other, Membership.JOIN)
    await carrier.carry(moved(), message(1))
    assert [MANTUA in body for body in world.rooms.bodies(ROOM)] == [True, False]
    assert world.rooms.bodies(other) == []


async def test_a_contact_without_a_chat_may_move_without_a_trace(carrier: Carrier) -> None:
    world = carrier.world
    await world.store.delete(world.key)
    await carrier.carry(moved())
    assert await world.store.of_owner(OWNER) == []


async def test_messages_follow_a_room_that_changes_between_two_of_them(carrier: Carrier) -> None:
    world, new = carrier.world, RoomId("!second")
    world.rooms.create(new, OWNER, predecessor={"room_id": ROOM})
    tombstone = world.rooms.put(ROOM, "m.room.tombstone", "", {"replacement_room": new}, OWNER)
    send, sent = world.rooms.send, 0

    async def upgraded_in_between(
        room: RoomId,
        event_type: str,
        content: Json,
        transaction: str,
        *,
        user: UserId,
        timestamp: float | None = None,
        repeat_unsure: bool = True,
    ) -> EventId:
        nonlocal sent
        event = await send(room, event_type, content, transaction, user=user)
        sent += 1
        if sent == 2:
            await world.portals.replaced(world.key, world.login, world.network, tombstone)
        return event

    world.rooms.send = upgraded_in_between  # type: ignore[method-assign]
    await carrier.carry(*(message(n, body=f"{n}") for n in range(5)))
    assert (world.rooms.bodies(ROOM), world.rooms.bodies(new)) == (["0", "1"], ["2", "3", "4"])


def carried(world: World) -> list[str]:
    """The bodies of what was carried into the room."""
    return [
        event["content"]["body"]
        for event in world.rooms.messages[ROOM]
        if REMOTE_ID in event["content"]
    ]


@pytest.mark.parametrize("lost_answers", [False, True])
async def test_a_lost_answer_from_a_homeserver_that_forgets_transactions_doubles_nothing(
    database: Database, lost_answers: bool
) -> None:
    async for world in broken_at_every_call(database, lost_answers):
        carrier = Carrier(world, database)
        await carrier.inbox.add([(world.login.id, message(n, body=f"{n}")) for n in range(4)])
        for _ in range(3):
            try:
                await carrier.lane.drain(world.key)
            except HomeserverError:
                world.rooms.transactions.clear()  # it was restarted
        assert carried(world) == ["0", "1", "2", "3"]
        assert await carrier.inbox.waiting(world.key, 10) == []


async def test_what_an_earlier_process_sent_and_did_not_record_is_not_sent_again(
    carrier: Carrier, database: Database
) -> None:
    world = carrier.world
    await carrier.carry(*(message(n, body=f"{n}") for n in range(5)))
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE inbox SET state = 'waiting', event_id = NULL WHERE remote_id > 'id-1'"
        )
    for n in range(250):  # what others wrote since, on more than one page
        world.rooms.say(ROOM, OWNER, f"chatter {n}")
    world.rooms.transactions.clear()
    again = Carrier(world, database)
    again.lane.doubt(await again.inbox.chats_waiting())
    await again.carry(message(5, body="5"))
    assert carried(world) == ["0", "1", "2", "3", "4", "5"]
    delivered = await again.inbox.delivered(world.key, RemoteId("id-4"))
    assert delivered is not None
    assert delivered.event == world.rooms.messages[ROOM][4]["event_id"]


async def test_a_long_message_of_which_some_parts_arrived_is_completed(
    carrier: Carrier, database: Database
) -> None:
    world = carrier.world
    await carrier.carry(message(1, body="word " * 30_000))
    whole = [event["content"]["body"] for event in world.rooms.messages[ROOM]]
    assert len(whole) > 2
    del world.rooms.messages[ROOM][2:]
    async with database.connection() as connection:
        await connection.execute("UPDATE inbox SET state = 'waiting', event_id = NULL")
    world.rooms.transactions.clear()
    again = Carrier(world, database)
    again.lane.doubt([world.key])
    await again.carry()
    assert [event["content"]["body"] for event in world.rooms.messages[ROOM]] == whole


async def test_a_copy_that_the_user_forwarded_does_not_count_as_sent(carrier: Carrier) -> None:
    world = carrier.world
    copy = world.rooms.say(ROOM, OWNER, "1")
    copy["content"][REMOTE_ID] = "id-1"
    carrier.lane.doubt([world.key])
    await carrier.carry(message(1, body="1"))
    assert [event["sender"] for event in world.rooms.messages[ROOM]] == [OWNER, GHOST]


async def test_what_comes_to_happen_in_a_users_rooms_is_told(carrier: Carrier) -> None:
    await carrier.carry(message(1), message(2))
    assert carrier.happened == [1, 1]


async def test_a_new_room_counts_as_the_events_that_it_comes_with(carrier: Carrier) -> None:
    await carrier.world.store.delete(carrier.world.key)
    await carrier.carry(message(1))
    assert carrier.happened == [EVENTS_OF_A_ROOM, 1]


class Shows(FilesIn):
    """Shows every file as what it is said to be. ``shown``: how often; ``fails``: what is raised instead."""

    def __init__(self, world: World) -> None:
        rooms = world.rooms
        super().__init__(
            rooms,  # type: ignore[arg-type]
            MediaRepository(rooms),  # type: ignore[arg-type]
            Web(),
            0,
        )
        self.shown = 0
        self.fails: list[Exception] = []

    async def show(self, part: Part, ghost: UserId, login: LoginId, *, age: float) -> Shown:
        if isinstance(part.attachment, Media):
            self.shown += 1
            if self.fails:
                raise self.fails.pop(0)
            kind = STICKER if part.attachment.kind is MediaKind.STICKER else "m.room.message"
            return Shown(kind, to_media(part.attachment, Mxc("x", f"n{self.shown}"), part.text))
        return await super().show(part, ghost, login, age=age)


def file(number: int, kind: MediaKind = MediaKind.IMAGE, body: str = "") -> RemoteMessage:
    media = Media(kind=kind, url="https://files.example/x.png", name="x.png")
    return replace(message(number, body=body), attachment=media)


@pytest.mark.parametrize("lost_answers", [False, True])
@pytest.mark.parametrize("kind", [MediaKind.IMAGE, MediaKind.STICKER])
async def test_a_file_is_shown_once_whatever_answer_is_lost(
    database: Database, kind: MediaKind, lost_answers: bool
) -> None:
    async for world in broken_at_every_call(database, lost_answers):
        carrier = Carrier(world, database)
        carrier.lane._files = Shows(world)
        events = [message(0, body="0"), file(1, kind), file(2, kind), message(3, body="3")]
        await carrier.inbox.add([(world.login.id, event) for event in events])
        for _ in range(3):
            try:
                await carrier.lane.drain(world.key)
            except HomeserverError:
                world.rooms.transactions.clear()  # it was restarted
        assert carried(world) == ["0", "x.png", "x.png", "3"]


async def test_a_chat_waits_for_its_file_and_what_follows_stays_behind_it(carrier: Carrier) -> None:
    files = carrier.lane._files = Shows(carrier.world)
    files.fails = [NotYet("Others come first.", 1.0), NetworkError("Away.", retry_after=1.0)]
    await carrier.inbox.add([(carrier.world.login.id, e) for e in (file(1), message(2, body="2"))])
    for error in (NotYet, NetworkError):
        with pytest.raises(error):
            await carrier.lane.drain(carrier.world.key)
        assert carried(carrier.world) == []
    await carrier.carry()
    assert carried(carrier.world) == ["x.png", "2"]


async def test_an_edit_changes_what_is_said_of_a_file_or_the_file_itself(carrier: Carrier) -> None:
    files = carrier.lane._files = Shows(carrier.world)
    first = file(1, body="one")
    edit = RemoteEdit(first.chat, RemoteId("e1"), first.id, first.sender, False, Text("two"))
    other = replace(edit, id=RemoteId("e2"), attachment=first.attachment, content=Text("three"))
    answer = replace(message(3, body="nice"), reply_to=first.id)
    await carrier.carry(first, edit, other, answer)
    said, second, third, fourth = (e["content"] for e in carrier.world.rooms.messages[ROOM])
    event = carrier.world.rooms.messages[ROOM][0]["event_id"]
    assert (said["body"], said["url"]) == ("one", "mxc://x/n1")
    for content, body, url in ((second, "two", "mxc://x/n1"), (third, "three", "mxc://x/n2")):
        new = content["m.new_content"]
        assert (new["body"], new["filename"], new["url"]) == (body, "x.png", url)
        assert content["m.relates_to"] == {"rel_type": "m.replace", "event_id": event}
        assert REMOTE_ID in content
        assert REMOTE_ID not in new
    assert fourth["m.relates_to"] == {"m.in_reply_to": {"event_id": event}}
    assert files.shown == 2


async def test_where_no_files_are_carried_they_are_links(carrier: Carrier) -> None:
    await carrier.carry(file(1, body="Look"))
    (body,) = carried(carrier.world)
    assert body.startswith("Look\nhttps://files.example/x.png\n(")


async def test_of_encrypted_messages_in_a_row_the_first_is_shown(carrier: Carrier) -> None:
    hidden = [
        replace(message(f"h{number}"), content=HIDDEN, unreadable=True) for number in range(3)
    ]
    await carrier.carry(*hidden[:2])
    await carrier.carry(hidden[2])
    assert carrier.world.rooms.bodies(ROOM) == [HIDDEN.body]
    await carrier.carry(message("readable", body="hello"))
    await carrier.carry(replace(message("h4"), content=HIDDEN, unreadable=True))
    assert carrier.world.rooms.bodies(ROOM) == [HIDDEN.body, "hello", HIDDEN.body]


async def test_an_encrypted_message_that_could_not_be_shown_is_tried_again(
    carrier: Carrier,
) -> None:
    hidden = replace(message("h"), content=HIDDEN, unreadable=True)
    assert not carrier.lane._unreadable.is_told(carrier.world.key, hidden)  # an attempt that failed
    await carrier.carry(hidden)
    assert carrier.world.rooms.bodies(ROOM) == [HIDDEN.body]


async def test_what_the_user_cannot_read_of_their_own_is_told_apart(carrier: Carrier) -> None:
    hidden = replace(message("h1"), content=HIDDEN, unreadable=True)
    assert not carrier.lane._unreadable.is_told(carrier.world.key, hidden)
    assert not carrier.lane._unreadable.is_told(
        carrier.world.key, replace(hidden, id=RemoteId("h2"), from_self=True)
    )


class Doorman:
    """Doors that stand as they are told to, for so many ``looks``. ``told``: what lanes said."""

    def __init__(self, stands: Door, looks: int = 1000) -> None:
        self.stands = stands
        self.looks = looks
        self.told: list[str] = []

    def door(self, key: PortalKey) -> Door:
        self.looks -= 1
        return self.stands if self.looks >= 0 else Door.SHUT

    def waits(self, key: PortalKey) -> None:
        self.told.append("waits")

    def made(self, key: PortalKey) -> None:
        self.told.append("made")

    def shown(self, key: PortalKey) -> None:
        self.told.append("shown")

    def left(self, key: PortalKey) -> None:
        self.told.append("left")


async def test_a_lane_does_what_its_door_lets_it_do(carrier: Carrier) -> None:
    world, inbox = carrier.world, carrier.inbox
    await world.store.delete(world.key)
    await inbox.add([(world.login.id, message(1, body="old"))])
    doors = carrier.lane._doors = Doorman(Door.SHUT)
    await carrier.lane.drain(world.key)
    assert await world.store.get(world.key) is None
    doors.stands = Door.AJAR
    await carrier.lane.drain(world.key)
    room = (await world.row()).room
    assert room is not None
    assert (len(await inbox.waiting(world.key, 10)), world.rooms.bodies(room)) == (1, [])
    doors.stands = Door.OPEN
    await carrier.lane.drain(world.key)
    assert world.rooms.bodies(room) == ["old"]
    assert doors.told == ["waits", "left", "made", "shown"]


async def test_a_lane_shows_nothing_old_any_more_when_its_door_is_shut(
    carrier: Carrier, database: Database
) -> None:
    world = carrier.world
    await HistoryStore(database).add(world.key, [message(n) for n in (1, 2, 3)], None, None)
    await carrier.inbox.add([(world.login.id, message(4))])
    doors = carrier.lane._doors = Doorman(Door.OPEN, looks=3)  # at first, and before two messages
    await carrier.lane.drain(world.key)
    assert len(world.rooms.messages[ROOM]) == 2
    assert doors.told == ["left"]
    assert [row.id for row in await carrier.inbox.waiting(world.key, 9)] == ["id-3", "id-4"]


async def test_what_is_older_or_no_message_presses_nobody_behind_a_door(
    carrier: Carrier, database: Database
) -> None:
    world = carrier.world
    read = RemoteRead(ChatId(ROMEO), RemoteId("r"), RemoteId("id-1"), from_self=True)
    await carrier.inbox.add([(world.login.id, read)])
    await HistoryStore(database).add(world.key, [message(1)], None, None)
    doors = carrier.lane._doors = Doorman(Door.SHUT)
    await carrier.lane.drain(world.key)
    assert doors.told == ["left"]


async def test_what_is_older_is_marked_and_comes_before_what_waits(
    carrier: Carrier, database: Database
) -> None:
    world = carrier.world
    store = HistoryStore(database)
    await carrier.inbox.add([(world.login.id, message(2, body="new"))])
    await store.add(world.key, [message(1, body="old")], None, None)
    await carrier.carry()
    contents = [event["content"] for event in world.rooms.messages[ROOM]]
    assert [(each["body"], each.get(HISTORY)) for each in contents] == [
        ("old", "old"),
        ("new", None),
    ]


async def test_what_is_older_may_be_shown_in_a_thread(carrier: Carrier, database: Database) -> None:
    world = carrier.world
    answer = replace(message(2, body="answer"), reply_to=RemoteId("id-1"))
    await HistoryStore(database).add(world.key, [message(1), answer], None, EventId("$root"))
    await carrier.carry()
    first, second = (event["content"]["m.relates_to"] for event in world.rooms.messages[ROOM])
    thread = {"rel_type": "m.thread", "event_id": "$root"}
    assert first == {
        **thread, "is_falling_back": True, "m.in_reply_to": {"event_id": "$root"},
    }  # fmt: skip
    answered = world.rooms.messages[ROOM][0]["event_id"]
    assert second == {**thread, "m.in_reply_to": {"event_id": answered}}


async def test_a_message_says_whom_it_mentions_and_an_edit_only_who_is_new(
    carrier: Carrier,
) -> None:
    world = carrier.world
    named = Text("Romeo!", mention=True)

    def edit(number: int, target: int, content: Text) -> RemoteEdit:
        id_ = RemoteId(f"edit-{number}")
        return RemoteEdit(ChatId(ROMEO), id_, RemoteId(f"id-{target}"), ROMEO, False, content)

    await carrier.carry(
        replace(message(1, body="plain"), reference=RemoteId("id-1")),
        replace(message(2), content=named, reference=RemoteId("id-2")),
        edit(1, 1, named),
        edit(2, 2, named),
    )
    said = [e["content"] for e in world.rooms.messages[ROOM] if REMOTE_ID in e["content"]]
    listed = [each["m.mentions"].get("user_ids") for each in said]
    owner = world.login.owner
    assert listed == [None, [owner], [owner], None]
    assert [e["m.new_content"]["m.mentions"] for e in said[2:]] == [{"user_ids": [owner]}] * 2
