"""What a login keeps to connect again, and how it is shown to NickServ.

The rule that must never break: a password goes only where the user said that it belongs.
"""

from __future__ import annotations

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

NICKSERV = "NickServ"
_WRONG = ("invalid password", "incorrect password", "wrong password", "password incorrect", "isn't registered",
          "is not registered", "not a registered")  # fmt: skip


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
    """Tell NickServ the password, if that is how the user logs in.

    Raises `ServicesAway` when it is not there, `CredentialsError` when it says at once that the password is wrong;
    services answer in words, and later, so silence means nothing.
    """
    identity = credentials.identity
    if identity.method != "nickserv":
        return
    fold = client.features.casemapping.fold

    def is_answer(line: Line) -> bool:
        if line.command in REFUSALS:
            return fold(line.param(1)) == fold(NICKSERV)
        from_it = line.source is not None and fold(line.source.nick) == fold(NICKSERV)
        return line.command == "NOTICE" and from_it

    words = (
        f"IDENTIFY {identity.account} {identity.password}"
        if identity.account
        else (f"IDENTIFY {identity.password}")
    )
    answers = await client.exchange(Line("PRIVMSG", (NICKSERV, words)), timeout, is_answer)
    for line in answers:
        if line.command in REFUSALS:
            raise ServicesAway(f"{credentials.network} has no NickServ at the moment.")
        if any(words in strip(line.param(1)).lower() for words in _WRONG):
            raise CredentialsError(
                f"NickServ of {credentials.network} does not accept the password of this nick."
            )
