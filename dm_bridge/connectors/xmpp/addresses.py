"""XMPP addresses as people type them (RFC 7622, RFC 5122).

The rule that must never break: one person has one normal form; two spellings of an address never
become two contacts.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from slixmpp import JID, InvalidJID

from dm_bridge.errors import UserError
from dm_bridge.ids import ContactId

_EXAMPLE = "An XMPP address looks like romeo@example.org."


def bare_jid(text: str) -> ContactId:
    """The normal form of the bare JID in ``text``: an address, or an ``xmpp:`` URI.

    A resource, a URI's query and blanks around are dropped. Raises `UserError`, which never quotes
    ``text``: people type passwords into the wrong place.
    """
    address = text.strip()
    if address[:5].lower() == "xmpp:":
        address = _from_uri(address[5:])
    if not address:
        raise UserError(f"The address is empty. {_EXAMPLE}")
    try:
        jid = JID(address)
        bare = JID(jid.bare.rstrip(".")).bare if jid.domain.endswith(".") else jid.bare
    except (InvalidJID, UnicodeError):
        raise UserError(f"This is not an XMPP address. {_EXAMPLE}") from None
    localpart, _, domain = bare.partition("@")
    if not localpart or not domain:
        raise UserError(f"The part before or after the @ is missing. {_EXAMPLE}")
    return ContactId(bare)


def contact_uri(contact: ContactId) -> str:
    """The ``xmpp:`` URI of a bare JID (RFC 5122, section 2)."""
    localpart, separator, domain = contact.rpartition("@")
    return f"xmpp:{quote(localpart, safe='')}{separator}{quote(domain, safe='[]:')}"


def _from_uri(rest: str) -> str:
    """The address in a URI's path; with an authority (``xmpp://me@here/you@there``), the path's."""
    rest = rest.partition("#")[0].partition("?")[0]
    if rest.startswith("//"):
        authority, _, path = rest[2:].partition("/")
        rest = path or authority
    return unquote(rest, errors="strict" if rest.isascii() else "replace")
