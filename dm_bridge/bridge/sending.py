"""Hands one message to its network, and says what came of it.

While a login's network cannot be reached, its messages wait without anybody at them: `waited_for` tells which
rooms may go on when it can be reached again.

The rule that must never break: that a message is attempted is recorded before it is handed over, and a message is
given up only after its author has been told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from dm_bridge.bridge.delivery import AGAIN, Deliveries
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import NetworkError
from dm_bridge.ids import LoginId, RoomId, message_id
from dm_bridge.matrix.formatting import plain
from dm_bridge.network.api import OutgoingMessage, Session
from dm_bridge.network.events import SessionState, SessionStatus, Text
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import PortalRow

TELL_AFTER = 15.0
"""Seconds a message may wait for its network before the user is told."""
_NOT_CONNECTED = "Your login is not connected. Ask the bridge's bot: `logins`. When it is: `retry`."


class Sending:
    """``clock``: seconds since the epoch."""

    def __init__(
        self,
        logins: Logins,
        outbox: OutboxStore,
        deliveries: Deliveries,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._logins = logins
        self._outbox = outbox
        self._deliveries = deliveries
        self._metrics = metrics
        self._clock = clock
        self._waiting: dict[LoginId, dict[RoomId, None]] = {}  # in the order in which they came

    def waited_for(self, login: LoginId) -> Collection[RoomId]:
        """The rooms that pause because a login's network could not be reached; each is told of once."""
        return self._waiting.pop(login, {})

    async def send(
        self,
        row: OutboxRow,
        portal: PortalRow,
        login: LoginRow,
        text: Text,
        settle: Callable[[], Awaitable[None]],
    ) -> Awaitable[bool] | None:
        """Send a message; returns the recording of its outcome, to be awaited, or None when that is done.

        That it is attempted is recorded together with the outcome of the message before; ``settle`` returns when
        that one is dealt with. Raises `NetworkError` when the message is to be tried again.
        """
        state = self._logins.state(login.id)
        session = self._logins.session(login.id)
        away = _away(login, session, state, may_come=self._logins.may_come(login.id))
        if away is not None:
            self._wait_for(login.id, row.room)
            await settle()
            await self._failed_for_now(row, portal, login, away)
            return None
        refusal = _refusal(login, state.status, login.name)
        if refusal is not None or session is None:
            await settle()
            refusal = refusal or _NOT_CONNECTED
            told = _refusal(login, state.status, plain(login.name)) or _NOT_CONNECTED
            certain = row.attempted_at is None
            row = await self._deliveries.undelivered(row, portal, told, certain=certain)
            await self.failed(row, portal, "failed" if certain else "uncertain", refusal)
            return None
        insisted = row.attempted_at is not None and row.attempted_at < row.received_at  # put back
        message = OutgoingMessage(
            portal.key.chat, message_id(row.id), text, row.attempted_at, insisted
        )
        if row.attempted_at is None:
            await self._outbox.attempt(row)
        await settle()
        try:
            remote = await session.send(message)
        except NetworkError as error:
            self._wait_for(login.id, row.room)
            if row.attempted_at is None and error.certain:
                await self._outbox.not_attempted(row)
            await self._failed_for_now(row, portal, login, error)
            return None
        return self._outbox.finish(row, "delivered", portal=portal.key, remote=remote)

    def _wait_for(self, login: LoginId, room: RoomId) -> None:
        """Before anything is awaited: the network may come back at any time."""
        self._waiting.setdefault(login, {})[room] = None

    async def _failed_for_now(
        self, row: OutboxRow, portal: PortalRow, login: LoginRow, error: NetworkError
    ) -> None:
        """Raise the error if the message is to be tried again; else tell that it is not."""
        expired = False
        sentence, certain, age = str(error), error.certain, self._clock() - row.received_at
        if error.retry_after is not None:
            if age <= self._deliveries.settings.expire:
                if age > TELL_AFTER:
                    await self._deliveries.waiting(row, portal, plain(sentence))
                raise error
            certain, expired = certain and row.attempted_at is None, True
            sentence = f"{sentence} The bridge has stopped trying."
        told = f"{plain(sentence)} {AGAIN}"
        row = await self._deliveries.undelivered(
            row, portal, told, certain=certain, expired=expired
        )
        await self.failed(row, portal, "failed" if certain else "uncertain", sentence)

    async def failed(self, row: OutboxRow, portal: PortalRow, state: str, reason: str) -> None:
        """Record that a message is given up; its author has been told."""
        await self._outbox.finish(row, state, portal=portal.key, reason=reason)
        self.count(row, state)
        await self._deliveries.finished(row, portal, delivered=False)

    def count(self, row: OutboxRow, outcome: str) -> None:
        """Count what became of an event of the homeserver, and how long it took."""
        self._metrics.messages.labels("to_remote", outcome).inc()
        self._metrics.latency.labels("to_remote").observe(max(0.0, self._clock() - row.received_at))


def _away(
    login: LoginRow, session: Session | None, state: SessionState, *, may_come: bool
) -> NetworkError | None:
    """Why nobody needs to try to send now, if so: the bridge hears when that changes."""
    if session is None:
        return (
            NetworkError(f"{login.name} is being connected.", retry_after=1.0) if may_come else None
        )
    match state.status:
        case SessionStatus.CONNECTING:
            sentence = f"{login.name} is being connected."
        case SessionStatus.TRANSIENT_DISCONNECT | SessionStatus.UNKNOWN_ERROR:
            sentence = f"{login.name} is not connected at the moment. {state.reason}".rstrip()
        case _:
            return None
    return NetworkError(sentence, retry_after=1.0)


def _refusal(login: LoginRow, status: SessionStatus, name: str) -> str | None:
    """Why nothing can be sent, if so. ``name``: the login's, as it is to be written."""
    if login.state is LoginState.LOGGED_OUT:
        return f"You are logged out of {name}. Send the bridge's bot `login {login.network}`, then `retry`."
    if status in (SessionStatus.BAD_CREDENTIALS, SessionStatus.LOGGED_OUT):
        return (
            f"The server of {name} does not accept your login any more. "
            f"Send the bridge's bot `login {login.network}`, then `retry`."
        )
    return None
