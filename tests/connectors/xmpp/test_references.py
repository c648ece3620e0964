"""Who is mentioned: read from references, and written where the name stands."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from dm_bridge.connectors.xmpp.stanzas import Account, message_payload, read_message
from dm_bridge.ids import RemoteId
from dm_bridge.network.events import RemoteEdit, RemoteMessage, Text

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")
JULIET = "juliet@example.com"
PILL = '<a href="https://matrix.to/#/@_dm_xmpp_juliet=40example.com:example.org">Juliet</a>'
REFERENCE = "{urn:xmpp:reference:0}reference"


def mentions(uri: str, inner: str = "", type_: str = "mention") -> bool:
    reference = f"<reference xmlns='urn:xmpp:reference:0' type='{type_}' uri='{uri}'/>"
    stanza = fromstring(  # noqa: S314
        f"<message xmlns='jabber:client' from='{JULIET}/balcony' to='{ME.bare}' id='i1' type='chat'>"
        f"<body>Romeo, Romeo</body>{reference}{inner}</message>"
    )
    event = read_message(stanza, ME, "n", 1_800_000_000.0)
    assert isinstance(event, RemoteMessage | RemoteEdit)
    assert event.content.body == "Romeo, Romeo"
    return event.content.mention


@pytest.mark.parametrize(
    ("uri", "mentioned"),
    [
        ("xmpp:romeo@example.org", True),
        ("xmpp:ROMEO@example.org/desk?message", True),
        ("xmpp:rom%65o@example.org", True),
        ("xmpp:juliet@example.com", False),
        ("xmpp:@", False),
        ("xmpp:\u200b@%ff", False),
        ("romeo@example.org", False),
        ("", False),
    ],
)
def test_a_contact_mentions_the_user_by_their_address(uri: str, mentioned: bool) -> None:
    assert mentions(uri) is mentioned


def test_an_edit_mentions_too_and_other_references_do_not() -> None:
    correction = "<replace xmlns='urn:xmpp:message-correct:0' id='i0'/>"
    assert mentions("xmpp:romeo@example.org", correction)
    assert not mentions("xmpp:romeo@example.org", type_="data")


def test_an_edit_of_an_answer_still_mentions_who_is_answered() -> None:
    correction = "<replace xmlns='urn:xmpp:message-correct:0' id='i0'/>"
    answer = "<reply xmlns='urn:xmpp:reply:0' id='i9' to='{}'/>"
    other = "xmpp:nurse@example.com"
    assert mentions(other, correction + answer.format("Romeo@example.org/phone"))
    assert not mentions(other, correction + answer.format(JULIET))
    assert not mentions(other, correction + answer.format("@@"))
    assert not mentions(other, correction + "<reply xmlns='urn:xmpp:reply:0' id='i9'/>")
    assert not mentions(other, answer.format(ME.bare))  # who that is about, the bridge looks up


def sent(content: Text, quote: str = "") -> tuple[str, Element | None]:
    body, *rest = message_payload(content, RemoteId("id1"), quote, JULIET)
    return body.text or "", next((each for each in rest if each.tag == REFERENCE), None)


@pytest.mark.parametrize(
    ("content", "quote", "body"),
    [
        (Text("Juliet: hi", f"{PILL}: hi", mention=True), "", "Juliet: hi"),
        (Text("x", f"<b>\U0001f600</b> {PILL}", mention=True), "", "*\U0001f600* Juliet"),
        (Text("x", f"see {PILL}", True, mention=True), "", "/me see Juliet"),
        (Text("x", f"{PILL}!", mention=True), "I am Juliet", "> I am Juliet\nJuliet!"),
    ],
)
def test_a_mention_of_the_contact_is_their_name_and_a_reference_to_it(
    content: Text, quote: str, body: str
) -> None:
    text, reference = sent(content, quote)
    assert text == body
    assert reference is not None
    assert (reference.get("type"), reference.get("uri")) == ("mention", f"xmpp:{JULIET}")
    begin, end = int(reference.get("begin", "")), int(reference.get("end", ""))
    assert (begin, text[begin:end]) == (text.rfind("Juliet"), "Juliet")


def test_a_name_that_is_not_found_has_no_place_and_no_mention_no_reference() -> None:
    _, reference = sent(Text("hi there", mention=True))
    assert reference is not None
    assert "begin" not in reference.attrib
    assert sent(Text("Juliet", PILL))[1] is None
