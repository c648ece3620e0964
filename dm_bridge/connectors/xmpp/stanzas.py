"""Message stanzas to events, and texts to stanzas. Pure: trees in, values out.

The rule that must never break: who wrote a message is decided by what the user's own server
vouches for. A carbon copy counts only when it comes from the user's own bare JID (CVE-2017-5591),
and a stanza-id only when the user's own account assigned it. All addresses are compared, and given
out, in the normal form of `addresses.normal_jid`.

Ids (`RemoteMessage.id`) are the same when the server delivers a stanza again, live, late, as a copy or
from the archive:

* ``sid:<id>``: the XEP-0359 stanza-id, where ``by`` is the user's own bare JID, or the archive's id;
* ``own:<id>``: else, for the user's own messages, their origin-id or ``id`` attribute; in a chat with
  oneself even before the stanza-id, because there the message and its carbon copy have one each;
* ``msg:<digest>``: else the digest of the sender's full JID and the ``id`` attribute;
* ``txt:<digest>``: when there is no id at all, the digest of sender, body and delay stamp. Two equal
  texts of one sender are then told apart only by their stamp, or by ``nonce``.

A message from the archive has its next best id as `RemoteMessage.other_id`, because a server may have
delivered a copy without a stanza-id; and if it is the user's, its own id as `RemoteMessage.sent_id`, because
this session may have sent it under another resource.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import asdict, dataclass, replace
from xml.etree.ElementTree import Element, SubElement

from slixmpp import JID, InvalidJID

from dm_bridge.connectors.xmpp import (
    files,
    invitations,
    languages,
    receipts,
    references,
    relations,
    spoilers,
    xhtml,
)
from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.connectors.xmpp.bounces import failure_reason
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.encryption import unreadable
from dm_bridge.connectors.xmpp.styling import from_html, to_html, under_subject
from dm_bridge.ids import ChatId, ContactId, RemoteId, digest_id
from dm_bridge.network.events import (
    RemoteEdit,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    RemoteReactions,
    RemoteRetraction,
    Text,
    Written,
)

CLIENT = "{jabber:client}"
CARBONS = "{urn:xmpp:carbons:2}"
FORWARD = "{urn:xmpp:forward:0}"
IDS = "{urn:xmpp:sid:0}"
DELAY = "{urn:xmpp:delay}"
NICK = "{http://jabber.org/protocol/nick}"
STYLING = "{urn:xmpp:styling:0}"

EMOTE = "/me "
_DIRECTIONS = ("sent", "received")
MAX_ORIGIN_ID = 200
"""Longer ids of others are digested before they become part of ours."""
MAX_DELAY = 30 * 86_400.0
"""Seconds that a message may have waited for its delay stamp to count."""
_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Account:
    """Whose stream it is: ``bare`` JID, ``full`` JID of the session, ``domain`` of the server.

    All three in normal form.
    """

    bare: str
    full: str
    domain: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A stanza that is no event. ``suspicious``: somebody may be trying to deceive."""

    why: str
    suspicious: bool = False


def read_message(
    stanza: Element, account: Account, nonce: str, now: float
) -> RemoteEvent | Ignored:
    """What a ``message`` stanza from the stream means.

    ``nonce``: see above; new on every call. ``now``: seconds since the epoch.
    """
    try:
        return _read(stanza, account, nonce, now)
    except (InvalidJID, UnicodeError):
        return Ignored("an address in it is malformed")


