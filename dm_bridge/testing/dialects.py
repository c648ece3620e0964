"""What passes through a fault proxy, cut into frames: whole requests and answers of a protocol.

One object reads both directions of one connection. `Http` knows HTTP/1.1, `Postgres` the PostgreSQL wire
protocol (version 3), `Xmpp` streams, all without TLS. `Raw` knows nothing: a frame is what was read at once.

The rule that must never break: the frames of a direction, joined, are the bytes that were fed to it.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from dataclasses import dataclass
from typing import Protocol
from xml.parsers import expat


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of a conversation. ``to_server``: a request; else an answer, or what a server says by itself.

    ``what``: what it is: ``PUT /path`` for HTTP, the statement for PostgreSQL, the stanza for XMPP; for an answer
    of the first two, what was asked. Empty where it is of no interest. ``status``: of an answer over HTTP; for
    PostgreSQL 500 when it is an error.
    """

    to_server: bool
    what: str
    data: bytes
    status: int = 0


class Dialect(Protocol):
    """Reads one connection."""

    def feed(self, data: bytes, *, to_server: bool) -> list[Frame]:
        """The frames that are complete now."""
        ...

    def rest(self, *, to_server: bool) -> bytes:
        """What is left of a direction that ends."""
        ...

    def unasked(self) -> None:
        """The last request was not passed on: no answer to it will come."""
        ...


class Raw:
    """No protocol: bytes as they come."""

    def feed(self, data: bytes, *, to_server: bool) -> list[Frame]:
        return [Frame(to_server, "", data)]

    def rest(self, *, to_server: bool) -> bytes:
        return b""

    def unasked(self) -> None:
        return


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_NO_BODY = (204, 304)


class Http:
    """HTTP/1.1 whose bodies have a length or come in chunks; not more than one request under way."""

    def __init__(self) -> None:
        self._buffers = {True: b"", False: b""}
        self._asked: deque[str] = deque()

    def feed(self, data: bytes, *, to_server: bool) -> list[Frame]:
        buffer = self._buffers[to_server] + data
        frames = []
        while (end := _http_end(buffer)) is not None:
            message, buffer = buffer[:end], buffer[end:]
            frames.append(self._frame(message, to_server))
        self._buffers[to_server] = buffer
        return frames

    def _frame(self, message: bytes, to_server: bool) -> Frame:
        words = message[: message.index(b"\r\n")].decode("latin-1").split(" ")
        if to_server:
            what = " ".join(words[:2])
            self._asked.append(what)
            return Frame(True, what, message)
        status = int(words[1])
        if status < 200:
            return Frame(False, "", message, status)
        return Frame(False, self._asked.popleft() if self._asked else "", message, status)

    def rest(self, *, to_server: bool) -> bytes:
        return self._buffers[to_server]

    def unasked(self) -> None:
        if self._asked:
            self._asked.pop()


