"""Message styling (XEP-0393), both ways: its examples, its edges, and hostile bodies."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.styling import MAX_QUOTE_DEPTH, to_html

TEXT = st.text(st.sampled_from("*_~`> \nab<&\"'\u00a0\u2003") | st.characters(), max_size=60)


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("*strong span*", "<strong>strong span</strong>"),
        ("plain _emphasis_ plain", "plain <em>emphasis</em> plain"),
        ("`pre` plain *strong*", "<code>pre</code> plain <strong>strong</strong>"),
        ("*strong*plain*", "<strong>strong</strong>plain*"),
        ("* plain *strong*", "* plain <strong>strong</strong>"),
        ("Two spans, both *alike in dignity*", "Two spans, both <strong>alike in dignity</strong>"),
        (
            "The full title is _Twelfth Night, or What You Will_ but\n_most_ people shorten it.",
            "The full title is <em>Twelfth Night, or What You Will</em> but<br>"
            "<em>most</em> people shorten it.",
        ),
        ("Everyone ~dis~likes cake.", "Everyone <del>dis</del>likes cake."),
        ("Wow, I can write in `monospace`!", "Wow, I can write in <code>monospace</code>!"),
        ("This is `*monospace*`", "This is <code>*monospace*</code>"),
        (
            "This is *`monospace and bold`*",
            "This is <strong><code>monospace and bold</code></strong>",
        ),
        (
            '```ignored\n(println "Hello, world!")\n```\n\nThis should show up',
            '<pre><code class="language-ignored">(println "Hello, world!")\n</code></pre>'
            "This should show up",
        ),
        (
            '> ```\n> (println "Hello, world!")\n\nThe entire',
            '<blockquote><pre><code>(println "Hello, world!")\n</code></pre></blockquote>'
            "The entire",
        ),
        (
            "> That that is, is.\n\nSaid the old hermit of Prague.",
            "<blockquote>That that is, is.</blockquote>Said the old hermit of Prague.",
        ),
        (
            ">> That that is, is.\n> Said the old hermit of Prague.\n\nWho?",
            "<blockquote><blockquote>That that is, is.</blockquote>"
            "Said the old hermit of Prague.</blockquote>Who?",
        ),
        ("> _ <", "<blockquote>_ &lt;</blockquote>"),
    ],
)
def test_the_examples_of_the_specification(body: str, html: str) -> None:
    assert to_html(body) == html


@pytest.mark.parametrize(
    "body",
    [
        "",
        "plain span",
        "not strong*",
        "*not strong",
        "*not \n strong*",
        "*not *strong",
        "**",
        "***",
        "****",
        "There are three blocks in this body, one per line,\nbut there is no *formatting\n"
        "as spans* may not escape blocks.",
        "2*3*4",
        "snake_case_name",
        "(*not strong*)",
        "* not strong*",
        "*not strong *",
        "*\u2003no*",
        "https://example.org/a_b_c",
    ],
)
def test_what_only_looks_like_styling_is_left_alone(body: str) -> None:
    assert to_html(body) is None


def test_spans_nest_and_do_not_overlap() -> None:
    assert to_html("*_both_*") == "<strong><em>both</em></strong>"
    assert to_html("*a _b* c_") == "<strong>a _b</strong> c_"
    assert to_html("_*~`all`~*_") == "<em><strong><del><code>all</code></del></strong></em>"


def test_text_is_escaped_everywhere() -> None:
    assert to_html("*<b>&* <i>\n> </blockquote>\n```<x>\n</pre>\n```") == (
        "<strong>&lt;b&gt;&amp;</strong> &lt;i&gt;"
        "<blockquote>&lt;/blockquote&gt;</blockquote>"
        "<pre><code>&lt;x&gt;\n&lt;/pre&gt;\n</code></pre>"
    )


def test_a_fence_without_a_block_keeps_its_text() -> None:
    assert to_html("```one line```") == "<pre><code>one line```\n</code></pre>"


def test_quotes_are_nested_to_a_bound() -> None:
    html = to_html(">" * 1000 + " deep") or ""
    assert html.count("<blockquote>") == MAX_QUOTE_DEPTH
    assert "deep" in html


@pytest.mark.parametrize(
    "unit", ["*a ", "*_~", "> ", "*a_b~ ", ">", "*", "_a *b ", "*_`x", "`*", "```\n", ">```\n"]
)
def test_hostile_bodies_take_no_time(unit: str) -> None:
    body = (unit * 65_536)[:65_536]
    started = time.process_time()
    to_html(body)
    assert time.process_time() - started < 2


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: set[str] = set()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.text += "\n" if tag == "br" else ""


@given(TEXT)
def test_any_text_survives_as_text(body: str) -> None:
    html = to_html(body)
    if html is None:
        return
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.tags <= {"strong", "em", "del", "code", "pre", "blockquote", "br"}
    visible = re.sub(r"[*_~`>\s]", "", body)
    info = re.findall(r'class="language-([^"]*)"', html)
    assert sorted(re.sub(r"[*_~`>\s]", "", reader.text + "".join(info).replace("_", ""))) == sorted(
        visible
    )
