"""Calls and invitations to group chats, which the bridge cannot carry: a line each, so that the user knows. Pure.

So is a call for attention without words (XEP-0224), as of a client that "buzzes".

Calls: Jingle Message Initiation (XEP-0353) and Call Invites (XEP-0482). Group chats: direct invitations
(XEP-0249), and those that a group chat passes on (XEP-0045, section 7.8.2).

The rule that must never break: what a group chat passes on is its own word, and stands in a chat with it, because
it could claim anybody to be the inviter.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.network.events import Text
from dm_bridge.texts import phrase

_MUC = "{http://jabber.org/protocol/muc#user}"
_MUC_USER = f"{_MUC}x"
_INVITE = f"{_MUC}invite"
_REASON = f"{_MUC}reason"
_CONFERENCE = "{jabber:x:conference}x"
_PROPOSE = "{urn:xmpp:jingle-message:0}propose"
_CALL = "{urn:xmpp:call-invites:0}invite"
_ATTENTION = "{urn:xmpp:attention:0}attention"
_MEDIA = "{urn:xmpp:jingle:apps:rtp:1}description"
_MAX_REASON = 300
_MAX_NICK = 100


def of_group(stanza: Element) -> bool:
    """Whether a stanza has to do with a group chat."""
    return stanza.find(_MUC_USER) is not None or stanza.find(_CONFERENCE) is not None


def to_group(stanza: Element, sender: JID) -> Text | None:
    """What to show of an invitation to a group chat; None when a stanza is none that makes sense.

    A ``sender`` with a resource is a client, and so no group chat that passes something on.
    """
    if stanza.find(_MUC_USER) is not None:
        passed_on = stanza.find(f"{_MUC_USER}/{_INVITE}")
        if passed_on is None or sender.resource:
            return None
        who = _inviter(passed_on.get("from"), sender) or phrase("xmpp-somebody")
        reason = _short(passed_on.findtext(_REASON))
        if reason:
            return Text(phrase("xmpp-group-invites-because", who=who, reason=reason))
        return Text(phrase("xmpp-group-invites", who=who))
    direct = stanza.find(_CONFERENCE)
    room = _bare(direct.get("jid")) if direct is not None else ""
    if direct is None or not room:
        return None
    reason = _short(direct.get("reason"))
    if reason:
        return Text(phrase("xmpp-invitation-because", room=room, reason=reason))
    return Text(phrase("xmpp-invitation", room=room))


def to_call(stanza: Element) -> Text | None:
    """What to show of a call that begins; None when a stanza is none. How it ends is not told."""
    proposed, invited = stanza.find(_PROPOSE), stanza.find(_CALL)
    if proposed is not None:
        video = any(each.get("media") == "video" for each in proposed.findall(_MEDIA))
    elif invited is not None:
        video = invited.get("video") in ("true", "1")
    else:
        return None
    return Text(phrase("xmpp-video-call" if video else "xmpp-call"))


def to_attention(stanza: Element) -> Text | None:
    """What to show of a call for attention; None when a stanza is none."""
    if stanza.find(_ATTENTION) is None:
        return None
    return Text(phrase("xmpp-attention"), mention=True)


def _inviter(address: str | None, group: JID) -> str:
    """An address, or the nick that its owner has in the group chat; "" for neither."""
    inside = _bare(address) == group.bare
    return (
        " ".join((address or "").partition("/")[2].split())[:_MAX_NICK]
        if inside
        else _bare(address)
    )


def _bare(address: str | None) -> str:
    try:
        return str(normal_jid(address).bare) if address else ""
    except (InvalidJID, UnicodeError):
        return ""


def _short(reason: str | None) -> str:
    words = " ".join((reason or "").split())
    return words if len(words) <= _MAX_REASON else words[: _MAX_REASON - 1] + "…"
