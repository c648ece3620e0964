"""Text between Matrix and the networks: what survives, and what never gets through."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dm_bridge.ids import UserId
from dm_bridge.matrix.formatting import (
    HTML_FORMAT,
    MAX_HTML,
    code,
    from_content,
    names_user,
    notice,
    plain,
    sanitise,
    to_content,
)
from dm_bridge.network.events import Text

any_text = st.text(st.characters(exclude_categories=["Cs"]))
markup = st.lists(
    st.sampled_from(
        [
            *"`*_[]()<>!#&\\~|-+=.:/@'\" \n\t\r\0{}",
            "```",
            "](",
            "http://x",
            "<b>",
            "&lt;",
            "1.",
            "    ",
            "a",
        ]
    )
).map("".join)


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("<script>alert(1)</script>hello", "hello"),
        ("<style>*{display:none}</style>hello", "hello"),
        ('<a href="javascript:alert(1)">x</a>', "<a>x</a>"),
        ('<a href="JaVaScRiPt&colon;alert(1)">x</a>', "<a>x</a>"),
        ('<a href="data:text/html,x">x</a>', "<a>x</a>"),
        ('<a href="vbscript:x">x</a>', "<a>x</a>"),
        ('<a href="file:///etc/passwd">x</a>', "<a>x</a>"),
        ('<b onclick="x()" style="position:fixed" class="y">x</b>', "<b>x</b>"),
        ('<img src="https://tracker.example/x.png" alt="y">', ""),
        ('<img src="mxc://x/y">', ""),
        ("<svg onload=alert(1)><b>x</b></svg>", "<b>x</b>"),
        ('<iframe src="https://x"></iframe>x', "x"),
        ('<form action="https://x"><input name="y"></form>', ""),
        ("<mx-reply><blockquote>what they wrote</blockquote></mx-reply>what I say", "what I say"),
        ('<span data-mx-color="red;x:url(y)">x</span>', "<span>x</span>"),
        ('<span data-mx-bg-color="#ff0000\n">x</span>', "<span>x</span>"),
        ("<!-- hidden -->x", "x"),
        ("<b>never closed", "<b>never closed</b>"),
        ("</b></p>x", "<p></p>x"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("<b\0>x</b>", "x"),
    ],
)
def test_what_could_harm_is_taken_out(hostile: str, harmless: str) -> None:
    assert sanitise(hostile) == harmless


@pytest.mark.parametrize(
    "harmless",
    [
        "<p>one</p><p>two</p>",
        "<strong>a</strong> <em>b</em> <del>c</del> <u>d</u>",
        '<a href="https://example.org/?a=1&amp;b=2">x</a>',
        '<a href="xmpp:romeo@example.org">x</a>',
        '<a href="mailto:romeo@example.org">x</a>',
        '<pre><code class="language-python">x = 1</code></pre>',
        '<ol start="3"><li>x</li></ol>',
        "<blockquote>x</blockquote>",
        '<span data-mx-spoiler="why">x</span>',
        '<span data-mx-color="#ff0000">x</span>',
        '<font data-mx-bg-color="#00FF7f">x</font>',
        "one<br>two",
    ],
)
def test_formatting_that_matrix_recommends_survives(harmless: str) -> None:
    assert sanitise(harmless) == harmless


@pytest.mark.parametrize(
    "nested",
    [
        "<div>",
        "<b>",
        "<b><p>",
        "<font><table>",
        "<ul><li>",
        "<blockquote>",
        "<a href=x>",
        "<table>",
    ],
)
def test_ten_thousand_nested_tags_take_bounded_time(nested: str) -> None:
    hostile = (nested * 10_000)[:MAX_HTML]
    started = time.process_time()
    sanitise(hostile)
    assert time.process_time() - started < 3


@given(any_text)
def test_sanitised_text_is_not_changed_by_sanitising_it_again(text: str) -> None:
    assert sanitise(sanitise(text)) == sanitise(text)


PIECES = [
    "<",
    ">",
    "/",
    "script",
    "a",
    "href=",
    '"',
    "'",
    "javascript:",
    "x",
    "on",
    "click",
    "=",
    "<b>",
    "</",
    "<a",
]


@given(st.lists(st.sampled_from([*PIECES, " ", "<a href='"])).map("".join))
def test_no_arrangement_of_pieces_becomes_a_script_or_a_handler(text: str) -> None:
    clean = sanitise(text)
    tags = re.findall(r"<[^>]*>", clean)
    assert all(re.fullmatch(r'</?(a|b)( href="[^"]*")?>', tag) for tag in tags), clean
    assert not any("javascript:" in tag for tag in tags)


# -- to Matrix


def test_plain_text_stays_plain() -> None:
    assert to_content(Text("a <b>")) == {"msgtype": "m.text", "body": "a <b>"}


def test_formatted_text_is_sanitised_on_its_way_to_matrix() -> None:
    content = to_content(Text("x", "<b>x</b><script>y</script>", emote=True))
    assert content == {
        "msgtype": "m.emote", "body": "x", "format": HTML_FORMAT, "formatted_body": "<b>x</b>",
    }  # fmt: skip


def test_endless_formatting_is_left_out_and_the_text_stays() -> None:
    content = to_content(Text("x", "<b>" * MAX_HTML))
    assert content == {"msgtype": "m.text", "body": "x"}


# -- from Matrix


def message(body: object = "hello", **more: object) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, **more}


def formatted(html_text: object, **more: object) -> dict[str, Any]:
    return message(format=HTML_FORMAT, formatted_body=html_text, **more)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (message(), Text("hello")),
        (message(msgtype="m.emote"), Text("hello", emote=True)),
        (message(msgtype=["m.emote"]), Text("hello")),
        (formatted("<b>x</b><script>y</script>"), Text("hello", "<b>x</b>")),
        (formatted("<script>y</script>"), Text("hello")),
        (formatted("<b>" * MAX_HTML), Text("hello")),
        (formatted(None), Text("hello")),
        (formatted({}), Text("hello")),
        (message(formatted_body="<b>x</b>"), Text("hello")),
        (message(formatted_body="<b>x</b>", format="org.example"), Text("hello")),
        (message(None), None),
        (message(["hello"]), None),
        ({}, None),
    ],
)
def test_a_message_becomes_the_text_it_holds(content: dict[str, Any], text: Text | None) -> None:
    assert from_content(content) == text


@pytest.mark.parametrize(
    ("body", "without"),
    [
        ("> <@a:b> hello\n\nanswer", "answer"),
        ("> <@a:b> one\n> two\n>\n\nanswer\n\n> kept", "answer\n\n> kept"),
        ("> * <@a:b> waves\n\nanswer", "answer"),
        ("no fallback at all", "no fallback at all"),
        ("first\n> then a quote", "first\n> then a quote"),
        ("> <@a:b> hello\nanswer", "answer"),
        ("> <@a:b> only a quote", ""),
        ("> a quote of the user's own\n\nanswer", "> a quote of the user's own\n\nanswer"),
    ],
)
def test_the_fallback_of_a_reply_is_not_sent_on(body: str, without: str) -> None:
    relation = {"m.in_reply_to": {"event_id": "$x"}}
    text = from_content(message(body, **{"m.relates_to": relation}))
    assert text is not None
    assert text.body == without


def test_a_quote_in_a_message_that_is_no_reply_stays() -> None:
    for relation in ({}, {"rel_type": "m.thread"}, "m.in_reply_to", None):
        text = from_content(message("> quoted\n\nhello", **{"m.relates_to": relation}))
        assert text is not None
        assert text.body == "> quoted\n\nhello"


# -- what the bot says


def test_a_notice_has_both_forms() -> None:
    assert notice("Write `help` [here](https://example.org) now.") == {
        "msgtype": "m.notice",
        "body": "Write `help` here (https://example.org) now.",
        "format": HTML_FORMAT,
        "formatted_body": '<p>Write <code>help</code> <a href="https://example.org">here</a> now.</p>',
        "m.mentions": {},
    }


def test_a_notice_knows_no_html() -> None:
    assert "<img" not in notice("<img src=x> <b>x</b>")["formatted_body"]


def words(text: str) -> str:
    """``text`` as a reader sees it: white space runs together, and NUL does not exist."""
    return " ".join(text.split()).replace("\0", "\ufffd")


@given(any_text | markup)
def test_text_in_a_code_span_is_nothing_but_that_text(text: str) -> None:
    rendered = notice(f"Before {code(text)} after.")["formatted_body"]
    inside = re.fullmatch(r"<p>Before <code>([^<>]*)</code> after\.</p>", rendered, re.DOTALL)
    assert inside is not None, rendered
    assert words(html.unescape(inside[1])) == words(text)


@given(any_text | markup)
def test_plain_text_is_nothing_but_that_text_wherever_it_stands(text: str) -> None:
    for before, after in (("Before ", " after."), ("", "x")):
        rendered = notice(f"{before}{plain(text)}{after}")["formatted_body"]
        inside = re.fullmatch(rf"<p>{before}([^<>]*){re.escape(after)}</p>", rendered, re.DOTALL)
        assert inside is not None, rendered
        assert words(html.unescape(inside[1])) == words(text)


@given(markup)
def test_plain_text_reads_the_same_for_clients_without_formatting(text: str) -> None:
    body = notice(f"{plain(text)} and {code('a*b')}")["body"]
    assert body == f"{' '.join(text.split())} and `a*b`"


@given(markup)
@example("an[odd](address)@localhost")
def test_a_code_span_reads_the_same_for_clients_without_formatting(text: str) -> None:
    assert notice(f"Write {code(text)} now.")["body"] == f"Write {code(text)} now."


JULIET = UserId("@_dm_xmpp_juliet=40x.org:example.org")
PILL = f'<a href="https://matrix.to/#/{JULIET}">J</a>'
ENCODED = "https://matrix.to/#/%40_dm_xmpp_juliet%3D40x.org%3Aexample.org"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"m.mentions": {"user_ids": [JULIET]}}, True),
        ({"m.mentions": {"user_ids": [JULIET]}, "m.relates_to": {"m.in_reply_to": {}}}, False),
        ({"formatted_body": f'<a href="https://matrix.to/#/{JULIET}">J</a>'}, True),
        ({"formatted_body": f"<a href='{ENCODED}?via=x'>J</a>"}, True),
        ({"formatted_body": f'<a href="matrix:u/{JULIET[1:]}">J</a>'}, True),
        ({"formatted_body": f'<a href="https://matrix.to/#/{JULIET}x">J</a>'}, False),
        ({"formatted_body": f"<mx-reply>{PILL}<br/>hi</mx-reply>yes"}, False),
        ({"formatted_body": f"<mx-reply>{PILL}<br/>hi</mx-reply>{PILL}: yes"}, True),
        ({"formatted_body": f"<MX-Reply class='x'>{PILL}<br/>\n<i>hi</i>"}, False),
        ({"m.mentions": {"user_ids": ["@a:b"]}}, False),
        ({"m.mentions": {"user_ids": None}, "formatted_body": 1}, False),
        ({"m.mentions": []}, False),
        ({}, False),
    ],
)
def test_a_user_is_mentioned_by_a_link_or_in_the_list_but_not_by_an_answer(
    content: dict[str, Any], named: bool
) -> None:
    assert names_user(content, JULIET) is named


def test_a_custom_emoji_within_formatted_text_keeps_its_name_and_no_more() -> None:
    image = '<img data-mx-emoticon src="mxc://a/b" alt=":cat:" height="32" onerror="x">'
    text = from_content(message("hi :cat:", format=HTML_FORMAT, formatted_body=f"hi {image}"))
    assert text == Text("hi :cat:", 'hi <img alt=":cat:">')
    assert sanitise(f"hi {image}") == "hi "
