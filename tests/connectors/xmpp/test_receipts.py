"""What says that a message arrived or was read, and that somebody types; and to whom it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest
import structlog

from dm_bridge.connectors.xmpp import receipts
from dm_bridge.connectors.xmpp.courtesies import Courtesies
from dm_bridge.connectors.xmpp.failures import RejectedError
from dm_bridge.connectors.xmpp.stanzas import Account, Ignored, read_archived, read_message
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.abilities import OutgoingRead, Reference
from dm_bridge.network.events import RemoteEdit, RemoteMessage, RemoteRead, RemoteReceived, Text
from dm_bridge.network.signals import RemoteTyping

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")
JULIET = "juliet@example.com"
CHAT = ChatId(JULIET)
DISPLAYED = "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>"
RECEIVED = "<received xmlns='urn:xmpp:receipts' id='m1'/>"


def stanza(
    inner: str, sender: str = f"{JULIET}/x", to: str = ME.full, **attributes: str
) -> Element:
    extra = "".join(f" {name}='{value}'" for name, value in attributes.items())
    text = (
        f"<message xmlns='jabber:client' type='chat' from='{sender}' to='{to}'{extra}>"
        f"{inner}</message>"
    )
    return fromstring(text)  # noqa: S314 - of our own making


def copied(direction: str, inner: Element, sender: str = ME.bare) -> Element:
    text = tostring(inner, encoding="unicode")
    return stanza(
        f"<{direction} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{text}"
        f"</forwarded></{direction}>",
        sender=sender,
    )


def read(element: Element) -> Any:
    return read_message(element, ME, "nonce", 1e9)


# -- what arrives


def test_a_contact_says_that_a_message_arrived_and_was_read() -> None:
    assert read(stanza(DISPLAYED)) == RemoteRead(
        CHAT, read(stanza(DISPLAYED)).id, RemoteId("m1"), from_self=False
    )
    received = read(stanza(RECEIVED))
    assert isinstance(received, RemoteReceived)
    assert (received.chat, received.target) == (CHAT, "m1")


def test_the_user_says_elsewhere_what_they_have_read_and_who_received_it_does_not_matter() -> None:
    own = stanza(DISPLAYED, sender=f"{ME.bare}/phone", to=JULIET)
    found = read(copied("sent", own))
    assert isinstance(found, RemoteRead)
    assert (found.chat, found.target, found.from_self) == (CHAT, "m1", True)
    assert isinstance(read(copied("sent", own, sender=f"{JULIET}/x")), Ignored)  # forged
    other = stanza(RECEIVED, sender=f"{ME.bare}/phone", to=JULIET)
    assert isinstance(read(copied("sent", other)), Ignored)


def test_the_same_receipt_has_the_same_id_live_as_a_copy_and_from_the_archive() -> None:
    live = stanza(DISPLAYED, id="one")
    copy = copied("received", stanza(DISPLAYED, to=f"{ME.bare}/phone", id="two"))
    forwarded = fromstring(  # noqa: S314 - of our own making
        "<forwarded xmlns='urn:xmpp:forward:0'>"
        + tostring(stanza(DISPLAYED, id="three"), encoding="unicode")
        + "</forwarded>"
    )
    archived = read_archived(forwarded, "s1", ME, "nonce", 1e9)
    assert isinstance(archived, RemoteRead)
    assert read(live).id == read(copy).id == archived.id
    own = stanza(DISPLAYED, sender=f"{ME.bare}/phone", to=JULIET)
    assert read(copied("sent", own)).id != archived.id


def test_a_message_with_text_is_a_message_whatever_it_says_besides() -> None:
    assert isinstance(read(stanza(f"<body>hi</body>{DISPLAYED}{RECEIVED}")), RemoteMessage)


@pytest.mark.parametrize(
    "element",
    [
        stanza("<displayed xmlns='urn:xmpp:chat-markers:0' id=''/>"),
        stanza(f"{DISPLAYED}<x xmlns='http://jabber.org/protocol/muc#user'/>"),
        copied("received", copied("sent", stanza(DISPLAYED))),
    ],
)
def test_what_is_no_receipt_is_none(element: Element) -> None:
    assert isinstance(read(element), Ignored)


@pytest.mark.parametrize(
    ("state", "typing"),
    [("composing", True), ("paused", False), ("active", False), ("gone", False)],
)
def test_chat_states_are_typing(state: str, typing: bool) -> None:
    inner = f"<{state} xmlns='http://jabber.org/protocol/chatstates'/>"
    assert receipts.typing_from(stanza(inner)) == RemoteTyping(CHAT, ContactId(JULIET), typing)
    late = "<delay xmlns='urn:xmpp:delay' stamp='2024-05-06T07:08:09Z'/>"
    assert receipts.typing_from(stanza(inner + late)) is None
    assert receipts.typing_from(stanza(inner, sender="@@")) is None
    assert receipts.typing_from(stanza("<x xmlns='y'/>")) is None


# -- between devices


def notification(*items: tuple[str, str, str], node: str = receipts.DISPLAYED_NODE) -> Element:
    inner = "".join(
        f"<item id='{chat}'><displayed xmlns='urn:xmpp:mds:displayed:0'>"
        f"<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='{id_}'/></displayed></item>"
        for chat, by, id_ in items
    )
    return stanza(
        f"<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{node}'>{inner}"
        "</items></event>",
        sender=ME.bare,
    )


def test_what_devices_have_displayed_is_read_as_far_as_the_own_archive_vouches() -> None:
    found = list(
        receipts.displayed_elsewhere(
            notification(
                ("Juliet@Example.com", ME.bare, "s1"),
                ("nurse@example.com", "nurse@example.com", "s2"),
                ("@@", ME.bare, "s3"),
                ("friar@example.com", ME.bare, ""),
            ),
            ME.bare,
        )
    )
    assert [(each.chat, each.target, each.from_self) for each in found] == [(CHAT, "sid:s1", True)]
    other = notification(("a@b", ME.bare, "s1"), node="urn:xmpp:bookmarks:1")
    assert list(receipts.displayed_elsewhere(other, ME.bare)) == []


def test_what_is_published_is_for_the_devices_of_the_account_only() -> None:
    update = receipts.displayed_update(CHAT, "s1", ME.bare)
    text = tostring(update, encoding="unicode")
    assert "whitelist" in text
    pubsub = "{http://jabber.org/protocol/pubsub}"
    item = update.find(f"{pubsub}publish/{pubsub}item")
    assert item is not None
    assert item.get("id") == JULIET


# -- who is told


class FakeClient:
    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.account = ME
        self.sent: list[tuple[str, str, str]] = []
        self.asked: list[Element] = []
        self.refuses: Callable[[Element], bool] = lambda payload: False

    def send_notice(self, to: str, payload: list[Element]) -> None:
        self.sent.append((to, payload[0].tag.partition("}")[2], payload[0].get("id", "")))

    async def request(self, kind: str, payload: Element, timeout: float) -> Element:
        self.asked.append(payload)
        if self.refuses(payload):
            raise RejectedError("no", "forbidden")
        return Element("iq")


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def courtesies(client: FakeClient) -> Courtesies:
    return Courtesies(lambda: cast(Any, client), 5.0, structlog.get_logger())


def archived(number: int) -> OutgoingRead:
    about = Reference(RemoteId(f"m{number}"), from_self=False)
    return OutgoingRead(CHAT, RemoteId(f"sid:{number}"), about)


def message(number: int, sender: str = JULIET, *, own: bool = False) -> RemoteMessage:
    return RemoteMessage(
        ChatId(sender), RemoteId(f"sid:{number}"), ContactId(sender), own, Text("hi")
    )


ASKING = "<body>hi</body><request xmlns='urn:xmpp:receipts'/>"


def test_contacts_hear_that_a_message_arrived_once_and_only_after_it_is_committed(
    client: FakeClient, courtesies: Courtesies
) -> None:
    courtesies.contacts([(JULIET, True)])
    courtesies.came(stanza(ASKING, id="m1"), message(1))
    courtesies.came(stanza("<body>hi</body>", id="m2"), message(2))
    assert client.sent == []
    courtesies.committed([message(1), message(2)])
    courtesies.committed([message(1)])
    assert client.sent == [(JULIET, "received", "m1")]


def test_contacts_hear_that_an_edit_arrived(client: FakeClient, courtesies: Courtesies) -> None:
    """Their client shows by it whether what they changed is there."""
    courtesies.contacts([(JULIET, True)])
    edit = RemoteEdit(
        CHAT,
        RemoteId("sid:2"),
        RemoteId("m1"),
        ContactId(JULIET),
        from_self=False,
        content=Text("hi"),
    )
    replace = "<replace xmlns='urn:xmpp:message-correct:0' id='m1'/>"
    courtesies.came(stanza(f"{ASKING}{replace}", id="m2"), edit)
    courtesies.committed([edit])
    assert client.sent == [(JULIET, "received", "m2")]


def test_strangers_hear_nothing_until_the_user_writes_to_them(
    client: FakeClient, courtesies: Courtesies
) -> None:
    courtesies.contacts([(JULIET, True)])
    courtesies.contacts([(JULIET, False)])
    courtesies.came(stanza(ASKING, id="m1"), message(1))
    courtesies.committed([message(1)])
    assert client.sent == []
    courtesies.came(stanza("<body>hi</body>"), message(2, own=True))
    courtesies.came(stanza(ASKING, id="m3"), message(3))
    courtesies.committed([message(3)])
    assert client.sent == [(JULIET, "received", "m3")]


def test_nothing_is_sent_on_a_connection_that_is_closed(
    client: FakeClient, courtesies: Courtesies
) -> None:
    courtesies.contacts([(JULIET, True)])
    courtesies.came(stanza(ASKING, id="m1"), message(1))
    client.closed.set()
    courtesies.committed([message(1)])
    assert client.sent == []


async def test_a_read_goes_to_the_contact_and_to_the_own_devices_whose_echo_says_nothing_new(
    client: FakeClient, courtesies: Courtesies
) -> None:
    await courtesies.read(
        cast(Any, client),
        OutgoingRead(CHAT, RemoteId("sid:s1"), Reference(RemoteId("m1"), from_self=False)),
    )
    assert client.sent == [(JULIET, "displayed", "m1")]
    assert len(client.asked) == 1
    echo, news = (notification((JULIET, ME.bare, id_)) for id_ in ("s1", "s2"))
    assert courtesies.displayed_now(echo, cast(Any, client)) == []
    assert [read.target for read in courtesies.displayed_now(news, cast(Any, client))] == ["sid:s2"]


async def test_a_server_that_keeps_no_such_record_is_not_asked_again(
    client: FakeClient, courtesies: Courtesies
) -> None:
    client.refuses = lambda payload: True
    for number in (1, 2):
        await courtesies.read(cast(Any, client), archived(number))
    assert [id_ for _, _, id_ in client.sent] == ["m1", "m2"]
    assert len(client.asked) == 3  # to publish, to make the node, to configure it


@pytest.mark.parametrize("exists", [False, True])
async def test_where_a_publication_may_not_configure_its_node_that_is_configured_before_once(
    client: FakeClient, courtesies: Courtesies, exists: bool
) -> None:
    def refuses(payload: Element) -> bool:
        if payload[0].tag.endswith("publish"):
            return len(payload[1][0]) > 2  # the form's type, and who may see it
        return exists and payload[0].tag.endswith("create")

    client.refuses = refuses
    for number in (1, 2):
        await courtesies.read(cast(Any, client), archived(number))
    done = [payload[0].tag.partition("}")[2] for payload in client.asked if not refuses(payload)]
    assert done == ["configure" if exists else "create", "publish", "publish"]
    assert len(client.asked) == (5 if exists else 4)
    assert all("whitelist" in tostring(each, encoding="unicode") for each in client.asked)


async def test_a_message_that_no_archive_has_is_told_to_the_contact_only(
    client: FakeClient, courtesies: Courtesies
) -> None:
    about = Reference(RemoteId("m1"), from_self=False)
    await courtesies.read(cast(Any, client), OutgoingRead(CHAT, RemoteId("msg:x"), about))
    assert client.sent == [(JULIET, "displayed", "m1")]
    assert client.asked == []
