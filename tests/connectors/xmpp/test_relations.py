"""Stanzas about other messages: read as what they are, and written so that old clients understand something."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp import relations
from dm_bridge.connectors.xmpp.stanzas import (
    Account,
    Ignored,
    message_payload,
    read_archived,
    read_message,
)
from dm_bridge.ids import RemoteId
from dm_bridge.network.events import (
    RemoteEdit,
    RemoteMessage,
    RemoteReactions,
    RemoteRetraction,
    Text,
)

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")
NOW = 1_800_000_000.0
SID = "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='s1'/>"
REPLY = "<reply xmlns='urn:xmpp:reply:0' to='a@b' id='target'/>"
CORRECTION = "<replace xmlns='urn:xmpp:message-correct:0' id='target'/>"


def stanza(inner: str, sender: str = "juliet@example.com/balcony") -> Element:
    return fromstring(  # noqa: S314
        f"<message xmlns='jabber:client' from='{sender}' to='{ME.bare}' id='i1' type='chat'>{inner}{SID}</message>"
    )


def read(inner: str) -> object:
    return read_message(stanza(inner), ME, "n", NOW)


def test_a_message_is_spoken_of_by_the_id_that_its_sender_gave_it() -> None:
    event = read("<body>hi</body>")
    assert isinstance(event, RemoteMessage)
    assert (event.id, event.reference, event.reply_to) == ("sid:s1", "i1", None)


def test_a_correction_is_an_edit_with_its_formatting() -> None:
    event = read(f"<body>so *much*</body>{CORRECTION}")
    assert isinstance(event, RemoteEdit)
    assert (event.target, event.id, event.reference) == ("target", "sid:s1", "i1")
    assert event.content.body == "so *much*"
    assert "much</strong>" in (event.content.html or "")
    assert not event.from_self


def test_a_correction_without_a_text_is_none() -> None:
    assert isinstance(read(CORRECTION), Ignored)


@pytest.mark.parametrize(
    "inner",
    [
        "<retract xmlns='urn:xmpp:message-retract:1' id='target'/><body>I took it back</body>",
        "<apply-to xmlns='urn:xmpp:fasten:0' id='target'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>",
    ],
)
def test_a_retraction_is_one_in_both_versions(inner: str) -> None:
    event = read(inner)
    assert isinstance(event, RemoteRetraction)
    assert event.target == "target"


def test_something_else_that_is_fastened_is_no_retraction() -> None:
    other = "<apply-to xmlns='urn:xmpp:fasten:0' id='t'><pin xmlns='x'/></apply-to><body>hi</body>"
    assert isinstance(read(other), RemoteMessage)


def test_reactions_are_a_set() -> None:
    inner = "".join(f"<reaction>{emoji}</reaction>" for emoji in ("👍", " 👍 ", "", "❤️", "x" * 101))
    event = read(f"<reactions xmlns='urn:xmpp:reactions:0' id='target'>{inner}</reactions>")
    assert isinstance(event, RemoteReactions)
    assert (event.target, event.emojis) == ("target", ("👍", "❤️"))


def test_a_thousand_reactions_are_cut() -> None:
    inner = "".join(f"<reaction>{number}</reaction>" for number in range(1000))
    event = read(f"<reactions xmlns='urn:xmpp:reactions:0' id='target'>{inner}</reactions>")
    assert isinstance(event, RemoteReactions)
    assert len(event.emojis) == relations.MAX_REACTIONS


@pytest.mark.parametrize(
    ("span", "body", "left"),
    [
        ("start='0' end='5'", "&gt; a\n\nb", "b"),
        ("start='0' end='5'", "&gt; 🙂\n\nb", "b"),  # code points, not bytes
        ("start='0' end='99'", "&gt; a\nb", "> a\nb"),
        ("start='-1' end='3'", "&gt; a\nb", "> a\nb"),
        ("start='3' end='3'", "&gt; a\nb", "> a\nb"),
        ("start='٣' end='4'", "&gt; a\nb", "> a\nb"),
        ("", "&gt; a\nb", "> a\nb"),
        ("start='0' end='1'", "b", "b"),  # nothing would be left
    ],
)
def test_a_quote_that_is_marked_as_one_is_left_out(span: str, body: str, left: str) -> None:
    marked = (
        f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body {span}/></fallback>"
    )
    event = read(f"{REPLY}{marked}<body>{body}</body>")
    assert isinstance(event, RemoteMessage)
    assert (event.reply_to, event.content.body) == ("target", left)


CONVERSE_EDIT = (
    "<message xmlns='jabber:client' from='juliet@localhost/converse.js-1' to='romeo@example.org' type='chat'"
    " id='d3b6146f'><body>{body}</body><active xmlns='http://jabber.org/protocol/chatstates'/>"
    "<request xmlns='urn:xmpp:receipts'/>"
    "<reply xmlns='urn:xmpp:reply:0' id='BvaH' to='romeo@example.org/dm_bridge.1'/>"
    "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body end='46' start='0'/></fallback>"
    "<replace xmlns='urn:xmpp:message-correct:0' id='a38852e0'/>"
    "<origin-id xmlns='urn:xmpp:sid:0' id='0a2d6cbd'/></message>"
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (text := "juliet answers two, edited with a text that is longer than before", text),
        ("shorter", "shorter"),
        ("&gt; romeo@localhost:\n&gt; alice two _edited_ twice\nedited", "edited"),
    ],
)
def test_an_edited_answer_of_converse_says_all_of_what_it_says(body: str, said: str) -> None:
    """Its fallback still has the place of the first version's quote, which an edit has not any more."""
    event = read_message(fromstring(CONVERSE_EDIT.format(body=body)), ME, "n", NOW)  # noqa: S314
    assert isinstance(event, RemoteEdit)
    assert (event.target, event.content.body) == ("a38852e0", said)


