"""A message is split where people would split it, and loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.irc.sending import pieces
from dm_bridge.connectors.irc.splitting import split
from dm_bridge.connectors.irc.styling import to_text
from dm_bridge.network.events import Text


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("one\n\ntwo\r\nthree", 99, ["one", "two", "three"]),
        ("a\u2028b\x0bc\u0085d", 99, ["a", "b", "c", "d"]),
        ("abcdefgh", 4, ["abcd", "efgh"]),
        ("ab cdefgh", 4, ["ab", "cdef", "gh"]),
        ("äöüß", 4, ["äö", "üß"]),
        ("€€€", 8, ["€€", "€"]),
        ("  indented", 99, ["  indented"]),
        ("a\0b", 9, ["ab"]),
        ("", 9, []),
        ("     ", 4, []),
        ("          x", 4, ["x"]),
        ("a \x02b\x02 \x1dc\x1d \x1ed\x1e", 99, ["a \x02b\x02 \x1dc\x1d \x1ed\x1e"]),
        ("aaae\u0301", 5, ["aaa", "e\u0301"]),
        ("aaa\U0001f468\u200d\U0001f469", 12, ["aaa", "\U0001f468\u200d\U0001f469"]),
        ("a\ud800b", 9, ["a?b"]),
    ],
)
def test_text_is_split(text: str, limit: int, expected: list[str]) -> None:
    assert split(text, limit) == expected


def test_formatting_breaks_no_line() -> None:
    """Some of IRC's control characters are line breaks to Unicode."""
    html = "<b>b</b> <i>i</i> <u>u</u> <del>s</del> <code>c</code>"
    (line,) = pieces(Text("b i u s c", html=html), 400)
    assert line == "\x02b\x02 \x1di\x1d \x1fu\x1f \x1es\x1e \x11c\x11"


@pytest.mark.parametrize("inner", ["w" * 90, "word " * 20 + "word", "9" * 49, "\u20ac" * 60])
def test_formatting_goes_on_in_the_next_line(inner: str) -> None:
    """Clients end it with the line; a colour's code is not broken, or its rest would be read as text."""
    for number in range(40, 48):
        before = "x" * number
        marked = f'<span data-mx-color="#ff0000"><b>{inner}</b></span>'
        lines = pieces(Text("plain", html=f"{before}{marked}<i>tail</i>"), 64)
        texts = [to_text(line) for line in lines]
        assert all(len(line.encode()) <= 64 for line in lines)
        assert sum("strong" in (text.html or "") for text in texts) >= len(texts) - 1
        shown = "".join(text.html or text.body for text in texts).replace(" ", "")
        for element in ('<spandata-mx-color="#ff0000"><strong>', "</strong></span>"):
            shown = shown.replace(element, "")
        assert shown == f"{before}{inner}<em>tail</em>".replace(" ", "")


def test_no_line_holds_nothing_but_codes() -> None:
    assert pieces(Text("plain", html=f"<b>{'w' * 63}</b>"), 64) == ["\x02" + "w" * 63]


@given(st.text(max_size=300), st.integers(4, 40))
def test_nothing_is_lost_but_breaks_and_blanks(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert all(0 < len(piece.encode()) <= limit for piece in parts)
    assert not any(char in piece for piece in parts for char in "\r\n\0")

    def without(value: str) -> str:
        return "".join(char for char in value if char not in " \0\r\n\x0b\x0c\x85\u2028\u2029")

    assert without("".join(parts)) == without(text.encode("utf-8", "replace").decode())


@given(st.lists(st.text("abcäö€\U0001f600", min_size=1, max_size=3), max_size=40))
def test_words_that_fit_stay_whole(words: list[str]) -> None:
    assert " ".join(split(" ".join(words), 12)).split() == words


def test_the_limit_leaves_room_for_a_character() -> None:
    with pytest.raises(ValueError, match="no room"):
        split("x", 3)