def _http_end(buffer: bytes) -> int | None:
    """Where the first message in ``buffer`` ends, if it is there whole."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return None
    fields, body = buffer[:head], head + 4
    if fields.startswith(b"HTTP/") and int(fields.split(b" ", 2)[1]) in _NO_BODY:
        return body
    if _CHUNKED.search(fields):
        return _chunks_end(buffer, body)
    length = _LENGTH.search(fields)
    end = body + (int(length.group(1)) if length else 0)
    return end if len(buffer) >= end else None


def _chunks_end(buffer: bytes, position: int) -> int | None:
    while True:
        line = buffer.find(b"\r\n", position)
        if line < 0:
            return None
        size = int(buffer[position:line].split(b";")[0], 16)
        position = line + 2 + size + 2
        if len(buffer) < position:
            return None
        if size == 0:
            return position


_SSL_REQUEST = 80877103


class Postgres:
    """The PostgreSQL wire protocol. Of interest are statements as they are run, and the end of their results."""

    def __init__(self) -> None:
        self._buffers = {True: b"", False: b""}
        self._statements: dict[bytes, str] = {}
        self._running = ""
        self._failed = False
        self._begun = False
        self._bare_answer = False

    def feed(self, data: bytes, *, to_server: bool) -> list[Frame]:
        buffer = self._buffers[to_server] + data
        frames = []
        while (size := self._size(buffer, to_server)) is not None and len(buffer) >= size:
            message, buffer = buffer[:size], buffer[size:]
            frames.append(self._asked(message) if to_server else self._answered(message))
        self._buffers[to_server] = buffer
        return frames

    def _size(self, buffer: bytes, to_server: bool) -> int | None:
        if not to_server and self._bare_answer:
            return 1 if buffer else None
        typed = int(self._begun or not to_server)
        if len(buffer) < typed + 4:
            return None
        return typed + int(struct.unpack_from("!I", buffer, typed)[0])

    def _asked(self, message: bytes) -> Frame:
        if not self._begun:
            if struct.unpack_from("!I", message, 4)[0] == _SSL_REQUEST:
                self._bare_answer = True
            else:
                self._begun = True
            return Frame(True, "", message)
        kind, body = message[:1], message[5:]
        if kind == b"P":
            name, statement, _ = body.split(b"\0", 2)
            self._statements[name] = " ".join(statement.decode(errors="replace").split())
        elif kind in (b"B", b"Q"):
            self._running = (
                self._statements.get(body.split(b"\0", 2)[1], "")
                if kind == b"B"
                else " ".join(body.rstrip(b"\0").decode(errors="replace").split())
            )
            self._failed = False
            return Frame(True, self._running, message)
        return Frame(True, "", message)

    def _answered(self, message: bytes) -> Frame:
        if self._bare_answer:
            self._bare_answer = False
            return Frame(False, "", message)
        if message[:1] == b"E":
            self._failed = True
        if message[:1] != b"Z":
            return Frame(False, "", message)
        what, self._running = self._running, ""
        return Frame(False, what, message, 500 if self._failed else 200)

    def rest(self, *, to_server: bool) -> bytes:
        return self._buffers[to_server]

    def unasked(self) -> None:
        self._running = ""


_STREAM_BEGINS = (b"<?xml", b"<stream:stream")


class Xmpp:
    """XMPP streams (RFC 6120); what is of interest is whole stanzas."""

    def __init__(self) -> None:
        self._directions = {True: _Stream(), False: _Stream()}

    def feed(self, data: bytes, *, to_server: bool) -> list[Frame]:
        if data.lstrip().startswith(_STREAM_BEGINS):
            left = self._directions[to_server].buffer
            self._directions[to_server] = _Stream()
            frames = [Frame(to_server, "", left)] if left else []
        else:
            frames = []
        pieces = self._directions[to_server].feed(data)
        return frames + [
            Frame(to_server, piece.decode(errors="replace"), piece) for piece in pieces
        ]

    def rest(self, *, to_server: bool) -> bytes:
        return self._directions[to_server].buffer

    def unasked(self) -> None:
        return


class _Stream:
    """One direction from its header on."""

    def __init__(self) -> None:
        self.buffer = b""
        self._offset = 0  # of the buffer in the stream
        self._depth = 0
        self._ends: list[int] = []
        self._broken = False
        self._childless = False
        self._parser = expat.ParserCreate()
        if hasattr(self._parser, "SetReparseDeferralEnabled"):
            self._parser.SetReparseDeferralEnabled(False)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def feed(self, data: bytes) -> list[bytes]:
        self.buffer += data
        self._ends.clear()
        if not self._broken:
            try:
                self._parser.Parse(data, False)
            except expat.ExpatError:
                self._broken = True
        pieces = []
        begin = self._offset
        for end in self._ends:
            pieces.append(self.buffer[begin - self._offset : end - self._offset])
            begin = end
        self.buffer = self.buffer[begin - self._offset :]
        self._offset = begin
        if self.buffer and (self._broken or (self._depth <= 1 and not self.buffer.strip())):
            pieces.append(self.buffer)
            self._offset += len(self.buffer)
            self.buffer = b""
        return pieces

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._childless = True
        if self._depth == 1:
            self._cut()

    def _end(self, name: str) -> None:
        self._depth -= 1
        empty = self._childless and self.buffer.endswith(
            b"/>", 0, self._parser.CurrentByteIndex - self._offset
        )
        self._childless = False
        if self._depth <= 1:
            self._cut(behind=empty)

    def _cut(self, *, behind: bool = False) -> None:
        """A stanza, or the header, ends with the tag at which the parser is; behind an empty one it is already."""
        at = self._parser.CurrentByteIndex - self._offset
        end = at if behind else self.buffer.index(b">", at) + 1
        self._ends.append(self._offset + end)
