"""Who types, and who has read what, between a Matrix client and XMPP clients, both ways."""

from __future__ import annotations

from urllib.parse import quote
from xml.etree.ElementTree import fromstring

from dm_bridge.connectors.xmpp.receipts import DISPLAYED_NODE, displayed_query
from dm_bridge.errors import NetworkError
from dm_bridge.testing.matrix_client import MatrixUser, Seen
from dm_bridge.testing.stack import Stack
from dm_bridge.testing.xmpp_client import XmppUser
from tests.e2e.pairs import Pair, pair, within

"""None of it depends on the version of a room."""
COMPOSING = "{http://jabber.org/protocol/chatstates}composing"
ACTIVE = "{http://jabber.org/protocol/chatstates}active"
DISPLAYED = "{urn:xmpp:chat-markers:0}displayed"
RECEIVED = "{urn:xmpp:receipts}received"


def about(p: Pair, inner: str, type_: str = "chat") -> str:
    return f"<message xmlns='jabber:client' to='{p.romeo}' type='{type_}'>{inner}</message>"


def marker(name: str, target: str) -> str:
    return f"<{name} xmlns='urn:xmpp:chat-markers:0' id='{target}'/>"


def state(name: str) -> str:
    return f"<{name} xmlns='http://jabber.org/protocol/chatstates'/>"


async def typists(p: Pair, room: str, wanted: list[str], after: int) -> None:
    await p.alice.wait_for(
        lambda s: (
            s.room_id == room and s.type == "m.typing" and s.content.get("user_ids") == wanted
        ),
        after=after,
    )


def is_receipt(seen: Seen, event: str, user: str) -> bool:
    readers = seen.content.get(event, {}).get("m.read", {})
    return seen.type == "m.receipt" and user in readers


async def read_by(p: Pair, event: str, user: str, after: int) -> None:
    await p.alice.wait_for(lambda s: is_receipt(s, event, user), after=after)


async def types(user: MatrixUser, room: str, typing: bool) -> None:
    body = {"typing": typing, **({"timeout": 20000} if typing else {})}
    await user.request("PUT", f"v3/rooms/{quote(room)}/typing/{quote(user.user_id)}", body)


async def reads(user: MatrixUser, room: str, event: str, kind: str = "m.read") -> None:
    await user.request("POST", f"v3/rooms/{quote(room)}/receipt/{kind}/{quote(event)}", {})


def named(p: Pair, id_: str) -> list[str]:
    """What juliet was told of her message, as the tags of the children that name it."""
    stanzas = [fromstring(notice.xml) for notice in p.juliet.notices]  # noqa: S314 - our own server
    return [child.tag for stanza in stanzas for child in stanza if child.get("id") == id_]


async def stanza_id(phone: XmppUser, text: str) -> str:
    """The id that the archive of romeo's server gave a message, as its copy for the phone says."""
    copy = await phone.wait_for_text(text)
    found = fromstring(copy.xml).find("{urn:xmpp:sid:0}stanza-id")  # noqa: S314 - our own server
    assert found is not None
    return found.get("id", "")


async def publish_displayed(p: Pair, phone: XmppUser, archived: str) -> None:
    """As XEP-0490 has it, by another client than the bridge."""
    stanza = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{p.romeo}' id='{archived}'/>"
    payload = f"<displayed xmlns='{DISPLAYED_NODE}'>{stanza}</displayed>"
    await phone.publish(DISPLAYED_NODE, payload, p.juliet.bare_jid)


async def says_displayed(phone: XmppUser, chat: str, archived: str) -> bool:
    try:
        answer = await phone.request("get", displayed_query())
    except NetworkError:  # nobody has published yet
        return False
    items = answer.findall(".//{http://jabber.org/protocol/pubsub}item")
    found = {
        item.get("id"): item.find("{urn:xmpp:mds:displayed:0}displayed/{urn:xmpp:sid:0}stanza-id")
        for item in items
    }
    element = found.get(chat)
    return element is not None and element.get("id") == archived


async def test_a_contact_is_seen_typing_until_they_stop_or_write(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        p.juliet.send_xml(about(p, state("composing")))
        await typists(p, room, [p.ghost], mark)
        mark = p.alice.mark()
        p.juliet.send_xml(about(p, state("paused")))
        await typists(p, room, [], mark)
        mark = p.alice.mark()
        p.juliet.send_xml(about(p, state("composing")))
        await typists(p, room, [p.ghost], mark)
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "there")
        await p.alice.wait_for_text("there", after=mark)
        await typists(p, room, [], mark)


