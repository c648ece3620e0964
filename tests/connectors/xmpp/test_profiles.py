"""Nicks and pictures in stanzas, honest and hostile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from xml.etree.ElementTree import Element, fromstring

import pytest

from dm_bridge.connectors.xmpp import people, profiles
from dm_bridge.connectors.xmpp.addresses import bare_jid, readable
from dm_bridge.connectors.xmpp.failures import rejected
from dm_bridge.ids import ContactId
from dm_bridge.network.people import MAX_AVATAR
from dm_bridge.network.signals import RemoteProfile, Signal

from .support import until

JULIET = ContactId("juliet@example.org")
DIGEST = "0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33"
EVENT = "http://jabber.org/protocol/pubsub#event"


def xml(text: str) -> Element:
    return fromstring(text)  # noqa: S314 - our own


def event(node: str, payload: str, sender: str = JULIET, type_: str = "headline") -> Element:
    return xml(
        f"<message xmlns='jabber:client' from='{sender}' type='{type_}'><event xmlns='{EVENT}'>"
        f"<items node='{node}'>{payload}</items></event></message>"
    )


def nick(text: str) -> str:
    return f"<item><nick xmlns='{profiles.NICK_NODE}'>{text}</nick></item>"


def metadata(infos: str) -> str:
    return f"<item><metadata xmlns='{profiles.AVATAR_NODE}'>{infos}</metadata></item>"


@pytest.mark.parametrize(
    ("stanza", "profile"),
    [
        (
            event(profiles.NICK_NODE, nick(" Jules  of Verona ")),
            RemoteProfile(JULIET, "Jules of Verona"),
        ),
        (event(profiles.NICK_NODE, nick("")), RemoteProfile(JULIET, "")),
        (event(profiles.NICK_NODE, "<retract id='1'/>"), RemoteProfile(JULIET, "")),
        (event(profiles.AVATAR_NODE, metadata("")), RemoteProfile(JULIET, avatar="")),
        (
            event(
                profiles.AVATAR_NODE,
                metadata(f"<info id='{DIGEST.upper()}' bytes='9' type='image/png'/>"),
            ),
            RemoteProfile(JULIET, avatar=DIGEST),
        ),
        (
            xml(
                f"<message xmlns='jabber:client' from='{JULIET}'><event xmlns='{EVENT}'>"
                f"<purge node='{profiles.AVATAR_NODE}'/></event></message>"
            ),
            RemoteProfile(JULIET, avatar=""),
        ),
    ],
)
def test_an_event_of_the_contacts_account_tells_what_has_changed(
    stanza: Element, profile: RemoteProfile
) -> None:
    assert profiles.profile_event(stanza) == profile


@pytest.mark.parametrize(
    "stanza",
    [
        event(profiles.NICK_NODE, nick("x"), sender=f"{JULIET}/phone"),
        event(profiles.NICK_NODE, nick("x"), sender="example.org"),
        event(profiles.NICK_NODE, nick("x"), sender="@@"),
        event(profiles.NICK_NODE, nick("x"), sender=""),
        event(profiles.NICK_NODE, nick("x"), type_="error"),
        event(profiles.NICK_NODE, "<item/>"),
        event("urn:something", nick("x")),
        event(profiles.AVATAR_NODE, metadata("<info id='' bytes='1'/>")),
        event(profiles.AVATAR_NODE, metadata("<info id='a b' bytes='1'/>")),
        event(profiles.AVATAR_NODE, metadata(f"<info id='{'a' * 101}' bytes='1'/>")),
        event(profiles.AVATAR_NODE, metadata(f"<info id='{DIGEST}' bytes='{MAX_AVATAR + 1}'/>")),
        event(profiles.AVATAR_NODE, metadata(f"<info id='{DIGEST}' bytes='many'/>")),
        event(
            profiles.AVATAR_NODE,
            metadata(f"<info id='{DIGEST}' bytes='1' url='http://10.0.0.1/'/>"),
        ),
    ],
)
def test_what_is_forged_or_of_no_use_changes_nothing(stanza: Element) -> None:
    assert profiles.profile_event(stanza) is None


def presence(photo: str, more: str = "") -> Element:
    return xml(
        f"<presence xmlns='jabber:client' from='{JULIET}/phone'{more}><x xmlns='vcard-temp:x:update'>{photo}</x>"
        "</presence>"
    )


@pytest.mark.parametrize(
    ("stanza", "avatar"),
    [
        (presence(f"<photo>{DIGEST}</photo>"), DIGEST),
        (presence("<photo/>"), ""),
        (presence(""), None),
        (presence("<photo>a b</photo>"), None),
        (presence(f"<photo>{DIGEST}</photo>", " type='unavailable'"), None),
    ],
)
def test_a_presence_tells_the_picture_of_the_vcard(stanza: Element, avatar: str | None) -> None:
    found = profiles.avatar_in_presence(stanza)
    assert (None if found is None else found.avatar) == avatar


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("aGVs\n bG8=", b"hello"),
        ("aGVsbG8", None),
        ("!!!!", None),
        ("", None),
        (base64.b64encode(b"x" * MAX_AVATAR).decode(), b"x" * MAX_AVATAR),
        (base64.b64encode(b"x" * (MAX_AVATAR + 1)).decode(), None),
        ("A" * (3 * MAX_AVATAR), None),
    ],
)
def test_a_picture_is_whole_and_of_bounded_size_or_none(text: str, data: bytes | None) -> None:
    item = Element("item")
    child = Element(f"{{{profiles.DATA_NODE}}}data")
    child.text = text
    item.append(child)
    assert profiles.picture_in(item) == data
    vcard = xml("<iq><vCard xmlns='vcard-temp'><PHOTO><BINVAL/></PHOTO></vCard></iq>")
    vcard[0][0][0].text = text
    assert profiles.picture_in_vcard(vcard) == data


def test_a_vcard_names_its_owner_by_nickname_first() -> None:
    both = "<FN>Juliet Capulet</FN><NICKNAME>Jules</NICKNAME>"
    for fields, name in (
        (both, "Jules"),
        ("<FN> Juliet\nC. </FN><NICKNAME/>", "Juliet C."),
        ("", None),
    ):
        assert (
            profiles.name_in_vcard(xml(f"<iq><vCard xmlns='vcard-temp'>{fields}</vCard></iq>"))
            == name
        )


@pytest.mark.parametrize(
    ("address", "read"),
    [
        (r"juliet\40example.com@gateway.example", "juliet@example.com (gateway.example)"),
        (r"a\20b\5c40@gateway.example", r"a b\40 (gateway.example)"),
        (r"x\41y@gateway.example", r"x\41y@gateway.example"),
        ("juliet@example.com", "juliet@example.com"),
    ],
)
def test_an_escaped_address_can_be_read_and_stays_the_address(address: str, read: str) -> None:
    contact = bare_jid(address)
    assert contact == address
    assert readable(contact) == read


async def test_an_event_about_a_picture_counts_more_than_what_presence_says_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(people, "SETTLED", 0.01)
    told: list[Signal] = []
    known = people.People(told.append, 1.0, None)
    known.presence(presence(f"<photo>{DIGEST}</photo>"), "me@example.org")
    known.noticed(event(profiles.AVATAR_NODE, metadata("<info id='abc' bytes='1'/>")))
    nurse = presence(f"<photo>{DIGEST}</photo>")
    nurse.set("from", "nurse@example.org/phone")
    known.presence(nurse, "me@example.org")
    await until(lambda: len(told) == 2)
    assert told == [
        RemoteProfile(JULIET, avatar="abc"),
        RemoteProfile(ContactId("nurse@example.org"), avatar=DIGEST),
    ]
    known.presence(nurse, "me@example.org")
    known.close()
    await asyncio.sleep(0.03)
    assert len(told) == 2


def card(fields: str, sender: str = JULIET, type_: str = "headline") -> Element:
    vcard = f"<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>{fields}</vcard>"
    return event(profiles.CARD_NODE, f"<item>{vcard}</item>", sender, type_)


FN, NICKNAME = "<fn><text>Juliet C.</text></fn>", "<nickname><text>Jules</text></nickname>"


@pytest.mark.parametrize(
    ("stanza", "found"),
    [
        (card(FN), (JULIET, "Juliet C.")),
        (card(FN + NICKNAME), (JULIET, "Jules")),
        (card("<nickname><text> </text></nickname>" + FN), (JULIET, "Juliet C.")),
        (card(""), None),
        (card("<fn>Juliet</fn>"), None),
        (card(FN, f"{JULIET}/phone"), None),
        (card(FN, "example.org"), None),
        (card(FN, type_="error"), None),
        (event(profiles.CARD_NODE, "<retract id='1'/>"), None),
        (event("urn:something", f"<item>{FN}</item>"), None),
    ],
)
def test_an_event_of_the_contacts_account_tells_what_their_vcard_says(
    stanza: Element, found: tuple[str, str] | None
) -> None:
    assert profiles.card_event(stanza) == found


async def test_who_has_no_nick_is_called_as_the_event_about_their_vcard_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(people, "SETTLED", 0.01)
    told: list[Signal] = []
    known = people.People(told.append, 1.0, None)
    nurse = ContactId("nurse@example.org")
    assert known.noticed(card(FN))
    assert known.noticed(card("<fn><text>Angelica</text></fn>", nurse))
    known.noticed(event(profiles.NICK_NODE, nick("J")))  # in whatever order the server sends them
    assert told == [RemoteProfile(JULIET, "J")]
    await until(lambda: len(told) == 2)
    assert told[1] == RemoteProfile(nurse, "Angelica")
    assert known.contact(nurse).name == "Angelica"
    known.noticed(event(profiles.NICK_NODE, nick("")))
    known.noticed(card(FN))
    await until(lambda: len(told) == 4)
    assert told[2:] == [RemoteProfile(JULIET, ""), RemoteProfile(JULIET, "Juliet C.")]


def test_a_new_nick_in_a_message_is_told_of_those_who_tell_it_in_no_other_way() -> None:
    told: list[Signal] = []
    known = people.People(told.append, 1.0, None)
    for name in ("Jules", "Jules", "Juliet"):
        known.wrote_as(JULIET, name)
    assert told == [RemoteProfile(JULIET, "Jules"), RemoteProfile(JULIET, "Juliet")]
    assert known.contact(JULIET).name == "Juliet"
    known.roster(
        xml(f"<query xmlns='jabber:iq:roster'><item jid='{JULIET}' subscription='both'/></query>")
    )
    told.clear()
    known.wrote_as(JULIET, "J")
    assert told == []
    assert known.contact(JULIET).name == "J"


@pytest.mark.parametrize(
    ("nick", "told"),
    [("", [RemoteProfile(JULIET, name="Juliet C.")]), ("Jules", [])],
)
async def test_who_has_no_nick_is_called_as_their_changed_vcard_says(
    nick: str, told: list[Signal]
) -> None:
    class Server:
        async def request(self, kind: str, query: Element, timeout: float, *, to: str) -> Element:
            if query.tag == "{vcard-temp}vCard":
                photo = "<PHOTO><BINVAL>aGVsbG8=</BINVAL></PHOTO>"
                return xml(f"<iq><vCard xmlns='vcard-temp'><FN>Juliet C.</FN>{photo}</vCard></iq>")
            if nick and query[0].get("node") == profiles.NICK_NODE:
                return xml(
                    "<iq><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                    f"<items node='{profiles.NICK_NODE}'>"
                    f"<item><nick xmlns='{profiles.NICK_NODE}'>{nick}</nick></item></items></pubsub></iq>"
                )
            raise rejected("example.org", "it", "item-not-found")

    heard: list[Signal] = []
    known = people.People(heard.append, 1.0, None)
    for _ in range(2):
        assert await known.avatar(Server(), JULIET, DIGEST) == b"hello"  # type: ignore[arg-type]
    assert heard == told
    heard.clear()
    assert known.looks_again(JULIET)
    await known.look_again(Server(), JULIET)  # type: ignore[arg-type]
    digest = hashlib.sha1(b"hello", usedforsecurity=False).hexdigest()
    assert heard == [RemoteProfile(JULIET, name=nick or "Juliet C.", avatar=digest)]
    assert not known.looks_again(JULIET)


async def test_a_vcard_is_read_now_and_then_of_those_of_whom_nothing_else_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = people.People(lambda _: None, 1.0, None)
    others = [ContactId(f"{n}@example.org") for n in range(people._AT_ONCE + 1)]
    assert [known.looks_again(each) for each in others] == [True] * people._AT_ONCE + [False]
    known._reading.clear()
    assert [known.looks_again(each) for each in others] == [False] * people._AT_ONCE + [True]
    known._reading.clear()
    monkeypatch.setattr(people, "CARD_AGAIN", 0.0)
    assert known.looks_again(others[0])
    known.noticed(event(profiles.NICK_NODE, nick("J")))
    known.noticed(card(FN, others[1]))
    known.wrote_as(others[2], "Two")
    known._reading.clear()
    looks = [known.looks_again(each) for each in (JULIET, *others)]
    assert looks == [False, True, False, False, True, True]
    known.close()
