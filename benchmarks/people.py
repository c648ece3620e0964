"""Any number of XMPP contacts on one connection: an external component (XEP-0114).

Contacts cost nothing to make, so making them is in no measured time. To the bridge's account they
look like users of another domain.
"""

from __future__ import annotations

import asyncio

from slixmpp import JID, ComponentXMPP

from dm_bridge.errors import NetworkError

_CONNECT_SECONDS = 20.0
_CLOSE_SECONDS = 2.0


class People:
    """Everybody at ``domain``."""

    def __init__(self, domain: str, secret: str) -> None:
        self.domain = domain
        self._component = ComponentXMPP(domain, secret)  # type: ignore[no-untyped-call]

    async def connect(self, host: str, port: int) -> None:
        """Connect to the server that serves ``domain`` as a component. Raises `NetworkError`."""
        ready = asyncio.Event()
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

    async def disconnect(self) -> None:
        """Close the stream."""
        self._component.cancel_connection_attempt()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS * 2):
                await self._component.disconnect(wait=_CLOSE_SECONDS)
        except TimeoutError:
            pass
        self._component.abort()
