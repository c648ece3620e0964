"""How a login is, in words, and what its user can do about it."""

from __future__ import annotations

from dm_bridge.matrix.formatting import plain
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.store.logins import LoginRow

_STATUS_WORDS = {
    SessionStatus.CONNECTING: "connecting",
    SessionStatus.CONNECTED: "connected",
    SessionStatus.TRANSIENT_DISCONNECT: "disconnected for the moment, trying again",
    SessionStatus.BAD_CREDENTIALS: "refused by its server",
    SessionStatus.LOGGED_OUT: "logged out",
    SessionStatus.UNKNOWN_ERROR: "in trouble",
}


def words_for(state: SessionState) -> str:
    """How a login is, with the reason; without the last full stop."""
    words, reason = _STATUS_WORDS[state.status], state.reason.strip().rstrip(".")
    return f"{words}: {plain(reason)}" if reason else words


def login_again(row: LoginRow) -> str:
    return f"To log in again, write `login {row.network}`"
