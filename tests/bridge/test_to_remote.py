"""Carrying messages to a network: what is known about an attempt whose outcome is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest
import pytest_asyncio
from mautrix.api import PathBuilder

from dm_bridge.bridge import receipts as receipts_module
from dm_bridge.bridge.delivery import (
    STATUS_EVENT,
    Deliveries,
    DeliverySettings,
    Fate,
)
from dm_bridge.bridge.files_out import FilesOut
from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.bridge.receipts import Receipts
from dm_bridge.bridge.sending import TELL_AFTER
from dm_bridge.bridge.to_remote import ToRemote
from dm_bridge.errors import HomeserverError, NetworkError, NotYet, StorageError
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
    message_id,
)
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.homeserver import Json
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.network.api import Capabilities, Network, OutgoingMessage
from dm_bridge.network.events import ContactMoved, SessionState, SessionStatus
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.queue import Direction, QueueStore
from dm_bridge.store.references import ReferenceStore
from dm_bridge.texts import phrase
from tests.store.stored import OWNER

from .fakes import until
from .room_world import BOT, GHOST, NAMESPACE, ROOM, World, a_world

EVENT = EventId("$event")
DROPPED = NetworkError("The connection was lost.", certain=False, retry_after=1.0)
AWAY = NetworkError("It is not connected.", retry_after=1.0)


NO_ACCOUNTS = cast(Accounts, None)


class Session:
    """``fails``: what happens to the next attempts; None is success. ``seen``: what was asked for."""

    def __init__(self) -> None:
        self.fails: list[BaseException | None] = []
        self.seen: list[OutgoingMessage] = []
        self.capabilities = Capabilities()

    async def send(self, message: OutgoingMessage) -> RemoteId:
        self.seen.append(message)
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        return message.id


class Said:
    """Takes what is said in rooms: ``events``, as (type, content), ``redacted`` and ``receipts``."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Json]] = []
        self.redacted: list[str] = []
        self.receipts: list[tuple[str, UserId | None]] = []
        self.trouble: Exception | None = None
        self._transactions: dict[str, EventId] = {}

    @property
    def shown(self) -> list[str]:
        """What a person reads now: each notice as it was changed last, without those that were taken back."""
        now: dict[str, str] = {}
        for number, (kind, content) in enumerate(self.events, 1):
            edits = content.get("m.relates_to", {})
            if edits.get("rel_type") == "m.replace":
                now[edits["event_id"]] = content["m.new_content"]["body"]
            elif kind == "m.room.message":
                now[f"$said-{number}"] = content["body"]
        return [body for event, body in now.items() if event not in self.redacted]

    @property
    def notices(self) -> list[str]:
        return [content["body"] for kind, content in self.events if kind == "m.room.message"]

    @property
    def statuses(self) -> list[str]:
        return [content["status"] for kind, content in self.events if kind == STATUS_EVENT]

    async def send(
        self, room: RoomId, kind: str, content: Json, transaction: str, *, user: UserId
    ) -> EventId:
        if self.trouble is not None:
            raise self.trouble
        if transaction not in self._transactions:  # as a homeserver does, for half an hour
            self.events.append((kind, content))
            self._transactions[transaction] = EventId(f"$said-{len(self.events)}")
        return self._transactions[transaction]

    async def redact(
        self, room: RoomId, event: EventId, transaction: str, reason: str, *, user: UserId
    ) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.redacted.append(event)

    async def request(
        self, method: str, path: PathBuilder, *, user: UserId, body: Json, deadline: float
    ) -> Json:
        if self.trouble is not None:
            raise self.trouble
        self.receipts.append((str(path), user))
        return {}


class OneLogin:
    """The one login of a `World`, and its session."""

    def __init__(self, world: World, session: Session) -> None:
        self._world = world
        self._session = session
        self.status = SessionStatus.CONNECTED

    async def row(self, login: LoginId) -> LoginRow:
        return self._world.login

    def network(self, name: NetworkName) -> Network:
        return self._world.network

    def session(self, login: LoginId) -> Session:
        return self._session

    def may_come(self, login: LoginId) -> bool:
        return False

    def state(self, login: LoginId) -> SessionState:
        return SessionState(self.status)


