"""The stream of XML, however it is cut, and however hostile it is."""

from __future__ import annotations

from xml.etree.ElementTree import tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.parser import (
    StanzaRead,
    StreamBroken,
    StreamClosed,
    StreamOpened,
    StreamParser,
)

HEAD = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='7'"
    b" xmlns:stream='http://etherx.jabber.org/streams' xml:lang='en'>"
)


def stanzas(parser: StreamParser, data: bytes) -> list[str]:
    return [
        tostring(item.element, encoding="unicode")
        for item in parser.feed(data)
        if isinstance(item, StanzaRead)
    ]


def test_a_stream_opens_carries_stanzas_and_closes() -> None:
    parser = StreamParser()
    (opened,) = parser.feed(HEAD)
    assert isinstance(opened, StreamOpened)
    assert opened.root.get("id") == "7"
    assert opened.root.get("{http://www.w3.org/XML/1998/namespace}lang") == "en"
    first = b"<message to='a'><body>x &amp; <b xmlns='u'/>y</body></message>"
    (read,) = parser.feed(first)
    assert isinstance(read, StanzaRead)
    assert read.element.tag == "{jabber:client}message"
    assert "".join(read.element.itertext()) == "x & y"
    assert read.element[0][0].tail == "y"
    assert parser.feed(b" \n ") == []
    assert parser.feed(b"</stream:stream>") == [StreamClosed()]
    assert parser.feed(b"<message/>") == []


@given(st.lists(st.integers(1, 40), max_size=30))
def test_where_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    data = HEAD + "<iq id='ü'><q>é😀</q></iq><presence/>".encode()
    parser, read, position = StreamParser(), list[str](), 0
    for cut in [*cuts, len(data)]:
        read += stanzas(parser, data[position : position + cut])
        position += cut
    assert read == stanzas(StreamParser(), data)
    assert len(read) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE x []>" + HEAD,
        b"<!DOCTYPE x SYSTEM 'http://127.0.0.1/'>" + HEAD,
        HEAD + b"<!-- c -->",
        HEAD + b"<message><?pi x?></message>",
        HEAD + b"<message>&lol;</message>",
        HEAD + b"<message>\xff</message>",
        HEAD + b"<message>\x00</message>",
        HEAD + b"<a:b/>",
        HEAD + b"<message",
        b"HTTP/1.1 400 Bad Request",
    ],
)
def test_what_breaks_the_rules_ends_the_stream(data: bytes) -> None:
    parser = StreamParser()
    items = parser.feed(data + b"<")
    assert isinstance(items[-1], StreamBroken)
    assert parser.feed(b"<message/>") == []


def test_what_came_before_the_fault_is_still_read() -> None:
    items = StreamParser().feed(HEAD + b"<message/><!-- -->")
    assert [type(item) for item in items] == [StreamOpened, StanzaRead, StreamBroken]


def test_a_stanza_is_bounded_and_a_stream_is_not() -> None:
    parser = StreamParser(limit=2048)
    parser.feed(HEAD)
    for _ in range(100):
        assert len(parser.feed(b"<m>" + b"x" * 1000 + b"</m>" + b" " * 100)) == 1
    assert parser.feed(b"<m>" + b"x" * 1500) == []
    assert parser.feed(b"x" * 1000) == [StreamBroken("a stanza of more than 2 KiB")]
    complete = b"<m>" + b"x" * 3000 + b"</m>"
    assert StreamParser(limit=2048).feed(HEAD + complete)[1:] == [
        StreamBroken("a stanza of more than 2 KiB")
    ]


def test_one_huge_start_tag_is_bounded_too() -> None:
    parser = StreamParser(limit=2048)
    parser.feed(HEAD)
    assert parser.feed(b"<m a='" + b"x" * 3000) == [StreamBroken("a stanza of more than 2 KiB")]


def test_deep_nesting_is_read_and_freed_without_recursion() -> None:
    depth = 50_000
    parser = StreamParser()
    items = parser.feed(HEAD + b"<message>" + b"<x>" * depth + b"</x>" * depth + b"</message>")
    assert isinstance(items[-1], StanzaRead)
    del items
