"""CTCP: what is hidden in messages, such as ``/me`` and questions to the client.

The rule that must never break: only what is asked in a PRIVMSG is answered, and only in a NOTICE, so that no two
programs answer each other for ever.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dm_bridge.texts import phrase

DELIMITER = "\x01"
_MAX_PING = 64


@dataclass(frozen=True, slots=True)
class Ctcp:
    """A request, or in a NOTICE the answer to one. ``command`` is upper case."""

    command: str
    argument: str = ""


def read(text: str) -> Ctcp | None:
    """The CTCP in a message's text; None when it is plain text."""
    if not text.startswith(DELIMITER):
        return None
    command, _, argument = text[1:].removesuffix(DELIMITER).partition(" ")
    return Ctcp(command.upper(), argument)


def wrap(command: str, argument: str = "") -> str:
    """The text of a message that holds this; delimiters within are dropped."""
    inner = f"{command} {argument}" if argument else command
    return f"{DELIMITER}{inner.replace(DELIMITER, '')}{DELIMITER}"


def answer(request: Ctcp, version: str, now: float) -> str | None:
    """The text of the NOTICE that answers, or None when it is not answered."""
    match request.command:
        case "VERSION":
            return wrap("VERSION", f"dm_bridge {version}")
        case "PING":
            return wrap("PING", request.argument[:_MAX_PING])
        case "TIME":
            return wrap("TIME", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))
        case "DCC":
            return phrase("irc-no-dcc")
        case _:
            return None


def dcc_offer(request: Ctcp) -> str:
    """What a contact who wants to use DCC seems to do, for the user: "* juliet ..."."""
    kind, _, rest = request.argument.partition(" ")
    if kind.upper() != "SEND":
        return phrase("irc-asks-for-dcc")
    name = (
        rest.split('"')[1] if rest.startswith('"') and rest.count('"') > 1 else rest.split(" ")[0]
    )
    shown = name.rpartition("/")[2].rpartition("\\")[2][:100]
    return phrase("irc-offers-file", file=shown) if shown else phrase("irc-offers-nameless-file")
