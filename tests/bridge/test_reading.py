"""What people have read and who types: to Matrix, and to the network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest
import pytest_asyncio
from mautrix.api import PathBuilder

from dm_bridge.bridge import attention as attention_module
from dm_bridge.bridge import presences as presences_module
from dm_bridge.bridge import receipts as receipts_module
from dm_bridge.bridge.attention import Attention
from dm_bridge.bridge.delivery import Deliveries, DeliverySettings
from dm_bridge.bridge.presences import Presences
from dm_bridge.bridge.reading import Reading
from dm_bridge.bridge.receipts import Receipts
from dm_bridge.bridge.sent_before import REMOTE_ID
from dm_bridge.bridge.signals import MAX_PUSHED, Signals
from dm_bridge.bridge.typing_notices import TypingNotices
from dm_bridge.errors import HomeserverError, NetworkError
from dm_bridge.ids import ChatId, EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.matrix.ephemeral import Ephemeral, PresenceOf, ReadBy, TypingIn
from dm_bridge.network.abilities import OutgoingRead
from dm_bridge.network.api import Capabilities
from dm_bridge.network.events import (
    RemoteRead,
    RemoteReceived,
    SessionState,
    SessionStatus,
)
from dm_bridge.network.signals import Availability, RemotePresence, RemoteTyping
from dm_bridge.store.database import Database
from dm_bridge.store.history import HistoryStore
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import Membership
from dm_bridge.store.references import ReferenceStore
from tests.store.stored import OWNER, ROMEO, message

from .fakes import until
from .room_world import GHOST, NAMESPACE, ROOM, World, a_world

CHAT = ChatId(ROMEO)
THEIRS, MINE = EventId("$theirs"), EventId("$mine")


Told = OutgoingRead | bool | tuple[Availability, str]


class Asked:
    """What a homeserver was asked, as (last parts of the path, as whom, body)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, UserId, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

        self.room: list[tuple[str, UserId, Any]] = []
        self.away = False

    async def request(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId,
        body: Any = None,
        deadline: float = 10.0,
        query: Any = None,
    ) -> Any:
        assert 0 < deadline < 60
        if "/context/" in str(path):
            return self._context(unquote(str(path).rpartition("/")[2]), user, query)
        self.calls.append((str(path), user, body))
        await self.gate.wait()
        return {}

    def _context(self, event: str, user: UserId, query: Any) -> Any:
        """As Synapse answers; ``room`` holds (event, sender, content), the oldest first."""
        assert user == GHOST
        if self.away:
            raise HomeserverError("Away.", retry_after=1.0)
        only = json.loads(query["filter"])
        shown = [{"event_id": e, "sender": s, "content": c} for e, s, c in self.room]
        at = [each["event_id"] for each in shown].index(event)
        before = [each for each in reversed(shown[:at]) if each["sender"] in only["senders"]]
        return {"event": shown[at], "events_before": before[: int(query["limit"]) // 2]}

    async def send(self, room: RoomId, kind: str, content: Any, txn: str, **_: Any) -> EventId:
        self.calls.append((kind, GHOST, content))
        return EventId("$status")

    async def mark_read(self, user: UserId, room: RoomId, event: EventId) -> None:
        self.calls.append((f"read {event}", user, None))

    def can_act_for(self, user: UserId) -> bool:
        return user == OWNER and self.access

    access = True


class FakeSession:
    """``said``: what the contact was told."""

    def __init__(self) -> None:
        self.said: list[Told] = []
        self.asked = 0
        self.capabilities = Capabilities(reads=True, typing=True, presence=True)
        self.trouble: NetworkError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, read: OutgoingRead) -> None:
        await self._tell(read)

    async def typing(self, chat: ChatId, typing: bool) -> None:
        assert chat == CHAT
        await self._tell(typing)

    async def appear(self, availability: Availability, text: str) -> None:
        await self._tell((availability, text))

    async def _tell(self, what: Told) -> None:
        self.asked += 1
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        self.said.append(what)


class FakeLogins:
    def __init__(self) -> None:
        self.fake: FakeSession | None = FakeSession()
        self.status = SessionStatus.CONNECTED
        self.login = LoginId("")

    def owner(self, login: LoginId) -> UserId | None:
        return OWNER

    def of(self, user: UserId) -> list[Any]:
        return [SimpleNamespace(id=self.login)] if user == OWNER else []

    def session(self, login: LoginId) -> FakeSession | None:
        return self.fake

    def state(self, login: LoginId) -> SessionState:
        return SessionState(self.status)


class Scene:
    """Juliet's chat with Romeo: one message of his, known as ``id-1``, and one of hers, sent as ``sent``."""

    def __init__(self, world: World, database: Database) -> None:
        self.world, self.database = world, database
        self.key = world.key
        self.matrix = Asked()
        self.logins = FakeLogins()
        self.logins.login = world.login.id
        self.inbox, self.outbox = InboxStore(database), OutboxStore(database)
        self.receipts = Receipts(cast(Any, self.matrix), cast(Any, self.matrix))
        self.typing = TypingNotices(cast(Any, self.matrix), world.store)
        self.matrix.room = [(THEIRS, GHOST, {REMOTE_ID: "id-1"}), (MINE, OWNER, {})]
        references, matrix = ReferenceStore(database), cast(Any, self.matrix)
        self.attention = Attention(matrix, world.store, references, cast(Any, self.logins))
        self.deliveries = Deliveries(
            cast(Any, self.matrix),
            self.outbox,
            world.store,
            DeliverySettings(status_events=True),
            self.receipts,
        )
        self.reading = Reading(
            cast(Any, self.matrix),
            world.store,
            self.receipts,
            self.deliveries,
            lambda key: OWNER,
            self._original,
            self.outbox.sent_as,
            self.attention.marked,
        )

    async def begin(self) -> None:
        await self.inbox.add([(self.world.login.id, message(1))])
        await self.inbox.finish(self.key, [InboxOutcome(RemoteId("id-1"), "delivered", THEIRS)])
        row = OutboxRow(MINE, ROOM, OWNER, {"type": "m.room.message", "content": {}})
        await self.outbox.add([row])
        await self.outbox.finish(row, "delivered", portal=self.key, remote=RemoteId("sent"))

    async def _original(self, key: PortalKey, target: RemoteId, own: bool) -> EventId | None:
        return {("id-1", False): THEIRS, ("sent", True): MINE}.get((target, own))

    async def carry(self, event: RemoteRead | RemoteReceived) -> InboxOutcome:
        return await self.reading.carry(self.key, RemoteId("row"), event)

    @property
    def session(self) -> FakeSession:
        assert self.logins.fake is not None
        return self.logins.fake

    async def told(self, count: int = 1) -> list[Told]:
        await until(lambda: len(self.session.said) >= count)
        return self.session.said

    async def idle(self) -> None:
        """Until nothing is under way."""
        await until(
            lambda: (
                not self.attention._tasks
                and not self.attention._appearing
                and not self.typing._tasks
            )
        )


@pytest_asyncio.fixture
async def scene(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(receipts_module, "PAUSE", 0.0)
    scene = Scene(await a_world(database), database)
    await scene.begin()
    yield scene
    await asyncio.gather(scene.receipts.stop(), scene.typing.stop(), scene.attention.stop())


def read(target: str, *, own: bool = False) -> RemoteRead:
    return RemoteRead(CHAT, RemoteId(f"read-{target}"), RemoteId(target), own)


# -- to Matrix


async def test_a_contact_who_reads_is_shown_to_have_read_and_is_remembered_for_it(
    scene: Scene,
) -> None:
    assert not (await scene.world.row()).shows_reads
    assert (await scene.carry(read("sent"))).state == "delivered"
    await until(lambda: bool(scene.matrix.calls))
    [(path, user, _)] = scene.matrix.calls
    assert path.endswith("/receipt/m.read/%24mine")
    assert user == GHOST
    assert (await scene.world.row()).shows_reads


async def test_from_then_on_a_delivery_is_no_receipt(scene: Scene) -> None:
    await scene.world.store.set_shows_reads(scene.key)
    row = OutboxRow(MINE, ROOM, OWNER, {})
    await scene.deliveries.finished(row, await scene.world.row(), delivered=True)
    assert [kind for kind, *_ in scene.matrix.calls] == ["com.beeper.message_send_status"]


async def test_that_a_device_of_the_contact_has_a_message_is_a_status(scene: Scene) -> None:
    event = RemoteReceived(CHAT, RemoteId("r"), RemoteId("sent"))
    assert (await scene.carry(event)).state == "delivered"
    [(kind, _, content)] = scene.matrix.calls
    assert kind == "com.beeper.message_send_status"
    assert content["delivered_to_users"] == [GHOST]
    assert content["m.relates_to"]["event_id"] == MINE


async def test_a_status_that_says_less_does_not_follow(scene: Scene) -> None:
    event = RemoteReceived(CHAT, RemoteId("r"), RemoteId("sent"))
    await scene.carry(event)
    row = OutboxRow(MINE, ROOM, OWNER, {})
    await scene.world.store.set_shows_reads(scene.key)
    await scene.deliveries.finished(row, await scene.world.row(), delivered=True)
    assert ["delivered_to_users" in content for _, _, content in scene.matrix.calls] == [True]


async def test_what_the_user_reads_elsewhere_is_read_here_unless_nobody_may_say_so(
    scene: Scene,
) -> None:
    assert (await scene.carry(read("id-1", own=True))).state == "delivered"
    await until(lambda: bool(scene.matrix.calls))
    assert scene.matrix.calls == [(f"read {THEIRS}", OWNER, None)]
    scene.matrix.access = False
    assert (await scene.carry(read("id-1", own=True))).state == "dropped"
    scene.matrix.access = True
    await scene.world.store.set_membership(scene.key, Membership.INVITE)
    assert (await scene.carry(read("id-1", own=True))).state == "dropped"
    assert len(scene.matrix.calls) == 1


@pytest.mark.parametrize(
    "event",
    [
        read("nothing"),
        read("id-1"),  # a contact cannot say that they read what they wrote themselves
        read("sent", own=True),
        RemoteReceived(CHAT, RemoteId("r"), RemoteId("id-1")),
    ],
)
async def test_a_receipt_about_no_message_of_the_other_side_is_dropped(
    scene: Scene, event: RemoteRead | RemoteReceived
) -> None:
    outcome = await scene.carry(event)
    assert (outcome.state, outcome.reason) == (
        "dropped",
        "it is about no message that is known",
    )
    assert scene.matrix.calls == []
    assert not (await scene.world.row()).shows_reads


async def test_a_receipt_without_a_room_is_dropped(scene: Scene) -> None:
    await scene.world.store.set_lost(scene.key)
    assert (await scene.carry(read("sent"))).state == "dropped"


async def test_a_contact_types_and_stops(scene: Scene) -> None:
    scene.typing.note(scene.key, True)
    await scene.idle()
    scene.typing.note(scene.key, False)
    await scene.idle()
    scene.typing.note(scene.key, False)  # says nothing new
    await scene.idle()
    assert [body for _, _, body in scene.matrix.calls] == [
        {"typing": True, "timeout": 30000},
        {"typing": False},
    ]
    assert {user for _, user, _ in scene.matrix.calls} == {GHOST}


async def test_while_one_request_is_under_way_only_the_newest_waits(scene: Scene) -> None:
    scene.matrix.gate.clear()
    scene.typing.note(scene.key, True)
    await until(lambda: bool(scene.matrix.calls))
    for _ in range(50):
        scene.typing.note(scene.key, False)
        scene.typing.note(scene.key, True)
    scene.typing.note(scene.key, False)
    scene.matrix.gate.set()
    await scene.idle()
    assert [body["typing"] for _, _, body in scene.matrix.calls] == [True, False]


async def test_nobody_types_in_a_chat_without_a_room(scene: Scene) -> None:
    scene.typing.note(PortalKey(scene.key.login, ChatId("nobody")), True)
    await scene.idle()
    assert scene.matrix.calls == []


# -- to the network


async def test_the_network_is_told_what_the_owner_reads_once(scene: Scene) -> None:
    scene.attention.note(ReadBy(ROOM, UserId("@nurse:example.org"), THEIRS))
    await scene.idle()
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    [told] = await scene.told()
    assert isinstance(told, OutgoingRead)
    assert (told.chat, told.id, told.target.id) == (CHAT, "id-1", "id-1")
    await scene.idle()
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.idle()
    assert len(scene.session.said) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_who_reads_what_is_no_message_of_the_contact_has_read_the_last_one_before_it(
    scene: Scene, known: bool
) -> None:
    notice, later = EventId("$notice"), EventId("$later")
    await scene.inbox.add([(scene.world.login.id, message(2))])
    await scene.inbox.finish(scene.key, [InboxOutcome(RemoteId("id-2"), "delivered", later)])
    scene.matrix.room += [(notice, GHOST, {}), (later, GHOST, {REMOTE_ID: "id-2"})]
    scene.attention.note(ReadBy(ROOM, OWNER, MINE if known else notice))
    await scene.told()
    await scene.idle()
    assert [each.id for each in scene.session.said if isinstance(each, OutgoingRead)] == ["id-1"]


async def test_who_reads_what_nothing_was_written_before_has_read_nothing(scene: Scene) -> None:
    scene.matrix.room.insert(0, ("$welcome", GHOST, {}))
    scene.attention.note(ReadBy(ROOM, OWNER, EventId("$welcome")))
    await scene.idle()
    assert scene.session.said == []


async def test_a_message_may_be_read_before_it_is_recorded(scene: Scene) -> None:
    await scene.inbox.add([(scene.world.login.id, message(n)) for n in (2, 3)])
    scene.matrix.room += [(f"$new{n}", GHOST, {REMOTE_ID: f"id-{n}"}) for n in (2, 3)]
    scene.attention.note(ReadBy(ROOM, OWNER, EventId("$new2")))
    await scene.told()
    await scene.idle()
    assert [each.id for each in scene.session.said if isinstance(each, OutgoingRead)] == ["id-2"]


@pytest.mark.parametrize("beside", [False, True])
async def test_an_older_message_that_stands_behind_newer_ones_says_nothing_of_them(
    scene: Scene, beside: bool
) -> None:
    old, notice = EventId("$old"), EventId("$notice")
    await HistoryStore(scene.database).add(scene.key, [message(0)], None, EventId("$thread"))
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": "$thread"}}
    scene.matrix.room += [(old, GHOST, {REMOTE_ID: "id-0", **thread}), (notice, GHOST, {})]
    scene.attention.note(ReadBy(ROOM, OWNER, notice if beside else old))
    await scene.idle()
    read = [each.id for each in scene.session.said if isinstance(each, OutgoingRead)]
    assert read == (["id-1"] if beside else [])


@pytest.mark.parametrize("edited", [False, True])
async def test_who_reads_what_they_wrote_in_a_thread_has_not_read_what_is_beside_it(
    scene: Scene, edited: bool
) -> None:
    relation = {"rel_type": "m.thread", "event_id": MINE}
    written = [("$thread", relation)]
    if edited:
        written.append(("$edit", {"rel_type": "m.replace", "event_id": "$thread"}))
    for id_, about in written:
        raw = {"type": "m.room.message", "content": {"body": "x", "m.relates_to": about}}
        row = OutboxRow(EventId(id_), ROOM, OWNER, raw)
        await scene.outbox.add([row])
        await scene.outbox.finish(row, "delivered", portal=scene.key, remote=RemoteId(id_))
        scene.matrix.room.append((id_, OWNER, raw["content"]))
    scene.attention.note(ReadBy(ROOM, OWNER, EventId(written[-1][0])))
    await scene.idle()
    assert scene.session.said == []


async def test_of_two_devices_the_one_that_is_behind_takes_nothing_back(scene: Scene) -> None:
    later, last = EventId("$later"), EventId("$last")
    await scene.inbox.add([(scene.world.login.id, message(n)) for n in (2, 3)])
    for id_, event in (("id-2", later), ("id-3", last)):
        await scene.inbox.finish(scene.key, [InboxOutcome(RemoteId(id_), "delivered", event)])
    for event in (later, THEIRS, later, last):
        scene.attention.note(ReadBy(ROOM, OWNER, event))
        await scene.idle()
    read = [each.id for each in scene.session.said if isinstance(each, OutgoingRead)]
    assert read == ["id-2", "id-3"]


async def test_that_older_messages_in_a_thread_are_read_is_not_told(scene: Scene) -> None:
    history = HistoryStore(scene.database)
    assert await history.add(scene.key, [message(0)], None, EventId("$thread")) == 1
    old = EventId("$old")
    await scene.inbox.finish(scene.key, [InboxOutcome(RemoteId("id-0"), "delivered", old)])
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.told()
    scene.attention.note(ReadBy(ROOM, OWNER, old))
    await scene.idle()
    assert [each.id for each in scene.session.said if isinstance(each, OutgoingRead)] == ["id-1"]


async def test_what_the_bridge_marked_itself_is_not_told(scene: Scene) -> None:
    await scene.carry(read("id-1", own=True))
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.idle()
    assert scene.session.said == []


async def test_the_owner_types_and_stops_and_others_do_not_count(scene: Scene) -> None:
    for users in ({OWNER, GHOST}, {UserId("@nurse:example.org")}):
        scene.attention.note(TypingIn(ROOM, frozenset(users)))
        await scene.idle()
    assert scene.session.said == [True, False]


async def test_a_network_that_is_away_hears_later_what_was_read_and_not_who_typed(
    scene: Scene,
) -> None:
    scene.logins.status = SessionStatus.TRANSIENT_DISCONNECT
    scene.attention.note(TypingIn(ROOM, frozenset({OWNER})))
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.idle()
    assert scene.session.said == []
    scene.logins.status = SessionStatus.CONNECTED
    scene.attention.connected(scene.key.login)
    [told] = await scene.told()
    assert isinstance(told, OutgoingRead)
    scene.attention.connected(scene.key.login)
    await scene.idle()
    assert len(scene.session.said) == 1


async def test_a_session_that_cannot_do_it_is_not_asked(scene: Scene) -> None:
    scene.session.capabilities = Capabilities()
    scene.attention.note(TypingIn(ROOM, frozenset({OWNER})))
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.idle()
    assert scene.session.said == []


async def test_a_network_that_refuses_is_told_the_next_thing_all_the_same(scene: Scene) -> None:
    scene.session.trouble = NetworkError("No.")
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.idle()
    scene.session.trouble = None
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    assert len(await scene.told()) == 1


@pytest.mark.parametrize("by", ["a network", "a network that is slow", "a homeserver"])
async def test_what_could_not_be_told_is_told_a_while_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(attention_module, "AGAIN", 0.05)
    monkeypatch.setattr(attention_module, "DEADLINE", 0.5)
    match by:
        case "a network":
            scene.session.trouble = NetworkError("Later.", retry_after=1.0)
        case "a network that is slow":
            scene.session.gate.clear()
        case _:
            scene.matrix.away = True
    scene.attention.note(ReadBy(ROOM, OWNER, MINE))
    await scene.idle()
    assert scene.session.said == []
    scene.session.trouble = None
    scene.session.gate.set()
    scene.matrix.away = False
    [told] = await scene.told()
    assert isinstance(told, OutgoingRead)
    await scene.idle()
    assert (await scene.world.row()).read_event == MINE
    await asyncio.sleep(0.2)
    assert (len(scene.session.said), scene.attention._waiting) == (1, {})


async def test_who_cannot_be_told_is_tried_once_more_and_then_when_they_are_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_module, "AGAIN", 0.02)
    scene.session.trouble = NetworkError("Later.", retry_after=1.0)
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await until(lambda: scene.session.asked == 2)
    await asyncio.sleep(0.2)
    assert scene.session.asked == 2
    scene.session.trouble = None
    scene.attention.connected(scene.key.login)
    assert len(await scene.told()) == 1


async def test_what_is_read_meanwhile_takes_the_place_of_what_could_not_be_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_module, "AGAIN", 0.2)
    later = EventId("$later")
    await scene.inbox.add([(scene.world.login.id, message(2))])
    await scene.inbox.finish(scene.key, [InboxOutcome(RemoteId("id-2"), "delivered", later)])
    scene.session.trouble = NetworkError("Later.", retry_after=1.0)
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.idle()
    scene.session.trouble = None
    scene.attention.note(ReadBy(ROOM, OWNER, later))
    await scene.told()
    await asyncio.sleep(0.4)
    await scene.idle()
    assert [each.id for each in scene.session.said if isinstance(each, OutgoingRead)] == ["id-2"]
    assert (await scene.world.row()).read_event == later


