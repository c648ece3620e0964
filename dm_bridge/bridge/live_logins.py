"""A login that is to be connected: its session, and where the session puts what happens.

The rule that must never break: a session that was closed or replaced moves nothing back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from dm_bridge.ids import LoginId
from dm_bridge.network.api import Session
from dm_bridge.network.events import RemoteEvent, SessionState, SessionStatus
from dm_bridge.network.signals import Signal
from dm_bridge.store.logins import LoginRow, LoginState

log = structlog.get_logger(__name__)


@dataclass
class LiveLogin:
    """A login of a user that we have. ``session``: None while it is not to be connected."""

    row: LoginRow
    session: Session | None
    _state: SessionState
    since: float = field(init=False, default_factory=time.time)
    """When it became ``state``, in seconds since the epoch."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set as soon as it is known whether the session can connect."""
    awaited: bool = field(init=False)
    """A session will come by itself: it is about to be made, or it could not be for a reason that may pass."""

    def __post_init__(self) -> None:
        self.awaited = self.row.state is LoginState.ACTIVE

    @property
    def state(self) -> SessionState:
        """Where it stands."""
        return self._state

    @state.setter
    def state(self, state: SessionState) -> None:
        if state != self._state:
            self.since = time.time()
        self._state = state


def resting(row: LoginRow) -> SessionState:
    """Where a login stands before its session says so."""
    match row.state:
        case LoginState.ACTIVE:
            return SessionState(SessionStatus.CONNECTING)
        case LoginState.BAD_CREDENTIALS:
            return SessionState(SessionStatus.BAD_CREDENTIALS, row.reason)
        case LoginState.LOGGED_OUT:
            return SessionState(SessionStatus.LOGGED_OUT)


class Taker(Protocol):
    """What takes what sessions bring: `Logins`."""

    async def delivered(self, login: LoginId, events: Sequence[RemoteEvent]) -> None: ...
    async def delivered_at(
        self, login: LoginId, events: Sequence[RemoteEvent], before: str | None, position: str
    ) -> bool: ...
    def reported(self, live: LiveLogin, state: SessionState) -> None: ...
    def signalled(self, live: LiveLogin, signal: Signal) -> None: ...


class Sink:
    """The `EventSink` of one session.

    ``position``: where the session begins. It moves only from where this very session left it, so one
    that was replaced, or woke up late, never moves it back.
    """

    def __init__(self, logins: Taker, live: LiveLogin, position: str | None) -> None:
        self._logins = logins
        self._live = live
        self._position = position
        self._overtaken = False

    async def deliver(self, events: Sequence[RemoteEvent], position: str | None = None) -> None:
        """See `EventSink`."""
        login = self._live.row.id
        if position is None or self._overtaken:
            await self._logins.delivered(login, events)
        elif await self._logins.delivered_at(login, events, self._position, position):
            self._position = position
        else:
            self._overtaken = True
            log.warning(
                "another session of this login has read on; its position counts", login=login
            )

    def signal(self, signal: Signal) -> None:
        """See `EventSink`."""
        self._logins.signalled(self._live, signal)

    def report(self, state: SessionState) -> None:
        """See `EventSink`."""
        self._logins.reported(self._live, state)
