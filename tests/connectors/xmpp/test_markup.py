"""HTML from Matrix becomes text that a person can read, whatever it is made of."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.styling import from_html, to_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("a <b>b</b> <strong>c</strong>", "a *b* *c*"),
        ("<em>a</em> <i>b</i> <del>c</del> <s>d</s> <strike>e</strike>", "_a_ _b_ ~c~ ~d~ ~e~"),
        ("<code>a*b</code>", "`a*b`"),
        ("<b><i>x</i></b>", "*_x_*"),
        ("<b>a<b>b</b></b>", "*ab*"),
        ("<b> spaced </b>out", "*spaced* out"),
        ("<b>one<br>two</b>", "*one*\n*two*"),
        ("<b>2*3</b>", "2*3"),
        ("<b> </b>", ""),
        ("<p>one</p>\n<p>two</p>", "one\n\ntwo"),
        ("<div>one</div><div>two</div>three", "one\ntwo\nthree"),
        ("one<br>two<br/>three<br />", "one\ntwo\nthree"),
        ("a \n\t b", "a b"),
        ("a&nbsp;&lt;&amp;&#x1F600;&gt;", "a\u00a0<&\U0001f600>"),
        ("<h1>Title</h1><p>Text</p>", "*Title*\n\nText"),
        ("<h2><b>Title</b></h2>", "*Title*"),
        ("<ul><li>a</li><li>b <b>c</b></li></ul>", "• a\n• b *c*"),
        ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b"),
        ('<ol start="9"><li>a</li><li>b</li></ol>', "9. a\n10. b"),
        ("<ul><li>a<ul><li>b</li></ul></li></ul>", "• a\n  • b"),
        ("<blockquote>a<br>b</blockquote>c", "> a\n> b\nc"),
        ("<blockquote><blockquote>a</blockquote>b</blockquote>", ">> a\n> b"),
        ("<pre><code>  a\n  *b*\n</code></pre>c", "```\n  a\n  *b*\n```\nc"),
        ('<pre><code class="language-py">x</code></pre>', "```py\nx\n```"),
        ('<a href="https://a.example/">a</a>', "a (https://a.example/)"),
        ('<a href="https://a.example/">https://a.example/</a>', "https://a.example/"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="https://matrix.to/#/@a:b.example">Ann</a>', "Ann"),
        ('<a href="https://a.example/?a=1&amp;b=2">x</a>', "x (https://a.example/?a=1&b=2)"),
        ("<a>x</a>", "x"),
        ('<img src="mxc://x" alt="a cat">', "a cat"),
        ('<img src="mxc://x" title=":cat:" />', ":cat:"),
        ("<mx-reply><blockquote>old</blockquote></mx-reply>new", "new"),
        ("<script>alert(1)</script><style>a{}</style>x", "x"),
        ('<span data-mx-color="#f00">red</span> <u>u</u> <font color="x">f</font>', "red u f"),
        (
            '<span data-mx-spoiler="an  end">he <b>dies</b></span>!',
            "(spoiler: an end) ||he *dies*||!",
        ),
        ('<span data-mx-spoiler="">x</span>', "(spoiler) ||x||"),
        ('<pre><span data-mx-spoiler="">x</span></pre>', "```\nx\n```"),
        ('a<span data-mx-spoiler=""> </span>b', "a b"),
        ("<made-up>x</made-up>", "x"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a | b\nc"),
        (
            "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>",
            "a\nb",
        ),
        ("a<!-- b -->c", "ac"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<b>unclosed", "*unclosed*"),
        ("</b>closed", "closed"),
        ("<b><i>crossed</b></i>", "*_crossed_*"),
        ("", ""),
    ],
)
def test_html_becomes_text_a_person_can_read(html: str, text: str) -> None:
    assert from_html(html) == text


@pytest.mark.parametrize(
    "unit",
    [
        "<b>", "<i><b>", "<", "<a", "<!--", "<![", "</", "&", "<blockquote>", "<ul><li>",
        '<a href="', "<!", "<?", "x\n ", "<a \"'>", "<br>", '<a "x" "', "<a x=1 ", "<td>", "<pre>",
        "<blockquote>a\n</blockquote>", "<a '", "<p>",
    ],
)  # fmt: skip
def test_hostile_html_takes_no_time_and_little_space(unit: str) -> None:
    html = (unit * 65_536)[:65_536]
    started = time.process_time()
    text = from_html(html)
    assert time.process_time() - started < 2
    assert len(text) < 5 * 65_536


@pytest.mark.parametrize("tag", ["blockquote", "ul><li", "ol><li"])
def test_deep_quotes_and_lists_do_not_multiply_what_is_in_them(tag: str) -> None:
    html = f"<{tag}>" * 100 + "a<br>" * 10_000
    assert len(from_html(html)) < 16 * len(html)


def test_ten_thousand_nested_tags_leave_their_text() -> None:
    for tag in ("b", "blockquote", "ul", "div", "span", "pre", "a", "made-up"):
        assert "core" in from_html(f"<{tag}>" * 10_000 + "core" + f"</{tag}>" * 10_000)


@given(st.text(max_size=80) | st.text(st.sampled_from("<>/abpreuli \"'=&;!-\n*_`"), max_size=80))
def test_any_text_can_be_read(html: str) -> None:
    from_html(html)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["strong", "em", "del", "code"]),
            st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_formatting_survives_the_way_there_and_back(words: list[tuple[str, str]]) -> None:
    html = " ".join(f"<{tag}>{word}</{tag}>" for tag, word in words)
    assert to_html(from_html(html)) == html
