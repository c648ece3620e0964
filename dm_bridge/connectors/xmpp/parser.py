"""Cuts the bytes of an XMPP stream into stanzas (RFC 6120, section 4 and 11).

The rule that must never break: nothing the server sends can expand entities, reach outside the
stream, or make us hold more than one bounded stanza. Doctypes, comments and processing
instructions are refused (section 11.1); a stanza longer than the limit ends the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from dm_bridge.texts import phrase

MAX_STANZA_BYTES = 1 << 20
"""Servers limit stanzas to 64-512 KiB; nothing honest comes near this."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The stream header; ``root`` has its attributes."""

    root: Element


@dataclass(frozen=True, slots=True)
class StanzaRead:
    """One complete child of the stream."""

    element: Element


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The server closed its stream in order."""


@dataclass(frozen=True, slots=True)
class StreamBroken:
    """What came is no stream; nothing can follow. ``reason`` says what the server sent."""

    reason: str


StreamItem = StreamOpened | StanzaRead | StreamClosed | StreamBroken


class _RestrictedXmlError(Exception):
    pass


class StreamParser:
    """One direction of one stream; a restarted stream needs a new parser."""

    def __init__(self, limit: int = MAX_STANZA_BYTES) -> None:
        self._limit = limit
        self._items: list[StreamItem] = []
        self._depth = 0
        self._builder = TreeBuilder()
        self._fed = 0
        self._stanza_start = 0
        self._finished = False
        self._expat = expat.ParserCreate("utf-8", "}")
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._data
        self._expat.StartDoctypeDeclHandler = self._refuse_doctype
        self._expat.CommentHandler = self._refuse_comment
        self._expat.ProcessingInstructionHandler = self._refuse_instruction

    def feed(self, data: bytes) -> list[StreamItem]:
        """What ``data`` completes, in order; after `StreamClosed` or `StreamBroken` never anything."""
        if self._finished:
            return []
        self._fed += len(data)
        try:
            self._expat.Parse(data, False)
        except _RestrictedXmlError as error:
            self._break(str(error))
        except expat.ExpatError as error:
            why = expat.errors.messages.get(error.code, "unknown")
            self._break(phrase("xmpp-sent-malformed", why=why))
        else:
            if not self._finished and self._fed - self._stanza_start > self._limit:
                self._break(self._too_long())
        items, self._items = self._items, []
        return items

    def _break(self, reason: str) -> None:
        if not self._finished:
            self._finished = True
            self._items.append(StreamBroken(reason))

    def _too_long(self) -> str:
        return phrase("xmpp-sent-too-much", limit=str(self._limit // 1024))

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = _clark(name)
        clean = {_clark(key): value for key, value in attributes.items()}
        if self._depth == 0:
            self._items.append(StreamOpened(Element(tag, clean)))
        else:
            if self._depth == 1:
                self._builder = TreeBuilder()
                self._stanza_start = self._expat.CurrentByteIndex
            self._builder.start(tag, clean)
        self._depth += 1

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._finished = True
            self._items.append(StreamClosed())
            return
        self._builder.end(_clark(name))
        if self._depth == 1:
            if self._expat.CurrentByteIndex - self._stanza_start > self._limit:
                raise _RestrictedXmlError(self._too_long())
            self._items.append(StanzaRead(self._builder.close()))
            self._stanza_start = self._expat.CurrentByteIndex

    def _data(self, data: str) -> None:
        if self._depth > 1:
            self._builder.data(data)
        else:
            self._stanza_start = self._expat.CurrentByteIndex  # whitespace keepalive

    def _refuse_doctype(self, *_: object) -> NoReturn:
        raise _RestrictedXmlError(phrase("xmpp-sent-doctype"))

    def _refuse_comment(self, _: str) -> NoReturn:
        raise _RestrictedXmlError(phrase("xmpp-sent-comment"))

    def _refuse_instruction(self, *_: object) -> NoReturn:
        raise _RestrictedXmlError(phrase("xmpp-sent-instruction"))


def _clark(name: str) -> str:
    return "{" + name if "}" in name else name
