"""What the API answers when it does not do as asked, in the form of Matrix errors.

The codes are those of the Matrix specification, and where it has none, those that clients know from bridgev2
(``FI.MAU…``).

The rule that must never break: nothing but a sentence that was made for people leaves the bridge.
"""

from __future__ import annotations

from dm_bridge.errors import (
    BridgeError,
    CredentialsError,
    HomeserverError,
    NetworkError,
    NotAllowed,
    StorageError,
    TooOften,
    UserError,
)
from dm_bridge.texts import phrase


class Refusal(Exception):
    """An answer that is an error. ``retry_after``: seconds after which the same request may succeed."""

    def __init__(
        self, status: int, errcode: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.errcode = errcode
        self.message = message
        self.retry_after = retry_after


def not_found(message: str) -> Refusal:
    """There is no such thing, or none of this user's: the answer is the same."""
    return Refusal(404, "M_NOT_FOUND", message)


def not_supported(message: str) -> Refusal:
    """The network of this login cannot do it."""
    return Refusal(404, "M_UNRECOGNIZED", message)


def not_logged_in(message: str) -> Refusal:
    return Refusal(400, "FI.MAU.NOT_LOGGED_IN", message)


def bad_state(message: str) -> Refusal:
    return Refusal(400, "M_BAD_STATE", message)


def bad_json(message: str) -> Refusal:
    return Refusal(400, "M_BAD_JSON", message)


def limited(message: str, seconds: float) -> Refusal:
    return Refusal(429, "M_LIMIT_EXCEEDED", message, max(seconds, 1.0))


def refusal_of(error: BridgeError) -> Refusal:
    """How an error of the bridge is answered."""
    match error:
        case TooOften(seconds=seconds):
            return limited(str(error), seconds)
        case CredentialsError() | NotAllowed():
            status, errcode = 403, "M_FORBIDDEN"
        case NetworkError():
            status, errcode = 502, "M_UNKNOWN"
        case UserError():
            status, errcode = 400, "M_INVALID_PARAM"
        case HomeserverError(status=429):
            return limited(phrase("provisioning-homeserver-limits"), error.retry_after or 1.0)
        case HomeserverError():
            return Refusal(502, "M_UNKNOWN", phrase("provisioning-homeserver-failed"), 2.0)
        case StorageError():
            return Refusal(
                503, "M_UNKNOWN", phrase("provisioning-database-away"), error.retry_after
            )
        case _:
            return Refusal(
                503, "M_UNKNOWN", phrase("provisioning-not-now"), error.retry_after or 1.0
            )
    return Refusal(status, errcode, str(error), error.retry_after)
