"""What arrives in stanzas becomes events; what is forged, or no message, does not."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.bounces import failure_reason
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.identity import FEATURES, answer, verification
from dm_bridge.connectors.xmpp.stanzas import (
    Account,
    Ignored,
    archive_id,
    message_payload,
    read_archived,
    read_message,
    roster_names,
)
from dm_bridge.ids import RemoteId
from dm_bridge.network.events import RemoteEdit, RemoteFailure, RemoteMessage, Text

ME = Account("romeo@example.org", "romeo@example.org/dm_bridge.1", "example.org")
NOW = 1714979289.0 + 86_400.0  # a day after 2024-05-06T07:08:09Z
IDN = Account("me@münchen.example", "me@münchen.example/b", "münchen.example")
ACE = "xn--mnchen-3ya.example"
DELAY = "<delay xmlns='urn:xmpp:delay' from='{}' stamp='{}'/>"


def stanza(inner: str = "<body>hi</body>", **attributes: str) -> Element:
    given = {"from": "juliet@example.com/balcony", "to": ME.full, "type": "chat", **attributes}
    named = "".join(f" {name}='{value}'" for name, value in given.items() if value)
    return fromstring(f"<message xmlns='jabber:client'{named}>{inner}</message>")  # noqa: S314


def read(element: Element, nonce: str = "n") -> RemoteMessage:
    event = read_message(element, ME, nonce, NOW)
    assert isinstance(event, RemoteMessage), event
    return event


def carbon(direction: str, inner: str, sender: str = ME.bare, extra: str = "") -> Element:
    return stanza(
        f"<{direction} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{extra}"
        f"{inner}</forwarded></{direction}>",
        **{"from": sender},
    )


def inner(sender: str, to: str, body: str = "hi", extra: str = "", type_: str = "chat") -> str:
    return (
        f"<message xmlns='jabber:client' from='{sender}' to='{to}' type='{type_}' id='i1'>"
        f"<body>{body}</body>{extra}</message>"
    )


@pytest.mark.parametrize("type_", ["chat", "normal", "", "made-up"])
def test_a_message_with_a_body_is_an_event(type_: str) -> None:
    event = read(stanza(type=type_, id="a"))
    assert (event.chat, event.sender) == ("juliet@example.com", "juliet@example.com")
    assert (event.from_self, event.content, event.sent_at) == (False, Text("hi"), None)


@pytest.mark.parametrize(
    "element",
    [
        stanza(type="groupchat"),
        stanza(type="headline"),
        stanza(""),
        stanza("<body/>"),
        stanza("<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
        stanza("<received xmlns='urn:xmpp:receipts'/>"),
        stanza("<displayed xmlns='urn:xmpp:chat-markers:0'/>"),
        stanza("<body> \n\t </body>"),
        stanza("<body>join</body><x xmlns='jabber:x:conference' jid='@@'/>"),
        stanza("<body>join</body><x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>"),
        stanza("<body>private</body><x xmlns='http://jabber.org/protocol/muc#user'/>", **{"from": "r@c"}),
        stanza("<x xmlns='jabber:x:conference' jid='r@c'/>", **{"from": f"{ME.bare}/phone"}),
        stanza("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", **{"from": f"{ME.bare}/phone"}),
        stanza("<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>"),
        stanza(type="error"),
        stanza("<error type='cancel'/>", type="error"),
        stanza(**{"from": "@@"}),
        stanza(**{"from": ME.full}),
        carbon("received", ""),
        carbon("sent", inner("juliet@example.com/x", ME.bare)),
        carbon("sent", inner(ME.full, "juliet@example.com")),
        carbon("received", inner("juliet@example.com/x", ME.bare, type_="error")),
        carbon("received", inner("juliet@example.com/x", ME.bare, type_="groupchat")),
        carbon("sent", carbon_in_carbon := tostring(
            carbon("received", inner("juliet@example.com/x", ME.bare)), encoding="unicode"
        )),
    ],
)  # fmt: skip
def test_everything_else_is_not(element: Element) -> None:
    assert isinstance(read_message(element, ME, "n", NOW), Ignored)


def test_a_carbon_of_the_users_own_message_is_theirs() -> None:
    event = read(carbon("sent", inner(f"{ME.bare}/phone", "juliet@example.com/x")))
    assert (event.chat, event.sender, event.from_self) == ("juliet@example.com", ME.bare, True)
    assert event.id == "own:i1"


def test_a_carbon_of_a_received_message_is_the_contacts() -> None:
    copy = read(carbon("received", inner("juliet@example.com/x", f"{ME.bare}/phone")))
    direct = read(stanza(**{"from": "juliet@example.com/x", "id": "i1"}))
    assert copy == direct


@pytest.mark.parametrize(
    "sender",
    ["juliet@example.com", "romeo@example.org/phone", "example.org", "romeo@example.org.evil"],
)
@pytest.mark.parametrize("direction", ["sent", "received"])
def test_a_carbon_from_anybody_but_the_own_account_is_forged(sender: str, direction: str) -> None:
    element = carbon(direction, inner("juliet@example.com/x", ME.bare), sender=sender)
    element.append(fromstring("<body xmlns='jabber:client'>cover</body>"))  # noqa: S314
    event = read_message(element, ME, "n", NOW)
    assert isinstance(event, Ignored)
    assert event.suspicious


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='s1'/>", "sid:s1"),
        (
            "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='forged'/>"
            "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='s1'/>",
            "sid:s1",
        ),
        ("<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.com' id='s1'/>", "msg:"),
        ("<stanza-id xmlns='urn:xmpp:sid:0' by='example.org' id='s1'/>", "msg:"),
        ("<stanza-id xmlns='urn:xmpp:sid:0' id='s1'/>", "msg:"),
        ("<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>", "msg:"),
    ],
)
def test_only_the_own_servers_stanza_id_is_believed(extra: str, expected: str) -> None:
    assert read(stanza(f"<body>hi</body>{extra}", id="a")).id.startswith(expected)


def test_ids_are_the_same_again_and_differ_between_senders_and_messages() -> None:
    first = stanza(id="a")
    assert read(first, "n1").id == read(first, "n2").id
    others = [stanza(id="b"), stanza(id="a", **{"from": "juliet@example.com/other"})]
    assert len({read(element).id for element in [first, *others]}) == 3
    nameless = stanza("<body>hi</body>" + DELAY.format("example.org", "2024-05-06T07:08:09Z"))
    assert read(nameless, "n1").id == read(nameless, "n2").id
    assert read(stanza(), "n1").id != read(stanza(), "n2").id
    assert len(read(carbon("sent", inner(ME.bare, "a@b").replace("i1", "x" * 5000))).id) < 100


def test_notes_to_oneself_have_one_id_by_every_path() -> None:
    ids = "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='{}'/>"
    direct = stanza(
        "<body>hi</body>" + ids.format("s1"), id="i1", **{"from": f"{ME.bare}/phone", "to": ME.bare}
    )
    copy = carbon("sent", inner(f"{ME.bare}/phone", ME.bare, extra=ids.format("s2")))
    assert read(direct).id == read(copy).id == "own:i1"
    assert (read(direct).chat, read(direct).from_self) == (ME.bare, True)


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (DELAY.format("example.org", "2024-05-06T07:08:09Z"), 1714979289.0),
        (DELAY.format("romeo@example.org", "2024-05-06T09:08:09.5+02:00"), 1714979289.5),
        ("<delay xmlns='urn:xmpp:delay' stamp='2024-05-06T07:08:09'/>", 1714979289.0),
        (DELAY.format("juliet@example.com", "2024-05-06T07:08:09Z"), None),
        (DELAY.format("@@", "2024-05-06T07:08:09Z"), None),
        (DELAY.format("example.org", "2024-05-07T07:08:09Z"), NOW),
        (DELAY.format("example.org", "2024-05-07T07:08:10Z"), None),
        (DELAY.format("example.org", "2024-04-07T07:08:09Z"), NOW - 30 * 86_400),
        (DELAY.format("example.org", "2024-04-07T07:08:08Z"), None),
        (DELAY.format("example.org", "1970-01-01T00:00:00Z"), None),
        (DELAY.format("example.org", "yesterday"), None),
        (DELAY.format("example.org", "9999-99-99T00:00:00Z"), None),
        (DELAY.format("example.org", "0001-01-01T00:00:00+23:00"), None),
        ("<delay xmlns='urn:xmpp:delay'/>", None),
    ],
)
def test_a_time_counts_when_the_own_server_gives_it(delay: str, expected: float | None) -> None:
    assert read(stanza(f"<body>hi</body>{delay}")).sent_at == expected
    if expected is not None:
        copy = carbon("received", inner("juliet@example.com/x", ME.bare), extra=delay)
        assert read(copy).sent_at == expected


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ("/me waves", Text("waves", emote=True)),
        ("/me *waves*", Text("*waves*", "<strong>waves</strong>", emote=True)),
        ("/meow", Text("/meow")),
        ("/me ", Text("/me ")),
        (" /me waves", Text(" /me waves")),
        ("*strong*", Text("*strong*", "<strong>strong</strong>")),
        ("&lt;b&gt;", Text("<b>")),
    ],
)
def test_bodies_become_texts(body: str, content: Text) -> None:
    assert read(stanza(f"<body>{body}</body>")).content == content


@pytest.mark.parametrize(
    ("inside", "content"),
    [
        ("<subject>A &amp; b</subject>", Text("A & b", "<strong>A &amp; b</strong>")),
        ("<subject>A</subject><body> </body>", Text("A", "<strong>A</strong>")),
        (
            "<subject> A\nb </subject><body>c&lt;\n*d*</body>",
            Text("A b\nc<\n*d*", "<strong>A b</strong><br>c&lt;<br><strong>d</strong>"),
        ),
        (
            "<subject>A</subject><body>c&lt;\nd</body>",
            Text("A\nc<\nd", "<strong>A</strong><br>c&lt;<br>d"),
        ),
        ("<subject/><body>c</body>", Text("c")),
    ],
)
def test_a_subject_is_a_heading(inside: str, content: Text) -> None:
    assert read(stanza(inside)).content == content


def test_only_an_edit_puts_blanks_in_the_place_of_words() -> None:
    replaced = "<replace id='a' xmlns='urn:xmpp:message-correct:0'/>"
    edit = read_message(stanza(f"<body> </body>{replaced}"), ME, "n", NOW)
    assert isinstance(edit, RemoteEdit)
    assert edit.content == Text(" ")


def test_a_sender_can_forbid_styling() -> None:
    element = stanza("<body>*x*</body><unstyled xmlns='urn:xmpp:styling:0'/>")
    assert read(element).content == Text("*x*")


def test_the_body_without_a_language_is_preferred() -> None:
    element = stanza("<body xml:lang='de'>Hallo</body><body>Hello</body>")
    assert read(element).content.body == "Hello"
    assert read(stanza("<body xml:lang='de'>Hallo</body>")).content.body == "Hallo"


def test_a_text_beside_transported_keys_is_passed_on() -> None:
    element = stanza(
        "<encrypted xmlns='eu.siacs.conversations.axolotl'/><body>I sent you an OMEMO message</body>"
    )
    assert read(element).content.body == "I sent you an OMEMO message"


OMEMO = "<encrypted xmlns='{}'><header sid='1'/>{}</encrypted>"
HINT = "<encryption xmlns='urn:xmpp:eme:0' namespace='{}' name='x'/>"


@pytest.mark.parametrize(
    ("payload", "method"),
    [
        (OMEMO.format("eu.siacs.conversations.axolotl", "<payload>x</payload>"), " (OMEMO)"),
        (OMEMO.format("urn:xmpp:omemo:2", "<payload>x</payload>"), " (OMEMO)"),
        ("<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>", " (OpenPGP)"),
        ("<x xmlns='jabber:x:encrypted'>x</x>", " (OpenPGP)"),
        (HINT.format("urn:xmpp:otr:0"), " (OTR)"),
        (HINT.format("urn:xmpp:omemo:2"), " (OMEMO)"),
        (HINT.format("urn:example:new"), ""),
        ("<body/>" + HINT.format("urn:xmpp:otr:0"), " (OTR)"),
        ("<body>?OTR:AAMD</body>", " (OTR)"),
        ("<body>?OTRv23?\nlet us talk in private</body>", " (OTR)"),
    ],
)
@pytest.mark.parametrize("fallback", ["", "<body>I sent you an encrypted message</body>"])
def test_an_encrypted_message_says_so_and_what_to_do(
    payload: str, method: str, fallback: str
) -> None:
    event = read(stanza(payload + fallback, id="e1"))
    assert event.unreadable
    assert event.content == Text(
        f"This message is encrypted{method}, and the bridge cannot read it."
        " Ask your contact to turn encryption off for this chat."
    )
    assert (event.chat, event.id) == (
        "juliet@example.com",
        read(stanza(id="e1")).id,
    )


@pytest.mark.parametrize("text", ["?OTRAGEOUS", "what is ?OTR: for", "(?OTR:"])
def test_a_text_about_encryption_is_a_text(text: str) -> None:
    event = read(stanza(f"<body>{text}</body>"))
    assert (event.content.body, event.unreadable) == (text, False)


def test_an_encrypted_message_of_the_users_own_names_the_other_client() -> None:
    payload = OMEMO.format("urn:xmpp:omemo:2", "<payload>x</payload>")
    copy = inner(f"{ME.bare}/phone", "juliet@example.com").replace("<body>hi</body>", payload)
    event = read(carbon("sent", copy))
    assert event.from_self
    assert event.content.body.endswith("in your other client.")


@pytest.mark.parametrize("namespace", ["eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2"])
def test_an_omemo_message_that_only_transports_keys_is_ignored(namespace: str) -> None:
    element = stanza(OMEMO.format(namespace, "") + HINT.format(namespace))
    assert isinstance(read_message(element, ME, "n", NOW), Ignored)


def test_either_spelling_of_a_contacts_domain_is_one_chat() -> None:
    ids = set()
    for domain in ("münchen.example", ACE):
        event = read(stanza(id="a", **{"from": f"juliet@{domain}/x"}))
        assert (event.chat, event.sender) == ("juliet@münchen.example", "juliet@münchen.example")
        ids.add(event.id)
    assert len(ids) == 1


@pytest.mark.parametrize("domain", ["münchen.example", ACE])
def test_either_spelling_of_the_own_domain_is_the_own_account(domain: str) -> None:
    me = f"me@{domain}"
    sid = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{me}' id='s1'/>"
    delay = DELAY.format(domain, "2024-05-06T07:08:09Z")
    copy = carbon("sent", inner(f"{me}/phone", f"juliet@{ACE}", extra=sid + delay), sender=me)
    event = read_message(copy, IDN, "n", NOW)
    assert isinstance(event, RemoteMessage)
    assert (event.from_self, event.chat) == (True, "juliet@münchen.example")
    assert (event.id, event.sent_at) == ("sid:s1", 1714979289.0)
    note = stanza(f"<body>hi</body>{sid}", id="i1", **{"from": f"{me}/phone", "to": me})
    event = read_message(note, IDN, "n", NOW)
    assert isinstance(event, RemoteMessage)
    assert event.id == "own:i1"


def test_a_malformed_stanza_id_is_not_believed_and_harms_nothing() -> None:
    extra = "<stanza-id xmlns='urn:xmpp:sid:0' by='@@' id='s1'/>"
    assert read(stanza(f"<body>hi</body>{extra}", id="a")).id.startswith("msg:")


@pytest.mark.parametrize(
    ("nick", "expected"), [("Jules", "Jules"), (" \n ", None), ("x" * 500, "x" * 100), ("", None)]
)
def test_a_nick_in_the_message_is_the_senders_name(nick: str, expected: str | None) -> None:
    element = stanza(f"<body>hi</body><nick xmlns='http://jabber.org/protocol/nick'>{nick}</nick>")
    assert read(element).sender_name == expected


def test_a_message_without_a_sender_comes_from_the_server() -> None:
    assert read(stanza(**{"from": ""})).chat == "example.org"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("service-unavailable", "does not exist, or takes no messages"),
        ("recipient-unavailable", "cannot be reached"),
        ("item-not-found", "does not exist"),
        ("remote-server-not-found", "cannot be found"),
        ("remote-server-timeout", "did not answer"),
        ("not-acceptable", "blocked"),
        ("resource-constraint", "no room"),
        ("policy-violation", "breaks a rule"),
        ("undefined-condition", "did not get the message (undefined-condition)."),
        ("{evil}", "did not get the message."),
    ],
)
def test_every_bounce_has_a_sentence(condition: str, expected: str) -> None:
    error = Element("{jabber:client}error")
    error.append(Element("{urn:ietf:params:xml:ns:xmpp-stanzas}" + condition))
    element = stanza("", type="error", id="m1", **{"from": "juliet@example.com"})
    element.append(error)
    event = read_message(element, ME, "n", NOW)
    assert isinstance(event, RemoteFailure)
    assert (event.chat, event.message) == ("juliet@example.com", "m1")
    assert expected in event.reason


def test_the_servers_own_words_are_quoted_in_bounds() -> None:
    error = fromstring(  # noqa: S314
        "<error xmlns='jabber:client'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        f"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no\n{{chat}} {'x' * 5000}</text></error>"
    )
    reason = failure_reason(error, "a@b")
    assert reason.startswith("The address a@b does not exist. The server says: no {chat} xxx")
    assert len(reason) < 300


def payload(content: Text) -> tuple[str, list[str]]:
    body, *rest = message_payload(content, RemoteId("id1"))
    return body.text or "", [child.tag.partition("}")[2] for child in rest]


@pytest.mark.parametrize(
    ("content", "body", "rest"),
    [
        (Text("hi"), "hi", ["origin-id"]),
        (Text("*hi*"), "*hi*", ["origin-id", "unstyled"]),
        (Text("> hi"), "> hi", ["origin-id", "unstyled"]),
        (Text("hi", "<b>hi</b>"), "*hi*", ["origin-id"]),
        (Text("waves", emote=True), "/me waves", ["origin-id"]),
        (Text("w", "<i>w</i>", emote=True), "/me _w_", ["origin-id"]),
        (Text("*x*", "<b></b>"), "*x*", ["origin-id", "unstyled"]),
        (Text("a\x00b\x1f\ud800\ufffe\uffff"), "a" + "\ufffd" + "b" + "\ufffd" * 4, ["origin-id"]),
        (Text("tab\tline\nend \U0001f600"), "tab\tline\nend \U0001f600", ["origin-id"]),
        (Text("x", "<b>\x00</b>"), "*\ufffd*", ["origin-id"]),
    ],
)
def test_texts_become_bodies(content: Text, body: str, rest: list[str]) -> None:
    assert payload(content) == (body, rest)


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_can_be_written_as_xml_and_legal_text_is_unchanged(text: str) -> None:
    element = Element("body")
    element.text = xml_text(text)
    written = fromstring(tostring(element))  # noqa: S314
    assert (written.text or "") == xml_text(text).replace("\r", "\n") or "\r" in text
    if text.isprintable() and not any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        assert xml_text(text) == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60))
def test_plain_text_arrives_as_it_was_sent(text: str) -> None:
    element = stanza("")
    for child in message_payload(Text(text), RemoteId("id1")):
        element.append(child)
    event = read_message(fromstring(tostring(element)), ME, "n", NOW)  # noqa: S314
    assert isinstance(event, RemoteMessage)
    if not text.startswith("/me "):
        assert event.content == Text(xml_text(text))


def test_roster_items_give_names() -> None:
    query = fromstring(  # noqa: S314
        "<query xmlns='jabber:iq:roster'><item jid='Juliet@Example.com/x' name=' My  Juliet '/>"
        "<item jid='a@b' subscription='remove' name='gone'/><item jid='c@d'/>"
        "<item jid='e@xn--mnchen-3ya.example' name='E'/><item jid='@@' name='x'/><item name='y'/></query>"
    )
    assert roster_names(query) == {
        "juliet@example.com": "My Juliet",
        "a@b": None,
        "c@d": None,
        "e@münchen.example": "E",
    }


def test_disco_tells_what_the_capabilities_hash() -> None:
    query = answer(None)
    assert query is not None
    assert [child.get("var") for child in query[1:]] == list(FEATURES)
    hashed = answer(f"urn:dm_bridge:client#{verification()}")
    assert hashed is not None
    assert hashed.get("node") == f"urn:dm_bridge:client#{verification()}"
    assert answer("other") is None


def archived(
    message: str, identifier: str = "s1", stamp: str = "2024-05-06T07:08:09Z"
) -> RemoteMessage | RemoteFailure | Ignored:
    forwarded = fromstring(  # noqa: S314
        "<forwarded xmlns='urn:xmpp:forward:0'>"
        f"<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>{message}</forwarded>"
    )
    event = read_archived(forwarded, identifier, ME, "n", NOW)
    assert isinstance(event, RemoteMessage | RemoteFailure | Ignored)
    return event


def test_an_archived_message_is_the_live_one_with_its_time() -> None:
    event = archived(inner("juliet@example.com/x", ME.bare))
    live = read(
        stanza(
            f"<body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' id='s1' by='{ME.bare}'/>",
            **{"from": "juliet@example.com/x", "id": "i1"},
        )
    )
    unmarked = read(stanza(**{"from": "juliet@example.com/x", "id": "i1"}))
    assert isinstance(event, RemoteMessage)
    assert event == replace(live, sent_at=1714979289.0, other_id=unmarked.id)
    assert (event.id, event.sent_id) == ("sid:s1", None)


def test_an_archived_message_may_be_old() -> None:
    event = archived(inner("juliet@example.com/x", ME.bare), stamp="2014-05-06T07:08:09Z")
    assert isinstance(event, RemoteMessage)
    assert event.sent_at == 1399360089.0


def test_an_archived_message_of_the_users_own_is_known_by_all_its_ids() -> None:
    message = inner(f"{ME.bare}/phone", "juliet@example.com/x")
    event = archived(message)
    copy = read(carbon("sent", message))
    assert isinstance(event, RemoteMessage)
    assert (event.chat, event.from_self) == ("juliet@example.com", True)
    assert (event.id, event.other_id, event.sent_id) == ("sid:s1", copy.id, "i1")


def test_an_archived_note_to_oneself_is_known_by_its_own_id() -> None:
    sent, received = (archived(inner(f"{ME.bare}/phone", ME.bare), n) for n in ("s1", "s2"))
    assert isinstance(sent, RemoteMessage)
    assert sent == received
    assert (sent.id, sent.other_id) == ("own:i1", None)


def test_an_archived_bounce_of_this_sessions_message_is_a_failure() -> None:
    def bounce(to: str) -> str:
        return (
            f"<message xmlns='jabber:client' from='juliet@example.com' to='{to}' type='error'"
            " id='i1'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            "</error></message>"
        )

    event = archived(bounce(ME.full))
    assert isinstance(event, RemoteFailure)
    assert (event.chat, event.message) == ("juliet@example.com", "i1")
    assert isinstance(archived(bounce(f"{ME.bare}/phone")), Ignored)


@pytest.mark.parametrize(
    ("message", "suspicious"),
    [
        ("", False),
        (inner(ME.full, "juliet@example.com"), False),
        (inner("juliet@example.com/x", ME.bare, type_="groupchat"), False),
        (inner("@@", ME.bare), False),
        (inner("juliet@example.com/x", ME.bare, extra=tostring(
            carbon("received", inner("juliet@example.com/x", ME.bare))[0], encoding="unicode"
        )), True),
    ],
)  # fmt: skip
def test_what_else_is_archived_is_nothing(message: str, suspicious: bool) -> None:
    event = archived(message)
    assert isinstance(event, Ignored)
    assert event.suspicious is suspicious


def test_a_live_message_and_a_copy_of_one_have_their_place_in_the_archive() -> None:
    own = f"<stanza-id xmlns='urn:xmpp:sid:0' id='s1' by='{ME.bare}'/>"
    other = "<stanza-id xmlns='urn:xmpp:sid:0' id='s2' by='juliet@example.com'/>"
    message = inner(f"{ME.bare}/phone", "juliet@example.com", extra=own)
    late = DELAY.format(ME.domain, "2024-05-06T07:08:09Z")
    assert archive_id(stanza(f"<body>hi</body>{other}{own}"), ME) == "s1"
    assert archive_id(carbon("sent", message), ME) == "s1"
    assert archive_id(stanza(f"<body>hi</body>{other}"), ME) is None
    assert archive_id(stanza(f"<body>hi</body>{own}{late}"), ME) is None
