"""XHTML-IM (XEP-0071): what older clients send, and what nobody should."""

from __future__ import annotations

import re
import time
from html import unescape
from xml.etree.ElementTree import Element, SubElement, fromstring
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.identity import FEATURES
from dm_bridge.connectors.xmpp.stanzas import Account, read_message
from dm_bridge.connectors.xmpp.xhtml import MAX_DEPTH, MAX_STYLE, formatted
from dm_bridge.matrix.formatting import sanitise
from dm_bridge.network.events import RemoteEdit, RemoteMessage, Text

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")


def html(inside: str) -> str:
    return (
        "<html xmlns='http://jabber.org/protocol/xhtml-im'>"
        f"<body xmlns='http://www.w3.org/1999/xhtml'>{inside}</body></html>"
    )


def stanza(inside: str) -> Element:
    raw = f"<message xmlns='jabber:client' from='juliet@example.com/pc' id='1'>{inside}</message>"
    return fromstring(raw)  # noqa: S314


def read(inside: str) -> Text:
    event = read_message(stanza(inside), ME, "n", 0)
    assert isinstance(event, RemoteMessage | RemoteEdit)
    return event.content


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (  # as poezio writes code
            "<pre><code class='language-python'>x</code></pre>",
            '<pre><code class="language-python">x</code></pre>',
        ),
        ("<code class='big'>x</code>", "<code>x</code>"),
        ("<code class='language-&quot;&gt;'>x</code>", "<code>x</code>"),
        # the examples of XEP-0071, section 9
        (
            "<p style='font-size:large'><em>Wow</em>, I'm <span style='color:green'>green</span> "
            "with <strong>envy</strong>!</p>",
            '<p><em>Wow</em>, I\'m <span data-mx-color="#008000">green</span> '
            "with <strong>envy</strong>!</p>",
        ),
        (
            "<p>As Emerson said in his essay <cite>Self-Reliance</cite>:</p>"
            '<blockquote>"A foolish consistency is the hobgoblin of little minds."</blockquote>',
            "<p>As Emerson said in his essay <em>Self-Reliance</em>:</p>"
            '<blockquote>"A foolish consistency is the hobgoblin of little minds."</blockquote>',
        ),
        (
            "<p>Hey, are you licensed to <a href='http://www.jabber.org/'>Jabber</a>?</p>"
            "<p><img src='http://www.xmpp.org/images/psa-license.jpg' alt='A License to Jabber' "
            "height='261' width='537'/></p>",
            '<p>Hey, are you licensed to <a href="http://www.jabber.org/">Jabber</a>?</p>'
            '<p><a href="http://www.xmpp.org/images/psa-license.jpg">A License to Jabber</a></p>',
        ),
        (
            "<p>Here's my .plan for today:</p><ol><li>Add</li><li><strong>Fix</strong> bug</li></ol>",
            "<p>Here's my .plan for today:</p><ol><li>Add</li><li><strong>Fix</strong> bug</li></ol>",
        ),
        # what clients write
        (
            "<span style='font-weight: bold; font-style: italic'>both</span>",
            "<strong><em>both</em></strong>",
        ),
        (
            "<span style='text-decoration: underline line-through'>done</span>",
            "<u><del>done</del></u>",
        ),
        (
            "<span style='COLOR: #f00; background-color: rgb(0, 0, 255)'>loud</span>",
            '<span data-mx-color="#ff0000" data-mx-bg-color="#0000ff">loud</span>',
        ),
        ("<p>one<br/><tt>two</tt></p>", "<p>one<br><code>two</code></p>"),
        ("<b>&lt;b&gt;</b> &amp;c.", "<b>&lt;b&gt;</b> &amp;c."),
        ("<b>a</b><img src='cid:sha1+8f@bob.xmpp.org' alt=':-)'/>", "<b>a</b>:-)"),
    ],
)
def test_formatted_text_is_read(inside: str, expected: str) -> None:
    found = read(f"<body>plain</body>{html(inside)}")
    assert (found.body, found.html) == ("plain", expected)
    assert sanitise(expected) == expected


@pytest.mark.parametrize(
    "inside",
    [
        "<p>a *b* c</p>",
        "<span style='color: #000000; font-family: Arial'>a *b* c</span>",
        "<span style='font-weight: normal; color: inherit'>a *b* c</span>",
        "<div>a *b* c<br/></div>",
        "",
        "<strong/>",
        "<strong> </strong>",
    ],
)
def test_where_nothing_is_formatted_the_body_is_styled(inside: str) -> None:
    assert read(f"<body>a *b* c</body>{html(inside)}").html == "a <strong>b</strong> c"


def test_a_link_that_says_where_it_leads_is_no_formatting() -> None:
    address = "https://example.org/?a=1&amp;b=2"
    link = html(f'<a href="{address}">{address}</a>')
    found = read(f"<body>{address}</body>{link}")
    assert found == Text(unescape(address))