class Carrier:
    """A `World`, and what carries one message out of it."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.outbox = OutboxStore(database)
        self.session = Session()
        self.said = Said()
        self.later = 0.0
        self.ours = True
        self.queue = QueueStore(database)
        self.database = database
        self.logins = OneLogin(world, self.session)
        self.receipts = Receipts(self.said, world.accounts)  # type: ignore[arg-type]
        self.start_over()

    def start_over(self) -> None:
        self.deliveries = Deliveries(
            self.said,  # type: ignore[arg-type]
            self.outbox,
            self.world.store,
            DeliverySettings(status_events=True),
            self.receipts,
            self._ours,
        )
        self.lane = ToRemote(
            self.world.rooms,  # type: ignore[arg-type]
            self.world.portals,
            self.logins,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            InboxStore(self.database),
            self.outbox,
            ReferenceStore(self.database),
            self.world.store,
            BOT,
            NAMESPACE,
            Metrics(),
            self.deliveries,
            FilesOut(MediaRepository(None), BOT, 1000),  # type: ignore[arg-type]
            clock=lambda: time.time() + self.later,
        )

    async def _ours(self, rooms: Collection[RoomId]) -> Collection[RoomId]:
        return rooms if self.ours else []

    async def row(self) -> Any:
        """The only row, as it is stored."""
        async with self.database.connection() as connection:
            return await connection.fetchrow("SELECT * FROM outbox")

    async def park(self) -> None:
        """Let an attempt meet a mistake."""
        self.session.fails = [RuntimeError("odd")]
        await self.lane.drain(ROOM)

    async def drop(self) -> None:
        """What `dm-bridge queue drop` does."""
        seq = (await self.row())["seq"]
        assert await self.queue.drop(Direction.TO_REMOTE, [seq], "", waiting=True)

    async def put_back(self) -> None:
        """What `dm-bridge queue retry` does."""
        seq = (await self.row())["seq"]
        assert await self.queue.requeue(Direction.TO_REMOTE, [seq])

    async def attempt(self, *outcomes: BaseException | None) -> list[float | None]:
        """Drain once for each outcome; returns what each attempt was told of earlier ones."""
        for outcome in outcomes:
            self.session.fails = [outcome]
            if outcome is None:
                await self.lane.drain(ROOM)
            else:
                with pytest.raises(type(outcome)):
                    await self.lane.drain(ROOM)
        return [message.attempted for message in self.session.seen]


@pytest_asyncio.fixture
async def carrier(database: Database) -> AsyncIterator[Carrier]:
    carrier = Carrier(await a_world(database), database)
    content = {"msgtype": "m.text", "body": "But soft"}
    event = {"type": "m.room.message", "sender": OWNER, "event_id": EVENT, "content": content}
    await carrier.outbox.add([OutboxRow(EVENT, ROOM, OWNER, event)])
    yield carrier
    await carrier.receipts.stop()


async def test_the_first_attempt_knows_of_no_other(carrier: Carrier) -> None:
    assert await carrier.attempt(None) == [None]
    assert await carrier.outbox.waiting(ROOM, 10) == []


async def test_after_an_outcome_that_is_not_known_the_session_is_told(carrier: Carrier) -> None:
    first, second, third = await carrier.attempt(DROPPED, DROPPED, None)
    assert first is None
    assert second is not None
    assert abs(second - time.time()) < 60
    assert third == second
    assert {message.id for message in carrier.session.seen} == {message_id(EVENT)}


async def test_an_attempt_that_surely_had_no_effect_is_forgotten(carrier: Carrier) -> None:
    assert await carrier.attempt(AWAY, AWAY, None) == [None, None, None]


async def test_a_later_attempt_without_effect_says_nothing_about_the_first(
    carrier: Carrier,
) -> None:
    first, second, third = await carrier.attempt(DROPPED, AWAY, None)
    assert first is None
    assert second is not None
    assert third == second


async def test_what_is_sent_back_before_its_outcome_is_recorded_is_not_told_to_be_delivered(
    carrier: Carrier,
) -> None:
    send = carrier.session.send
    world = carrier.world
    portal = OpenPortal(world.key, world.login, ROOM, GHOST, True, None, world.login.remote)

    async def send_and_hear(message: OutgoingMessage) -> RemoteId:
        remote = await send(message)
        (row,) = await carrier.outbox.waiting(ROOM, 1)
        await carrier.deliveries.sent_back(row, portal, remote, "No such account.")
        return remote

    carrier.session.send = send_and_hear  # type: ignore[method-assign]
    await carrier.lane.drain(ROOM)
    assert (await carrier.row())["state"] == "failed"
    assert carrier.said.statuses == [Fate.FAILED.value]
    assert len(carrier.said.notices) == 1


async def test_who_has_a_message_tried_again_that_may_have_arrived_insists(
    carrier: Carrier,
) -> None:
    gone = NetworkError("The connection was lost.", certain=False)
    carrier.session.fails = [gone]
    await carrier.lane.drain(ROOM)
    assert (await carrier.row())["state"] == "uncertain"
    await carrier.put_back()
    await carrier.attempt(DROPPED, None)
    assert [message.insisted for message in carrier.session.seen] == [False, True, True]


async def test_a_process_that_died_while_sending_counts_as_an_attempt(carrier: Carrier) -> None:
    class KilledError(BaseException):
        pass

    await carrier.attempt(KilledError())
    carrier.start_over()
    first, second = await carrier.attempt(None)
    assert first is None
    assert second is not None


async def test_nothing_is_sent_before_the_attempt_is_recorded(carrier: Carrier) -> None:
    async def broken(row: OutboxRow) -> bool:
        raise StorageError("The database cannot be reached.")

    carrier.outbox.attempt = broken  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await carrier.lane.drain(ROOM)
    assert carrier.session.seen == []


@pytest.mark.parametrize(
    "status",
    [
        SessionStatus.CONNECTING,
        SessionStatus.TRANSIENT_DISCONNECT,
        SessionStatus.UNKNOWN_ERROR,
    ],
)
async def test_nobody_waits_in_a_lane_for_a_network_that_is_away(
    carrier: Carrier, status: SessionStatus
) -> None:
    login = carrier.world.login.id
    carrier.logins.status = status
    with pytest.raises(NetworkError, match="connected") as raised:
        await carrier.lane.drain(ROOM)
    assert raised.value.certain
    assert carrier.session.seen == []
    assert (await carrier.row())["attempted_at"] is None
    assert set(carrier.lane.waited_for(login)) == {ROOM}
    assert not carrier.lane.waited_for(login)
    carrier.logins.status = SessionStatus.CONNECTED
    assert await carrier.attempt(None) == [None]


async def test_of_a_network_that_is_away_for_long_the_user_is_told(carrier: Carrier) -> None:
    carrier.logins.status = SessionStatus.TRANSIENT_DISCONNECT
    carrier.later = TELL_AFTER + 1
    with pytest.raises(NetworkError):
        await carrier.lane.drain(ROOM)
    assert "not delivered yet. juliet@example.com is not connected" in carrier.said.notices[0]
    carrier.later = carrier.deliveries.settings.expire + 1
    await carrier.lane.drain(ROOM)
    assert (await carrier.row())["state"] == "failed"
    assert "The bridge has stopped trying." in carrier.said.notices[-1]


async def add_more(carrier: Carrier, *numbers: int) -> None:
    rows = []
    for number in numbers:
        event_id = EventId(f"$event-{number}")
        content = {"msgtype": "m.text", "body": f"{number}"}
        event = {"type": "m.room.message", "sender": OWNER, "event_id": event_id}
        rows.append(OutboxRow(event_id, ROOM, OWNER, {**event, "content": content}))
    await carrier.outbox.add(rows)


async def test_a_message_is_sent_only_after_the_outcome_of_the_one_before_is_recorded(
    carrier: Carrier,
) -> None:
    await add_more(carrier, 2, 3)
    waiting: list[list[EventId]] = []
    send = carrier.session.send

    async def look_and_send(message: OutgoingMessage) -> RemoteId:
        rows = await carrier.outbox.waiting(ROOM, 10)
        assert [row.attempted_at is not None for row in rows] == [True] + [False] * (len(rows) - 1)
        waiting.append([row.id for row in rows])
        return await send(message)

    carrier.session.send = look_and_send  # type: ignore[method-assign]
    await carrier.lane.drain(ROOM)
    assert [len(rows) for rows in waiting] == [3, 2, 1]
    assert await carrier.outbox.waiting(ROOM, 10) == []


async def test_when_an_outcome_is_not_recorded_nothing_more_is_sent_and_the_session_is_told(
    carrier: Carrier,
) -> None:
    await add_more(carrier, 2, 3)
    write = carrier.outbox._outcomes._write

    async def broken(changes: Any) -> Any:
        if any(outcome is not None for _, outcome in changes):
            raise StorageError("The database cannot be reached.")
        return await write(changes)

    carrier.outbox._outcomes._write = broken
    with pytest.raises(StorageError):
        await carrier.lane.drain(ROOM)
    assert len(carrier.session.seen) == 1
    carrier.outbox._outcomes._write = write
    await carrier.lane.drain(ROOM)
    first, again, second, third = carrier.session.seen
    assert first.id == again.id
    assert (first.attempted, again.attempted is None) == (None, False)
    assert [second.attempted, third.attempted] == [None, None]


async def test_an_outcome_that_cannot_be_stored_puts_its_own_message_aside(
    carrier: Carrier,
) -> None:
    await add_more(carrier, 2)
    send = carrier.session.send

    async def odd(message: OutgoingMessage) -> RemoteId:
        await send(message)
        return RemoteId("no \0 text") if len(carrier.session.seen) == 1 else message.id

    carrier.session.send = odd  # type: ignore[method-assign]
    await carrier.lane.drain(ROOM)
    assert len(carrier.session.seen) == 2
    assert carrier.said.statuses == ["FAIL_RETRIABLE", "SUCCESS"]


async def test_a_chat_that_got_another_key_meanwhile_is_looked_at_again(carrier: Carrier) -> None:
    await add_more(carrier, 2)
    send = carrier.session.send

    async def move_and_send(message: OutgoingMessage) -> RemoteId:
        key = carrier.world.key
        if len(carrier.session.seen) == 0:
            new = PortalKey(key.login, ChatId("elsewhere"))
            with carrier.world.portals.life.changing(key.login):
                await carrier.world.store.move(key, new, ContactId("elsewhere"), GHOST)
        return await send(message)

    carrier.session.send = move_and_send  # type: ignore[method-assign]
    await carrier.lane.drain(ROOM)
    assert [message.chat for message in carrier.session.seen] == [
        carrier.world.key.chat,
        "elsewhere",
    ]


@pytest.mark.parametrize("comes", [False, True])
async def test_nothing_is_sent_while_a_contact_is_about_to_move(
    carrier: Carrier, comes: bool
) -> None:
    """The address of the chat is somebody else's meanwhile; or what comes there now is this contact's."""
    key = carrier.world.key
    here, there = key.chat, ChatId("elsewhere")
    old, new = (there, here) if comes else (here, there)
    move = ContactMoved(old, RemoteId("m1"), ContactId(old), ContactId(new), new)
    inbox = InboxStore(carrier.database)
    await inbox.add([(key.login, move)])
    carrier.session.capabilities = Capabilities(moves=True)
    with pytest.raises(NotYet):
        await carrier.lane.drain(ROOM)
    assert carrier.session.seen == []
    (waiting,) = await inbox.waiting(PortalKey(key.login, old), 1)
    await inbox.finish(waiting.key, [InboxOutcome(waiting.id, "delivered")])
    await carrier.lane.drain(ROOM)
    assert [message.chat for message in carrier.session.seen] == [here]


async def test_a_contact_who_moves_before_the_message_is_sent_is_looked_up_again(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = carrier.world.key
    carrier.session.capabilities = Capabilities(moves=True)
    look = InboxStore.moves_waiting

    async def looks(store: InboxStore, login: LoginId) -> list[ContactMoved]:
        new = PortalKey(key.login, ChatId("elsewhere"))
        with carrier.world.portals.life.changing(key.login):
            await carrier.world.store.move(key, new, ContactId("elsewhere"), GHOST)
        return await look(store, login)

    monkeypatch.setattr(InboxStore, "moves_waiting", looks)
    with pytest.raises(NotYet):
        await carrier.lane.drain(ROOM)
    assert carrier.session.seen == []
    monkeypatch.undo()
    await carrier.lane.drain(ROOM)
    assert [message.chat for message in carrier.session.seen] == ["elsewhere"]


# -- what the user sees


async def test_what_was_delivered_is_shown_by_a_receipt_of_the_contact(carrier: Carrier) -> None:
    await carrier.attempt(None)
    await until(lambda: bool(carrier.said.receipts))
    [(path, user)] = carrier.said.receipts
    assert user == GHOST
    assert unquote(path).endswith(f"rooms/{ROOM}/receipt/m.read/{EVENT}")
    assert carrier.said.statuses == ["SUCCESS"]
    assert carrier.said.notices == []


async def test_a_wait_is_said_once_and_unsaid_when_it_is_over(carrier: Carrier) -> None:
    await carrier.attempt(AWAY)
    assert carrier.said.events == []
    carrier.later = TELL_AFTER + 1
    await carrier.attempt(AWAY, AWAY)
    carrier.start_over()
    await carrier.attempt(AWAY)
    assert len(carrier.said.notices) == 1
    assert "not delivered yet. It is not connected." in carrier.said.notices[0]
    assert carrier.said.statuses == ["PENDING"]
    await carrier.attempt(None)
    kind, edit = carrier.said.events[-1]
    assert kind == "m.room.message"
    assert edit["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$said-1"}
    assert edit["m.new_content"]["body"] == "Your message was delivered meanwhile."
    assert carrier.said.statuses == ["PENDING", "SUCCESS"]
    assert await carrier.outbox.unsettled_notices(10) == []


async def test_a_message_is_not_tried_for_ever(carrier: Carrier) -> None:
    carrier.later = TELL_AFTER + 1
    await carrier.attempt(AWAY)
    carrier.later = 86400.0 + 60
    carrier.session.fails = [AWAY]
    await carrier.lane.drain(ROOM)
    assert (
        "was not delivered. It is not connected. The bridge has stopped trying. To try again, send the "
        "bridge's bot `retry`." in carrier.said.notices[-1]
    )
    assert carrier.said.redacted == ["$said-1"]
    assert carrier.said.statuses == ["PENDING", "FAIL_RETRIABLE"]
    assert await carrier.outbox.waiting(ROOM, 10) == []
    assert carrier.said.receipts == []


async def test_what_may_have_arrived_before_is_not_said_to_have_failed(carrier: Carrier) -> None:
    await carrier.attempt(DROPPED)
    carrier.later = 86400.0 + 60
    carrier.session.fails = [AWAY]
    await carrier.lane.drain(ROOM)
    assert "may not have been delivered. It is not connected." in carrier.said.notices[-1]


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_notice_that_could_not_be_unsaid_is_dealt_with_at_the_next_start(
    carrier: Carrier, delivered: bool
) -> None:
    carrier.later = TELL_AFTER + 1
    await carrier.attempt(AWAY)
    carrier.said.trouble = HomeserverError("It is away.", retry_after=1.0)
    if delivered:
        await carrier.attempt(None)
    else:
        await carrier.drop()
    assert len(await carrier.outbox.unsettled_notices(10)) == 1
    carrier.said.trouble = None
    carrier.start_over()
    await carrier.deliveries.settle()
    assert await carrier.outbox.unsettled_notices(10) == []
    assert carrier.said.redacted == []
    assert carrier.said.shown == [phrase("delivery-done" if delivered else "delivery-given-up")]


async def test_a_notice_is_for_the_process_that_has_the_user(carrier: Carrier) -> None:
    carrier.later = TELL_AFTER + 1
    await carrier.attempt(AWAY)
    await carrier.drop()
    carrier.ours = False
    await carrier.deliveries.settle()
    assert "not delivered yet" in carrier.said.shown[0]
    carrier.ours = True
    await carrier.deliveries.settle()
    assert carrier.said.shown == [phrase("delivery-given-up")]


async def test_what_is_parked_is_said_to_wait_no_more(carrier: Carrier) -> None:
    carrier.later = TELL_AFTER + 1
    await carrier.attempt(AWAY)
    await carrier.park()
    (shown,) = carrier.said.shown
    assert shown.startswith("⚠ Your message may not have been delivered. Something went wrong")
    assert await carrier.outbox.unsettled_notices(10) == []
    assert (await carrier.row())["state"] == "parked"


# -- what is tried again


async def test_a_second_failure_is_told_as_the_first_was_and_only_one_notice_stands(
    carrier: Carrier,
) -> None:
    for number in range(3):
        await carrier.park()
        assert len(carrier.said.notices) == number + 1
        assert len(carrier.said.shown) == 1
        await carrier.put_back()
    assert carrier.said.statuses == ["FAIL_RETRIABLE"] * 3


async def test_the_notice_of_a_failure_tells_of_the_success_of_another_attempt(
    carrier: Carrier,
) -> None:
    await carrier.park()
    await carrier.put_back()
    carrier.start_over()
    await carrier.attempt(None)
    assert carrier.said.shown == [phrase("delivery-done")]
    assert carrier.said.redacted == []
    row = await carrier.row()
    assert (row["state"], row["notice"], row["verdict"]) == ("delivered", None, None)


async def test_the_notice_of_a_failure_tells_of_another_wait(carrier: Carrier) -> None:
    await carrier.park()
    await carrier.put_back()
    carrier.later = TELL_AFTER + 1
    await carrier.attempt(AWAY, AWAY)
    (shown,) = carrier.said.shown
    assert shown.startswith("Your message is not delivered yet.")
    await carrier.park()
    (shown,) = carrier.said.shown
    assert shown.startswith("⚠ Your message may not")
    await carrier.put_back()
    await carrier.attempt(None)
    assert carrier.said.shown == [phrase("delivery-done")]


async def test_a_success_that_could_not_be_told_is_told_later(carrier: Carrier) -> None:
    await carrier.park()
    await carrier.put_back()
    carrier.said.trouble = HomeserverError("It is away.", retry_after=1.0)
    await carrier.attempt(None)
    with pytest.raises(HomeserverError):
        await carrier.deliveries.settle()
    carrier.said.trouble = None
    await carrier.deliveries.settle()
    assert carrier.said.shown == [phrase("delivery-done")]
    assert await carrier.outbox.unsettled_notices(10) == []


async def test_a_homeserver_that_refuses_a_notice_for_good_keeps_nothing_up(
    carrier: Carrier,
) -> None:
    carrier.later = TELL_AFTER + 1
    await carrier.attempt(AWAY)
    carrier.said.trouble = HomeserverError("Forbidden.", status=403, errcode="M_FORBIDDEN")
    await carrier.attempt(None)
    assert await carrier.outbox.unsettled_notices(10) == []
    assert await carrier.outbox.waiting(ROOM, 10) == []


async def test_only_the_newest_receipt_of_a_room_is_sent_while_one_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receipts_module, "PAUSE", 0.0)
    said, receipts_sent = Said(), asyncio.Event()

    async def slow(method: str, path: PathBuilder, **_: Any) -> Json:
        said.receipts.append((str(path).rpartition("/")[2], None))
        await receipts_sent.wait()
        return {}

    said.request = slow  # type: ignore[method-assign]
    receipts = Receipts(said, NO_ACCOUNTS)  # type: ignore[arg-type]
    for number in range(5):
        receipts.note(ROOM, EventId(f"event{number}"), OWNER)
        await asyncio.sleep(0)
    receipts_sent.set()
    await until(lambda: len(said.receipts) > 1)
    assert [event for event, _ in said.receipts] == ["event0", "event4"]
    receipts.note(ROOM, EventId("event5"), OWNER)
    await until(lambda: len(said.receipts) > 2)
    assert said.receipts[-1] == ("event5", None)
    await receipts.stop()


async def test_what_is_delivered_soon_after_a_receipt_waits_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, pauses = asyncio.Event(), list[float]()

    said = Said()
    receipts = Receipts(said, NO_ACCOUNTS)  # type: ignore[arg-type]

    async def pause(seconds: float) -> None:
        if asyncio.current_task() in receipts._tasks.values():  # and not in those of another test
            pauses.append(seconds)
        await over.wait()

    shim = SimpleNamespace(**{**vars(asyncio), "sleep": pause})
    monkeypatch.setattr(receipts_module, "asyncio", shim)
    for number in range(20):
        receipts.note(ROOM, EventId(f"event{number}"), OWNER)
        await asyncio.sleep(0.001)
    assert [unquote(path).rpartition("/")[2] for path, _ in said.receipts] == ["event0"]
    assert pauses == [receipts_module.PAUSE]
    over.set()
    await until(lambda: len(said.receipts) > 1)
    assert [unquote(path).rpartition("/")[2] for path, _ in said.receipts] == ["event0", "event19"]
    await receipts.stop()


async def test_a_refused_login_is_named_plainly_to_admins_and_without_markup_to_users(
    carrier: Carrier, database: Database
) -> None:
    carrier.world.login = replace(carrier.world.login, name="ro*meo*@localhost")
    carrier.logins.status = SessionStatus.BAD_CREDENTIALS
    await carrier.lane.drain(ROOM)
    assert carrier.session.seen == []
    async with database.connection() as connection:
        reason = await connection.fetchval("SELECT reason FROM outbox")
    sentence = "The server of ro*meo*@localhost does not accept your login any more."
    assert reason.startswith(sentence)
    assert any(sentence in body for body in carrier.said.notices)
    said = dict(carrier.said.events)
    assert "ro*meo*@localhost" in said["m.room.message"].get("formatted_body", "ro*meo*@localhost")
    assert said[STATUS_EVENT]["message"].startswith(sentence)


@pytest.mark.parametrize("killed", [False, True])
async def test_the_notice_of_a_message_that_was_sent_back_says_so_whoever_looks_meanwhile(
    carrier: Carrier, killed: bool
) -> None:
    await carrier.attempt(None)
    world, remote = carrier.world, message_id(EVENT)
    record = carrier.outbox.sent_back

    async def late(*args: Any) -> None:
        await carrier.deliveries.settle()
        if not killed:
            await record(*args)

    carrier.outbox.sent_back = late  # type: ignore[method-assign, assignment]
    portal = OpenPortal(world.key, world.login, ROOM, GHOST, True, None, world.login.remote)
    for _ in range(1 + killed):
        row = await carrier.outbox.sent_as(world.key, remote)
        assert row is not None
        await carrier.deliveries.sent_back(row, portal, remote, "The mailbox is full.")
        killed = False
    assert (await carrier.row())["state"] == "failed"
    await carrier.deliveries.settle()
    assert carrier.said.shown == [
        "⚠ Your message was not delivered. The mailbox is full. To try again, send the bridge's bot `retry`."
    ]
