"""Calls and invitations to group chats leave a line, which claims nothing that nobody vouches for."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import pytest

from dm_bridge.connectors.xmpp.stanzas import Account, Ignored, read_message
from dm_bridge.network.events import RemoteEvent, RemoteMessage

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")
DIRECT = "<x xmlns='jabber:x:conference' jid='Garden@rooms.example/x' reason='{}'/>"
PASSED_ON = (
    "<body>You are invited</body><x xmlns='http://jabber.org/protocol/muc#user'>"
    "<invite from='{}'><reason>Come!</reason></invite></x>"
    "<x xmlns='jabber:x:conference' jid='garden@rooms.example'/>"
)
PROPOSE = "<propose xmlns='urn:xmpp:jingle-message:0' id='1'>{}</propose>"
ATTENTION = "<attention xmlns='urn:xmpp:attention:0'/>"
RTP = "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='{}'/>"


def read(inside: str, sender: str = "juliet@example.com/pc") -> RemoteEvent | Ignored:
    raw = f"<message xmlns='jabber:client' from='{sender}' id='1'>{inside}</message>"
    return read_message(fromstring(raw), ME, "n", 0)  # noqa: S314


def said(inside: str, sender: str = "juliet@example.com/pc") -> tuple[str, str]:
    event = read(inside, sender)
    assert isinstance(event, RemoteMessage)
    assert not event.unreadable
    return event.chat, event.content.body


def test_an_invitation_by_a_contact_stands_in_their_chat() -> None:
    chat, body = said(DIRECT.format("a  walk"))
    assert chat == "juliet@example.com"
    assert body.startswith(
        "This is an invitation to the group chat garden@rooms.example (“a walk”). "
    )
    assert "use another XMPP client" in body
    assert len(said(DIRECT.format("x" * 5000))[1]) < 500


def test_an_invitation_that_a_group_chat_passes_on_is_its_own_word() -> None:
    chat, body = said(PASSED_ON.format("nurse@example.com/x"), "garden@rooms.example")
    assert chat == "garden@rooms.example"
    assert body.startswith(
        "This is a group chat. It says that nurse@example.com invites you (“Come!”). "
    )
    by_nick = said(PASSED_ON.format("garden@rooms.example/The  Nurse"), "garden@rooms.example")[1]
    assert "that The Nurse invites" in by_nick
    assert "that somebody invites" in said(PASSED_ON.format("@@"), "garden@rooms.example")[1]


def test_a_client_passes_no_invitations_on() -> None:
    assert isinstance(read(PASSED_ON.format("nurse@example.com")), Ignored)


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        (PROPOSE.format(RTP.format("audio")), "a call"),
        (PROPOSE.format(RTP.format("audio") + RTP.format("video")), "a video call"),
        ("<invite xmlns='urn:xmpp:call-invites:0' video='true'/>", "a video call"),
        ("<invite xmlns='urn:xmpp:call-invites:0'/>", "a call"),
    ],
)
def test_a_call_is_told_once(inside: str, kind: str) -> None:
    chat, body = said(inside)
    assert chat == "juliet@example.com"
    assert body.startswith(f"📞 This was {kind}, and the bridge carries none.")
    for later in ("proceed", "accept", "reject", "retract", "finish"):
        assert isinstance(read(f"<{later} xmlns='urn:xmpp:jingle-message:0' id='1'/>"), Ignored)


def test_a_call_for_attention_is_told_and_mentions_the_user() -> None:
    event = read(ATTENTION)
    assert isinstance(event, RemoteMessage)
    assert (event.content.body, event.content.mention) == ("🔔 I would like your attention.", True)
    assert said("<body>look!</body>" + ATTENTION)[1] == "look!"
    assert isinstance(read(ATTENTION, f"{ME.bare}/phone"), Ignored)


def test_words_beside_a_call_are_what_is_shown() -> None:
    assert said("<body>I call you</body>" + PROPOSE.format(""))[1] == "I call you"
