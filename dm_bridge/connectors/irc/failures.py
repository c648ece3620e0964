"""Why something failed on IRC, in sentences for the person whose login it is.

The rule that must never break: no sentence holds a password, and what the server says is quoted without
formatting and at limited length.
"""

from __future__ import annotations

import socket
import ssl

from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.styling import strip
from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.texts import phrase

RETRY_SOON = 5.0
BANNED_PAUSE = 900.0
_QUOTED = 200

REFUSALS = frozenset(
    {"401", "402", "403", "404", "406", "407", "408", "411", "412", "413", "414", "415", "416", "417", "421",
     "437", "439", "447", "477", "486", "487", "488", "489", "492", "494", "502", "505", "519", "520", "531",
     "573", "574", "716", "718", "263", "707", "FAIL"}
)  # fmt: skip
"""What answers a message that was not delivered."""
INFORMATION = frozenset({"301", "717", "NOTE", "WARN"})
"""What may come with a message that was."""
_REFUSED = {
    "401": "irc-not-there",
    "404": "irc-may-not-write",
    "407": "irc-several-people",
    "413": "irc-takes-no-messages",
    "417": "irc-too-long",
    "477": "irc-only-from-accounts",
    "486": "irc-only-from-accounts",
    "492": "irc-no-ctcp",
    "531": "irc-takes-none-from-you",
    "716": "irc-only-allowed-was-told",
    "718": "irc-only-allowed",
}
_LATER = frozenset({"263", "439", "707"})


def said(line: Line) -> str:
    """What the server says in a line, for quoting."""
    text = strip(line.param(-1)).strip()
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


def refused(line: Line, nick: str, network: str) -> NetworkError:
    """The server's answer to a message for ``nick``."""
    if line.command in _LATER:
        return NetworkError(
            phrase("irc-more-slowly", network=network, said=said(line)), retry_after=RETRY_SOON * 4
        )
    name = _REFUSED.get(line.command, "irc-refused")
    return NetworkError(phrase(name, nick=nick, network=network, said=said(line)))


def gone(nick: str, network: str) -> NetworkError:
    """Who is written to is not there any more."""
    return NetworkError(phrase("irc-not-there", nick=nick, network=network))


def former(nick: str, network: str) -> NetworkError:
    """The chat is with somebody who lost the nick to somebody else."""
    return NetworkError(phrase("irc-former", nick=nick, network=network))


def just_left(nick: str) -> NetworkError:
    """Whose chat it is has another nick since a moment; by the next attempt the chat has followed."""
    return NetworkError(phrase("irc-just-left", nick=nick), retry_after=1.0)


def registration(line: Line, network: str) -> NetworkError:
    """The server's refusal of the connection."""
    match line.command:
        case "464":
            return wrong_password(network)
        case "432":
            return CredentialsError(
                phrase("irc-nick-not-allowed", network=network, said=said(line))
            )
        case "465" | "463" | "466":
            return NetworkError(
                phrase("irc-banned", network=network, said=said(line)), retry_after=BANNED_PAUSE
            )
        case _:
            return _temporary(phrase("irc-connection-refused", network=network, said=said(line)))


def taken(network: str) -> NetworkError:
    """Neither the nick nor a variant of it is free."""
    return NetworkError(phrase("irc-nicks-taken", network=network), retry_after=60.0)


def wrong_password(network: str) -> CredentialsError:
    """The password for the whole server is wrong, or was not given."""
    return CredentialsError(phrase("irc-server-password-wrong", network=network))


def not_logged_in(line: Line, network: str) -> CredentialsError:
    """The server's answer to a SASL login that failed."""
    return CredentialsError(phrase("irc-account-refused", network=network, said=said(line)))


def no_sasl(network: str) -> NetworkError:
    """The account cannot be used; the user did not ask to go on without."""
    return _temporary(phrase("irc-no-sasl", network=network))


def no_mechanism(network: str) -> NetworkError:
    """No SASL mechanism in common."""
    return _temporary(phrase("irc-no-mechanism", network=network))


def broken(sentence: str) -> NetworkError:
    """The server did what no server should."""
    return _temporary(sentence)


def closed(network: str, reason: str = "") -> NetworkError:
    """The server ended the connection."""
    if reason:
        return _temporary(phrase("irc-closed-saying", network=network, said=reason))
    return _temporary(phrase("irc-closed", network=network))


def timed_out(network: str) -> NetworkError:
    return _temporary(phrase("irc-timed-out", network=network))


def unreachable(network: str, address: str, error: BaseException) -> NetworkError:
    """``error`` came while connecting."""
    where = {"network": network, "address": address}
    if isinstance(error, ssl.SSLCertVerificationError):
        if not error.verify_message:
            return _temporary(phrase("irc-certificate-unverified", **where))
        why = error.verify_message.rstrip(".")
        return _temporary(phrase("irc-certificate-wrong", **where, why=why))
    if isinstance(error, ssl.SSLError):
        return _temporary(phrase("irc-no-encryption", **where))
    if isinstance(error, socket.gaierror):
        return _temporary(phrase("irc-server-not-found", **where))
    if isinstance(error, ConnectionRefusedError):
        return _temporary(phrase("irc-server-does-not-answer", **where))
    if isinstance(error, OSError) and error.strerror:
        return _temporary(phrase("irc-unreachable-why", **where, why=error.strerror))
    return _temporary(phrase("irc-unreachable", **where))


def not_pinned(network: str, address: str) -> NetworkError:
    return _temporary(phrase("irc-certificate-unknown", network=network, address=address))


def not_recorded() -> NetworkError:
    """What is about to be sent could not be written down first."""
    return NetworkError(phrase("irc-not-recorded"), retry_after=RETRY_SOON)


def lost(network: str, *, certain: bool, part: bool = False) -> NetworkError:
    """The connection ended while a message was being sent."""
    if certain:
        return NetworkError(phrase("irc-lost-before", network=network), retry_after=1.0)
    said = phrase("irc-lost-in-part" if part else "irc-lost-while", network=network)
    return NetworkError(said, certain=False)


def interrupted(network: str) -> NetworkError:
    """An earlier attempt, in another process, came to an unknown end."""
    return NetworkError(phrase("irc-interrupted", network=network), certain=False)


def partly(error: NetworkError) -> NetworkError:
    """``error`` came when some lines of the message were sent already."""
    return NetworkError(phrase("irc-only-beginning", why=str(error)), certain=False)


def _temporary(sentence: str) -> NetworkError:
    return NetworkError(sentence, retry_after=RETRY_SOON)