def test_an_edit_is_spoken_of_by_the_origin_id_that_its_sender_gave_it() -> None:
    """By that one Converse takes back what was edited (XEP-0424): an edit of it has another one as its id."""
    event = read_message(fromstring(CONVERSE_EDIT.format(body="hi")), ME, "n", NOW)  # noqa: S314
    assert isinstance(event, RemoteEdit)
    assert event.reference == "0a2d6cbd"


@pytest.mark.parametrize("spans", [[(0, 4), (0, 4)], [(0, 4), (2, 4)], [(1, 3), (0, 4)]])
def test_parts_that_overlap_are_left_out_once(spans: list[tuple[int, int]]) -> None:
    assert relations.without("url\nwords", spans) == "words"


def test_what_is_a_fallback_for_something_else_stays() -> None:
    marked = "<fallback xmlns='urn:xmpp:fallback:0' for='x'><body start='0' end='2'/></fallback>"
    event = read(f"{marked}<body>abc</body>")
    assert isinstance(event, RemoteMessage)
    assert event.content.body == "abc"


def test_a_copy_from_the_archive_has_the_same_id_and_its_own_time() -> None:
    live = read("<retract xmlns='urn:xmpp:message-retract:1' id='target'/>")
    inner = tostring(
        stanza("<retract xmlns='urn:xmpp:message-retract:1' id='target'/>"), encoding="unicode"
    )
    forwarded = fromstring(  # noqa: S314
        "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>"
        f"{inner}</forwarded>"
    )
    kept = read_archived(forwarded, "s1", ME, "n", NOW)
    assert isinstance(live, RemoteRetraction)
    assert isinstance(kept, RemoteRetraction)
    assert kept.sent_at == 1577836800.0
    assert replace(kept, sent_at=None, other_id=None) == live


@pytest.mark.parametrize(
    ("end", "body", "quote"),
    [
        (9, "> a\n> *b\nyes", "a\n*b"),
        (4, "> a\n", ""),  # nothing else is said
        (99, "> a\nyes", ""),
    ],
)
def test_what_is_left_out_is_kept_for_who_does_not_know_the_message(
    end: int, body: str, quote: str
) -> None:
    span = f"<body end='{end}'/>"
    fallback = f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'>{span}</fallback>"
    event = read(f"<body>{body.replace('>', '&gt;')}</body>{REPLY}{fallback}")
    assert isinstance(event, RemoteMessage)
    assert event.quote == quote


@given(quoted=st.text(min_size=1, max_size=500), body=st.text(min_size=1, max_size=50))
def test_a_quote_of_ours_is_left_out_by_who_knows_replies(quoted: str, body: str) -> None:
    text = "".join(each for each in body if each.isprintable()).strip() or "x"
    payload = message_payload(Text(text), RemoteId("id"), quoted)
    element = Element("{jabber:client}message")
    element.extend([*payload, *relations.reply("target", "a@b")])
    whole = element.findtext("{jabber:client}body") or ""
    assert whole.startswith("> ")
    assert relations.without_quote(element, whole) == text.strip("\n")
    assert relations.answered(element) == "target"


def test_what_we_write_is_read_back() -> None:
    element = Element("{jabber:client}message")
    element.extend(relations.reaction("target", ("👍", "❤️")))
    assert relations.reactions(element) == relations.Reactions(RemoteId("target"), ("👍", "❤️"))
    element = Element("{jabber:client}message")
    element.extend(relations.retraction("target"))
    assert relations.retracted(element) == "target"
    assert element.findtext("{jabber:client}body")
    element.remove(element[0])  # for clients that know version 0.3 only
    assert relations.retracted(element) == "target"
    element = Element("{jabber:client}message")
    element.extend(relations.correction("target"))
    assert relations.corrected(element) == "target"
