"""Why a connection failed, in sentences for the person whose login it is.

The rule that must never break: no sentence holds a password, and every one names the address or
server it is about.
"""

from __future__ import annotations

import enum
import socket
import ssl

from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.texts import phrase

RETRY_SOON = 5.0
"""Seconds after which a failed connection is worth another try."""

OTHER_MECHANISM = frozenset(
    {"invalid-mechanism", "mechanism-too-weak", "incorrect-encoding", "malformed-request"}
)
"""SASL conditions (RFC 6120, section 6.5) that say nothing about the password."""

PASSING = frozenset({"internal-server-error", "resource-constraint", "remote-server-timeout"})
"""Stanza error conditions (RFC 6120, section 8.3.3) after which the same request may succeed."""

_STREAM_ERRORS = {
    "connection-timeout": "xmpp-stream-silent",
    "host-gone": "xmpp-stream-host-gone",
    "host-unknown": "xmpp-stream-host-unknown",
    "policy-violation": "xmpp-stream-rule-broken",
    "remote-connection-failed": "xmpp-stream-part-away",
    "reset": "xmpp-stream-reset",
    "resource-constraint": "xmpp-stream-overloaded",
    "see-other-host": "xmpp-stream-elsewhere",
    "system-shutdown": "xmpp-stream-shutdown",
}


class Doing(enum.Enum):
    """What a connection is about, with what is said when it ends there."""

    NOTHING = "xmpp-closed"
    CONNECTING = "xmpp-closed-connecting"
    ENCRYPTING = "xmpp-closed-encrypting"
    LOGGING_IN = "xmpp-closed-logging-in"
    BEGINNING = "xmpp-closed-beginning"


class StreamConflictError(NetworkError):
    """Another session took over the resource; connecting again at once would take it back."""


class RejectedError(NetworkError):
    """The server answered one request with an error; the stream itself is well.

    ``condition``: the error's defined condition (RFC 6120, section 8.3.3).
    """

    def __init__(self, message: str, condition: str) -> None:
        super().__init__(message, retry_after=RETRY_SOON)
        self.condition = condition


def unreachable(domain: str, address: str, error: BaseException) -> NetworkError:
    """``error`` came while opening a connection for ``domain`` to ``address``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return untrusted(domain, error)
    if isinstance(error, ssl.SSLError):
        return _temporary(phrase("xmpp-no-encryption-there", domain=domain, server=address))
    if isinstance(error, socket.gaierror):
        return not_found(domain, address)
    if isinstance(error, ConnectionRefusedError):
        return _temporary(phrase("xmpp-server-does-not-answer", domain=domain, server=address))
    if isinstance(error, TimeoutError):
        return timed_out(domain)
    if isinstance(error, OSError) and error.strerror:
        why = error.strerror
        return _temporary(phrase("xmpp-unreachable-why", domain=domain, server=address, why=why))
    return _temporary(phrase("xmpp-unreachable", domain=domain, server=address))


def not_found(domain: str, address: str) -> NetworkError:
    """No address for the server."""
    if address.partition(":")[0] != domain:
        return _temporary(phrase("xmpp-server-not-found-there", domain=domain, server=address))
    return _temporary(phrase("xmpp-server-not-found", domain=domain))


def untrusted(domain: str, error: ssl.SSLCertVerificationError) -> NetworkError:
    """The certificate does not prove that the server is ``domain``'s."""
    if error.verify_code == _HOSTNAME_MISMATCH:
        return _temporary(phrase("xmpp-certificate-of-another", domain=domain))
    if not error.verify_message:
        return _temporary(phrase("xmpp-certificate-unverified", domain=domain))
    why = error.verify_message.rstrip(".")
    return _temporary(phrase("xmpp-certificate-wrong", domain=domain, why=why))


_HOSTNAME_MISMATCH = 62
"""X509_V_ERR_HOSTNAME_MISMATCH of OpenSSL."""


def timed_out(domain: str) -> NetworkError:
    """The server did not get a session going in time."""
    return _temporary(phrase("xmpp-timed-out", domain=domain))


def no_encryption(domain: str) -> NetworkError:
    """The server offers no STARTTLS where it is required."""
    return _temporary(phrase("xmpp-no-encryption", domain=domain))


def no_mechanism(domain: str) -> NetworkError:
    """No SASL mechanism in common."""
    return _temporary(phrase("xmpp-no-mechanism", domain=domain))


def refused(address: str, domain: str, condition: str) -> NetworkError:
    """The server answered the login of ``address`` with a SASL failure."""
    match condition:
        case "temporary-auth-failure":
            return _temporary(phrase("xmpp-cannot-check-passwords", domain=domain))
        case "account-disabled":
            return CredentialsError(phrase("xmpp-account-disabled", domain=domain, address=address))
        case "credentials-expired":
            return CredentialsError(phrase("xmpp-password-expired", domain=domain, address=address))
        case "encryption-required":
            return _temporary(phrase("xmpp-encryption-required", domain=domain))
        case "not-authorized" | "":
            return CredentialsError(phrase("xmpp-password-wrong", domain=domain, address=address))
        case _:
            return CredentialsError(
                phrase("xmpp-login-refused", domain=domain, address=address, condition=condition)
            )


def stream_error(domain: str, condition: str) -> NetworkError:
    """The server ended the stream with an error (RFC 6120, section 4.9.3)."""
    if condition == "conflict":
        return StreamConflictError(phrase("xmpp-stream-conflict", domain=domain), retry_after=60)
    if condition in _STREAM_ERRORS:
        return _temporary(phrase(_STREAM_ERRORS[condition], domain=domain))
    return _temporary(phrase("xmpp-stream-error", domain=domain, condition=condition))


def closed(domain: str, doing: Doing = Doing.NOTHING) -> NetworkError:
    """The connection ended while ``doing`` something, without a reason given."""
    return _temporary(phrase(doing.value, domain=domain))


def broken(domain: str, reason: str) -> NetworkError:
    """The stream cannot be read any further. ``reason`` says what came."""
    return _temporary(phrase("xmpp-broken", domain=domain, what=reason))


def rejected(domain: str, what: str, condition: str) -> RejectedError:
    """What was asked for, ``session`` or any other ``request``, was answered with the error ``condition``."""
    said = phrase("xmpp-rejected", domain=domain, what=what, condition=condition)
    return RejectedError(said, condition)


def _temporary(sentence: str) -> NetworkError:
    return NetworkError(sentence, retry_after=RETRY_SOON)