async def test_what_waits_takes_the_place_of_nothing_newer_that_is_on_its_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_module, "AGAIN", 0.1)
    later, last = EventId("$later"), EventId("$last")
    await scene.inbox.add([(scene.world.login.id, message(n)) for n in (2, 3)])
    for id_, event in (("id-2", later), ("id-3", last)):
        await scene.inbox.finish(scene.key, [InboxOutcome(RemoteId(id_), "delivered", event)])
    scene.session.trouble = NetworkError("Later.", retry_after=1.0)
    scene.attention.note(ReadBy(ROOM, OWNER, THEIRS))
    await scene.idle()
    scene.session.trouble = None
    scene.session.gate.clear()
    scene.attention.note(ReadBy(ROOM, OWNER, later))
    await until(lambda: scene.session.asked == 2)
    scene.attention.note(ReadBy(ROOM, OWNER, last))
    await asyncio.sleep(0.2)  # it is time for the first one
    scene.session.gate.set()
    await scene.told(2)
    await asyncio.sleep(0.2)
    await scene.idle()
    read = [each.id for each in scene.session.said if isinstance(each, OutgoingRead)]
    assert (read, (await scene.world.row()).read_event) == (["id-2", "id-3"], last)


async def test_a_slow_network_is_told_the_newest_only(scene: Scene) -> None:
    scene.session.gate.clear()
    for typing in (True, False, True, False):
        scene.attention.note(TypingIn(ROOM, frozenset({OWNER} if typing else ())))
        await until(lambda: scene.session.asked == 1)
    scene.session.gate.set()
    await scene.idle()
    assert scene.session.said == [True, False]


