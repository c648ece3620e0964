"""Lines are read whatever they hold, and never made from what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.irc.lines import MAX_BODY, Line, Source, UnsendableError, parse

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"PING :a b\r\n", Line("PING", ("a b",))),
        (b":s 001 me :Hi", Line("001", ("me", "Hi"), source=Source("s"))),
        (b":n!u@h privmsg me :", Line("PRIVMSG", ("me", ""), source=Source("n", "u", "h"))),
        (
            b"@a=b;c;+d=\\:\\s\\\\\\r\\n\\x\\ X y",
            Line("X", ("y",), {"a": "b", "c": "", "+d": "; \\\r\nx"}),
        ),
        (
            b"@time=1;msgid= :n NICK  new  ",
            Line("NICK", ("new",), {"time": "1", "msgid": ""}, Source("n")),
        ),
        (b"X a:b :c :d", Line("X", ("a:b", "c :d"))),
        (b"X :a\0b", Line("X", ("ab",))),
        ("X :ä€".encode(), Line("X", ("ä€",))),
        ("X :ä".encode("latin-1"), Line("X", ("ä",))),
        (b"", None),
        (b"   ", None),
        (b":only.a.source", None),
        (b"@tags", None),
        (b"12 x", None),
        (b"!!", None),
    ],
)
def test_lines_are_read(raw: bytes, line: Line | None) -> None:
    assert parse(raw) == line


def test_old_encodings_are_read_as_configured() -> None:
    assert parse("X :€".encode("cp1252"), "cp1252") == Line("X", ("€",))


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_line_or_none(raw: bytes) -> None:
    line = parse(raw)
    assert line is None or line.command == line.command.upper()


@given(_TEXT, st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), _TEXT, max_size=3))
def test_what_is_made_is_one_line_and_says_what_it_was_made_from(
    text: str, tags: dict[str, str]
) -> None:
    line = Line("PRIVMSG", ("nick", text), tags)
    try:
        raw = line.encode()
    except UnsendableError:
        assert any(char in text for char in "\r\n\0") or any("\0" in tag for tag in tags.values())
        return
    assert raw.endswith(b"\r\n")
    assert not {0, 10, 13} & set(raw[:-2])
    assert parse(raw) == line


@pytest.mark.parametrize(
    "line",
    [
        Line("PRIVMSG", ("nick", "a\r\nQUIT")),
        Line("PRIVMSG", ("nick", "a\nQUIT")),
        Line("PRIVMSG", ("nick", "a\rQUIT")),
        Line("PRIVMSG", ("nick", "a\0QUIT")),
        Line("PRIVMSG", ("nick\r\nQUIT", "a")),
        Line("PRIVMSG", ("two words", "a")),
        Line("PRIVMSG", (":nick", "a")),
        Line("PRIVMSG", ("", "a")),
        Line("PRIVMSG\r\nQUIT", ("a",)),
        Line("PRIVMSG x", ("a",)),
        Line("", ("a",)),
        Line("X", ("a",), {"a b": ""}),
        Line("X", ("a",), {"a;b": ""}),
        Line("X", ("a",), {"a": "\0"}),
        Line("X", ("a" * MAX_BODY,)),
        Line("X", ("a",), {"a": "b" * 5000}),
    ],
)
def test_what_would_be_more_than_one_line_is_refused(line: Line) -> None:
    with pytest.raises(UnsendableError):
        line.encode()


def test_lone_surrogates_do_not_break_a_line() -> None:
    assert Line("X", ("a\ud800b",)).encode() == b"X :a?b\r\n"
