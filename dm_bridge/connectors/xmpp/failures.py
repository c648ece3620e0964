"""Why a connection failed, in sentences for the person whose login it is.

The rule that must never break: no sentence holds a password, and every one names the address or
server it is about.
"""

from __future__ import annotations

import socket
import ssl

from dm_bridge.errors import CredentialsError, NetworkError

RETRY_SOON = 5.0
"""Seconds after which a failed connection is worth another try."""

OTHER_MECHANISM = frozenset(
    {"invalid-mechanism", "mechanism-too-weak", "incorrect-encoding", "malformed-request"}
)
"""SASL conditions (RFC 6120, section 6.5) that say nothing about the password."""

PASSING = frozenset({"internal-server-error", "resource-constraint", "remote-server-timeout"})
"""Stanza error conditions (RFC 6120, section 8.3.3) after which the same request may succeed."""

_STREAM_ERRORS = {
    "conflict": "Another program is connected to {domain} as the same client; it took over.",
    "connection-timeout": "{domain} closed the connection because nothing came from us for long.",
    "host-gone": "{domain} is no longer served by this server.",
    "host-unknown": "The server that answers does not serve the domain {domain}.",
    "policy-violation": "{domain} closed the connection because a rule of the server was broken.",
    "remote-connection-failed": "{domain} could not reach a part of itself that it needs.",
    "reset": "{domain} asked us to connect again.",
    "resource-constraint": "{domain} is overloaded.",
    "see-other-host": "{domain} refers to another host, which is not followed.",
    "system-shutdown": "{domain} is shutting down or restarting.",
}


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
        return _temporary(
            f"No encrypted connection to {domain} ({address}) could be made: the server speaks no"
            " TLS there, none that is still safe, or does not serve this domain."
        )
    if isinstance(error, socket.gaierror):
        return not_found(domain, address)
    if isinstance(error, ConnectionRefusedError):
        return _temporary(
            f"No XMPP server answers for {domain} at {address}: the connection was refused."
        )
    if isinstance(error, TimeoutError):
        return timed_out(domain)
    detail = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return _temporary(f"{domain} cannot be reached at {address}{f' ({detail})' if detail else ''}.")


def not_found(domain: str, address: str) -> NetworkError:
    """No address for the server."""
    where = f" ({address})" if address.partition(":")[0] != domain else ""
    return _temporary(
        f"The XMPP server of {domain}{where} cannot be found; is the domain spelled correctly?"
    )


def untrusted(domain: str, error: ssl.SSLCertVerificationError) -> NetworkError:
    """The certificate does not prove that the server is ``domain``'s."""
    if error.verify_code == _HOSTNAME_MISMATCH:
        why = "it was issued for another name"
    else:
        why = (error.verify_message or "it cannot be verified").rstrip(".")
    return _temporary(
        f"The certificate of the XMPP server of {domain} is not trusted: {why}. The password was"
        " not sent."
    )


_HOSTNAME_MISMATCH = 62
"""X509_V_ERR_HOSTNAME_MISMATCH of OpenSSL."""


def timed_out(domain: str) -> NetworkError:
    """The server did not get a session going in time."""
    return _temporary(f"The XMPP server of {domain} did not answer in time.")


def no_encryption(domain: str) -> NetworkError:
    """The server offers no STARTTLS where it is required."""
    return _temporary(
        f"The XMPP server of {domain} offers no encryption, so the password was not sent."
    )


def no_mechanism(domain: str) -> NetworkError:
    """No SASL mechanism in common."""
    return _temporary(
        f"The XMPP server of {domain} offers no way to log in with a password that is safe on this"
        " connection."
    )


def refused(address: str, domain: str, condition: str) -> NetworkError:
    """The server answered the login of ``address`` with a SASL failure."""
    match condition:
        case "temporary-auth-failure":
            return _temporary(f"{domain} cannot check passwords at the moment; try again later.")
        case "account-disabled":
            return CredentialsError(f"{domain} says that the account {address} is disabled.")
        case "credentials-expired":
            return CredentialsError(f"{domain} says that the password of {address} has expired.")
        case "encryption-required":
            return _temporary(f"{domain} accepts passwords only over an encrypted connection.")
        case "not-authorized" | "":
            return CredentialsError(
                f"{domain} does not accept this password for {address}. Check the address and the"
                " password."
            )
        case _:
            return CredentialsError(f"{domain} refused the login of {address} ({condition}).")


def stream_error(domain: str, condition: str) -> NetworkError:
    """The server ended the stream with an error (RFC 6120, section 4.9.3)."""
    if condition == "conflict":
        return StreamConflictError(_STREAM_ERRORS[condition].format(domain=domain), retry_after=60)
    sentence = _STREAM_ERRORS.get(condition, f"{{domain}} closed the connection ({condition}).")
    return _temporary(sentence.format(domain=domain))


def closed(domain: str, doing: str) -> NetworkError:
    """The connection ended while ``doing`` something, without a reason given."""
    return _temporary(f"{domain} closed the connection{f' while {doing}' if doing else ''}.")


def broken(domain: str, reason: str) -> NetworkError:
    """The stream cannot be read any further."""
    return _temporary(f"The connection was closed because {domain} sent {reason}.")


def rejected(domain: str, what: str, condition: str) -> RejectedError:
    """The request for ``what`` was answered with the error ``condition``."""
    return RejectedError(f"{domain} refused {what} ({condition}).", condition)


def _temporary(sentence: str) -> NetworkError:
    return NetworkError(sentence, retry_after=RETRY_SOON)
