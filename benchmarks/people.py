"""Any number of XMPP contacts on one connection: an external component (XEP-0114).

Contacts cost nothing to make, so making them is in no measured time. To the bridge's account they
look like users of another domain.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from slixmpp import JID, ComponentXMPP

from dm_bridge.errors import NetworkError
from dm_bridge.testing.processes import LOOPBACK, free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.prosody_archive import Archives
from dm_bridge.testing.xmpp_server import Tls

PEOPLE = "people.localhost"
_CONNECT_SECONDS = 20.0
_CLOSE_SECONDS = 2.0


class People:
    """Everybody at ``domain``. ``on_body``: gets what is written to them."""

    def __init__(
        self, domain: str, secret: str, on_body: Callable[[str], None] = lambda _: None
    ) -> None:
        self.domain = domain
        self._on_body = on_body
        self._component = ComponentXMPP(domain, secret)  # type: ignore[no-untyped-call]

    async def connect(self, host: str, port: int) -> None:
        """Connect to the server that serves ``domain`` as a component. Raises `NetworkError`."""
        ready = asyncio.Event()
        self._component.add_event_handler("message", self._on_message)
        self._component.add_event_handler("session_start", lambda _: ready.set())
        self._component.connect(host, port)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await ready.wait()
        except TimeoutError:
            self._component.abort()
            raise NetworkError("The XMPP server did not accept the component.") from None

    def jid(self, name: str) -> str:
        """The address of the contact ``name``."""
        return f"{name}@{self.domain}"

    def send(self, name: str, to: str, body: str) -> None:
        """Let the contact ``name`` write to ``to``."""
        message = self._component.make_message(
            JID(to), mbody=body, mtype="chat", mfrom=JID(self.jid(name))
        )
        message.send()

    def _on_message(self, message: Any) -> None:
        if message["body"]:
            self._on_body(message["body"])

    async def disconnect(self) -> None:
        """Close the stream."""
        self._component.cancel_connection_attempt()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS * 2):
                await self._component.disconnect(wait=_CLOSE_SECONDS)
        except TimeoutError:
            pass
        self._component.abort()


@contextlib.asynccontextmanager
async def people_on_prosody(
    directory: Path,
    tls: Tls = "none",
    on_body: Callable[[str], None] = lambda _: None,
    largest_file: int = 0,
    archives: Archives = "files",
) -> AsyncIterator[tuple[Prosody, People]]:
    """Start Prosody in ``directory``, and connect everybody at `PEOPLE`. The rest: see `Prosody.start`."""
    secret, port = secrets.token_urlsafe(16), free_port()
    prosody = await Prosody.start(
        directory,
        tls=tls,
        largest_file=largest_file,
        archives=archives,
        config_extra=f'component_ports = {{ {port} }}\ncomponent_interfaces = {{ "{LOOPBACK}" }}',
        host_config_extra=f'Component "{PEOPLE}"\n    component_secret = "{secret}"',
    )
    try:
        people = People(PEOPLE, secret, on_body)
        await people.connect(prosody.host, port)
        try:
            yield prosody, people
        finally:
            await people.disconnect()
    finally:
        await prosody.stop()