async def test_networks_are_told_whether_a_user_is_there_the_newest_also_when_they_come_back(
    scene: Scene,
) -> None:
    scene.attention.note(PresenceOf(UserId("@nurse:example.org"), "online"))
    scene.session.gate.clear()
    for presence in ("online", "unavailable", "offline"):
        scene.attention.note(PresenceOf(OWNER, presence, "asleep"))
        await until(lambda: scene.session.asked == 1)
    scene.session.gate.set()
    await scene.idle()
    assert scene.session.said == [
        (Availability.ONLINE, "asleep"),
        (Availability.OFFLINE, "asleep"),
    ]
    scene.attention.connected(scene.key.login)
    await scene.idle()
    assert scene.session.said[2:] == [(Availability.OFFLINE, "asleep")]
    scene.session.capabilities = Capabilities()
    scene.attention.note(PresenceOf(OWNER, "online"))
    await scene.idle()
    assert len(scene.session.said) == 3


# -- who is there


async def test_contacts_are_shown_to_be_there_again_and_again_until_nobody_knows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presences_module, "AGAIN", 0.05)
    connected = True
    presences = Presences(
        cast(Any, scene.matrix), scene.world.store, lambda login: connected, enabled=True
    )
    task = asyncio.create_task(presences.run())
    stranger = RemotePresence(ChatId("nobody"), ROMEO, Availability.ONLINE)
    presences.note(scene.key.login, stranger)
    presences.note(scene.key.login, RemotePresence(CHAT, ROMEO, Availability.AWAY, "at mass"))
    await until(lambda: len(scene.matrix.calls) >= 3)
    away = {"presence": "unavailable", "status_msg": "at mass"}
    assert [body for _, _, body in scene.matrix.calls[:3]] == [away] * 3
    assert {user for _, user, _ in scene.matrix.calls} == {GHOST}
    connected = False
    await until(lambda: scene.matrix.calls[-1][2] == {"presence": "offline"})
    count = len(scene.matrix.calls)
    await asyncio.sleep(0.2)
    assert len(scene.matrix.calls) == count
    connected = True
    presences.note(scene.key.login, RemotePresence(CHAT, ROMEO, Availability.OFFLINE))
    await until(lambda: not presences._said)
    task.cancel()


