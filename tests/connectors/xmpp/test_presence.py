"""Who is there: resources of contacts, whoever sends what."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.presence import (
    MAX_CONTACTS,
    MAX_RESOURCES,
    MAX_STATUS,
    Presences,
    appearance,
)
from dm_bridge.network.signals import Availability, RemotePresence

ONLINE, AWAY, OFFLINE = Availability.ONLINE, Availability.AWAY, Availability.OFFLINE


def came(presences: Presences, sender: str, inner: str = "", **attributes: str) -> object:
    extra = "".join(f" {name}='{value}'" for name, value in attributes.items())
    text = f"<presence xmlns='jabber:client' from='{sender}'{extra}>{inner}</presence>"
    change = presences.came(fromstring(text))  # noqa: S314 - of our own making
    if isinstance(change, RemotePresence):
        assert (change.chat, change.sender) == ("juliet@example.com",) * 2
        return change.availability, change.text
    return change


def test_a_contact_is_as_present_as_their_most_present_resource() -> None:
    presences = Presences()
    assert came(presences, "Juliet@example.com/a", "<show>dnd</show>") == (AWAY, "")
    assert came(presences, "juliet@example.com/b", "<status> on  the\nbalcony </status>") == (
        ONLINE,
        "on the balcony",
    )
    assert came(presences, "juliet@example.com/a", "<show>xa</show>") is None
    assert came(presences, "juliet@example.com/b", type="unavailable") == (AWAY, "")
    assert came(presences, "juliet@example.com/a", type="unavailable") == (OFFLINE, "")
    assert came(presences, "juliet@example.com/a", type="unavailable") is None


def test_what_is_no_presence_of_a_contact_changes_nothing() -> None:
    presences = Presences()
    for kind in ("subscribe", "subscribed", "unsubscribed", "probe", "error"):
        assert came(presences, "juliet@example.com", type=kind) is None
    assert came(presences, "@@") is None


def test_what_is_kept_is_bounded() -> None:
    presences = Presences()
    for number in range(3 * MAX_RESOURCES):
        came(presences, f"juliet@example.com/{number}")
    assert len(presences._there["juliet@example.com"]) == MAX_RESOURCES
    for number in range(MAX_CONTACTS + 50):
        element = fromstring(  # noqa: S314 - of our own making
            f"<presence xmlns='jabber:client' from='c{number}@example.com/x'/>"
        )
        presences.came(element)
    assert len(presences._there) == MAX_CONTACTS
    presences.clear()
    assert presences._there == {}


@given(st.sampled_from(Availability), st.text(alphabet=st.characters(codec="ascii")))
def test_an_appearance_says_no_more_than_it_should(availability: Availability, text: str) -> None:
    children = {child.tag.partition("}")[2]: child.text for child in appearance(availability, text)}
    assert children.get("show") == {ONLINE: None, AWAY: "away", OFFLINE: "xa"}[availability]
    assert (children.get("status") or "") == text[:MAX_STATUS]
