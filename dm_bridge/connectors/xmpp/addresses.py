"""XMPP addresses as people type them (RFC 7622, RFC 5122).

The rule that must never break: one person has one normal form; two spellings of an address never
become two contacts. A domain's normal form has Unicode labels (RFC 7622, section 3.2.1), which is
what servers compare; its ASCII form is for DNS and certificates only.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from slixmpp import JID, InvalidJID

from dm_bridge.errors import UserError
from dm_bridge.ids import ContactId
from dm_bridge.texts import phrase

_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
"""What RFC 3490, section 3.1, takes for a dot between labels."""
_ACE = "xn--"
_LABEL = re.compile(
    r"[a-z0-9\u0080-\U0010FFFF](?:[a-z0-9_\u0080-\U0010FFFF-]*[a-z0-9\u0080-\U0010FFFF])?"
)
"""Of ASCII, a label holds letters, digits and hyphens only (RFC 1123); underscores occur inside."""
_ESCAPED = re.compile(r"\\(20|22|26|27|2f|3a|3c|3e|40|5c)")


def bare_jid(text: str) -> ContactId:
    """The normal form of the bare JID in ``text``: an address, or an ``xmpp:`` URI.

    A resource, a URI's query and blanks around are dropped. Raises `UserError`, which never quotes
    ``text``: people type passwords into the wrong place.
    """
    address = text.strip()
    if address[:5].lower() == "xmpp:":
        address = _from_uri(address[5:])
    if not address:
        raise UserError(phrase("xmpp-address-empty"))
    try:
        bare = normal_jid(address).bare
    except (InvalidJID, UnicodeError):
        raise UserError(phrase("xmpp-address-none")) from None
    if "@" not in address:
        raise UserError(phrase("xmpp-address-none"))
    localpart, _, domain = bare.partition("@")
    if not localpart or not domain:
        raise UserError(phrase("xmpp-address-in-part"))
    if not domain.startswith("[") and not all(map(_LABEL.fullmatch, domain.split("."))):
        raise UserError(phrase("xmpp-address-no-server"))
    return ContactId(bare)


def normal_jid(address: str) -> JID:
    """The JID in ``address``, its domain in normal form. Raises `InvalidJID`."""
    head, slash, resource = address.partition("/")
    localpart, at, domain = head.rpartition("@")
    jid = JID(f"{localpart}{at}{domain.translate(_DOTS)}{slash}{resource}")
    normal = _unicode_domain(jid.domain.rstrip("."))
    if normal == jid.domain:
        return jid
    localpart = f"{jid.node}@" if jid.node else ""
    return JID(f"{localpart}{normal}{slash}{jid.resource}")


def ascii_domain(domain: str) -> str:
    """A domain in normal form, as DNS and certificates spell it: with A-labels (RFC 5890)."""
    return ".".join(_a_label(label) for label in domain.split("."))


@lru_cache(maxsize=1024)
def _unicode_domain(domain: str) -> str:
    """Each A-label as the U-label that XMPP servers take for it; kept where they would take none.

    Starts from the ASCII form, so that every mixture of both kinds of labels ends the same.
    """
    if domain.isascii() and _ACE not in domain:
        return domain
    labels = ascii_domain(domain).split(".")
    for index, label in enumerate(labels):
        candidate = [*labels[:index], _u_label(label), *labels[index + 1 :]]
        if _is_prepared(".".join(candidate)):
            labels = candidate
    return ".".join(labels)


def _a_label(label: str) -> str:
    return label if label.isascii() else _ACE + label.encode("punycode").decode()


def _u_label(label: str) -> str:
    if not label.startswith(_ACE):
        return label
    try:
        decoded = label.removeprefix(_ACE).encode().decode("punycode")
        return decoded if _a_label(decoded) == label and "." not in decoded else label
    except UnicodeError:
        return label


def _is_prepared(domain: str) -> bool:
    """Whether preparation (RFC 3491) leaves it as it is; lone "ß", say, would become "ss"."""
    try:
        return domain.translate(_DOTS) == domain and JID(domain).full == domain
    except (InvalidJID, UnicodeError):
        return False


def contact_uri(contact: ContactId) -> str:
    """The ``xmpp:`` URI of a bare JID (RFC 5122, section 2)."""
    localpart, separator, domain = contact.rpartition("@")
    return f"xmpp:{quote(localpart, safe='')}{separator}{quote(domain, safe='[]:')}"


def readable(contact: ContactId) -> str:
    """The address as people write it: what a gateway had to escape is itself again (XEP-0106, section 4)."""
    localpart, _, domain = contact.rpartition("@")
    address = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), localpart)
    return contact if address == localpart else f"{address} ({domain})"


def _from_uri(rest: str) -> str:
    """The address in a URI's path; with an authority (``xmpp://me@here/you@there``), the path's."""
    rest = rest.partition("#")[0].partition("?")[0]
    if rest.startswith("//"):
        authority, _, path = rest[2:].partition("/")
        rest = path or authority
    return unquote(rest, errors="strict" if rest.isascii() else "replace")
