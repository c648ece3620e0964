"""Lines of IRC (RFC 2812, section 2.3; IRCv3 message tags): read, and made.

The parser is ours: the one well-known library for it, irctokens, has had no release since 2022, raises on an
empty line and takes quadratic time on long tags.

The rule that must never break: `Line.encode` is the only place that makes a line, from typed parts, and
it refuses whatever could end one line and begin another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dm_bridge.texts import phrase

MAX_BODY = 512
"""Bytes of a line without its tags, CR LF included."""
MAX_CLIENT_TAGS = 4096
"""Bytes of the tags that a client may send, ``@`` and blank included."""
MAX_LINE = 8191 + 512
"""Bytes of a line as it may arrive: tags and the rest."""

_COMMAND = re.compile(r"[A-Za-z]+\Z|[0-9]{3}\Z")
_TAG_KEY = re.compile(r"[+]?[A-Za-z0-9./-]+\Z")
_FORBIDDEN = ("\r", "\n", "\0")
_ESCAPES = {":": ";", "s": " ", "\\": "\\", "r": "\r", "n": "\n"}
_ESCAPED = {value: f"\\{key}" for key, value in _ESCAPES.items()}
_NO_TAGS: Mapping[str, str] = {}


class UnsendableError(ValueError):
    """The parts make no single line. ``str``: what is wrong, without quoting the parts."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who a line is from. ``user`` and ``host``: empty when not given, as for servers."""

    nick: str
    user: str = ""
    host: str = ""

    @classmethod
    def parse(cls, text: str) -> Source:
        """``nick!user@host``, or what there is of it."""
        head, _, host = text.partition("@")
        nick, _, user = head.partition("!")
        return cls(nick, user, host)


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``command`` is upper case; ``tags`` are unescaped."""

    command: str
    params: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    source: Source | None = None

    def param(self, index: int) -> str:
        """A parameter, or nothing where there is none."""
        return self.params[index] if -len(self.params) <= index < len(self.params) else ""

    def encode(self) -> bytes:
        """The line with its CR LF. Raises `UnsendableError`; never truncates."""
        if not _COMMAND.match(self.command):
            raise UnsendableError(phrase("irc-unsendable-command"))
        parts = [self.command]
        for index, param in enumerate(self.params):
            last = index == len(self.params) - 1
            if any(char in param for char in _FORBIDDEN):
                raise UnsendableError(phrase("irc-unsendable-break"))
            if not last and (not param or " " in param or param.startswith(":")):
                raise UnsendableError(phrase("irc-unsendable-blank"))
            parts.append(f":{param}" if last else param)
        body = _bytes(" ".join(parts)) + b"\r\n"
        if len(body) > MAX_BODY:
            raise UnsendableError(phrase("irc-unsendable-long"))
        tags = _encode_tags(self.tags)
        if len(tags) > MAX_CLIENT_TAGS:
            raise UnsendableError(phrase("irc-unsendable-tags"))
        return tags + body


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _encode_tags(tags: Mapping[str, str]) -> bytes:
    if not tags:
        return b""
    items = []
    for key, value in tags.items():
        if not _TAG_KEY.match(key) or "\0" in value:
            raise UnsendableError(phrase("irc-unsendable-tag"))
        escaped = "".join(_ESCAPED.get(char, char) for char in value)
        items.append(f"{key}={escaped}" if escaped else key)
    return _bytes(f"@{';'.join(items)} ")


def parse(raw: bytes, fallback: str = "latin-1") -> Line | None:
    """What a line without its CR LF says, or None when it is none.

    Text is UTF-8, and what is not is read as ``fallback``.
    """
    rest = raw.strip(b"\r\n")
    tags = _NO_TAGS
    if rest.startswith(b"@"):
        packed, _, rest = rest.partition(b" ")
        tags = _parse_tags(packed[1:].decode("utf-8", "replace"))
    text = _decode(rest, fallback).lstrip(" ")
    source = None
    if text.startswith(":"):
        prefix, _, text = text[1:].partition(" ")
        source = Source.parse(prefix)
    head, colon, trailing = (" " + text).partition(" :")
    words = [word for word in head.split(" ") if word]
    if not words or not _COMMAND.match(words[0]):
        return None
    params = [*words[1:], trailing] if colon else words[1:]
    return Line(words[0].upper(), tuple(params), tags, source)


def _decode(raw: bytes, fallback: str) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode(fallback, "replace")
    return text.replace("\0", "")


def _parse_tags(text: str) -> dict[str, str]:
    tags = {}
    for item in text.split(";"):
        key, _, value = item.partition("=")
        if key:
            tags[key] = _ESCAPE.sub(_unescaped, value)
    return tags


_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[1])
