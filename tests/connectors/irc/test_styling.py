"""Formatting goes both ways, and never carries anything else."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors import markup as markup_module
from dm_bridge.connectors.irc.styling import from_text, strip, to_text
from dm_bridge.network.events import Text


@pytest.mark.parametrize(
    ("line", "body", "markup"),
    [
        ("plain <b>", "plain <b>", None),
        ("\x02bold\x02 not", "bold not", "<strong>bold</strong> not"),
        ("\x02a\x1db\x0fc", "abc", "<strong>a</strong><strong><em>b</em></strong>c"),
        ("\x1fu\x1f\x1es\x1e\x11<m>\x11", "us<m>", "<u>u</u><del>s</del><code>&lt;m&gt;</code>"),
        ("\x034red\x03 5", "red 5", '<span data-mx-color="#ff0000">red</span> 5'),
        (
            "\x0304,01x\x03",
            "x",
            '<span data-mx-color="#ff0000" data-mx-bg-color="#000000">x</span>',
        ),
        ("\x0304,x", ",x", '<span data-mx-color="#ff0000">,x</span>'),
        ("\x03123", "3", '<span data-mx-color="#0000fc">3</span>'),
        ("\x0399x", "x", None),
        ("\x04ff8800x\x04y", "xy", '<span data-mx-color="#ff8800">x</span>y'),
        ("\x16x\x16", "x", None),
        ("\x02\x02x", "x", None),
        ("\x02", "", None),
        ("a\x01\x07b", "ab", None),
    ],
)
def test_codes_become_html(line: str, body: str, markup: str | None) -> None:
    assert to_text(line) == Text(body, markup)
    assert strip(line) == body


@pytest.mark.parametrize(
    ("markup", "line"),
    [
        (
            "<b>b</b> <i>i</i> <u>u</u> <del>s</del> <code>c</code>",
            "\x02b\x02 \x1di\x1d \x1fu\x1f \x1es\x1e \x11c\x11",
        ),
        ("<p><i>i</i> a <s>s</s></p>", "\x1di\x1d a \x1es\x1e"),
        ("<ul><li><u>x</u></li></ul>", "• \x1fx\x1f"),
        ("<blockquote><i>q</i></blockquote>a", "> \x1dq\x1d\na"),
        ("<b><i>b</i></b>", "\x02\x1db\x1d\x02"),
        ("<h1>Title</h1>text", "\x02Title\x02\ntext"),
        ("<b>one<br>two</b>", "\x02one\x02\n\x02two\x02"),
        ("<pre><code>a\n  b</code></pre>", "\x11a\x11\n  \x11b\x11"),
        ("<blockquote>q</blockquote>a", "> q\na"),
        ("<ul><li>x</li></ul>", "• x"),
        ('<a href="https://x.example">here</a>', "here (https://x.example)"),
        ('<span data-mx-color="#fe0001">5 apples</span>3', "\x0304,995 apples\x0399,993"),
        ("<b>a\x01b\x03c</b>", "\x02abc\x02"),
    ],
)
def test_html_becomes_codes(markup: str, line: str) -> None:
    assert from_text(Text("plain", markup)) == line


def test_blanks_are_what_python_takes_for_them_but_formatting() -> None:
    everything = "".join(map(chr, range(0x3001)))
    blank = {char for char in everything if char.isspace()}
    assert set(markup_module._BLANKS) == blank - set("\x1c\x1d\x1e\x1f")


def test_what_html_cannot_say_is_said_plainly() -> None:
    assert from_text(Text("plain\x01\x02", "<img>")) == "plain"
    assert from_text(Text("plain\x01\n\x0fx")) == "plain\nx"


def test_colours_go_there_and_back() -> None:
    markup = '<span data-mx-color="#ff0000">5,5 apples</span>,7'
    back = to_text(from_text(Text("x", markup)))
    assert back == Text("5,5 apples,7", markup)


@given(
    st.text(st.sampled_from("ab<>&\x02\x03\x04\x0f\x11\x16\x1d\x1e\x1f0123,fF\x01 "), max_size=40)
)
def test_html_says_the_same_as_the_text(line: str) -> None:
    text = to_text(line)
    assert not re.search("[\x00-\x1f]", text.body)
    if text.html is not None:
        assert html.unescape(re.sub("<[^>]*>", "", text.html)) == text.body
