"""Identifiers: small types for them, and the reversible mapping from contacts to ghosts.

The rule that must never break: two different contacts never share a ghost user id, and one
contact always gets the same. Localparts use the mapping for arbitrary identifiers of the Matrix
specification (appendices, "Mapping from other character sets"): upper case becomes ``_`` plus
lower case, ``_`` is doubled, everything else outside ``a-z 0-9 . - / +`` becomes ``=`` and two hex
digits of its UTF-8 bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import NewType

UserId = NewType("UserId", str)
"""A Matrix user id, ``@localpart:server``."""
RoomId = NewType("RoomId", str)
"""A Matrix room id, opaque; from room version 12 on it carries no server name."""
EventId = NewType("EventId", str)
NetworkName = NewType("NetworkName", str)
"""A connector's name, ``[a-z][a-z0-9]*``: ``xmpp``."""
LoginId = NewType("LoginId", str)
"""One account on a foreign network, owned by one Matrix user; made by us, never by the network."""
ContactId = NewType("ContactId", str)
"""A person on a foreign network, in the network's normal form."""
ChatId = NewType("ChatId", str)
"""A private chat of one login, in the network's normal form; often equal to the contact's id."""
RemoteId = NewType("RemoteId", str)
"""A message on a foreign network, unique within its chat."""

MAX_USER_ID_BYTES = 255
"""Longest Matrix user id, sigil and server name included (specification, appendices)."""

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.-/+")
NETWORK_NAME = re.compile(r"[a-z][a-z0-9]*\Z")
_TOKEN = re.compile(r"_([a-z_])|=([0-9a-f]{2})|([a-z0-9.\-/+])")
_HASHED = "=h"  # cannot be the start of an escape, so it never collides with an encoded identifier


@dataclass(frozen=True, slots=True)
class PortalKey:
    """One remote chat of one login; what a Matrix room is made for."""

    login: LoginId
    chat: ChatId


def encode_identifier(identifier: str) -> str:
    """Map any text onto the localpart alphabet; `decode_identifier` reverses it."""
    out: list[str] = []
    for byte in identifier.encode("utf-8", "surrogatepass"):
        if byte in _PLAIN:
            out.append(chr(byte))
        elif 0x41 <= byte <= 0x5A:
            out.append("_" + chr(byte + 0x20))
        elif byte == 0x5F:
            out.append("__")
        else:
            out.append(f"={byte:02x}")
    return "".join(out)


def decode_identifier(encoded: str) -> str | None:
    """The identifier that `encode_identifier` made ``encoded`` from, or None if it made it from none."""
    raw = bytearray()
    position = 0
    while position < len(encoded):
        match = _TOKEN.match(encoded, position)
        if match is None:
            return None
        upper, escaped, plain = match.groups()
        if upper is not None:
            raw += b"_" if upper == "_" else upper.upper().encode()
        elif escaped is not None:
            raw.append(int(escaped, 16))
        else:
            raw += plain.encode()
        position = match.end()
    try:
        identifier = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return identifier if encode_identifier(identifier) == encoded else None


@dataclass(frozen=True, slots=True)
class GhostName:
    """What a ghost's user id says: its network, and its contact unless the id had to be hashed."""

    network: NetworkName
    contact: ContactId | None


@dataclass(frozen=True, slots=True)
class GhostNamespace:
    """The user ids that belong to ghosts: ``@<prefix><network>_<encoded contact>:<domain>``."""

    prefix: str
    domain: str

    def user_id(self, network: NetworkName, contact: ContactId) -> UserId:
        """The ghost of ``contact``; at most 255 bytes, hashed (SHA-256) when it would be longer.

        Raises `ValueError` for an empty contact, and when prefix, network and domain leave no room
        for a hash.
        """
        if not NETWORK_NAME.match(network):
            raise ValueError(f"not a network name: {network!r}")
        if not contact:
            raise ValueError("a contact without an identifier has no ghost")
        start, end = f"@{self.prefix}{network}_", f":{self.domain}"
        user_id = start + encode_identifier(contact) + end
        if len(user_id.encode()) > MAX_USER_ID_BYTES:
            digest = hashlib.sha256(contact.encode("utf-8", "surrogatepass")).hexdigest()
            user_id = start + _HASHED + digest + end
        if len(user_id.encode()) > MAX_USER_ID_BYTES:
            raise ValueError(
                f"no room for ghosts between {start!r} and {end!r}: shorten the prefix"
            )
        return UserId(user_id)

    def parse(self, user_id: str) -> GhostName | None:
        """What ``user_id`` stands for, or None when it is no ghost of ours."""
        if len(user_id.encode("utf-8", "surrogatepass")) > MAX_USER_ID_BYTES:
            return None
        start, end = f"@{self.prefix}", f":{self.domain}"
        if not user_id.startswith(start) or not user_id.endswith(end):
            return None
        network, separator, encoded = user_id[len(start) : -len(end)].partition("_")
        if not separator or not encoded or not NETWORK_NAME.match(network):
            return None
        if encoded.startswith(_HASHED):
            hashed = re.fullmatch(r"=h[0-9a-f]{64}", encoded) is not None
            return GhostName(NetworkName(network), None) if hashed else None
        contact = decode_identifier(encoded)
        if contact is None or self.user_id(NetworkName(network), ContactId(contact)) != user_id:
            return None
        return GhostName(NetworkName(network), ContactId(contact))

    def owns(self, user_id: str) -> bool:
        """Whether ``user_id`` lies in the exclusive namespace, well-formed or not."""
        return user_id.startswith(f"@{self.prefix}") and user_id.endswith(f":{self.domain}")

    def regex(self) -> str:
        """The anchored namespace for the registration file."""
        return f"^@{re.escape(self.prefix)}.+:{re.escape(self.domain)}$"


def digest_id(*parts: str) -> str:
    """A short, URL-safe id that is the same for the same ``parts``, and for no others.

    Used for transaction ids and origin-ids: a retry after a crash sends the same id again. Parts are
    length-prefixed before hashing, never joined with a separator.
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return base64.urlsafe_b64encode(digest.digest()[:24]).decode()


def message_id(event: EventId) -> RemoteId:
    """The id under which a Matrix event is sent to a network, the same on every retry."""
    return RemoteId(digest_id("event", event))


def server_name(user_id: str) -> str:
    """The server name of a user id (never use it on room ids)."""
    return user_id.partition(":")[2]
