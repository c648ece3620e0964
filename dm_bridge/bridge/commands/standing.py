"""How a login is, in words."""

from __future__ import annotations

from dm_bridge.matrix.formatting import plain
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.texts import phrase

_STATES = {
    SessionStatus.CONNECTING: "login-state-connecting",
    SessionStatus.CONNECTED: "login-state-connected",
    SessionStatus.TRANSIENT_DISCONNECT: "login-state-disconnected",
    SessionStatus.BAD_CREDENTIALS: "login-state-refused",
    SessionStatus.LOGGED_OUT: "login-state-logged-out",
    SessionStatus.UNKNOWN_ERROR: "login-state-error",
}


def words_for(state: SessionState) -> str:
    """How a login is, with the reason; without the last full stop."""
    words, reason = phrase(_STATES[state.status]), state.reason.strip().rstrip(".")
    return phrase("login-state-why", state=words, why=plain(reason)) if reason else words
