"""Logging in to an IRC network: which one, with which nick, and how to prove who it is.

The rule that must never break: a password is shown to nobody but the server that the user chose, and there
only in the way that they chose.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import replace

from dm_bridge.connectors.irc.addresses import contact_id, is_nick
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.config import IrcConfig, Method
from dm_bridge.connectors.irc.credentials import Credentials, identify
from dm_bridge.connectors.irc.lines import Line, UnsendableError
from dm_bridge.connectors.irc.position import Position
from dm_bridge.connectors.irc.registration import Identity
from dm_bridge.connectors.irc.transport import Route, load_certificate
from dm_bridge.errors import UserError
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField, LoginStep
from dm_bridge.texts import phrase

_MEANING: dict[Method, str] = {
    "none": "irc-method-none",
    "sasl": "irc-method-sasl",
    "nickserv": "irc-method-nickserv",
    "server": "irc-method-server",
    "certificate": "irc-method-certificate",
}
_SECRETS: dict[Method, tuple[tuple[str, str, FieldKind], ...]] = {
    "none": (),
    "sasl": (
        ("account", "irc-login-account", FieldKind.TEXT),
        ("password", "irc-login-account-password", FieldKind.SECRET),
    ),
    "nickserv": (("password", "irc-login-nickserv-password", FieldKind.SECRET),),
    "server": (("password", "irc-login-server-password", FieldKind.SECRET),),
    "certificate": (("certificate", "irc-login-certificate", FieldKind.SECRET),),
}
"""Fields, with the messages that name them."""


class IrcLogin:
    """See `dm_bridge.network.login.LoginProcess`: network and nick, how to log in, and what that takes."""

    def __init__(self, config: IrcConfig, routes: Mapping[str, Route]) -> None:
        self._config = config
        self._routes = routes
        self._client: Client | None = None
        self._name = next(iter(routes)) if len(routes) == 1 else ""
        self._nick = ""
        self._method: Method | None = None

    def start(self) -> AskStep:
        fields = [LoginField("nick", phrase("irc-login-nick"))]
        if not self._name:
            names = tuple(sorted(self._routes))
            label = phrase("irc-login-network", networks=", ".join(names))
            fields.insert(0, LoginField("network", label, options=names))
        return AskStep(tuple(fields), phrase("irc-login-instructions"))

    def check(self, field: str, value: str) -> None:
        """See `LoginProcess.check`; the error never quotes ``value``."""
        match field:
            case "network":
                if value.lower() not in self._routes:
                    names = ", ".join(sorted(self._routes))
                    raise UserError(phrase("irc-login-no-network", networks=names))
            case "nick":
                if not is_nick(value) or value.startswith("*"):
                    raise UserError(phrase("irc-login-no-nick"))
            case "method":
                if value.lower() not in self._route.server.methods:
                    methods = ", ".join(self._route.server.methods)
                    raise UserError(phrase("irc-login-no-method", methods=methods))
            case "certificate":
                load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), value)
            case "account" | "password":
                _check_sendable(value)

    @property
    def _route(self) -> Route:
        return self._routes[self._name]

    async def submit(self, values: Mapping[str, str]) -> LoginStep:
        """Take the answers; the last ones are tried at the server, within ``connect_timeout`` and some seconds."""
        for field, value in values.items():
            self.check(field, value)
        if self._method is None:
            return await self._choose(values)
        return await self._try(self._method, values)

    async def _choose(self, values: Mapping[str, str]) -> LoginStep:
        if not self._nick:
            self._name = values.get("network", self._name).lower()
            self._nick = values.get("nick", "")
        methods = self._route.server.methods
        if "method" not in values and len(methods) > 1:
            label = phrase("irc-login-method", methods=", ".join(methods))
            meanings = "; ".join(phrase(_MEANING[method]) for method in methods)
            return AskStep(
                (LoginField("method", label, options=tuple(methods)),),
                phrase("irc-login-which-method", meanings=meanings),
            )
        chosen = values.get("method", methods[0]).lower()
        method = next(one for one in methods if one == chosen)
        self._method = method
        if fields := _SECRETS[method]:
            return AskStep(tuple(LoginField(id_, phrase(name), kind) for id_, name, kind in fields))
        return await self._try(method, {})

    async def _try(self, method: Method, values: Mapping[str, str]) -> LoginStep:
        """Log in and out again. The nick may be another one's, or this login's own, at the moment."""
        identity = Identity(
            self._nick, method, values.get("account", ""), values.get("password", "")
        )
        credentials = Credentials(self._name, identity, values.get("certificate", ""))
        client = self._client = Client(self._route, identity, certificate=credentials.certificate)
        try:
            await client.open(self._config.connect_timeout)
            await identify(client, credentials, self._config.send_timeout)
        finally:
            await client.close()
            self._client = None
        mapping = client.features.casemapping
        remote = contact_id(mapping.fold(self._nick), self._name)
        return LoginDone(
            remote=remote,
            name=f"{self._nick}@{self._name}",
            credentials=replace(credentials, casemapping=mapping).store(),
            position=Position.text({}, time.time()),
        )

    async def cancel(self) -> None:
        if self._client is not None:
            await self._client.close()


def _check_sendable(value: str) -> None:
    try:
        Line("PASS", (value,)).encode()
    except UnsendableError:
        raise UserError(phrase("irc-login-too-long")) from None
    if not value:
        raise UserError(phrase("irc-login-empty"))
