"""Spoilers are hidden where that can be, and announced where it cannot."""

from __future__ import annotations

import time
from xml.etree.ElementTree import fromstring

import pytest

from dm_bridge.connectors.xmpp.spoilers import MAX_HINT, hiding
from dm_bridge.connectors.xmpp.stanzas import Account, message_payload, read_message
from dm_bridge.ids import RemoteId
from dm_bridge.network.events import RemoteMessage, Text

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")


def read(inside: str) -> Text:
    raw = f"<message xmlns='jabber:client' from='juliet@example.com/pc' id='1'>{inside}</message>"
    event = read_message(fromstring(raw), ME, "n", 0)  # noqa: S314
    assert isinstance(event, RemoteMessage)
    return event.content


@pytest.mark.parametrize(
    ("inside", "content"),
    [
        (
            "<body>He dies</body><spoiler xmlns='urn:xmpp:spoiler:0'>the \\n \"end\"</spoiler>",
            Text(
                '(spoiler: the "end") ||He dies||',
                '<span data-mx-spoiler="the &quot;end&quot;">He dies</span>',
            ),
        ),
        (
            "<body>He *dies* &lt;\\nsoon</body><spoiler xmlns='urn:xmpp:spoiler:0'/>",
            Text(
                "(spoiler) ||He *dies* <\\nsoon||",
                "<span data-mx-spoiler>He <strong>dies</strong> &lt;<br>soon</span>",
            ),
        ),
        (
            "<subject>Play</subject><body>He dies</body><spoiler xmlns='urn:xmpp:spoiler:0'/>",
            Text(
                "Play\\n(spoiler) ||He dies||",
                "<strong>Play</strong><br><span data-mx-spoiler>He dies</span>",
            ),
        ),
        (
            "<body>He dies</body><spoiler xml:lang='de' xmlns='urn:xmpp:spoiler:0'>Ende</spoiler>"
            "<spoiler xmlns='urn:xmpp:spoiler:0'>end</spoiler>",
            Text("(spoiler: end) ||He dies||", '<span data-mx-spoiler="end">He dies</span>'),
        ),
    ],
)
def test_what_a_contact_hides_is_hidden(inside: str, content: Text) -> None:
    assert read(inside.replace("\\n", "\n")) == Text(
        content.body.replace("\\n", "\n"), content.html
    )


def test_what_a_user_hides_is_announced_and_hides_the_message() -> None:
    html = 'In it, <span data-mx-spoiler="the &lt;end&gt;">he <b>dies</b></span>.'
    body, _, spoiler = message_payload(Text("In it, he dies.", html), RemoteId("1"))
    assert body.text == "In it, (spoiler: the <end>) ||he *dies*||."
    assert (spoiler.tag, spoiler.text) == ("{urn:xmpp:spoiler:0}spoiler", "the <end>")


@pytest.mark.parametrize(
    ("html", "hint"),
    [
        ('<span data-mx-spoiler="">x</span>', None),
        ('<span data-mx-color="#ff0000" data-mx-spoiler="why">x</span>', "why"),
        ('<span data-mx-spoiler>x</span><span data-mx-spoiler="why">y</span>', "why"),
        (f'<span data-mx-spoiler="{"x" * 5000}">y</span>', "x" * MAX_HINT),
    ],
)
def test_the_first_reason_is_the_hint(html: str, hint: str | None) -> None:
    (element,) = hiding(html)
    assert element.text == hint


@pytest.mark.parametrize("html", [None, "", "x", '<span data-mx-color="#ff0000">x</span>'])
def test_a_message_without_a_spoiler_hides_nothing(html: str | None) -> None:
    assert hiding(html) == []


def test_looking_for_spoilers_takes_no_longer_than_reading() -> None:
    begin = time.process_time()
    assert hiding('<a title="' + "<span " * 20_000 + '">') == []
    assert len(hiding('<span data-mx-spoiler="' + "<span " * 20_000)) == 1
    assert time.process_time() - begin < 5
