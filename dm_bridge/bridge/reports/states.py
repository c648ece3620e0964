"""Bridge states: how each login is, for a collector that shows it.

The rule that must never break: what was reported last of a login is how it is; it is reported when it changes, and
again before it has gone stale (its ``ttl``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable

from mautrix.types import UserID
from mautrix.util.bridge_state import BridgeState, BridgeStateEvent, ok_ish_states

from dm_bridge.ids import LoginId
from dm_bridge.matrix.homeserver import Json
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.store.logins import LoginRow

LOOK_EVERY = 60.0
EARLY = 0.9
"""After this part of its ``ttl`` a state is reported again."""


class BridgeStates:
    """Makes them; ``put`` takes the latest of each login, or is None where nobody collects any."""

    def __init__(
        self,
        put: Callable[[Hashable, Json], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._put = put
        self._clock = clock
        self._last: dict[LoginId, BridgeState] = {}

    def note(self, login: LoginRow, state: SessionState) -> None:
        """A login is so now."""
        if self._put is None:
            return
        event = BridgeStateEvent(state.status.value)
        new = BridgeState(
            state_event=event,
            user_id=UserID(login.owner),
            remote_id=login.remote,
            remote_name=login.name,
            timestamp=int(self._clock()),
            error=None if event in ok_ish_states else _code(login, state.status),
            message=state.reason or None,
        ).fill()
        if new.should_deduplicate(self._last.get(login.id)):
            return
        self._put(login.id, new.serialize())
        if state.status is SessionStatus.LOGGED_OUT:
            self._last.pop(login.id, None)
        else:
            self._last[login.id] = new

    def forget(self, login: LoginId) -> None:
        """The login is another process's now, which reports it."""
        self._last.pop(login, None)

    def repeat(self) -> None:
        """Report again what is about to go stale."""
        now = int(self._clock())
        for login, state in self._last.items():
            if self._put is not None and (state.timestamp or 0) + state.ttl * EARLY <= now:
                state.timestamp = now
                self._put(login, state.serialize())

    async def go_on(self) -> None:
        """`repeat` until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.repeat()


def _code(login: LoginRow, status: SessionStatus) -> str:
    """What programs call the trouble: ``xmpp-bad-credentials``."""
    return f"{login.network}-{status.value.lower().replace('_', '-')}"
