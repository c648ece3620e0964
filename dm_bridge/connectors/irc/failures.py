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
    "401": "{nick} is not on {network} at the moment, and IRC keeps no messages for later.",
    "404": "{network} does not let you write to {nick}: {said}",
    "407": "{network} found several people for {nick}: {said}",
    "413": "{network} does not take messages to {nick}: {said}",
    "417": "{network} says that the message is too long.",
    "477": "{nick} takes messages only from people who are logged in to {network} with an account.",
    "486": "{nick} takes messages only from people who are logged in to {network} with an account.",
    "492": "{network} lets no message of this kind (/me) through to {nick}.",
    "531": "{nick} takes no messages from you at the moment: {said}",
    "716": "{nick} takes private messages only from people whom they have allowed, and was told that you wrote.",
    "718": "{nick} takes private messages only from people whom they have allowed.",
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
            f"{network} wants messages more slowly: {said(line)}", retry_after=RETRY_SOON * 4
        )
    sentence = _REFUSED.get(line.command, "{network} did not take the message to {nick}: {said}")
    return NetworkError(sentence.format(nick=nick, network=network, said=said(line)))


def gone(nick: str, network: str) -> NetworkError:
    """Who is written to is not there any more."""
    return NetworkError(_REFUSED["401"].format(nick=nick, network=network))


def former(nick: str, network: str) -> NetworkError:
    """The chat is with somebody who lost the nick to somebody else."""
    return NetworkError(
        f"Somebody else has the nick {nick} on {network} now, so nothing was sent. When the person of this chat"
        " writes to you from another nick, you get a chat with that nick; with `moved` this one can go on with it."
    )


def just_left(nick: str) -> NetworkError:
    """Whose chat it is has another nick since a moment; by the next attempt the chat has followed."""
    return NetworkError(f"{nick} has just got another nick.", retry_after=1.0)


def registration(line: Line, network: str) -> NetworkError:
    """The server's refusal of the connection."""
    match line.command:
        case "464":
            return wrong_password(network)
        case "432":
            return CredentialsError(f"{network} does not allow this nick: {said(line)}")
        case "465" | "463" | "466":
            return NetworkError(
                f"{network} has banned you or this bridge: {said(line)}", retry_after=BANNED_PAUSE
            )
        case _:
            return _temporary(f"{network} refused the connection: {said(line)}")


def taken(network: str) -> NetworkError:
    """Neither the nick nor a variant of it is free."""
    return NetworkError(f"Others have your nick on {network}, and its variants.", retry_after=60.0)


def wrong_password(network: str) -> CredentialsError:
    """The password for the whole server is wrong, or was not given."""
    return CredentialsError(
        f"{network} wants a server password, and the one that was given, if any, is wrong."
    )


def not_logged_in(line: Line, network: str) -> CredentialsError:
    """The server's answer to a SASL login that failed."""
    return CredentialsError(
        f"{network} does not accept the login of this account: {said(line)}. Check the account and the password or"
        " certificate."
    )


def no_sasl(network: str) -> NetworkError:
    """The account cannot be used; the user did not ask to go on without."""
    return _temporary(f"{network} offers no way to log in to an account (SASL) at the moment.")


def no_mechanism(network: str) -> NetworkError:
    """No SASL mechanism in common."""
    return _temporary(f"{network} offers no way to log in to an account that this bridge knows.")


def broken(network: str, why: str) -> NetworkError:
    """The server did what no server should. ``why`` completes "because ..."."""
    return _temporary(f"The connection to {network} was closed because {why}.")


def closed(network: str, reason: str = "") -> NetworkError:
    """The server ended the connection."""
    return _temporary(f"{network} closed the connection{f': {reason}' if reason else ''}.")


def timed_out(network: str) -> NetworkError:
    return _temporary(f"{network} did not answer in time.")


def unreachable(network: str, address: str, error: BaseException) -> NetworkError:
    """``error`` came while connecting."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = (error.verify_message or "it cannot be verified").rstrip(".")
        return _temporary(f"The certificate of {network} ({address}) is not trusted: {why}.")
    if isinstance(error, ssl.SSLError):
        return _temporary(f"No encrypted connection to {network} ({address}) could be made.")
    if isinstance(error, socket.gaierror):
        return _temporary(f"The server of {network} ({address}) cannot be found.")
    if isinstance(error, ConnectionRefusedError):
        return _temporary(f"No server answers for {network} at {address}.")
    detail = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return _temporary(f"{network} ({address}) cannot be reached{f': {detail}' if detail else ''}.")


def not_pinned(network: str, address: str) -> NetworkError:
    return _temporary(
        f"The certificate of {network} ({address}) is none of those in the configuration of the bridge."
    )


def not_recorded() -> NetworkError:
    """What is about to be sent could not be written down first."""
    return NetworkError(
        "The bridge could not write down that it sends the message, so it has not sent it yet.",
        retry_after=RETRY_SOON,
    )


def lost(network: str, *, certain: bool, part: bool = False) -> NetworkError:
    """The connection ended while a message was being sent."""
    if certain:
        return NetworkError(
            f"The connection to {network} was lost before the message was sent.", retry_after=1.0
        )
    what = (
        "and a part of it was surely sent" if part else "and IRC does not tell whether it arrived"
    )
    return NetworkError(
        f"The connection to {network} was lost while the message was being sent, {what}.",
        certain=False,
    )


def interrupted(network: str) -> NetworkError:
    """An earlier attempt, in another process, came to an unknown end."""
    return NetworkError(
        f"The bridge was interrupted while it sent the message to {network}, and IRC does not tell whether it"
        " arrived.",
        certain=False,
    )


def partly(error: NetworkError) -> NetworkError:
    """``error`` came when some lines of the message were sent already."""
    return NetworkError(f"Only the beginning of the message was sent. {error}", certain=False)


def _temporary(sentence: str) -> NetworkError:
    return NetworkError(sentence, retry_after=RETRY_SOON)