def _read(stanza: Element, account: Account, nonce: str, now: float) -> RemoteEvent | Ignored:
    sender = _jid(stanza.get("from")) or JID(account.domain)
    for direction in _DIRECTIONS:
        carbon = stanza.find(f"{CARBONS}{direction}")
        if carbon is None:
            continue
        if stanza.get("from") is not None and sender.full != account.bare:
            return Ignored("forged carbon copy", suspicious=True)
        forwarded = carbon.find(f"{FORWARD}forwarded")
        inner = None if forwarded is None else forwarded.find(f"{CLIENT}message")
        if forwarded is None or inner is None:
            return Ignored("carbon copy without a message")
        copied_at = _sent_at(forwarded, account, now)
        event = _carbon(inner, direction, account, nonce, now)
        if isinstance(event, Written) and event.sent_at is None:
            return replace(event, sent_at=copied_at)
        return event
    if stanza.get("type") == "error":
        return _failure(stanza, sender)
    return _message(stanza, sender, account, nonce, now)


def read_archived(
    forwarded: Element, archive_id: str, account: Account, nonce: str, now: float
) -> RemoteEvent | Ignored:
    """What an entry of the user's own archive means (XEP-0313, section 4.2).

    ``forwarded``: its XEP-0297 element. ``archive_id``: its id there. Errors count only when they are
    about a message that this session sent.
    """
    inner = forwarded.find(f"{CLIENT}message")
    if inner is None:
        return Ignored("archive entry without a message")
    try:
        sender = _jid(inner.get("from")) or JID(account.bare)
        if any(inner.find(f"{CARBONS}{direction}") is not None for direction in _DIRECTIONS):
            return Ignored("archived carbon copy", suspicious=True)
        if inner.get("type") == "error":
            if not _names(inner.get("to", ""), account.full):
                return Ignored("archived error about a message of another client")
            return _failure(inner, sender)
        event = _message(inner, sender, account, nonce, now, archive_id)
        if isinstance(event, Written):
            return replace(event, sent_at=_sent_at(forwarded, account, now, math.inf))
        return event
    except (InvalidJID, UnicodeError):
        return Ignored("an address in it is malformed")


def archive_id(stanza: Element, account: Account) -> str | None:
    """Where a live message, or a copy of one, stands in the user's own archive (XEP-0359).

    Only for a stanza that `read_message` took. None also when it was delivered late (XEP-0203):
    newer ones may then have been delivered before.
    """
    for direction in _DIRECTIONS:
        copied = stanza.find(f"{CARBONS}{direction}/{FORWARD}forwarded/{CLIENT}message")
        if copied is not None:
            stanza = copied
    return None if stanza.find(f"{DELAY}delay") is not None else _own_stanza_id(stanza, account)


def id_of_archived(archive_id: str) -> RemoteId:
    """By which id the message is known that stands in the user's own archive under this one."""
    return RemoteId("sid:" + _short(archive_id))


def copied_from_contact(stanza: Element) -> Element:
    """What somebody has sent to another client of the user, where a stanza is a copy of it (XEP-0280).

    Only for what comes from the user's own account.
    """
    inner = stanza.find(f"{CARBONS}received/{FORWARD}forwarded/{CLIENT}message")
    return stanza if inner is None else inner


def _carbon(
    inner: Element, direction: str, account: Account, nonce: str, now: float
) -> RemoteEvent | Ignored:
    sender = _jid(inner.get("from"))
    if sender is None:
        return Ignored("carbon copy without a sender")
    if (sender.bare == account.bare) != (direction == "sent") and direction == "sent":
        return Ignored("carbon copy of a message sent by somebody else", suspicious=True)
    if inner.get("type") == "error":
        return Ignored("carbon copy of an error")
    return _message(inner, sender, account, nonce, now)


