"""Hands one message to its network, and says what came of it.

While a login's network cannot be reached, its messages wait without anybody at them: `waited_for` tells which
rooms may go on when it can be reached again.

The rule that must never break: that a message is attempted is recorded before it is handed over, and a message is
given up only after its author has been told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any

from dm_bridge.bridge.delivery import Deliveries, Fate
from dm_bridge.bridge.files_in import megabytes
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import NetworkError
from dm_bridge.ids import LoginId, RemoteId, RoomId
from dm_bridge.matrix.formatting import plain
from dm_bridge.network.abilities import (
    Edits,
    OutgoingEdit,
    OutgoingReactions,
    OutgoingRetraction,
    Reacts,
    Retracts,
)
from dm_bridge.network.api import Outgoing, OutgoingMessage, Session, capabilities_of
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.network.media import OutgoingMedia
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import PortalRow
from dm_bridge.texts import phrase

TELL_AFTER = 15.0
"""Seconds a message may wait for its network before the user is told."""

_CANNOT: dict[type[Outgoing], str] = {
    OutgoingEdit: "delivery-no-edits",
    OutgoingRetraction: "delivery-no-retractions",
    OutgoingReactions: "delivery-no-reactions",
    OutgoingMessage: "delivery-no-files",
}


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
        what: Outgoing,
        settle: Callable[[], Awaitable[None]],
    ) -> Awaitable[bool] | None:
        """Send a message, or what is done to one; returns the recording of its outcome, or None when that is done.

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
            unconnected = phrase("delivery-not-connected")
            refusal = refusal or unconnected
            told = _refusal(login, state.status, plain(login.name)) or unconnected
            certain = row.attempted_at is None
            row = await self._deliveries.undelivered(row, portal, told, certain=certain)
            await self.failed(row, portal, "failed" if certain else "uncertain", refusal)
            return None
        able = _ability(session, what)
        title = self._logins.network(login.network).title
        too_large = _too_large(session, what, title)
        if able is None or too_large is not None:
            await settle()
            sentence = too_large or phrase(_CANNOT[type(what)], title=title)
            row = await self._deliveries.undelivered(row, portal, sentence, fate=Fate.UNSENDABLE)
            await self.failed(row, portal, "dropped", sentence)  # to try again would not help
            return None
        insisted = row.attempted_at is not None and row.attempted_at < row.received_at  # put back
        what = replace(what, attempted=row.attempted_at, insisted=insisted)
        if row.attempted_at is None:
            await self._outbox.attempt(row)
        await settle()
        try:
            remote = await able(what)
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
            sentence = phrase("delivery-no-more", why=sentence)
        told = phrase("delivery-again", why=plain(sentence))
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


def _ability(session: Session, what: Outgoing) -> Callable[[Any], Awaitable[RemoteId]] | None:
    """How the session does such a thing; None when it cannot."""
    can = capabilities_of(session)
    match what:
        case OutgoingMessage(attachment=OutgoingMedia()) if not can.media:
            return None
        case OutgoingEdit(attachment=OutgoingMedia()) if not can.media:
            return None
        case OutgoingMessage():
            return session.send
        case OutgoingEdit() if can.edits and isinstance(session, Edits):
            return session.edit
        case OutgoingRetraction() if can.retractions and isinstance(session, Retracts):
            return session.retract
        case OutgoingReactions() if can.reactions and isinstance(session, Reacts):
            return session.react
        case _:
            return None


def _too_large(session: Session, what: Outgoing, title: str) -> str | None:
    """What to say of a file that is larger than the network takes, by what is said of it.

    A session that can send none says that itself, with the reason.
    """
    largest = capabilities_of(session).largest_media
    file = getattr(what, "attachment", None)
    if not largest or not isinstance(file, OutgoingMedia) or (file.size or 0) <= largest:
        return None
    size = megabytes(file.size or 0)
    return phrase("file-too-large-for-network", size=size, title=title, largest=megabytes(largest))


def _away(
    login: LoginRow, session: Session | None, state: SessionState, *, may_come: bool
) -> NetworkError | None:
    """Why nobody needs to try to send now, if so: the bridge hears when that changes."""
    if session is None:
        return (
            NetworkError(phrase("delivery-connecting", login=login.name), retry_after=1.0)
            if may_come
            else None
        )
    match state.status:
        case SessionStatus.CONNECTING:
            sentence = phrase("delivery-connecting", login=login.name)
        case SessionStatus.TRANSIENT_DISCONNECT | SessionStatus.UNKNOWN_ERROR:
            sentence = phrase(
                "delivery-not-connected-now", login=login.name, why=state.reason
            ).rstrip()
        case _:
            return None
    return NetworkError(sentence, retry_after=1.0)


def _refusal(login: LoginRow, status: SessionStatus, name: str) -> str | None:
    """Why nothing can be sent, if so. ``name``: the login's, as it is to be written."""
    if login.state is LoginState.LOGGED_OUT:
        return phrase("delivery-logged-out", login=name, network=login.network)
    if status in (SessionStatus.BAD_CREDENTIALS, SessionStatus.LOGGED_OUT):
        return phrase("delivery-login-refused", login=name, network=login.network)
    return None