async def test_a_contact_is_there_as_long_as_one_login_sees_them(scene: Scene) -> None:
    presences = Presences(
        cast(Any, scene.matrix), scene.world.store, lambda login: True, enabled=True
    )
    other = LoginId("other")
    presences._said[GHOST] = {other: (Availability.ONLINE, "")}
    presences.note(scene.key.login, RemotePresence(CHAT, ROMEO, Availability.OFFLINE))
    await presences._learn()
    await presences._show(again=False)
    assert [body for _, _, body in scene.matrix.calls] == [{"presence": "online"}]


async def test_who_has_not_joined_the_chat_does_not_see_who_is_there(scene: Scene) -> None:
    await scene.world.store.set_membership(scene.key, Membership.INVITE)
    for enabled in (True, False):
        presences = Presences(
            cast(Any, scene.matrix), scene.world.store, lambda login: True, enabled=enabled
        )
        presences.note(scene.key.login, RemotePresence(CHAT, ROMEO, Availability.ONLINE))
        await presences._learn()
        await presences._show(again=True)
    assert scene.matrix.calls == []


async def test_who_was_there_before_their_chat_began_is_there_when_they_write(scene: Scene) -> None:
    presences = Presences(
        cast(Any, scene.matrix), scene.world.store, lambda login: True, enabled=True
    )

    async def shown() -> list[Any]:
        await presences._learn()
        await presences._show(again=False)
        return [body for _, _, body in scene.matrix.calls]

    await scene.world.store.set_membership(scene.key, Membership.INVITE)
    presences.note(scene.key.login, RemotePresence(CHAT, ROMEO, Availability.ONLINE))
    assert await shown() == []
    presences.seen(scene.key)
    assert await shown() == []
    await scene.world.store.set_membership(scene.key, Membership.JOIN)
    presences.seen(scene.key)
    assert await shown() == [{"presence": "online"}]
    assert presences._unseen == {}
    await scene.world.store.set_membership(scene.key, Membership.LEAVE)
    presences.note(scene.key.login, RemotePresence(CHAT, ROMEO, Availability.AWAY))
    await shown()
    presences.note(scene.key.login, RemotePresence(CHAT, ROMEO, Availability.OFFLINE))
    await shown()
    assert presences._unseen == {}