def test_an_emote_is_without_its_command_in_both() -> None:
    found = read(f"<body>/me waves</body>{html('<p>/me <b>waves</b></p>')}")
    assert found == Text("waves", "<p><b>waves</b></p>", emote=True)
    found = read(f"<body>/me waves</body>{html('<b>waves</b>')}")
    assert found == Text("waves", "<b>waves</b>", emote=True)


def test_of_several_languages_the_one_without_a_name_counts() -> None:
    other = html("<b>hi</b>").replace("<body ", "<body xml:lang='de' ").replace("hi", "Moin")
    both = other.replace("</html>", "") + html("<b>hi</b>").partition(">")[2]
    assert read(f"<body>hi</body>{both}").html == "<b>hi</b>"


def test_an_edit_is_formatted_too() -> None:
    replace = "<replace xmlns='urn:xmpp:message-correct:0' id='0'/>"
    assert read(f"<body>hi</body>{html('<b>hi</b>')}{replace}").html == "<b>hi</b>"


def test_it_does_not_bring_back_what_was_taken_out_of_the_body() -> None:
    reply = (
        "<reply xmlns='urn:xmpp:reply:0' to='romeo@example.org' id='0'/>"
        "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='9'/></fallback>"
    )
    found = read(f"<body>&gt; quoted\nanswer</body>{html('&gt; quoted<br/><b>answer</b>')}{reply}")
    assert found == Text("answer")


@pytest.mark.parametrize(
    "inside",
    [
        "<b>a</b><script>alert(1)</script>",
        "<b onclick='alert(1)' style='background: url(javascript:alert(1))'>a</b>",
        "<b>a</b><img src='x' onerror='alert(1)'/>",
        "<b>a</b><iframe src='javascript:alert(1)'/>",
        "<b>a</b><style>b { color: red }</style>",
        "<b>a</b><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    ],
)
def test_nothing_unsafe_passes(inside: str) -> None:
    assert read(f"<body>a</body>{html(inside)}").html == "<b>a</b>"


def test_what_leads_to_code_is_no_link_in_matrix() -> None:
    hostile = html("<a href='javascript:alert(1)'>a</a><a href='&quot;&gt;&lt;x'>b</a>")
    found = read(f"<body>a</body>{hostile}").html
    assert found is not None
    assert sanitise(found) == "<a>a</a><a>b</a>"


def test_deep_and_long_ones_end_in_time() -> None:
    begin = time.process_time()
    deep = formatted(stanza(html("<b>" * 200 + "x" + "</b>" * 200)))
    assert deep == "<b>" * MAX_DEPTH + "x" + "</b>" * MAX_DEPTH
    styled = f"<b style='{'color:red;' * 100_000}'>x</b>"
    assert formatted(stanza(html(styled))) == "<b>x</b>"
    many = f"<span style='{'color:red;' * (MAX_STYLE // 10)}'>x</span>" * 300
    assert formatted(stanza(html(many))) is not None
    assert time.process_time() - begin < 5.0


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60))
def test_no_character_is_lost(text: str) -> None:
    found = formatted(stanza(html(f"<b>{escape(text)}</b>x")))
    assert found is not None
    assert unescape(re.sub("<[^>]*>", "", found)) == (text + "x").lstrip()


@given(st.data())
def test_whatever_is_sent_comes_out_clean(data: st.DataObject) -> None:
    names = st.sampled_from(["p", "b", "span", "a", "img", "br", "script", "x", "ul", "li", "code"])
    values = st.sampled_from(
        ["color: red", "}{", "font-weight:bold", "javascript:x", "https://x.example/", '"><b>']
    )

    def grow(depth: int) -> Element:
        element = Element("{http://www.w3.org/1999/xhtml}" + data.draw(names))
        for name in data.draw(
            st.lists(st.sampled_from(["style", "href", "src", "alt"]), max_size=2)
        ):
            element.set(name, data.draw(values))
        element.text, element.tail = data.draw(values), data.draw(values)
        if depth < 3:
            element.extend(grow(depth + 1) for _ in range(data.draw(st.integers(0, 2))))
        return element

    message = stanza("<body>x</body>")
    body = SubElement(
        SubElement(message, "{http://jabber.org/protocol/xhtml-im}html"),
        "{http://www.w3.org/1999/xhtml}body",
    )
    body.append(grow(0))
    found = formatted(message)
    if found is not None:
        clean = sanitise(found)
        assert opened(clean) == opened(found)
        assert unescape(re.sub("<[^>]*>", "", clean)) == unescape(re.sub("<[^>]*>", "", found))


def opened(text: str) -> set[str]:
    """The tags, with their attributes but for links, whatever is repaired of how they are nested."""
    return set(re.findall("<[^/][^>]*>", re.sub(' href="[^"]*"', "", text)))


def test_clients_are_told_of_it() -> None:
    assert "http://jabber.org/protocol/xhtml-im" in FEATURES
