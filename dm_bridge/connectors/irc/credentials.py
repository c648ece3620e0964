"""What a login keeps to connect again, and how it is shown to NickServ.

The rule that must never break: a password goes only where the user said that it belongs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dm_bridge.connectors.irc.casemap import CaseMapping
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.config import METHODS, Method
from dm_bridge.connectors.irc.failures import REFUSALS
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.registration import Identity
from dm_bridge.connectors.irc.styling import strip
from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.texts import phrase

NICKSERV = "NickServ"
_WRONG = re.compile(
    "(invalid|incorrect|wrong) password|password incorrect|(isn't|is not) registered|not a registered"
)
_RIGHT = re.compile(
    "you are now (identified|logged in|recognized)|you are already|password accepted"
)
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """``network``: what the configuration calls it. ``certificate``: the client's, with its key, in PEM."""

    network: str
    identity: Identity
    certificate: str = field(default="", repr=False)
    casemapping: CaseMapping = CaseMapping.RFC1459

    @classmethod
    def parse(cls, stored: Mapping[str, str]) -> Credentials:
        """As `store` gave them."""
        method: Method = next((one for one in METHODS if one == stored.get("method")), "none")
        return cls(
            stored.get("network", ""),
            Identity(
                stored.get("nick", ""),
                method,
                stored.get("account", ""),
                stored.get("password", ""),
            ),
            stored.get("certificate", ""),
            CaseMapping.named(stored.get("casemapping", "rfc1459")),
        )

    def store(self) -> dict[str, str]:
        """For `LoginDone`."""
        identity = self.identity
        return {
            "network": self.network,
            "nick": identity.nick,
            "method": identity.method,
            "account": identity.account,
            "password": identity.password,
            "certificate": self.certificate,
            "casemapping": self.casemapping.value,
        }


class ServicesAway(NetworkError):
    """There is no NickServ; the connection itself is well."""


async def identify(client: Client, credentials: Credentials, timeout: float) -> None:
    """Tell NickServ the password, if that is how the user logs in, and hear what it says to it.

    Raises `ServicesAway` when it is not there, `CredentialsError` when it says that the password is wrong. It
    answers in words, so what is not understood within some seconds means nothing.
    """
    identity = credentials.identity
    if identity.method != "nickserv":
        return
    fold = client.features.casemapping.fold
    verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def hears(line: Line) -> bool:
        is_notice = line.command == "NOTICE" and line.source is not None
        from_it = is_notice and line.source is not None and fold(line.source.nick) == fold(NICKSERV)
        words = strip(line.param(1)).lower() if from_it else ""
        wrong = _WRONG.search(words) is not None
        right = line.command == "900" or _RIGHT.search(words) is not None
        if (wrong or right) and not verdict.done():
            verdict.set_result(right)
        return from_it

    def is_refusal(line: Line) -> bool:
        return line.command in REFUSALS and fold(line.param(1)) == fold(NICKSERV)

    account = identity.account
    if not account and fold(client.nick) != fold(identity.nick):
        account = identity.nick  # somebody else has it, perhaps an earlier connection
    words = (
        f"IDENTIFY {account} {identity.password}" if account else f"IDENTIFY {identity.password}"
    )
    client.first = hears
    try:
        if await client.exchange(Line("PRIVMSG", (NICKSERV, words)), timeout, is_refusal):
            raise ServicesAway(phrase("irc-nickserv-away", network=credentials.network))
        await asyncio.wait({verdict}, timeout=min(timeout, _ANSWER_SECONDS))
    finally:
        client.first = lambda line: False
    if verdict.done() and not verdict.result():
        raise CredentialsError(phrase("irc-nickserv-refused", network=credentials.network))
