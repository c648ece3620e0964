"""Who is there: the resources of each contact, and what the session says of its user (RFC 6121, section 4).

The rule that must never break: what is kept is bounded, whoever sends how many presences.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.ids import ChatId, ContactId
from dm_bridge.network.signals import Availability, RemotePresence

CLIENT = "{jabber:client}"
MAX_CONTACTS = 5000
MAX_RESOURCES = 20
MAX_STATUS = 200
_AWAY = ("away", "xa", "dnd")


class Presences:
    """The contacts that are there, as far as they let the user see it."""

    def __init__(self) -> None:
        self._there: dict[str, dict[str, tuple[Availability, str]]] = {}

    def clear(self) -> None:
        """The stream is gone, and nobody is known to be there any more."""
        self._there.clear()

    def came(self, stanza: Element) -> RemotePresence | None:
        """What a presence stanza changes, if anything."""
        sender, kind = _sender(stanza), stanza.get("type")
        if sender is None or kind not in (None, "unavailable"):
            return None
        before = self._best(sender.bare)
        resources = self._there.setdefault(sender.bare, {})
        if kind == "unavailable":
            resources.pop(sender.resource, None)
        elif sender.resource in resources or len(resources) < MAX_RESOURCES:
            resources[sender.resource] = _availability(stanza), _status(stanza)
        if not resources or len(self._there) > MAX_CONTACTS:
            del self._there[sender.bare]
        now = self._best(sender.bare)
        if now == before:
            return None
        return RemotePresence(ChatId(sender.bare), ContactId(sender.bare), *now)

    def clients(self, contact: str) -> list[str]:
        """The full JIDs under which somebody is there."""
        return [f"{contact}/{resource}" for resource in self._there.get(contact, {}) if resource]

    def _best(self, contact: str) -> tuple[Availability, str]:
        """Of who has several resources, the one that is most there."""
        resources = self._there.get(contact, {}).values()
        online = (each for each in resources if each[0] is Availability.ONLINE)
        return next(online, next(iter(resources), (Availability.OFFLINE, "")))


def appearance(availability: Availability, text: str) -> list[Element]:
    """The children of a presence that says whether the user is there; who is offline is far away."""
    children = []
    show = {Availability.AWAY: "away", Availability.OFFLINE: "xa"}.get(availability)
    for name, value in (("show", show), ("status", text[:MAX_STATUS])):
        if value:
            child = Element(f"{CLIENT}{name}")
            child.text = value
            children.append(child)
    return children


def _sender(stanza: Element) -> JID | None:
    try:
        return normal_jid(stanza.get("from", ""))
    except (InvalidJID, UnicodeError):
        return None


def _availability(stanza: Element) -> Availability:
    show = (stanza.findtext(f"{CLIENT}show") or "").strip()
    return Availability.AWAY if show in _AWAY else Availability.ONLINE


def _status(stanza: Element) -> str:
    return " ".join((stanza.findtext(f"{CLIENT}status") or "").split())[:MAX_STATUS]