# -- what is pushed


class Routed:
    def __init__(self, scene: Scene) -> None:
        self.signals = Signals(
            cast(Any, scene.matrix),
            cast(Any, scene.matrix),
            scene.world.store,
            cast(Any, None),
            cast(Any, scene.logins),
            NAMESPACE.owns,
        )
        self.got: list[Ephemeral] = []

    async def route(self, signals: Any) -> None:
        self.got += signals


async def test_what_ghosts_do_is_passed_over_and_a_flood_fills_nothing(scene: Scene) -> None:
    routed = Routed(scene)
    signals = routed.signals
    signals.pushed([ReadBy(ROOM, GHOST, MINE), TypingIn(ROOM, frozenset({GHOST}))])
    typing = [TypingIn(ROOM, frozenset({OWNER, GHOST})), TypingIn(ROOM, frozenset({GHOST}))]
    signals.pushed(typing)  # the second one says that the user has stopped
    signals.pushed([ReadBy(ROOM, OWNER, EventId(f"${n}")) for n in range(2 * MAX_PUSHED)])
    task = asyncio.create_task(signals.run(routed.route))
    await until(lambda: len(routed.got) >= MAX_PUSHED)
    task.cancel()
    assert routed.got[:2] == typing
    assert len(routed.got) == MAX_PUSHED


async def test_a_message_of_the_contact_ends_their_typing(scene: Scene) -> None:
    routed = Routed(scene)
    routed.signals.from_network(scene.key.login, RemoteTyping(CHAT, ROMEO, typing=True))
    await until(lambda: len(scene.matrix.calls) == 1)
    portal = cast(Any, type("Portal", (), {"key": scene.key}))
    routed.signals.shown(portal)
    await until(lambda: len(scene.matrix.calls) == 2)
    assert [body["typing"] for _, _, body in scene.matrix.calls] == [True, False]
    await routed.signals.stop()
