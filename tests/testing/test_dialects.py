"""Frames are whole, named, and together what was fed; however the bytes come in."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from dm_bridge.testing.dialects import Dialect, Frame, Http, Postgres, Raw, Xmpp

GET = b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /two?x=y HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"POST /three HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=1\r\n\r\n!\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"
ERROR = b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


SSL = struct.pack("!II", 8, 80877103)
STARTUP = struct.pack("!II", 17, 196608) + b"user\0me\0\0"[:9]
PARSE = message(b"P", b"s1\0INSERT INTO\n  outbox\0\0\0")
BIND = message(b"B", b"\0s1\0\0\0\0\0\0\0")
SYNC = message(b"S", b"")
COMMIT = message(b"Q", b"COMMIT;\0")
COMPLETE, READY, FAILURE = (
    message(b"C", b"INSERT 0 1\0"),
    message(b"Z", b"I"),
    message(b"E", b"SX\0\0"),
)

HEADER = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='s' to='x'>"
STANZAS = [
    b"<message to='a'><body>hi &lt; > /> there</body></message>",
    b"<r xmlns='urn:xmpp:sm:3'/>",
    b"<iq><query/></iq>",
    b"<iq><x/><y a='/>'/></iq>",
    b"<presence></presence>",
    "<message><body>ä</body></message>".encode(),
]


def fed(dialect: Dialect, data: bytes, seed: int, *, to_server: bool) -> list[Frame]:
    """Everything, in pieces of a few bytes."""
    rng = random.Random(seed)
    frames: list[Frame] = []
    while data:
        size = rng.randint(1, 9)
        frames += dialect.feed(data[:size], to_server=to_server)
        data = data[size:]
    return frames


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("make", "data"),
    [
        (Http, GET + PUT + CHUNKED + b"PUT /cut"),
        (Postgres, SSL + STARTUP + PARSE + BIND + SYNC + COMMIT + b"Q\0"),
        (Xmpp, HEADER + b" ".join(STANZAS) + b"<message><bo"),
        (Raw, GET),
    ],
    ids=["http", "postgres", "xmpp", "raw"],
)
def test_no_byte_is_lost_or_moved(make: Callable[[], Dialect], data: bytes, seed: int) -> None:
    dialect = make()
    frames = fed(dialect, data, seed, to_server=True)
    assert b"".join(frame.data for frame in frames) + dialect.rest(to_server=True) == data


@pytest.mark.parametrize("seed", range(5))
def test_http_answers_are_told_by_what_was_asked(seed: int) -> None:
    dialect = Http()
    asked = fed(dialect, GET + PUT + CHUNKED, seed, to_server=True)
    assert [frame.what for frame in asked] == ["GET /one", "PUT /two?x=y", "POST /three"]
    answers = fed(dialect, OK + NOTHING + ERROR, seed, to_server=False)
    assert [(frame.what, frame.status) for frame in answers] == [
        ("GET /one", 200),
        ("PUT /two?x=y", 204),
        ("POST /three", 502),
    ]


def test_a_request_that_was_kept_back_gets_no_answer() -> None:
    dialect = Http()
    dialect.feed(PUT, to_server=True)
    dialect.unasked()
    dialect.feed(GET, to_server=True)
    assert dialect.feed(OK, to_server=False)[0].what == "GET /one"


@pytest.mark.parametrize("seed", range(5))
def test_prepared_statements_are_told_by_their_text(seed: int) -> None:
    dialect = Postgres()
    asked = fed(dialect, SSL, seed, to_server=True)
    assert fed(dialect, b"N", seed, to_server=False)[0].data == b"N"
    asked += fed(dialect, STARTUP + PARSE + SYNC, seed, to_server=True)
    assert [frame.what for frame in asked if frame.what] == []
    assert fed(dialect, READY, seed, to_server=False)[0].what == ""
    assert [f.what for f in fed(dialect, BIND + SYNC, seed, to_server=True)] == [
        "INSERT INTO outbox",
        "",
    ]
    answers = fed(dialect, COMPLETE + READY, seed, to_server=False)
    assert [(f.what, f.status) for f in answers] == [("", 0), ("INSERT INTO outbox", 200)]
    assert fed(dialect, COMMIT, seed, to_server=True)[0].what == "COMMIT;"
    assert fed(dialect, FAILURE + READY, seed, to_server=False)[-1].status == 500


@pytest.mark.parametrize("seed", range(20))
def test_stanzas_are_whole(seed: int) -> None:
    frames = fed(Xmpp(), HEADER + b"".join(STANZAS), seed, to_server=False)
    assert [frame.data for frame in frames] == [HEADER, *STANZAS]


def test_a_stream_may_begin_anew() -> None:
    dialect = Xmpp()
    for data in (HEADER, STANZAS[1], HEADER, STANZAS[0]):
        assert [frame.data for frame in dialect.feed(data, to_server=True)] == [data]


def test_what_is_no_xml_passes_as_it_is() -> None:
    dialect = Xmpp()
    frames = dialect.feed(HEADER + b"<a><b></a>more", to_server=True)
    assert b"".join(frame.data for frame in frames) == HEADER + b"<a><b></a>more"
