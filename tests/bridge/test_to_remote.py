"""Carrying messages to a network: what is known about an attempt whose outcome is not."""

from __future__ import annotations

import time

import pytest
import pytest_asyncio

from dm_bridge.bridge.to_remote import ToRemote
from dm_bridge.errors import NetworkError, StorageError
from dm_bridge.ids import EventId, LoginId, NetworkName, RemoteId, message_id
from dm_bridge.network.api import Network, OutgoingMessage
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from tests.store.stored import OWNER

from .room_world import BOT, NAMESPACE, ROOM, World, a_world

EVENT = EventId("$event")
DROPPED = NetworkError("The connection was lost.", certain=False, retry_after=1.0)
AWAY = NetworkError("It is not connected.", retry_after=1.0)


class Session:
    """``fails``: what happens to the next attempts; None is success. ``seen``: what was asked for."""

    def __init__(self) -> None:
        self.fails: list[BaseException | None] = []
        self.seen: list[OutgoingMessage] = []

    async def send(self, message: OutgoingMessage) -> RemoteId:
        self.seen.append(message)
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        return message.id


class OneLogin:
    """The one login of a `World`, and its session."""

    def __init__(self, world: World, session: Session) -> None:
        self._world = world
        self._session = session

    async def row(self, login: LoginId) -> LoginRow:
        return self._world.login

    def network(self, name: NetworkName) -> Network:
        return self._world.network

    def session(self, login: LoginId) -> Session:
        return self._session

    def state(self, login: LoginId) -> SessionState:
        return SessionState(SessionStatus.CONNECTED)


class Carrier:
    """A `World`, and what carries one message out of it."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.outbox = OutboxStore(database)
        self.session = Session()
        self._database = database
        self.start_over()

    def start_over(self) -> None:
        self.lane = ToRemote(
            self.world.rooms,  # type: ignore[arg-type]
            self.world.portals,
            OneLogin(self.world, self.session),  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            InboxStore(self._database),
            self.outbox,
            self.world.store,
            BOT,
            NAMESPACE,
            Metrics(),
        )

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
async def carrier(database: Database) -> Carrier:
    carrier = Carrier(await a_world(database), database)
    content = {"msgtype": "m.text", "body": "But soft"}
    event = {"type": "m.room.message", "sender": OWNER, "event_id": EVENT, "content": content}
    await carrier.outbox.add([OutboxRow(EVENT, ROOM, OWNER, event)])
    return carrier


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


async def test_a_process_that_died_while_sending_counts_as_an_attempt(carrier: Carrier) -> None:
    class KilledError(BaseException):
        pass

    await carrier.attempt(KilledError())
    carrier.start_over()
    first, second = await carrier.attempt(None)
    assert first is None
    assert second is not None


async def test_nothing_is_sent_before_the_attempt_is_recorded(carrier: Carrier) -> None:
    async def broken(row: OutboxRow) -> None:
        raise StorageError("The database cannot be reached.")

    carrier.outbox.attempt = broken  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await carrier.lane.drain(ROOM)
    assert carrier.session.seen == []
