"""What a pushed event means, for every kind of room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge import routing
from dm_bridge.bridge.routing import RoomFacts, is_echo, route
from dm_bridge.ids import EventId, GhostNamespace, UserId
from dm_bridge.matrix.attachments import Attached
from dm_bridge.network.events import Text
from dm_bridge.network.media import MediaKind, Place
from dm_bridge.texts import phrase

BOT = UserId("@bridge:example.org")
OWNER = UserId("@juliet:example.org")
NAMESPACE = GhostNamespace("_xmpp_", "example.org")
GHOST = UserId("@_xmpp_xmpp_romeo:example.org")
OTHER_GHOST = UserId("@_xmpp_xmpp_nurse:example.org")
STRANGER = UserId("@tybalt:other.example")
PORTAL = RoomFacts(owner=OWNER, ghost=GHOST)
MANAGEMENT = RoomFacts(manager=OWNER)
UNKNOWN = RoomFacts()
SPACE = RoomFacts(space=OWNER)


def event(kind: str, sender: str = OWNER, content: object = None, **more: object) -> dict[str, Any]:
    return {"type": kind, "sender": sender, "content": {} if content is None else content, **more}


def text(body: object, msgtype: object = "m.text", sender: str = OWNER) -> dict[str, Any]:
    return event("m.room.message", sender, {"msgtype": msgtype, "body": body})


def with_content(raw: dict[str, Any], **more: object) -> dict[str, Any]:
    return {**raw, "content": {**raw["content"], **more}}


def member(
    target: object, membership: object, sender: str = OWNER, **content: object
) -> dict[str, Any]:
    return event("m.room.member", sender, {"membership": membership, **content}, state_key=target)


def tombstone(replacement: object, sender: str = OWNER) -> dict[str, Any]:
    content = {"body": "This room has been replaced", "replacement_room": replacement}
    return event("m.room.tombstone", sender, content, state_key="")


def decide(raw: dict[str, Any], facts: RoomFacts) -> routing.Route:
    return route(raw, facts, bot=BOT, namespace=NAMESPACE)


@pytest.mark.parametrize(
    ("raw", "decision"),
    [
        (text("hello"), routing.Message(Text("hello"), None)),
        (text("waves", "m.emote"), routing.Message(Text("waves", emote=True), None)),
        (text("hello", "m.notice"), routing.Message(Text("hello"), None)),
        (text("hello", "org.example.own"), routing.Message(Text("hello"), None)),
        (
            with_content(text("hello"), **{"org.dm_bridge.remote_id": "id-1"}),
            routing.Message(Text("hello"), "id-1"),
        ),
        (
            with_content(text("hello"), **{"org.dm_bridge.remote_id": ["id-1"]}),
            routing.Message(Text("hello"), None),
        ),
        (member(OWNER, "join"), routing.OwnerMoved(True)),
        (member(OWNER, "leave"), routing.OwnerMoved(False)),
        (member(OWNER, "leave", sender=GHOST), routing.OwnerMoved(False)),
        (member(OWNER, "ban", sender=GHOST), routing.OwnerMoved(False)),
        (member(GHOST, "leave"), routing.GhostRemoved()),
        (member(GHOST, "ban"), routing.GhostRemoved()),
        (member(OTHER_GHOST, "invite"), routing.GhostInvited(OTHER_GHOST, False)),
        (member(BOT, "invite"), routing.BotInvited()),
        (member(BOT, "join", sender=BOT), routing.BotMoved(True)),
        (member(BOT, "leave"), routing.BotMoved(False)),
        (member(BOT, "ban"), routing.BotMoved(False)),
        (member(STRANGER, "join", sender=STRANGER), routing.OthersMoved()),
        (tombstone("!new"), routing.Replaced()),
        (tombstone(["x"], sender=STRANGER), routing.Replaced()),
        (
            event("io.element.functional_members", content={"service_members": []}, state_key=""),
            routing.ServiceMembers({"service_members": []}),
        ),
    ],
)
def test_what_happens_in_a_portal(raw: dict[str, Any], decision: routing.Route) -> None:
    assert decide(raw, PORTAL) == decision


@pytest.mark.parametrize("kind", ["m.image", "m.video", "m.audio", "m.file"])
def test_what_cannot_be_carried_is_never_dropped_silently(kind: str) -> None:
    assert isinstance(decide(text("picture.png", kind), PORTAL), routing.Unsendable)


@pytest.mark.parametrize("kind", ["m.gallery", "dm.filament.gallery"])
@pytest.mark.parametrize("said", ["", "In Verona"])
def test_several_files_in_one_message_are_not_dropped_silently(kind: str, said: str) -> None:
    raw = with_content(text(said, kind), itemtypes=[{"itemtype": "m.image", "url": "mxc://a/b"}])
    assert decide(raw, PORTAL) == routing.Unsendable(phrase("delivery-no-galleries"))
    edit = with_content(
        text("* x"), **about("m.replace", "$a"), **{"m.new_content": raw["content"]}
    )
    assert isinstance(decide(edit, PORTAL), routing.Ignore)


@pytest.mark.parametrize(
    "raw",
    [
        text(""),
        text("  \n"),
        text(None),
        text(["x"]),
        event("m.room.message", content={}),
        event("m.room.encrypted"),
        event("m.sticker"),
    ],
)
def test_a_message_of_the_owner_without_a_text_is_reported(raw: dict[str, Any]) -> None:
    assert isinstance(decide(raw, PORTAL), routing.Unsendable)


@pytest.mark.parametrize(
    "raw",
    [
        text("hello", sender=STRANGER),
        text("hello", sender=BOT),
        text("picture.png", "m.image", sender=STRANGER),
        event("m.room.encrypted", sender=STRANGER),
        event("m.sticker", sender=STRANGER),
        event("m.reaction"),
        event("m.room.name"),
        member(OWNER, "invite", sender=GHOST),
        member(GHOST, "leave", sender=GHOST),
        member(GHOST, "join", sender=GHOST),
        member(GHOST, "invite", sender=STRANGER),
        member(STRANGER, "invite"),
        member(STRANGER, "leave", sender=STRANGER),
        member(BOT, "knock"),
        member(OWNER, None),
        member(None, "join"),
        member(["x"], "join"),
        event("m.room.message", content=[]),
        {"type": "m.room.message", "sender": OWNER},
    ],
)
def test_what_a_portal_passes_over(raw: dict[str, Any]) -> None:
    decision = decide(raw, PORTAL)
    assert isinstance(decision, routing.Ignore)
    assert decision.reason


@pytest.mark.parametrize("kind", ["m.room.message", "m.room.encrypted", "m.sticker"])
def test_what_was_taken_back_before_it_was_pushed_is_no_failure(kind: str) -> None:
    raw = event(kind, content={}, unsigned={"redacted_because": {}})
    assert isinstance(decide(raw, PORTAL), routing.Ignore)
    assert isinstance(decide(raw, MANAGEMENT), routing.Ignore)


@pytest.mark.parametrize("facts", [MANAGEMENT, UNKNOWN])
@pytest.mark.parametrize(
    ("raw", "decision"),
    [
        (text("help"), routing.Command("help")),
        (text("help", "m.emote"), routing.Command("help")),
        (text(None), routing.Command(None)),
        (event("m.room.encrypted"), routing.Command(None)),
        (member(BOT, "invite"), routing.BotInvited()),
        (member(GHOST, "invite", is_direct=True), routing.GhostInvited(GHOST, True)),
        (member(GHOST, "invite", is_direct="yes"), routing.GhostInvited(GHOST, False)),
    ],
)
def test_what_happens_where_there_is_no_portal(
    raw: dict[str, Any], decision: routing.Route, facts: RoomFacts
) -> None:
    assert decide(raw, facts) == decision


@pytest.mark.parametrize("former", [False, True])
def test_a_portals_ghost_that_its_user_invited_may_have_missed_something(former: bool) -> None:
    facts = replace(PORTAL, former=former)
    assert decide(member(GHOST, "invite"), facts) == routing.GhostWelcomed()


@pytest.mark.parametrize("membership", ["leave", "ban"])
def test_in_a_crowded_portal_it_is_noticed_when_somebody_leaves(membership: str) -> None:
    crowded = replace(PORTAL, crowded=True)
    assert decide(member(STRANGER, membership), crowded) == routing.OthersMoved()
    assert isinstance(decide(member(STRANGER, "join"), crowded), routing.Ignore)


def test_the_users_own_ghost_that_somebody_removes_is_noticed() -> None:
    facts = replace(PORTAL, own_ghost=OTHER_GHOST)
    assert decide(member(OTHER_GHOST, "leave"), facts) == routing.OwnGhostRemoved()
    left = decide(member(OTHER_GHOST, "leave", sender=OTHER_GHOST), facts)
    assert isinstance(left, routing.Ignore)


@pytest.mark.parametrize(
    ("raw", "carried"),
    [
        (text("hello"), True),
        (text("picture.png", "m.image"), True),
        (member(OWNER, "leave"), True),
        (member(OWNER, "join"), False),
        (member(GHOST, "leave"), False),
        (member(BOT, "invite"), False),
        (member(OTHER_GHOST, "invite"), False),
        (member(STRANGER, "join"), False),
        (tombstone("!third"), False),
    ],
)
def test_of_a_room_that_was_replaced_only_words_still_count(
    raw: dict[str, Any], carried: bool
) -> None:
    former = replace(PORTAL, former=True)
    decision = decide(raw, former)
    assert (decision == decide(raw, PORTAL)) is carried
    assert isinstance(decision, routing.Ignore) is not carried


@pytest.mark.parametrize("facts", [MANAGEMENT, UNKNOWN])
@pytest.mark.parametrize(
    "raw",
    [
        tombstone("!new"),
        event("io.element.functional_members", content={}, state_key=""),
        member(STRANGER, "join"),
    ],
)
def test_outside_portals_nobody_follows_a_room_nor_counts_its_members(
    raw: dict[str, Any], facts: RoomFacts
) -> None:
    assert isinstance(decide(raw, facts), routing.Ignore)


@pytest.mark.parametrize(
    "raw",
    [
        member(OWNER, "leave"),
        member(OWNER, "ban", sender=STRANGER),
        member(BOT, "leave", sender=STRANGER),
        tombstone("!another"),
    ],
)
def test_what_becomes_of_a_space_is_noticed(raw: dict[str, Any]) -> None:
    assert decide(raw, SPACE) == routing.SpaceChanged()


@pytest.mark.parametrize(
    "raw",
    [
        text("help"),
        event("m.room.encrypted", content={"ciphertext": "x"}),
        member(BOT, "invite"),
        member(OWNER, "join"),
        member(STRANGER, "leave", sender=STRANGER),
        member(GHOST, "invite"),
        event("m.space.child", content={"via": ["example.org"]}, state_key="!chat"),
    ],
)
def test_a_space_is_no_room_to_talk_to_the_bot_in(raw: dict[str, Any]) -> None:
    assert isinstance(decide(raw, SPACE), routing.Ignore)


def test_the_user_of_a_management_room_who_leaves_it_is_noticed() -> None:
    assert decide(member(OWNER, "leave"), MANAGEMENT) == routing.ManagerLeft()
    assert isinstance(decide(member(OWNER, "leave"), UNKNOWN), routing.Ignore)
    assert isinstance(decide(member(STRANGER, "leave"), MANAGEMENT), routing.Ignore)


@pytest.mark.parametrize(
    "raw",
    [
        text("help", "m.notice"),
        with_content(text("* help"), **{"m.relates_to": {"rel_type": "m.replace"}}),
        event("m.sticker"),
        event("m.room.topic"),
    ],
)
def test_what_the_bot_passes_over(raw: dict[str, Any]) -> None:
    assert isinstance(decide(raw, MANAGEMENT), routing.Ignore)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([OWNER, GHOST, BOT, "join", "leave", "invite", "m.text", "m.image"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text()
            | st.sampled_from(["msgtype", "body", "m.relates_to", "rel_type", "formatted_body"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "membership": json_values,
        "is_direct": json_values,
        "msgtype": json_values,
        "body": json_values,
        "format": st.just("org.matrix.custom.html"),
        "formatted_body": json_values,
        "m.relates_to": json_values,
        "org.dm_bridge.remote_id": json_values,
    },
)


@given(
    st.fixed_dictionaries(
        {
            "type": st.text()
            | st.sampled_from(
                [
                    "m.room.message",
                    "m.room.member",
                    "m.room.encrypted",
                    "m.room.tombstone",
                    "io.element.functional_members",
                    "m.sticker",
                ]
            ),
            "sender": st.text() | st.sampled_from([OWNER, GHOST, BOT, STRANGER]),
        },
        optional={"content": fields | json_values, "state_key": st.just("") | json_values},
    ),
    st.sampled_from(
        [PORTAL, replace(PORTAL, former=True, crowded=True), MANAGEMENT, SPACE, UNKNOWN]
    ),
)
def test_every_event_has_a_decision(raw: dict[str, Any], facts: RoomFacts) -> None:
    decision = decide(raw, facts)
    if isinstance(decision, routing.Message):
        assert raw["sender"] == facts.owner
        assert decision.text.body.strip()
    if facts.owner is not None:
        assert not isinstance(decision, routing.Command | routing.ManagerLeft)


@pytest.mark.parametrize(
    ("event_id", "delivered_as", "from_self", "echo"),
    [
        ("$a", "$a", True, True),
        ("$copy", "$a", True, False),
        ("$a", "$a", False, False),
        ("$a", None, True, False),
    ],
)
def test_only_our_own_event_is_an_echo(
    event_id: str, delivered_as: str | None, from_self: bool, echo: bool
) -> None:
    delivered = None if delivered_as is None else EventId(delivered_as)
    assert is_echo(EventId(event_id), delivered, from_self=from_self) is echo


def about(kind: str, target: object, **more: object) -> dict[str, object]:
    return {"m.relates_to": {"rel_type": kind, "event_id": target, **more}}


def reply(target: object, **more: object) -> dict[str, object]:
    return {"m.relates_to": {"m.in_reply_to": {"event_id": target}, **more}}


MARK = {"org.dm_bridge.remote_id": "r"}


@pytest.mark.parametrize("facts", [PORTAL, replace(PORTAL, former=True)])
@pytest.mark.parametrize(
    ("raw", "decision"),
    [
        (
            with_content(text("yes"), **reply("$a")),
            routing.Message(Text("yes"), None, answers=EventId("$a")),
        ),
        (
            with_content(text("> <@x:y> what\n\nyes"), **reply("$a")),
            routing.Message(Text("yes"), None, answers=EventId("$a")),
        ),
        (
            with_content(text("yes"), **reply("$a", is_falling_back=True, rel_type="m.thread")),
            routing.Message(Text("yes"), None),
        ),
        (with_content(text("yes"), **reply(7)), routing.Message(Text("yes"), None)),
        (
            with_content(
                text("* new"),
                **about("m.replace", "$a"),
                **{"m.new_content": {"msgtype": "m.text", "body": "new"}},
                **MARK,
            ),
            routing.Edit(EventId("$a"), Text("new"), "r"),
        ),
        *(
            (
                with_content(
                    text("* x"),
                    **about("m.replace", "$a"),
                    **{"m.new_content": {"msgtype": "m.text", "body": body}},
                ),
                routing.Edit(EventId("$a"), Text(said), None),
            )
            for body, said in (
                ("> <@x:y> what\n> and\n\nyes", "yes"),
                ("> * <@x:y> waves\n\nyes", "yes"),
                ("> <@x:y> what\n\n ", "> <@x:y> what\n\n "),
                ("> what\n\nyes", "> what\n\nyes"),
                ("> <@x:y> what\nyes", "> <@x:y> what\nyes"),
            )
        ),
        (
            event("m.reaction", content={**about("m.annotation", "$a", key="👍"), **MARK}),
            routing.Reaction(EventId("$a"), "👍", "r"),
        ),
        (
            event(
                "m.reaction",
                content={**about("m.annotation", "$a", key="mxc://a/b"), "shortcode": ":cat:"},
            ),
            routing.Reaction(EventId("$a"), ":cat:", None),
        ),
        (
            event("m.reaction", content=about("m.annotation", "$a", key="mxc://a/b")),
            routing.Unsendable(phrase("delivery-nameless-emoji")),
        ),
        (event("m.room.redaction", redacts="$a"), routing.Redaction(EventId("$a"), None)),
        (
            event("m.room.redaction", content={"redacts": "$a", **MARK}),
            routing.Redaction(EventId("$a"), "r"),
        ),
    ],
)
def test_what_is_done_to_messages(
    raw: dict[str, Any], decision: routing.Route, facts: RoomFacts
) -> None:
    assert decide(raw, facts) == decision
    assert isinstance(decide({**raw, "sender": STRANGER}, facts), routing.Ignore)


@pytest.mark.parametrize(
    "raw",
    [
        event("m.room.redaction"),
        event("m.room.redaction", redacts=7),
        event("m.reaction"),
        event("m.reaction", content=about("m.annotation", "$a")),
        event("m.reaction", content=about("m.annotation", "$a", key=" ")),
        event("m.reaction", content=about("m.annotation", None, key="x")),
        event("m.reaction", content=about("m.reference", "$a", key="x")),
        with_content(text("* new"), **about("m.replace", "$a")),
        with_content(text("* new"), **about("m.replace", 7), **{"m.new_content": {"body": "x"}}),
        with_content(
            text("* a.jpg", "m.image"),
            **about("m.replace", "$a"),
            **{"m.new_content": {"msgtype": "m.image", "body": "a.jpg"}},
        ),
    ],
)
def test_what_is_done_to_nothing_is_passed_over(raw: dict[str, Any]) -> None:
    assert isinstance(decide(raw, PORTAL), routing.Ignore)


MXC = "mxc://example.org/abc"


@pytest.mark.parametrize(
    ("more", "said", "name"),
    [
        ({}, Text(""), "cat.png"),
        ({"filename": "cat.png"}, Text(""), "cat.png"),
        ({"filename": "a.png"}, Text("cat.png"), "a.png"),
        ({"filename": 7}, Text(""), "7"),
    ],
)
def test_a_file_is_carried_with_what_is_said_of_it(
    more: dict[str, Any], said: Text, name: str
) -> None:
    raw = with_content(text("cat.png", "m.image"), url=MXC, **more)
    decision = decide(raw, PORTAL)
    assert isinstance(decision, routing.Message)
    assert isinstance(decision.attachment, Attached)
    assert (decision.text, decision.attachment.file.name) == (said, name)
    assert decision.words == (said.body or name)
    edit = with_content(
        text("* x"), **about("m.replace", "$a"), **{"m.new_content": raw["content"]}
    )
    edited = decide(edit, PORTAL)
    assert isinstance(edited, routing.Edit)
    assert (edited.text, edited.attachment) == (said, decision.attachment)


def test_a_sticker_is_a_file_and_a_place_is_a_text_that_names_it() -> None:
    sticker = decide(event("m.sticker", content={"body": "love", "url": MXC}), PORTAL)
    assert isinstance(sticker, routing.Message)
    assert isinstance(sticker.attachment, Attached)
    assert sticker.attachment.file.kind is MediaKind.STICKER
    place = decide(with_content(text("x", "m.location"), geo_uri="geo:1,2"), PORTAL)
    assert isinstance(place, routing.Message)
    assert (place.text, place.attachment) == (Text("geo:1,2"), Place(1.0, 2.0))
    nowhere = decide(with_content(text("In Verona", "m.location"), geo_uri="geo:x"), PORTAL)
    assert nowhere == routing.Message(Text("In Verona"), None)


def test_an_edit_that_leaves_nothing_is_reported() -> None:
    raw = with_content(
        text("* "),
        **about("m.replace", "$a"),
        **{"m.new_content": {"msgtype": "m.text", "body": " "}},
    )
    assert isinstance(decide(raw, PORTAL), routing.Unsendable)