async def test_a_contact_sees_the_user_type(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await types(p.alice, room, True)
        await p.juliet.wait_for_notice(COMPOSING)
        await types(p.alice, room, False)
        await p.juliet.wait_for_notice(ACTIVE)


async def test_what_a_contact_has_read_is_shown_and_nothing_less_from_then_on(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        event = await p.alice.send_text(room, "one")
        one = await p.juliet.wait_for_text("one")
        assert "urn:xmpp:chat-markers:0" in one.xml
        assert "urn:xmpp:receipts" in one.xml
        await read_by(p, event, p.ghost, mark)  # their network has it
        p.juliet.send_xml(about(p, marker("displayed", one.id)))
        second = await p.alice.send_text(room, "two")
        two = await p.juliet.wait_for_text("two")
        third = await p.alice.send_text(room, "three")
        await p.juliet.wait_for_text("three")
        mark = p.alice.mark()
        p.juliet.send_xml(about(p, marker("displayed", two.id)))
        await read_by(p, second, p.ghost, mark)
        assert not any(is_receipt(seen, third, p.ghost) for seen in p.alice.seen)


async def test_a_contact_learns_that_a_message_arrived_and_then_that_it_was_read(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.alice.send_text(room, "hello back")
        await p.juliet.wait_for_text("hello back")
        request = "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
        for id_, text in (("m1", "first"), ("m2", "second")):
            p.juliet.send_xml(
                f"<message xmlns='jabber:client' to='{p.romeo}' type='chat' id='{id_}'>"
                f"<body>{text}</body>{request}</message>"
            )
        first = await p.alice.wait_for_text("first")
        await p.juliet.wait_for_notice(RECEIVED, "m1")
        await p.juliet.wait_for_notice(RECEIVED, "m2")
        await reads(p.alice, room, first.event["event_id"])
        await p.juliet.wait_for_notice(DISPLAYED, "m1")
        mine = await p.alice.send_text(room, "mine")
        await reads(p.alice, room, mine)  # and so all before it
        await p.juliet.wait_for_notice(DISPLAYED, "m2")
        assert {notice.sender.partition("/")[0] for notice in p.juliet.notices} == {p.romeo}


async def test_strangers_are_not_told_that_a_message_arrived(stack: Stack) -> None:
    async with pair(stack) as p:
        p.juliet.send_xml(
            f"<message xmlns='jabber:client' to='{p.romeo}' type='chat' id='m0'>"
            "<body>anybody there?</body><request xmlns='urn:xmpp:receipts'/></message>"
        )
        seen = await p.alice.wait_for_text("anybody there?")
        await p.alice.send_text(seen.room_id, "yes")
        await p.juliet.wait_for_text("yes")
        p.juliet.send_xml(
            f"<message xmlns='jabber:client' to='{p.romeo}' type='chat' id='m1'>"
            "<body>good</body><request xmlns='urn:xmpp:receipts'/></message>"
        )
        await p.juliet.wait_for_notice(RECEIVED, "m1")
        assert named(p, "m0") == []


async def test_what_is_read_in_private_is_told_to_nobody(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        p.juliet.send(p.romeo, "secret", id="m1")
        p.juliet.send(p.romeo, "open", id="m2")
        secret = await p.alice.wait_for_text("secret")
        opened = await p.alice.wait_for_text("open")
        await reads(p.alice, room, secret.event["event_id"], "m.read.private")
        await reads(p.alice, room, opened.event["event_id"])
        await p.juliet.wait_for_notice(DISPLAYED, "m2")
        assert named(p, "m1") == []


async def test_what_the_user_reads_on_one_device_is_read_on_the_others(stack: Stack) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        room = await p.first_chat()
        for id_ in ("m1", "m2", "m3"):
            p.juliet.send(p.romeo, f"text {id_}", id=id_)
        events = [await p.alice.wait_for_text(f"text m{n}") for n in (1, 2, 3)]
        ids = [seen.event["event_id"] for seen in events]
        mark = p.alice.mark()
        phone.send_xml(
            f"<message xmlns='jabber:client' to='{p.juliet.bare_jid}' type='chat'>"
            f"{marker('displayed', 'm1')}</message>"
        )
        await read_by(p, ids[0], p.alice.user_id, mark)
        # what the bridge marked comes back from the homeserver, and is told to nobody
        await p.juliet.wait_for_notice(DISPLAYED, "m1")
        await reads(p.alice, room, ids[2])
        await p.juliet.wait_for_notice(DISPLAYED, "m3")
        assert named(p, "m1").count(DISPLAYED) == 1
        # other devices of the account are told by XEP-0490
        third = await stanza_id(phone, "text m3")
        await within(45, lambda: says_displayed(phone, p.juliet.bare_jid, third))
        p.juliet.send(p.romeo, "text m4", id="m4")
        fourth = await p.alice.wait_for_text("text m4")
        mark = p.alice.mark()
        await publish_displayed(p, phone, await stanza_id(phone, "text m4"))
        await read_by(p, fourth.event["event_id"], p.alice.user_id, mark)


async def test_what_was_displayed_while_the_bridge_was_away_is_read_when_it_is_back(
    stack: Stack,
) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        await p.first_chat()
        p.juliet.send(p.romeo, "later", id="m1")
        later = await p.alice.wait_for_text("later")
        archived = await stanza_id(phone, "later")
        await stack.bridge.stop()
        mark = p.alice.mark()
        await publish_displayed(p, phone, archived)
        await stack.bridge.run()
        await read_by(p, later.event["event_id"], p.alice.user_id, mark)


async def test_what_the_user_reads_while_the_bridge_is_away_is_told_once_when_it_is_back(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        for id_ in ("m1", "m2", "m3"):
            p.juliet.send(p.romeo, f"text {id_}", id=id_)
        events = [await p.alice.wait_for_text(f"text m{n}") for n in (1, 2, 3)]
        await reads(p.alice, room, events[0].event["event_id"])
        await p.juliet.wait_for_notice(DISPLAYED, "m1")
        for end, n in ((stack.bridge.kill, 2), (stack.bridge.stop, 3)):
            await end()
            await reads(p.alice, room, events[n - 1].event["event_id"])
            await stack.bridge.run()
            await p.juliet.wait_for_notice(DISPLAYED, f"m{n}")
        assert [named(p, f"m{n}").count(DISPLAYED) for n in (1, 2, 3)] == [1, 1, 1]


async def test_nobody_hears_of_reads_while_the_network_is_away_and_then_they_do(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        p.juliet.send(p.romeo, "are you there?", id="m1")
        seen = await p.alice.wait_for_text("are you there?")
        await stack.prosody.disconnect_user(p.romeo.partition("@")[0])
        await reads(p.alice, room, seen.event["event_id"])
        await p.juliet.wait_for_notice(DISPLAYED, "m1", timeout=45)


async def presence_of(p: Pair, wanted: str, text: str | None, after: int) -> None:
    await p.alice.wait_for(
        lambda s: (
            s.type == "m.presence"
            and s.sender == p.ghost
            and s.content.get("presence") == wanted
            and s.content.get("status_msg") == text
        ),
        timeout=45,
        after=after,
    )


def befriend(one: XmppUser, other: XmppUser) -> None:
    """Each lets the other see whether they are there."""
    for type_ in ("subscribe", "subscribed"):
        for who, whom in ((one, other), (other, one)):
            who.send_xml(f"<presence xmlns='jabber:client' to='{whom.bare_jid}' type='{type_}'/>")


async def test_who_is_there_when_the_user_starts_a_chat_is_seen_there(stack: Stack) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        befriend(p.juliet, phone)
        await p.juliet.wait_for_presence(
            p.romeo, "", ""
        )  # so hers is on its way to the bridge, too
        mark = p.alice.mark()
        await p.ask(f"start {p.juliet.bare_jid}", "Here you are")
        await presence_of(p, "online", None, mark)


async def test_who_is_there_is_seen_on_both_sides(stack: Stack) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        await p.first_chat()
        mark = p.alice.mark()
        befriend(p.juliet, phone)
        await presence_of(p, "online", None, mark)
        away = (
            "<presence xmlns='jabber:client'><show>away</show><status>at mass</status></presence>"
        )
        p.juliet.send_xml(away)
        await presence_of(p, "unavailable", "at mass", mark)
        path = f"v3/presence/{quote(p.alice.user_id)}/status"
        await p.alice.request("PUT", path, {"presence": "unavailable", "status_msg": "in bed"})
        await p.juliet.wait_for_presence(p.romeo, "away", "in bed")
        mark = p.alice.mark()
        p.juliet.send_xml("<presence xmlns='jabber:client' type='unavailable'/>")
        await presence_of(p, "offline", None, mark)