def _message(
    stanza: Element,
    sender: JID,
    account: Account,
    nonce: str,
    now: float,
    archived: str | None = None,
) -> RemoteEvent | Ignored:
    if stanza.get("type") in ("groupchat", "headline"):
        return Ignored(f"type {stanza.get('type')}")
    if sender.full == account.full:
        return Ignored("sent by this very session")
    from_self = sender.bare == account.bare
    invited = None
    if invitations.of_group(stanza):
        invited = invitations.to_group(stanza, sender)
        if invited is None or from_self:
            return Ignored("it belongs to a group chat")
    chat = ChatId((_jid(stanza.get("to")) or JID(account.bare)).bare if from_self else sender.bare)
    author = ContactId(sender.bare)
    best, other = _message_ids(stanza, sender, from_self, account, archived)
    found = _Found(
        sent_at=_sent_at(stanza, account, now),
        other_id=other if archived is not None else None,
        sent_id=_own_id(stanza) if archived is not None and from_self else None,
    )
    if best is not None and (target := relations.retracted(stanza)) is not None:
        return RemoteRetraction(chat, best, target, author, from_self, **asdict(found))
    if best is not None and (said := relations.reactions(stanza)) is not None:
        return RemoteReactions(
            chat, best, said.target, author, from_self, said.emojis, **asdict(found)
        )
    whole = _body(stanza)
    if not whole and (receipt := receipts.read_receipt(stanza, chat, from_self)) is not None:
        return receipt
    hidden = unreadable(stanza, whole, from_self)
    instead = invited or hidden
    if instead is None and not whole and not from_self:
        instead = invitations.to_call(stanza) or invitations.to_attention(stanza)
    shared = files.shared(stanza, whole) if instead is None else files.Shared(None, "")
    content = instead or _said(stanza, shared, whole)
    if content is not None and _names_other(stanza, account.bare if not from_self else chat):
        content = replace(content, mention=True)
    if content is None:
        return Ignored("no body")
    identifier = best or _id_of_text(stanza, sender, whole or content.body, nonce)
    reference = RemoteId(stanza.get("id", "")) or _own_id(stanza)
    if instead is None and (target := relations.corrected(stanza)) is not None:
        return RemoteEdit(
            chat,
            identifier,
            target,
            author,
            from_self,
            content,
            reference=_own_id(stanza),
            attachment=shared.attachment,
            **asdict(found),
        )
    return RemoteMessage(
        chat=chat,
        id=identifier,
        sender=author,
        from_self=from_self,
        content=content,
        sender_name=None if from_self else _nick(stanza),
        reference=reference,
        reply_to=relations.answered(stanza),
        quote=relations.quoted(stanza, whole) if instead is None else "",
        attachment=shared.attachment,
        unreadable=hidden is not None,
        **asdict(found),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What all that people write has."""

    sent_at: float | None
    other_id: RemoteId | None
    sent_id: RemoteId | None


def _names_other(stanza: Element, other: str) -> bool:
    """Whether a message mentions ``other``, a bare JID in normal form.

    So does a correction that still answers them: which message that is, is asked for the first version alone.
    """
    named = [*references.mentioned(stanza)]
    if relations.corrected(stanza) is not None:
        named.append(relations.author_answered(stanza))
    for jid in named:
        try:
            if normal_jid(jid).bare == other:
                return True
        except (InvalidJID, UnicodeError):
            continue
    return False


def _body(stanza: Element) -> str:
    """The body without a language if there is one, else the first."""
    body = languages.chosen(stanza.findall(f"{CLIENT}body"))
    return "" if body is None else "".join(body.itertext())


def _said(stanza: Element, shared: files.Shared, whole: str) -> Text | None:
    """What a message with this ``whole`` body says, under its subject if it has one; None when it says nothing.

    Blanks alone are nothing, unless they are put in the place of what was said before.
    """
    subject = " ".join((stanza.findtext(f"{CLIENT}subject") or "").split())
    body = shared.said
    if not body.strip() and relations.corrected(stanza) is None:
        body = ""
    if not body and not subject:
        return None if shared.attachment is None else Text("")
    text = spoilers.hidden(stanza, _text(stanza, body, alone=body == whole)) if body else Text("")
    return text if not subject else under_subject(subject, text)


def _text(stanza: Element, body: str, *, alone: bool) -> Text:
    """``alone``: the stanza says nothing else, so XHTML in it is this text. It is more exact than styling."""
    emote = body.startswith(EMOTE) and len(body) > len(EMOTE)
    if emote:
        body = body[len(EMOTE) :]
    html = xhtml.formatted(stanza, emote=emote) if alone else None
    if html is None and stanza.find(f"{STYLING}unstyled") is None:
        html = to_html(body)
    return Text(body, html, emote=emote)


def _message_ids(
    stanza: Element, sender: JID, from_self: bool, account: Account, archived: str | None
) -> tuple[RemoteId | None, RemoteId | None]:
    """The best id that the message has, and the next best one."""
    own = _own_id(stanza)
    recipient = _jid(stanza.get("to"))
    to_self = from_self and (recipient is None or recipient.bare == account.bare)
    ids: list[RemoteId] = []
    stanza_id = archived or _own_stanza_id(stanza, account)
    if stanza_id and not (to_self and own):
        ids.append(id_of_archived(stanza_id))
    if from_self and own:
        ids.append(RemoteId("own:" + _short(own)))
    elif attribute := stanza.get("id"):
        ids.append(RemoteId("msg:" + digest_id(sender.full, attribute)))
    best, other, *_ = (*ids, None, None)
    return best, other


def _own_id(stanza: Element) -> RemoteId | None:
    """The id that its sender gave it."""
    origin = stanza.find(f"{IDS}origin-id")
    identifier = (None if origin is None else origin.get("id")) or stanza.get("id")
    return RemoteId(identifier) if identifier else None


def _own_stanza_id(stanza: Element, account: Account) -> str | None:
    """The last one that names the account. A server has to take away what a sender forges (XEP-0359, section 5),
    but Prosody 0.12 leaves it there, and puts its own after it."""
    found = None
    for element in stanza.findall(f"{IDS}stanza-id"):
        if _names(element.get("by", ""), account.bare) and element.get("id"):
            found = element.get("id")
    return found


def _id_of_text(stanza: Element, sender: JID, body: str, nonce: str) -> RemoteId:
    delay = stanza.find(f"{DELAY}delay")
    stamp = delay.get("stamp", nonce) if delay is not None else nonce
    return RemoteId("txt:" + digest_id(sender.full, body, stamp))


def _short(identifier: str) -> str:
    return identifier if len(identifier) <= MAX_ORIGIN_ID else digest_id(identifier)


def _names(address: str, *expected: str) -> bool:
    """Whether ``address``, a JID that may be malformed, is one of ``expected`` in normal form."""
    try:
        return bool(address) and normal_jid(address).full in expected
    except (InvalidJID, UnicodeError):
        return False


def _sent_at(
    parent: Element, account: Account, now: float, max_delay: float = MAX_DELAY
) -> float | None:
    """The delay stamp (XEP-0203, XEP-0082) in the name of the user's own server, if any.

    An account on the same server can forge one, because servers do not filter them. So it counts
    only from ``max_delay`` before ``now`` up to ``now``; a message stored for longer arrives without
    a time.
    """
    for delay in parent.findall(f"{DELAY}delay"):
        if not _names(delay.get("from", account.domain), account.domain, account.bare):
            continue
        try:
            stamp = datetime.datetime.fromisoformat(delay.get("stamp", ""))
            if stamp.tzinfo is None:
                stamp = stamp.replace(tzinfo=datetime.UTC)
            seconds = stamp.timestamp()
        except (ValueError, OverflowError):
            continue
        if now - max_delay <= seconds <= now:
            return seconds
    return None


def _nick(stanza: Element) -> str | None:
    nick = stanza.find(f"{NICK}nick")
    text = "" if nick is None else " ".join((nick.text or "").split())
    return text[:_NAME_CHARACTERS] or None


def _failure(stanza: Element, sender: JID) -> RemoteEvent | Ignored:
    identifier = stanza.get("id")
    error = stanza.find(f"{CLIENT}error")
    if not identifier or error is None:
        return Ignored("an error about no message of ours")
    if stanza.get("from") is None:
        return Ignored("an error about an unnamed recipient")
    return RemoteFailure(
        chat=ChatId(sender.bare),
        message=RemoteId(identifier),
        reason=failure_reason(error, sender.bare),
    )


def message_payload(
    content: Text, identifier: RemoteId, quote: str = "", contact: str = ""
) -> list[Element]:
    """The children of the ``message`` stanza that carries ``content``, after a ``quote`` if it is an answer.

    ``contact``: the JID of who is mentioned, where somebody is.

    Plain text goes out as it is; where a reader would take it for styled, it is marked unstyled.
    """
    text = from_html(content.html) if content.html is not None else ""
    unstyled = not text
    text = xml_text(text or content.body)
    body = Element(f"{CLIENT}body")
    body.text = EMOTE + text if content.emote else text
    children = [body, origin_id(identifier)]
    if quote and not content.emote:
        body.text, marks = relations.quoting(xml_text(quote), text)
        children += marks
    children += spoilers.hiding(content.html)
    if unstyled and to_html(text) is not None:
        children.append(Element(f"{STYLING}unstyled"))
    if content.mention and contact:
        children.append(references.mention(contact, body.text, content.html or "", len(text)))
    return children


def origin_id(identifier: RemoteId) -> Element:
    """The id that the sender gives a message (XEP-0359)."""
    return Element(f"{IDS}origin-id", {"id": identifier})


def presence_payload(caps: Element) -> list[Element]:
    """The children of the initial presence: available, priority 0, who we are (XEP-0115).

    Priority 0 lets the server deliver to the account's bare JID, offline messages included, to this
    session as to the user's other clients (RFC 6121, section 8.5.2.1); carbons bring the rest.
    """
    priority = Element(f"{CLIENT}priority")
    priority.text = "0"
    return [priority, caps]


def _jid(address: str | None) -> JID | None:
    return normal_jid(address) if address else None


def roster_names(query: Element) -> dict[str, str | None]:
    """Bare JID to the user's name for it; None where it was removed or has none (RFC 6121, 2)."""
    names: dict[str, str | None] = {}
    for item in query.findall("{jabber:iq:roster}item"):
        try:
            jid = normal_jid(item.get("jid", "")).bare
        except (InvalidJID, UnicodeError):
            continue
        removed = item.get("subscription") == "remove"
        name = " ".join(item.get("name", "").split())[:_NAME_CHARACTERS]
        if jid:
            names[jid] = None if removed or not name else name
    return names


def roster_members(query: Element) -> list[tuple[str, bool]]:
    """Bare JIDs, and whether each is in the contact list, or was removed."""
    members = []
    for item in query.findall("{jabber:iq:roster}item"):
        try:
            jid = normal_jid(item.get("jid", "")).bare
        except (InvalidJID, UnicodeError):
            continue
        if jid:
            members.append((jid, item.get("subscription") != "remove"))
    return members


def roster_query(version: str | None) -> Element:
    """The request for the roster; with ``version``, only if it changed since."""
    return Element("{jabber:iq:roster}query", {} if version is None else {"ver": version})


def carbons_enable() -> Element:
    """The request to get copies of what other clients send and receive (XEP-0280)."""
    return Element(f"{CARBONS}enable")


def ping() -> Element:
    """An XEP-0199 ping."""
    return Element("{urn:xmpp:ping}ping")


def disco_info(node: str | None, identity: dict[str, str], features: tuple[str, ...]) -> Element:
    """An answer to a service discovery request (XEP-0030)."""
    namespace = "{http://jabber.org/protocol/disco#info}"
    query = Element(f"{namespace}query", {} if node is None else {"node": node})
    SubElement(query, f"{namespace}identity", identity)
    for feature in features:
        SubElement(query, f"{namespace}feature", {"var": feature})
    return query
