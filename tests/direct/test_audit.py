"""What an audit finds, and what mending it changes and leaves alone."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_bridge.direct.audit import Audit, examine, rooms_in
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.facts import Membership, RoomFacts, Standing
from dm_bridge.direct.findings import Finding, Kind, changes, repaired
from dm_bridge.ids import RoomId, UserId

ME = UserId("@me:here")
BOB, CAROL, BOT = "@bob:here", "@carol:there", "@bridge:here"
JOIN, INVITE, LEAVE, BAN, NONE, UNKNOWN = (
    Membership.JOIN,
    Membership.INVITE,
    Membership.LEAVE,
    Membership.BAN,
    Membership.NONE,
    Membership.UNKNOWN,
)


def document(content: Any) -> DirectDocument:
    parsed = DirectDocument.parse(json.dumps(content))
    assert isinstance(parsed, DirectDocument)
    return parsed


def room(*present: str, membership: Membership = JOIN, **more: Any) -> RoomFacts:
    """A room with these present, besides the account."""
    members = {ME: membership, **dict.fromkeys(present, JOIN), **more.pop("gone", {})}
    return RoomFacts(membership, members=members, **{"complete": True, **more})


def audit(content: Any, **rooms: RoomFacts) -> Audit:
    """Examine; a room ``a`` is ``!a``."""
    return examine(document(content), {RoomId(f"!{n}"): f for n, f in rooms.items()}, ME)


def mended(content: Any, findings: Iterable[Finding]) -> Any:
    return repaired(document(content), findings).content()


def one(found: Audit, kind: Kind) -> Finding:
    assert [finding.kind for finding in found.findings] == [kind]
    return found.findings[0]


def fixed(content: Any, **rooms: RoomFacts) -> Any:
    """The document after everything sure was mended."""
    return mended(content, [f for f in audit(content, **rooms).findings if f.sure])


# -- nothing to find


@pytest.mark.parametrize(
    "facts",
    [
        room(BOB),
        room(membership=INVITE, complete=False),
        RoomFacts(Membership.KNOCK),
        room(BOB, CAROL),
        room(BOB, complete=False),
        room(BOB, named=True, public=True),
        room(BOB, BOT, bots=frozenset({BOT}), bridged=True),
    ],
    ids=["chat", "invited", "knocking", "group", "partly known", "named", "bridged"],
)
def test_a_chat_under_its_person_is_right(facts: RoomFacts) -> None:
    assert audit({BOB: ["!a"]}, a=facts) == Audit(())


def test_a_room_nobody_knows_about_is_unknown_and_never_a_finding() -> None:
    assert audit({BOB: ["!a", "!b"]}, a=RoomFacts(UNKNOWN)) == Audit((), ("!a", "!b"))


def test_a_person_nobody_knows_about_makes_the_room_unknown() -> None:
    facts = room(CAROL, complete=False, gone={BOB: UNKNOWN})
    assert audit({BOB: ["!a"]}, a=facts) == Audit((), ("!a",))


def test_a_chat_with_oneself_may_stand_under_oneself() -> None:
    assert audit({ME: ["!a"]}, a=room()) == Audit(())
    assert audit({ME: ["!a"]}, a=room(complete=False)) == Audit(())


def test_a_chat_with_the_bot_alone_stays_under_the_bot() -> None:
    assert audit({BOT: ["!a"]}, a=room(BOT, bots=frozenset({BOT}), bridged=True)) == Audit(())


# -- not in the room


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (RoomFacts(LEAVE, by=ME), Kind.LEFT),
        (RoomFacts(LEAVE, by=BOB), Kind.REMOVED),
        (RoomFacts(BAN, by=BOB), Kind.REMOVED),
        (RoomFacts(NONE), Kind.GONE),
        (room(BOB, room_type="m.space"), Kind.SPACE),
        (room(BOB, membership=INVITE, room_type="m.space"), Kind.SPACE),
    ],
)
def test_a_room_that_is_no_chat_of_the_account_loses_every_mark(
    facts: RoomFacts, kind: Kind
) -> None:
    content = {BOB: ["!a", "!b"], "x": 5, CAROL: ["!a"], "bob@mail": ["!a"]}
    rooms = {"a": facts, "b": room(BOB)}
    found = audit(content, **rooms)
    finding = next(f for f in found.findings if f.kind is kind)
    assert finding.sure
    assert "!a" in finding.said
    assert mended(content, [finding]) == {BOB: ["!b"], "x": 5}


def test_leaving_a_bridged_room_is_not_undone_without_a_decision() -> None:
    finding = one(audit({BOB: ["!a"]}, a=RoomFacts(LEAVE, by=ME, bridged=True)), Kind.LEFT)
    assert not finding.sure


# -- under whom


def test_a_bot_is_removed_where_the_contact_stands_too() -> None:
    facts = room(BOB, BOT, bots=frozenset({BOT}), bridged=True)
    content = {BOT: ["!a"], BOB: ["!a"]}
    assert one(audit(content, a=facts), Kind.BOT_KEY).sure
    assert fixed(content, a=facts) == {BOB: ["!a"]}


def test_a_mark_under_the_bot_alone_moves_to_the_contact() -> None:
    for facts in (
        room(BOB, BOT, bots=frozenset({BOT})),
        room(BOB, BOT, functional=frozenset({BOT})),
    ):
        assert fixed({BOT: ["!a", "!z"]}, a=facts) == {BOT: ["!z"], BOB: ["!a"]}


def test_in_a_bridged_room_the_contact_is_whom_the_bridge_names() -> None:
    facts = room(
        BOB, CAROL, BOT,
        bots=frozenset({BOT}), bridged=True, bridge_creators=frozenset({CAROL}),
    )  # fmt: skip
    assert fixed({BOT: ["!a"]}, a=facts) == {CAROL: ["!a"]}


def test_a_bot_with_several_people_is_a_matter_of_judgement() -> None:
    facts = room(BOB, CAROL, BOT, bots=frozenset({BOT}))
    assert not one(audit({BOT: ["!a"]}, a=facts), Kind.BOT_KEY).sure


def test_the_own_user_id_gives_way_to_the_other_person() -> None:
    assert fixed({ME: ["!a"]}, a=room(BOB)) == {BOB: ["!a"]}
    assert fixed({ME: ["!a"], BOB: ["!a"]}, a=room(BOB)) == {BOB: ["!a"]}


def test_the_own_user_id_is_a_matter_of_judgement_where_several_are_there() -> None:
    assert not one(audit({ME: ["!a"]}, a=room(BOB, CAROL)), Kind.OWN_KEY).sure
    invited = room(BOB, membership=INVITE, complete=False)
    assert not one(audit({ME: ["!a"]}, a=invited), Kind.OWN_KEY).sure


def test_somebody_who_never_was_there_gives_way_to_who_is() -> None:
    facts = room(BOB, gone={CAROL: NONE})
    assert fixed({CAROL: ["!a"]}, a=facts) == {BOB: ["!a"]}
    assert fixed({CAROL: ["!a"], BOB: ["!a"]}, a=facts) == {BOB: ["!a"]}


def test_somebody_who_left_is_a_matter_of_judgement() -> None:
    for gone, present in ((LEAVE, (CAROL,)), (BAN, (CAROL,)), (LEAVE, ())):
        content = {BOB: ["!a"]}
        finding = one(audit(content, a=room(*present, gone={BOB: gone})), Kind.NOT_A_MEMBER)
        assert not finding.sure
        assert mended(content, [finding]) == ({CAROL: ["!a"]} if present else {})


def test_in_a_large_room_somebody_who_is_not_there_is_still_seen() -> None:
    facts = room(complete=False, gone={BOB: NONE})
    assert not one(audit({BOB: ["!a"]}, a=facts), Kind.NOT_A_MEMBER).sure


def test_several_people_are_a_matter_of_judgement_and_the_bridge_says_who_it_is() -> None:
    content = {BOB: ["!a"], CAROL: ["!a"]}
    facts = room(BOB, CAROL, bridged=True, bridge_creators=frozenset({BOB}), creator=CAROL)
    finding = one(audit(content, a=facts), Kind.SEVERAL_TARGETS)
    assert not finding.sure
    assert mended(content, [finding]) == {BOB: ["!a"]}


def test_of_several_people_the_one_who_made_the_room_is_proposed_or_nobody() -> None:
    content = {BOB: ["!a"], CAROL: ["!a"]}
    finding = one(audit(content, a=room(BOB, CAROL, creator=CAROL)), Kind.SEVERAL_TARGETS)
    assert mended(content, [finding]) == {CAROL: ["!a"]}
    finding = one(audit(content, a=room(BOB, CAROL, creator=ME)), Kind.SEVERAL_TARGETS)
    assert not finding.mendable
    assert mended(content, [finding]) == content


# -- upgrades


def test_a_mark_follows_an_upgrade() -> None:
    rooms = {"a": room(BOB, successor="!b"), "b": room(BOB, predecessor="!a")}
    assert one(audit({BOB: ["!a", "!z"]}, **rooms), Kind.UPGRADED).sure
    assert fixed({BOB: ["!a", "!z"]}, **rooms) == {BOB: ["!z", "!b"]}


def test_where_both_are_marked_the_old_one_goes() -> None:
    rooms = {"a": room(BOB, successor="!b"), "b": room(BOB, predecessor="!a")}
    assert fixed({BOB: ["!a", "!b"]}, **rooms) == {BOB: ["!b"]}


def test_a_mark_follows_two_upgrades_through_a_room_that_was_left() -> None:
    rooms = {
        "a": RoomFacts(LEAVE, by=ME, successor="!b"),
        "b": RoomFacts(LEAVE, by=ME, successor="!c", predecessor="!a"),
        "c": room(BOB, predecessor="!b"),
    }
    assert fixed({BOB: ["!a", "!b"]}, **rooms) == {BOB: ["!c"]}


def test_a_tombstone_that_the_new_room_does_not_confirm_moves_nothing() -> None:
    content = {BOB: ["!a"]}
    for predecessor in ("", "!x"):
        rooms = {"a": room(BOB, successor="!b"), "b": room(CAROL, BOB, predecessor=predecessor)}
        assert audit(content, **rooms) == Audit(())


def test_an_upgrade_to_a_room_that_was_not_joined_moves_nothing() -> None:
    rooms = {"a": room(BOB, successor="!b"), "b": room(membership=INVITE, predecessor="!a")}
    assert audit({BOB: ["!a"]}, **rooms) == Audit(())


def test_a_room_that_claims_to_replace_a_forgotten_one_is_a_matter_of_judgement() -> None:
    rooms = {"a": RoomFacts(NONE), "b": room(BOB, predecessor="!a")}
    content = {BOB: ["!a"]}
    finding = one(audit(content, **rooms), Kind.UPGRADED)
    assert not finding.sure
    assert mended(content, [finding]) == {BOB: ["!b"]}
    assert fixed({BOB: ["!a", "!b"]}, **rooms) == {BOB: ["!b"]}


def test_tombstones_in_a_circle_end() -> None:
    rooms = {
        "a": room(BOB, successor="!b", predecessor="!b"),
        "b": room(BOB, successor="!a", predecessor="!a"),
    }
    assert len(audit({BOB: ["!a", "!b"]}, **rooms).findings) == 2


def test_an_upgraded_chat_whose_person_has_not_followed_yet_is_a_matter_of_judgement() -> None:
    rooms = {"a": room(BOB, successor="!b"), "b": room(predecessor="!a")}
    finding = one(audit({BOB: ["!a"]}, **rooms), Kind.UPGRADED)
    assert not finding.sure
    assert mended({BOB: ["!a"]}, [finding]) == {BOB: ["!b"]}


# -- unmarked


@pytest.mark.parametrize(
    "facts",
    [
        room(BOB),
        room(BOB, direct=True),
        room(BOB, direct=True, named=True),
        room("@abbot:here", direct=True),
        room(BOB, BOT, functional=frozenset({BOT})),
        room(BOB, BOT, bots=frozenset({BOT}), bridged=True),
    ],
)
def test_what_looks_like_a_chat_is_proposed_and_never_sure(facts: RoomFacts) -> None:
    finding = one(audit({}, a=facts), Kind.UNMARKED)
    assert not finding.sure
    assert mended({}, [finding]) == {facts.partner(ME): ["!a"]}


@pytest.mark.parametrize(
    "facts",
    [
        room(BOB, named=True),
        room(BOB, public=True),
        room(BOB, CAROL, direct=True),
        room(),
        room(gone={BOB: LEAVE}, direct=True),
        room(BOB, complete=False, direct=True),
        room(BOB, room_type="m.space", direct=True),
        room(BOB, room_type="org.example.game", direct=True),
        room(BOB, successor="!z", direct=True),
        room("@whatsappbot:here"),
        room(membership=INVITE, direct=True),
        RoomFacts(UNKNOWN),
    ],
)
def test_what_does_not_look_like_a_chat_is_left_alone(facts: RoomFacts) -> None:
    assert audit({}, a=facts) == Audit(())


def test_the_management_room_of_a_bridge_is_left_alone() -> None:
    rooms = {
        "a": room(BOB, "@mybridge:here", bots=frozenset({"@mybridge:here"})),
        "b": room("@mybridge:here", direct=True),
    }
    assert audit({BOB: ["!a"]}, **rooms) == Audit(())


# -- form


@pytest.mark.parametrize("value", ["junk", None, 5, 0.5, True, {}, {"!a": ["!b"]}, "#a:b", ""])
def test_a_value_that_is_no_list_goes(value: Any) -> None:
    content = {BOB: value, CAROL: ["!a"]}
    assert one(audit(content, a=room(CAROL)), Kind.VALUE_NOT_A_LIST).sure
    assert fixed(content, a=room(CAROL)) == {CAROL: ["!a"]}


def test_a_room_id_without_its_list_is_kept_where_it_is_right_or_unknown() -> None:
    assert fixed({BOB: "!a"}, a=room(BOB)) == {BOB: ["!a"]}
    assert fixed({BOB: "!a"}, a=RoomFacts(UNKNOWN)) == {BOB: ["!a"]}
    assert fixed({BOB: "!a"}, a=RoomFacts(NONE)) == {}
    assert fixed({BOB: "!a", CAROL: ["!a"]}, a=room(CAROL)) == {CAROL: ["!a"]}
    assert fixed({"junk": "!a"}, a=room(BOB)) == {"junk": "!a"}


def test_items_that_are_no_room_ids_go_and_nothing_else() -> None:
    content = {BOB: [1, "!a", None, "#x:y", ["!a"], "!a", {}, "", "!sp ace"], CAROL: [[]]}
    kinds = [finding.kind for finding in audit(content, a=room(BOB)).findings]
    assert kinds == [Kind.NOT_ROOM_IDS, Kind.NOT_ROOM_IDS, Kind.DUPLICATES]
    assert fixed(content, a=room(BOB)) == {BOB: ["!a"]}


def test_each_finding_of_one_list_can_be_mended_alone() -> None:
    content = {BOB: [1, "!a", "!b", "!a"]}
    found = audit(content, a=room(BOB), b=RoomFacts(NONE)).findings
    by_kind = {finding.kind: mended(content, [finding])[BOB] for finding in found}
    assert by_kind == {
        Kind.GONE: [1, "!a", "!a"],
        Kind.NOT_ROOM_IDS: ["!a", "!b", "!a"],
        Kind.DUPLICATES: [1, "!a", "!b"],
    }


def test_an_empty_list_goes() -> None:
    assert one(audit({BOB: []}), Kind.EMPTY_LIST).sure
    assert fixed({BOB: []}) == {}


@pytest.mark.parametrize("key", ["", "custom.key", "bob@example.org", "@bob"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["not a room"], Kind.NOT_ROOM_IDS),
        ({"x": 1}, Kind.VALUE_NOT_A_LIST),
        ("!a", Kind.VALUE_NOT_A_LIST),
        ([], Kind.EMPTY_LIST),
    ],
)
def test_what_is_unknown_under_a_key_that_is_no_user_id_goes_by_decision_only(
    key: str, value: Any, kind: Kind
) -> None:
    content = {key: value, BOB: ["!a"]}
    finding = one(audit(content, a=room(BOB)), kind)
    assert not finding.sure
    assert fixed(content, a=room(BOB)) == content
    assert mended(content, [finding]) == {BOB: ["!a"]}


def test_what_is_unknown_stays_when_the_rooms_beside_it_move() -> None:
    content = {"custom.key": ["!a", {"x": 1}, "!a"]}
    assert fixed(content, a=room(BOB)) == {"custom.key": [{"x": 1}], BOB: ["!a"]}


def test_what_is_wrong_is_said_with_a_key_that_can_be_seen_and_in_good_grammar() -> None:
    said = {
        str(value): examine(document({key: value}), {}, ME).findings[0].said
        for key, value in (("", {"x": 1}), (" ", []), ("", ["!a"]), (BOB, [1]), (BOB, [1, 2]))
    }
    assert said == {
        "{'x': 1}": 'What stands under "" is an object, where a list of rooms belongs. It cannot be read as '
        "rooms.",
        "[]": 'The list of " " is empty.',
        "['!a']": '"" is no user id; under it: 1 room.',
        "[1]": f"The list of {BOB} has 1 item that is no room id.",
        "[1, 2]": f"The list of {BOB} has 2 items that are no room ids.",
    }


@pytest.mark.parametrize("key", ["", "bob", "@bob", "@:", "!a", "\ud800", "@b\0b:here", "@b:h ere"])
def test_a_key_that_is_no_user_id_gives_its_rooms_to_the_right_people(key: str) -> None:
    content = {key: ["!a", "!b"], BOB: ["!b"]}
    rooms = {"a": room(CAROL), "b": room(BOB)}
    assert one(audit(content, **rooms), Kind.KEY_NOT_A_USER).sure
    assert fixed(content, **rooms) == {BOB: ["!b"], CAROL: ["!a"]}


@pytest.mark.parametrize("key", ["bob@example.org", "mailto:bob@example.org", "+4912345"])
def test_an_address_as_a_key_is_a_matter_of_judgement(key: str) -> None:
    content = {key: ["!a"]}
    finding = one(audit(content, a=room(BOB)), Kind.KEY_NOT_A_USER)
    assert not finding.sure
    assert mended(content, [finding]) == {BOB: ["!a"]}


def test_a_mark_that_would_be_lost_is_not_removed_without_a_decision() -> None:
    for facts in (room(BOB, CAROL), RoomFacts(UNKNOWN)):
        assert not one(audit({"junk": ["!a"]}, a=facts), Kind.KEY_NOT_A_USER).sure


def test_a_mark_is_added_under_a_key_whose_value_is_junk_by_replacing_that_value() -> None:
    content = {ME: ["!a"], BOB: "!b", CAROL: {"x": 1}}
    rooms = {"a": room(BOB), "b": room(BOB)}
    finding = next(f for f in audit(content, **rooms).findings if f.kind is Kind.OWN_KEY)
    assert mended(content, [finding]) == {BOB: ["!b", "!a"], CAROL: {"x": 1}}


# -- what is written


def test_keys_and_values_that_nobody_named_come_out_as_they_were() -> None:
    odd = {"z": 1.5, "@x:y": [["!a"], 2], "n": 12345678901234567890123, "\ud800": {"a": [None]}}
    content = {**odd, BOB: ["!gone", "!a"], CAROL: ["!c", "!c"]}
    finding = next(
        f for f in audit(content, a=room(BOB), gone=RoomFacts(NONE)).findings if f.kind is Kind.GONE
    )
    after = repaired(document(content), [finding]).to_json()
    assert after == json.dumps({**content, BOB: ["!a"]}, separators=(",", ":"))


def test_mending_nothing_changes_nothing() -> None:
    content = {BOB: [], "x": [1, 1], CAROL: ["!a", "!a"]}
    assert mended(content, []) == content


def test_changes_are_told_line_by_line() -> None:
    before = document({BOB: ["!a", "!b", "!b"], "x": 5, CAROL: [], "same": [1]})
    after = document({BOB: ["!b", "!c"], CAROL: ["!a"], "same": [1]})
    assert changes(before, after) == [
        ("-", BOB, "!a"),
        ("~", BOB, "!b (1 of its repetitions removed)"),
        ("+", BOB, "!c"),
        ("-", "x", "the value 5"),
        ("+", CAROL, "!a"),
    ]
    assert changes(document({BOB: []}), document({})) == [("-", BOB, "the empty list")]
    assert changes(before, before) == []


def test_rooms_are_found_wherever_they_stand() -> None:
    content = {BOB: ["!a", 5, "!a"], "x": "!b", CAROL: ["!a"], "y": {"!c": 1}}
    assert rooms_in(document(content)) == {"!a": (BOB, CAROL), "!b": ("x",)}


def test_every_kind_has_a_heading_and_a_reason() -> None:
    assert all(kind.title and kind.why.endswith(".") for kind in Kind)


def test_how_somebody_stands_in_a_room() -> None:
    facts = room(BOB, BOT, functional=frozenset({BOT}), gone={CAROL: LEAVE, "@x:y": UNKNOWN})
    standing = {user: facts.standing(user, ME) for user in (ME, BOB, BOT, CAROL, "@x:y", "@z:y")}
    assert standing == {
        ME: Standing.OWN,
        BOB: Standing.FITS,
        BOT: Standing.HELPER,
        CAROL: Standing.DEPARTED,
        "@x:y": Standing.UNSETTLED,
        "@z:y": Standing.NEVER,
    }


# -- size


def test_a_document_of_50000_entries_is_examined_and_mended_in_seconds() -> None:
    content: dict[str, Any] = {f"@u{n}:x": [f"!r{n}", f"!r{n}", f"!g{n}", n] for n in range(25_000)}
    content |= {f"junk{n}": [f"!r{n}"] for n in range(1000)}
    rooms: dict[RoomId, RoomFacts] = {}
    for n in range(25_000):
        rooms[RoomId(f"!r{n}")] = room(f"@u{n}:x")
        rooms[RoomId(f"!g{n}")] = RoomFacts(NONE)
    begun = time.process_time()
    found = examine(document(content), rooms, ME)
    after = repaired(document(content), [f for f in found.findings if f.sure])
    assert time.process_time() - begun < 20
    assert after.content() == {f"@u{n}:x": [f"!r{n}"] for n in range(25_000)}


def test_one_list_of_50000_rooms_under_one_person_is_examined_in_seconds() -> None:
    content = {BOB: [f"!r{n % 25_000}" for n in range(50_000)]}
    rooms = {RoomId(f"!r{n}"): room(BOB) for n in range(25_000)}
    begun = time.process_time()
    found = examine(document(content), rooms, ME)
    assert time.process_time() - begun < 10
    assert [finding.kind for finding in found.findings] == [Kind.DUPLICATES]


def test_50000_keys_that_are_no_user_ids_are_examined_in_seconds() -> None:
    content = {f"junk{n}": [f"!r{n}", "!r0"] for n in range(25_000)}
    rooms = {RoomId(f"!r{n}"): room(BOB) for n in range(25_000)}
    begun = time.process_time()
    found = examine(document(content), rooms, ME)
    assert time.process_time() - begun < 10
    assert {finding.kind for finding in found.findings} == {Kind.KEY_NOT_A_USER, Kind.DUPLICATES}
    assert len(found.findings) == 25_001


@pytest.mark.parametrize("known", [JOIN, LEAVE, NONE])
def test_one_room_under_25000_people_is_examined_in_seconds(known: Membership) -> None:
    people = dict.fromkeys((f"@u{n}:x" for n in range(25_000)), known)
    begun = time.process_time()
    found = audit({user: ["!a"] for user in people}, a=room(gone=people))
    assert time.process_time() - begun < 10
    assert len(found.findings) == (1 if known is JOIN else 25_000)
    assert all(len(finding.said) < 500 for finding in found.findings)


# -- anything at all

_USERS = [ME, BOB, CAROL, BOT]
_KEYS = [*_USERS, "", "junk", "bob@example.org", "@bad", "\ud800"]
_ROOMS = [RoomId(f"!{name}") for name in "abcd"]
_items = st.one_of(
    st.sampled_from(_ROOMS),
    st.none(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just("#x"),
)
_values = st.one_of(
    st.lists(_items, max_size=4),
    st.sampled_from(_ROOMS),
    st.recursive(st.none() | st.booleans() | st.text(max_size=3), st.lists, max_leaves=4),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
)
_documents = st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=3), _values, max_size=6)
_members = st.dictionaries(st.sampled_from(_USERS[1:]), st.sampled_from(Membership))
_links = st.sampled_from(["", "", *_ROOMS])
_facts = st.builds(
    lambda own, members, **more: RoomFacts(own, members={**members, ME: own}, **more),
    st.sampled_from([JOIN, JOIN, JOIN, *Membership]),
    _members,
    by=st.sampled_from(["", ME, BOB]),
    named=st.booleans(),
    room_type=st.sampled_from(["", "", "m.space"]),
    creator=st.sampled_from(_USERS),
    successor=_links,
    predecessor=_links,
    complete=st.booleans(),
    bridged=st.booleans(),
    bots=st.sampled_from([frozenset[str](), frozenset({BOT})]),
    bridge_creators=st.sampled_from([frozenset[str](), frozenset({BOB})]),
    direct=st.sampled_from([None, True, False]),
)
_worlds = st.dictionaries(st.sampled_from(_ROOMS), _facts)


def test_a_room_that_stands_without_a_list_and_replaces_another_is_mended_with_it() -> None:
    old = RoomFacts(Membership.LEAVE, members={ME: Membership.LEAVE}, creator=ME)
    both = {str(ME): Membership.JOIN, "@carol:there": Membership.JOIN}
    new = RoomFacts(Membership.JOIN, members=both, creator=ME, predecessor=RoomId("!b"))
    rooms = {RoomId("!b"): old, RoomId("!a"): new}
    before = document({ME: ["!b"], "@carol:there": "!a"})
    findings = examine(before, rooms, ME).findings
    for chosen in (
        [f for f in findings if f.sure],
        [f for f in findings if f.kind is Kind.UPGRADED],
    ):
        after = repaired(before, chosen)
        assert after.content() == {"@carol:there": ["!a"]}


@settings(deadline=None, max_examples=300)
@given(_documents, _worlds)
def test_mending_all_that_is_sure_leaves_nothing_that_is_sure(
    content: Any, rooms: Mapping[RoomId, RoomFacts]
) -> None:
    before = document(content)
    after = repaired(before, [f for f in examine(before, rooms, ME).findings if f.sure])
    left = [finding for finding in examine(after, rooms, ME).findings if finding.sure]
    assert left == []


@settings(deadline=None, max_examples=300)
@given(_documents, _worlds, st.randoms(use_true_random=False))
def test_any_choice_of_findings_changes_only_what_they_name(
    content: Any, rooms: Mapping[RoomId, RoomFacts], random: Any
) -> None:
    before = document(content)
    found = examine(before, rooms, ME)
    chosen = [finding for finding in found.findings if random.random() < 0.5]
    after = repaired(before, chosen).content()
    named = set(
        itertools.chain.from_iterable(
            (*f.drop_keys, *f.drop_junk, *f.dedupe, *(k for k, _ in f.remove + f.add))
            for f in chosen
        )
    )
    for key in content.keys() - named:
        assert json.dumps(after[key]) == json.dumps(content[key])
    assert after.keys() <= content.keys() | named
    removed = {pair for f in chosen for pair in f.remove}
    dropped = {key for f in chosen for key in f.drop_keys}
    for key, value in content.items():
        if isinstance(value, list) and key not in dropped:
            kept = [item for item in value if item in _ROOMS and (key, item) not in removed]
            assert all(item in after[key] for item in kept)


@settings(deadline=None, max_examples=300)
@given(_documents, _worlds)
def test_no_mark_of_a_room_the_account_is_in_vanishes_by_what_is_sure_alone(
    content: Any, rooms: Mapping[RoomId, RoomFacts]
) -> None:
    before = document(content)
    found = examine(before, rooms, ME)
    after = repaired(before, [f for f in found.findings if f.sure])
    replaced = {f.rooms[0] for f in found.findings if f.kind is Kind.UPGRADED}
    unknown = RoomFacts(UNKNOWN)
    for name in {name for _, name in before.entries()} - {name for _, name in after.entries()}:
        facts = rooms.get(name, unknown)
        assert facts.membership.gone or facts.space or name in replaced
