"""What a contact's clients do not know is said, once, and only if all of them have said so."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from dm_bridge.connectors.xmpp.limits import MAX_CLIENTS, REACTIONS, RETRACTIONS, Limits
from dm_bridge.connectors.xmpp.presence import Presences
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId
from dm_bridge.network.signals import RemoteLimit, Signal

JULIET = ChatId("juliet@example.org")
OLD, NEW, SILENT = (f"{JULIET}/{name}" for name in ("old", "new", "silent"))


class Asked:
    """A client that gets answers from others; ``addresses``: whom it asked."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    async def request(self, kind: str, query: Element, timeout: float, to: str) -> Element:
        self.addresses.append(to)
        if to == SILENT:
            raise NetworkError("It does not answer.")
        known = "urn:xmpp:reactions:0" if to == NEW else "urn:xmpp:ping"
        return fromstring(  # noqa: S314 - our own
            "<iq><query xmlns='http://jabber.org/protocol/disco#info'>"
            f"<feature var='{known}'/></query></iq>"
        )


@pytest.mark.parametrize(
    ("clients", "said"),
    [
        ([OLD], True),
        ([OLD, OLD], True),
        ([OLD, NEW], False),
        ([OLD, SILENT], False),
        ([], False),
        ([OLD] * (MAX_CLIENTS + 1), False),
    ],
)
async def test_what_no_client_knows_is_said(clients: list[str], said: bool) -> None:
    told: list[Signal] = []
    client: Any = Asked()
    limits = Limits(told.append, 1.0)
    for _ in range(2):
        await limits.look(client, JULIET, REACTIONS, clients)
    assert [(one.chat, one.what) for one in told if isinstance(one, RemoteLimit)] == (
        [(JULIET, REACTIONS)] if said else []
    )


async def test_each_kind_of_thing_is_said_and_who_was_away_is_asked_later() -> None:
    told: list[Signal] = []
    client: Any = Asked()
    limits = Limits(told.append, 1.0)
    await limits.look(client, JULIET, REACTIONS, [])
    await limits.look(client, JULIET, REACTIONS, [SILENT])
    assert told == []
    await limits.look(client, JULIET, REACTIONS, [OLD])
    await limits.look(client, JULIET, RETRACTIONS, [NEW])
    assert [one.what for one in told if isinstance(one, RemoteLimit)] == [REACTIONS, RETRACTIONS]


def test_the_clients_of_a_contact_are_those_that_are_there() -> None:
    there = Presences()
    for resource, kind in (("a", ""), ("b", ""), ("a", " type='unavailable'")):
        there.came(fromstring(f"<presence from='{JULIET}/{resource}'{kind}/>"))  # noqa: S314
    assert there.clients(JULIET) == [f"{JULIET}/b"]
    assert there.clients("nurse@example.org") == []
