"""Addresses of people on IRC: ``nick@network``, where the network is called as in the configuration.

Who lost a nick to somebody else is ``nick!mark@network``; the mark tells them apart, and nobody can be
reached there.

The rule that must never break: the network is part of every address, so people of two networks never meet;
and what came from a user is a nick before it is put anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from dm_bridge.connectors.irc.casemap import CaseMapping
from dm_bridge.errors import UserError
from dm_bridge.ids import ContactId
from dm_bridge.texts import phrase

MAX_NICK = 64
_NICK = re.compile(r"\*?[^\x00-\x20\x7f!@:,*?#&+.$%~0-9-][^\x00-\x20\x7f!@:,*?.$]*\Z")


def is_nick(text: str) -> bool:
    """Whether ``text`` can be a nick on some server: no blank, no character of masks, channels or addresses."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half of a character
        return False
    return size <= MAX_NICK and _NICK.match(text) is not None


def contact_id(nick: str, network: str) -> ContactId:
    """The address of ``nick``, which is folded already."""
    return ContactId(f"{nick}@{network}")


def former_id(nick: str, mark: str, network: str) -> ContactId:
    """The address of whom ``nick`` belonged to before."""
    return ContactId(f"{nick}!{mark}@{network}")


def parts(address: str) -> tuple[str, str, str]:
    """Nick, mark (empty for who has the nick) and network of an address."""
    local, _, network = address.rpartition("@")
    nick, _, mark = local.partition("!")
    return nick, mark, network


def parse(text: str, mappings: Mapping[str, CaseMapping]) -> ContactId:
    """The address in ``text``, by the mappings of the networks that are configured. Raises `UserError`."""
    address = text.strip()
    for scheme in ("ircs://", "irc://", "irc:", "ircs:"):
        if address.lower().startswith(scheme):
            host, _, nick = address[len(scheme) :].partition("/")
            address = f"{nick.partition(',')[0]}@{host}" if nick else host
            break
    nick, at, network = address.rpartition("@")
    if not at:
        nick, network = address, ""
        if len(mappings) != 1:
            raise UserError(phrase("irc-address-which-network", networks=_names(mappings)))
        (network,) = mappings
    network = network.lower()
    if network not in mappings:
        raise UserError(phrase("irc-address-no-network", networks=_names(mappings)))
    former = re.fullmatch(r"(.+)!([0-9a-f]{8})", nick)
    if former and is_nick(former[1]):
        return former_id(mappings[network].fold(former[1]), former[2], network)
    if not is_nick(nick):
        raise UserError(phrase("irc-address-no-nick"))
    return contact_id(mappings[network].fold(nick), network)


def uri(contact: ContactId, host: str) -> str:
    """The ``irc:`` URI of a nick, in the form that clients know."""
    return f"irc://{host}/{quote(parts(contact)[0], safe='')},isnick"


def _names(mappings: Mapping[str, CaseMapping]) -> str:
    return ", ".join(sorted(mappings)) or phrase("irc-address-no-networks")
