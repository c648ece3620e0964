"""Logging in to an XMPP account with its address and password.

The rule that must never break: the password is shown to the server of the address only, over a
connection that proved to be that server's, and to nobody else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

from slixmpp.util.sasl.client import saslprep
from slixmpp.util.stringprep_profiles import StringPrepError

from dm_bridge.connectors.xmpp.addresses import bare_jid
from dm_bridge.connectors.xmpp.archive import Archive
from dm_bridge.connectors.xmpp.catch_up import first_position
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.transport import Routes
from dm_bridge.errors import NetworkError, UserError
from dm_bridge.ids import ContactId
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField, LoginStep
from dm_bridge.texts import phrase

_ARCHIVE_SECONDS = 10.0


class XmppLogin:
    """See `dm_bridge.network.login.LoginProcess`; one step, which may be repeated."""

    def __init__(self, config: XmppConfig, routes: Routes) -> None:
        self._config = config
        self._routes = routes
        self._client: Client | None = None

    def start(self) -> AskStep:
        return AskStep(
            fields=(
                LoginField("jid", phrase("xmpp-login-address")),
                LoginField("password", phrase("xmpp-login-password"), FieldKind.SECRET),
            ),
            instructions=phrase("xmpp-login-instructions"),
        )

    def check(self, field: str, value: str) -> None:
        """See `LoginProcess.check`; the error never quotes ``value``."""
        match field:
            case "jid":
                bare_jid(value)
            case "password":
                check_password(value)

    async def submit(self, values: Mapping[str, str]) -> LoginStep:
        """Log in and out again. Takes at most ``connect_timeout`` and twelve seconds."""
        jid = bare_jid(values.get("jid", ""))
        password = values.get("password", "")
        check_password(password)
        client = self._client = Client(
            f"{jid}/{self._config.resource}.login-{secrets.token_hex(4)}",
            password,
            self._routes.to(jid.partition("@")[2]),
        )
        try:
            await client.open(self._config.connect_timeout)
            remote = client.account.bare
            position = await self._position(client)
        finally:
            await client.close()
            self._client = None
        return LoginDone(
            remote=ContactId(remote),
            name=remote,
            credentials={"jid": remote, "password": password},
            position=position,
        )

    async def _position(self, client: Client) -> str | None:
        """Where the archive ends: what comes later is for the bridge. None when that is not known."""
        archive = Archive(client, _ARCHIVE_SECONDS)
        try:
            async with asyncio.timeout(_ARCHIVE_SECONDS):
                if await archive.exists():
                    return (await first_position(archive)).text()
        except (NetworkError, TimeoutError):
            pass
        return None

    async def cancel(self) -> None:
        if self._client is not None:
            await self._client.dispose()


def check_password(password: str) -> None:
    """Raise `UserError` when no XMPP account can have this password (RFC 4013)."""
    if not password:
        raise UserError(phrase("xmpp-login-no-password"))
    try:
        saslprep(password)
    except (StringPrepError, UnicodeError):
        raise UserError(phrase("xmpp-login-odd-password")) from None
