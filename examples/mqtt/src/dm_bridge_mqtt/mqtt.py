"""As much of MQTT 3.1.1 (an OASIS standard) as a chat needs: one connection to a broker.

The rule that must never break: no wait is without an end.
"""

from __future__ import annotations

import contextlib
import ssl
from asyncio import StreamReader, StreamWriter, get_running_loop, open_connection, timeout
from collections.abc import AsyncIterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge_mqtt.texts import phrase

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ = 0x10, 0x30, 0x40, 0x82, 0x90, 0xC0
CONFIRMED = 0x02  # with PUBLISH: sent again until it is acknowledged
LARGEST = 1_000_000  # bytes of a packet that is taken
Packet = tuple[int, bytes]  # its first byte, and what comes after its length


class Broker(BaseModel):
    """Where it is. Seconds: ``quiet``, after which it is asked for a word; ``retry``, between attempts."""

    model_config = ConfigDict(extra="forbid")
    host: str
    port: int = Field(8883, ge=1, le=65535)
    tls: bool = True
    quiet: float = Field(30.0, gt=0, le=10_000)
    retry: float = Field(1.0, gt=0, le=60)


def text(value: str) -> bytes:
    """A string on the wire."""
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


class Link:
    """A connection. ``early``: packets that were read already."""

    def __init__(self, stream: StreamReader, out: StreamWriter, quiet: float) -> None:
        self._stream, self._out, self._quiet = stream, out, quiet
        self.early: list[Packet] = []

    def write(self, first: int, body: bytes = b"") -> None:
        """Send a packet, of which ``first`` is the first byte."""
        head, length = bytearray([first]), len(body)
        while length > 127:
            head.append(length & 127 | 128)
            length >>= 7
        self._out.write(bytes([*head, length]) + body)

    async def read(self) -> Packet:
        """The next packet. Raises `OSError` when the connection is broken, or silent for too long."""
        if self.early:
            return self.early.pop(0)
        ask = get_running_loop().call_later(self._quiet, self.write, PINGREQ)
        try:
            async with timeout(2 * self._quiet):
                first, length = await self._stream.readexactly(1), 0
                for shift in (0, 7, 14, 21):
                    byte = (await self._stream.readexactly(1))[0]
                    length += (byte & 127) << shift
                    if byte < 128:
                        break
                if length > LARGEST:
                    raise ConnectionError("the broker sent more than is taken")
                return first[0], await self._stream.readexactly(length)
        except EOFError as error:
            raise ConnectionError("the broker closed the connection") from error
        finally:
            ask.cancel()


@contextlib.asynccontextmanager
async def connected(
    broker: Broker, device: str, name: str, password: str, topics: Sequence[str]
) -> AsyncIterator[Link]:
    """A connection that is logged in, and gets ``topics``; what comes while ``device`` is away waits for it.

    Raises `CredentialsError`, and `NetworkError` or `OSError` when it cannot be made.
    """
    async with timeout(2 * broker.quiet):
        tls = ssl.create_default_context() if broker.tls else None
        stream, out = await open_connection(broker.host, broker.port, ssl=tls)
    try:
        async with timeout(4 * broker.quiet):
            link = Link(stream, out, broker.quiet)
            about = bytes([4, 0xC0]) + int(3 * broker.quiet + 1).to_bytes(2, "big")
            link.write(CONNECT, text("MQTT") + about + text(device) + text(name) + text(password))
            _, answer = await link.read()
            if answer[1:] in (b"\4", b"\5"):
                raise CredentialsError(phrase("mqtt-refused"))
            if answer[1:] != b"\0":
                raise NetworkError(phrase("mqtt-too-many"))
            link.write(SUBSCRIBE, b"\0\1" + b"".join(text(topic) + b"\1" for topic in topics))
            early = []
            while (packet := await link.read())[0] != SUBACK:
                early.append(packet)
            if b"\x80" in packet[1]:
                raise NetworkError(phrase("mqtt-no-rights"))
            link.early = early
        yield link
    finally:
        out.close()
