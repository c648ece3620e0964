"""Who asks to see the user's presence, and who is blocked, in stanzas."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring, tostring

import pytest

from dm_bridge.connectors.xmpp import blocking, subscriptions
from dm_bridge.connectors.xmpp.bounces import failure_reason
from dm_bridge.ids import ContactId
from dm_bridge.network.signals import RemoteRequest

ME = "me@example.org"
ROMEO = ContactId("romeo@example.net")


def xml(text: str) -> Element:
    return fromstring(text)  # noqa: S314 - our own


def presence(attributes: str, payload: str = "") -> Element:
    return xml(f"<presence xmlns='jabber:client' {attributes}>{payload}</presence>")


@pytest.mark.parametrize(
    ("stanza", "request_"),
    [
        (presence("type='subscribe' from='Romeo@example.net/x'"), RemoteRequest(ROMEO)),
        (
            presence(
                "type='subscribe' from='romeo@example.net'",
                "<status>It\n is me</status><nick xmlns='http://jabber.org/protocol/nick'> Ro </nick>",
            ),
            RemoteRequest(ROMEO, "Ro", "It is me"),
        ),
        (
            presence("type='unsubscribe' from='romeo@example.net'"),
            RemoteRequest(ROMEO, withdrawn=True),
        ),
        (presence(f"type='subscribe' from='{ME}'"), None),
        (presence("type='subscribe' from='@@'"), None),
        (presence("type='subscribe'"), None),
        (presence("type='subscribed' from='romeo@example.net'"), None),
        (presence("from='romeo@example.net'"), None),
    ],
)
def test_a_request_is_read_with_what_comes_with_it(
    stanza: Element, request_: RemoteRequest | None
) -> None:
    assert subscriptions.request_in(stanza, ME) == request_


@pytest.mark.parametrize(
    ("attributes", "contact"),
    [
        ("type='subscribed' from='Romeo@example.net'", ROMEO),
        ("type='subscribe' from='romeo@example.net'", None),
        ("type='subscribed' from='example.net'", None),
        ("type='subscribed' from='@@'", None),
        ("from='romeo@example.net'", None),
    ],
)
def test_who_lets_the_user_see_them_is_known(attributes: str, contact: ContactId | None) -> None:
    assert subscriptions.shown_by(presence(attributes)) == contact


def test_what_comes_with_a_request_is_bounded() -> None:
    long = "x" * 100_000
    asked = subscriptions.request_in(
        presence(
            "type='subscribe' from='romeo@example.net'",
            f"<status>{long}</status><nick xmlns='http://jabber.org/protocol/nick'>{long}</nick>",
        ),
        ME,
    )
    assert asked is not None
    assert asked.name is not None
    assert (len(asked.name), len(asked.text)) == (1000, 1000)


def test_the_contact_list_says_who_was_answered_and_whom_the_user_sees() -> None:
    items = "".join(
        f"<item jid='{jid}' {more}/>"
        for jid, more in (
            ("from@x.example", "subscription='from'"),
            ("both@x.example", "subscription='both'"),
            ("to@x.example", "subscription='to'"),
            ("asked@x.example", "subscription='none' ask='subscribe'"),
            ("none@x.example", ""),
            ("@", "subscription='both'"),
        )
    )
    query = xml(f"<query xmlns='jabber:iq:roster'>{items}</query>")
    answered = {each.contact for each in subscriptions.answered_in(query)}
    assert answered == {"from@x.example", "both@x.example"}
    seen = {jid for jid, sees in subscriptions.seen_in(query) if sees}
    assert seen == {"both@x.example", "to@x.example", "asked@x.example"}


def test_people_are_blocked_and_whole_servers_are_left_alone() -> None:
    addresses = "romeo@example.net", "evil.example", "x@y.example/phone", "@", ""
    items = "".join(f"<item jid='{each}'/>" for each in addresses)
    answer = xml(f"<iq><blocklist xmlns='urn:xmpp:blocking'>{items}<item/></blocklist></iq>")
    assert list(blocking.blocked_in(answer)) == [ROMEO]
    for block, name in ((True, "block"), (False, "unblock")):
        command = blocking.change(ROMEO, block=block)
        assert command.tag == f"{{urn:xmpp:blocking}}{name}"
        assert [item.get("jid") for item in command] == [ROMEO], tostring(command)


def test_a_message_to_somebody_blocked_comes_back_with_what_to_do() -> None:
    error = xml(
        "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        "<blocked xmlns='urn:xmpp:blocking:errors'/></error>"
    )
    assert "You have blocked romeo@example.net" in failure_reason(error, ROMEO)
    assert "unblock romeo@example.net" in failure_reason(error, ROMEO)
