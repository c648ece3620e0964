"""The catalogue of what happens to direct chats, each as a trace through the engine alone.

The number in a name is that of the case; the tests on real servers use the same numbers. What needs a homeserver
to happen is tested there alone.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from dm_bridge.direct import (
    DirectDocument,
    Keep,
    Ledger,
    Mind,
    NotSet,
    Put,
    Refuse,
    is_room_id,
    observe,
)
from dm_bridge.direct.replay import Replay
from dm_bridge.ids import RoomId, UserId

BOT, MY_GHOST = UserId("@bot:example.org"), UserId("@_dm_me:example.org")
ROMEO, NURSE = "@_dm_romeo:example.org", "@_dm_nurse:example.org"
FRIEND, STRANGER = "@friend:example.org", "@stranger:elsewhere.org"

Content = dict[str, Any]


class Account:
    """An account, its document on a homeserver, and a bridge that sees every version of it."""

    def __init__(self, content: Content | None = None) -> None:
        self.replay = Replay(never_keys=frozenset({BOT, MY_GHOST}))
        self.content: Content | None = {} if content is None else content
        self.puts = 0
        self.now = 0.0
        self.answer: dict[str, Any] = {}

    def do(self, op: str, **fields: Any) -> None:
        """Something happens to the bridge, which then looks."""
        self.replay.play({"op": op, **fields})
        self.look()

    def manage(self, **chats: str) -> None:
        """The bridge gets chats: room (without its sigil) to ghost."""
        for room, ghost in chats.items():
            self.replay.play({"op": "manage", "room": f"!{room}", "ghost": ghost})
        self.look()

    def look(self, seconds: float = 10.0) -> dict[str, Any]:
        """The bridge sees what stands there; what it writes, it sees again."""
        self.now += seconds
        self.answer = self._observe()
        if self.answer["action"] == "put":
            self.puts += 1
            self.content = self.answer["content"]
            assert self._observe()["action"] == "keep", "a second look finds nothing to do"
        return self.answer

    def write(self, content: Content | None) -> dict[str, Any]:
        """A client writes; the bridge sees it."""
        self.content = content
        return self.look()

    def copy(self) -> Content:
        """What a client has in its cache from now on."""
        return json.loads(json.dumps(self.content or {}))  # type: ignore[no-any-return]

    @property
    def kinds(self) -> list[str]:
        return [reason["kind"] for reason in self.answer["reasons"]]

    def _observe(self) -> dict[str, Any]:
        operation = {"op": "observe", "content": self.content, "at": self.now}
        answer = self.replay.play(operation)
        assert answer is not None
        return answer


def two_chats(content: Content | None = None) -> Account:
    account = Account(content)
    account.manage(romeo=ROMEO, nurse=NURSE)
    return account


def test_01_an_update_lost_to_a_stale_writer_comes_back() -> None:
    account = two_chats({FRIEND: ["!f"]})
    old = account.copy()
    account.manage(third="@_dm_third:x")
    account.write({**account.copy(), STRANGER: ["!s"]})
    account.write({**old, FRIEND: ["!f", "!g"]})
    assert account.content == {
        FRIEND: ["!f", "!g"],
        ROMEO: ["!romeo"],
        NURSE: ["!nurse"],
        "@_dm_third:x": ["!third"],
        STRANGER: ["!s"],
    }
    assert account.kinds == ["old_copy"]


def test_03_a_wipe_is_undone_for_our_chats_and_is_nobodys_opt_out() -> None:
    account = two_chats({FRIEND: ["!f"]})
    account.write({FRIEND: ["!f"], STRANGER: ["!s"], **account.copy()})
    account.write({})
    assert account.content is not None
    assert account.content[ROMEO] == ["!romeo"]
    assert account.content[NURSE] == ["!nurse"]
    assert account.answer["opted_out"] == []


def test_04_the_users_unmark_stays_and_a_stale_write_is_not_one() -> None:
    account = two_chats({FRIEND: ["!f"]})
    old = account.copy()
    account.write({**account.copy(), STRANGER: ["!s"]})
    unmarked = account.copy()
    del unmarked[ROMEO]
    account.write(unmarked)
    assert account.answer["opted_out"] == ["!romeo"]
    account.write({**old, FRIEND: ["!f", "!g"]})
    assert account.answer["opted_out"] == ["!romeo"]
    assert account.content == {
        FRIEND: ["!f", "!g"], STRANGER: ["!s"], NURSE: ["!nurse"],
    }  # fmt: skip


def test_04_a_chat_that_the_user_marks_again_is_kept_again() -> None:
    account = two_chats()
    unmarked = account.copy()
    del unmarked[ROMEO]
    account.write(unmarked)
    account.write({**account.copy(), STRANGER: ["!s"]})
    account.write({**account.copy(), ROMEO: ["!romeo"]})
    assert account.answer["opted_out"] == []
    assert "user_marked" in account.kinds
    old = account.copy()
    account.manage(third="@_dm_third:x")
    del old["@stranger:elsewhere.org"]
    account.write(old)
    assert account.content is not None
    assert account.content[ROMEO] == ["!romeo"]


def test_05_a_bridged_group_that_the_user_marked_is_left_alone() -> None:
    account = two_chats()
    before = account.puts
    account.write({**account.copy(), ROMEO: ["!romeo", "!group"], BOT: ["!management"]})
    assert account.puts == before
    assert account.answer["opted_out"] == []


def test_06_a_room_under_the_bot_moves_to_its_ghost() -> None:
    account = two_chats()
    moved = account.copy()
    moved[BOT] = moved.pop(ROMEO)
    account.write(moved)
    assert account.content == {NURSE: ["!nurse"], ROMEO: ["!romeo"]}
    assert account.answer["opted_out"] == []


def test_07_a_room_under_several_keys_stays_under_its_ghost_alone() -> None:
    account = two_chats()
    account.write(
        {**account.copy(), BOT: ["!romeo"], FRIEND: ["!f", "!romeo"], NURSE: ["!nurse", "!romeo"]}
    )
    assert account.content == {ROMEO: ["!romeo"], NURSE: ["!nurse"], FRIEND: ["!f"]}


def test_07_a_room_that_was_moved_to_a_human_is_the_users_decision() -> None:
    account = two_chats()
    moved = account.copy()
    moved[FRIEND] = moved.pop(ROMEO)
    account.write(moved)
    assert account.answer["opted_out"] == ["!romeo"]
    assert account.content == {NURSE: ["!nurse"], FRIEND: ["!romeo"]}


def test_08_a_write_war_ends_with_a_conflict_that_a_person_sees() -> None:
    account = two_chats()
    for _ in range(100):
        account.write({**account.copy(), BOT: ["!romeo"]})
        if account.answer["action"] == "keep":
            break
    assert account.puts <= 10
    assert "conflict" in account.kinds
    (sentence,) = [r["sentence"] for r in account.answer["reasons"] if r["kind"] == "conflict"]
    assert "!romeo" in sentence
    assert account.content is not None
    assert account.content[NURSE] == ["!nurse"]


def test_08_the_other_chats_are_still_kept_during_a_conflict_and_peace_comes_back() -> None:
    account = two_chats()
    while account.write({**account.copy(), BOT: ["!romeo"]})["action"] == "put":
        assert account.puts < 20
    account.write({**account.copy(), BOT: ["!romeo", "!nurse"]})
    assert account.content == {ROMEO: ["!romeo"], NURSE: ["!nurse"], BOT: ["!romeo"]}
    account.look(seconds=2 * 3600)
    assert account.content == {ROMEO: ["!romeo"], NURSE: ["!nurse"]}


@pytest.mark.parametrize(
    "written",
    [
        {NURSE: ["!nurse"], ROMEO: ["!romeo"], FRIEND: ["!b", "!a"]},
        {FRIEND: ["!a", "!b", "!a"], ROMEO: ["!romeo", "!romeo"], NURSE: ["!nurse"]},
        {FRIEND: ["!a", "!b"], ROMEO: ["!romeo"], NURSE: ["!nurse"], STRANGER: []},
    ],
)
def test_09_reordered_or_doubled_but_otherwise_equal_is_not_written(written: Content) -> None:
    account = two_chats({FRIEND: ["!a", "!b"]})
    before = account.puts
    assert account.write(written)["action"] == "keep"
    assert account.puts == before
    assert account.answer["reasons"] == []


def test_10_a_thousand_new_chats_are_one_write() -> None:
    account = Account({FRIEND: ["!f"]})
    account.manage(**{f"r{n}": f"@_dm_{n}:x" for n in range(1000)})
    assert account.puts == 1
    assert account.content is not None
    assert len(account.content) == 1001


JUNK: Content = {
    "@string:x": "!romeo", "@null:x": None, "@number:x": 5, "@nested:x": {"a": [["!romeo"]]},
    "@mixed:x": ["!local.x", None, "junk", 7, "!local.x"], "mail@example.org": ["!romeo", "!m"],
    "@empty:x": [], "": [], "junk": True,
}  # fmt: skip


def test_11_malformed_foreign_content_survives_marking_merging_and_unmarking() -> None:
    account = two_chats(JUNK)
    old = account.copy()
    account.manage(third="@_dm_third:x")
    account.write({**old, FRIEND: ["!f"]})
    for room in ("!romeo", "!nurse", "!third"):
        account.do("retire", room=room)
    assert json.dumps(account.content) == json.dumps({**JUNK, FRIEND: ["!f"]})


@pytest.mark.parametrize("key", list(JUNK))
def test_11_malformed_content_that_a_stale_writer_did_not_know_of_comes_back(key: str) -> None:
    account = two_chats({FRIEND: ["!f"]})
    old = account.copy()
    account.write({**account.copy(), key: JUNK[key]})
    account.manage(third="@_dm_third:x")
    account.write({**old, FRIEND: ["!f", "!g"]})
    empty = JUNK[key] == [] and key.startswith("@")  # means nothing, and nothing is lost with it
    assert account.content is not None
    assert empty or account.content[key] == JUNK[key]


@pytest.mark.parametrize("junk", [None, "!romeo", 5, {}])
def test_11_our_own_key_that_holds_no_list_is_repaired_and_is_no_opt_out(junk: Any) -> None:
    account = two_chats({"@other:x": junk})
    account.write({**account.copy(), ROMEO: junk})
    assert account.content == {"@other:x": junk, ROMEO: ["!romeo"], NURSE: ["!nurse"]}
    assert account.answer["opted_out"] == []


def test_11_a_key_that_appears_twice_is_refused_and_nothing_is_learnt_from_it() -> None:
    ledger = two_chats().replay.mind.ledger
    mind = Mind(ledger)
    outcome = observe(mind, DirectDocument.parse('{"@a:x": [], "@a:x": []}'), at=0.0)
    assert isinstance(outcome.decision, Refuse)
    assert outcome.mind == mind


def test_11_fifty_thousand_entries_are_kept() -> None:
    account = two_chats({f"@u{n}:x": [f"!r{n}"] for n in range(50_000)})
    assert account.content is not None
    assert len(account.content) == 50_002


def test_12_duplicates_of_our_room_are_no_write_and_go_with_the_next() -> None:
    account = two_chats()
    assert account.write({ROMEO: ["!romeo", "!romeo"], NURSE: ["!nurse"]})["action"] == "keep"
    account.do("retire", room="!romeo")
    assert account.content == {NURSE: ["!nurse"]}


def test_13_what_was_shown_can_be_changed_without_changing_what_was_seen() -> None:
    content: Content = {FRIEND: ["!f"]}
    account = two_chats(content)
    content[FRIEND].clear()
    content["junk"] = 1
    assert account.answer["content"][FRIEND] == ["!f"]
    account.answer["content"][ROMEO].append("!other")
    account.content = {FRIEND: ["!f"], ROMEO: ["!romeo"], NURSE: ["!nurse"]}
    assert account.look()["action"] == "keep"


def test_14_a_contact_with_a_new_id_takes_its_chats_along() -> None:
    account = two_chats({FRIEND: ["!f"]})
    old = account.copy()
    account.do("rename", ghost=ROMEO, to="@_dm_new:x")
    expected = {FRIEND: ["!f"], NURSE: ["!nurse"], "@_dm_new:x": ["!romeo"]}
    assert account.content == expected
    account.write({**old, STRANGER: ["!s"]})
    assert account.content == {**expected, STRANGER: ["!s"]}
    assert account.answer["opted_out"] == []


def test_14_a_decision_follows_the_contact_to_its_new_id() -> None:
    account = two_chats()
    unmarked = account.copy()
    del unmarked[ROMEO]
    account.write(unmarked)
    account.do("rename", ghost=ROMEO, to="@_dm_new:x")
    assert account.content == {NURSE: ["!nurse"]}
    assert account.answer["opted_out"] == ["!romeo"]


@pytest.mark.parametrize("copied_by_server", [False, True])
def test_15_an_upgraded_room_takes_the_place_of_the_old_one(copied_by_server: bool) -> None:
    account = two_chats()
    if copied_by_server:
        account.write({**account.copy(), ROMEO: ["!romeo", "!upgraded"]})
    account.do("replace", room="!romeo", to="!upgraded")
    assert account.content == {ROMEO: ["!upgraded"], NURSE: ["!nurse"]}


def test_15_a_decision_follows_the_upgrade() -> None:
    account = two_chats()
    account.do("opt_out", room="!romeo")
    assert account.content == {NURSE: ["!nurse"]}
    account.do("replace", room="!romeo", to="!upgraded")
    assert account.answer["opted_out"] == ["!upgraded"]
    assert account.content == {NURSE: ["!nurse"]}


@pytest.mark.parametrize("seen_before", [False, True])
def test_15_a_mark_that_the_server_copied_takes_no_decision_back(seen_before: bool) -> None:
    account = two_chats({FRIEND: ["!f"]})
    marked = account.copy()
    account.do("opt_out", room="!romeo")
    if not seen_before:
        account.replay.play({"op": "replace", "room": "!romeo", "to": "!upgraded"})
    account.write({**marked, ROMEO: ["!romeo", "!upgraded"]})  # our write had not arrived
    if seen_before:
        account.do("replace", room="!romeo", to="!upgraded")
    assert account.answer["opted_out"] == ["!upgraded"]
    assert account.content == {FRIEND: ["!f"], NURSE: ["!nurse"]}


def test_15_an_upgrade_to_a_room_that_is_bridged_already_unites_both() -> None:
    account = two_chats()
    account.write({NURSE: ["!nurse"]})
    assert account.answer["opted_out"] == ["!romeo"]
    account.manage(upgraded=ROMEO)
    account.do("replace", room="!romeo", to="!upgraded")
    assert account.content == {NURSE: ["!nurse"]}
    assert account.answer["opted_out"] == ["!upgraded"]


def test_15_a_decision_about_a_room_that_is_no_longer_bridged_follows_its_upgrade() -> None:
    account = two_chats()
    account.do("opt_out", room="!romeo")
    account.do("retire", room="!romeo")
    account.do("replace", room="!romeo", to="!upgraded")
    account.manage(upgraded=ROMEO)
    assert account.content == {NURSE: ["!nurse"]}
    assert account.answer["opted_out"] == ["!upgraded"]


def test_15_the_list_from_before_an_upgrade_decides_nothing() -> None:
    account = two_chats()
    old = account.copy()
    account.do("replace", room="!romeo", to="!upgraded")
    account.write(old)
    assert account.content == {ROMEO: ["!upgraded"], NURSE: ["!nurse"]}
    assert account.answer["opted_out"] == []


def test_05_who_takes_all_of_a_contact_away_at_once_means_it() -> None:
    account = two_chats()
    before = account.copy()
    account.write({**before, FRIEND: ["!f"]})
    account.write({**before, FRIEND: ["!f", "!g", "!h"]})
    account.write({**before, FRIEND: []})
    assert account.content == {**before, FRIEND: []}
    account.write({**before, FRIEND: ["!f", "!g"]})
    account.write({**before, STRANGER: ["!f", "!g"]})
    account.write({**before, FRIEND: ["!f", "!g"]})
    assert account.content == {**before, FRIEND: ["!f", "!g"]}


def test_31_the_list_from_before_several_new_chats_decides_nothing() -> None:
    account = two_chats({FRIEND: ["!f"]})
    backup = account.copy()
    account.manage(third="@_dm_third:x", fourth="@_dm_fourth:x")
    marked = account.copy()
    account.write(backup)
    assert account.content == marked
    assert account.answer["opted_out"] == []


def test_16_what_is_no_longer_bridged_takes_its_own_marks_and_no_others() -> None:
    account = two_chats({ROMEO: ["!other-login"], FRIEND: []})
    account.do("retire", room="!romeo")
    account.do("retire", room="!nurse")
    assert account.content == {ROMEO: ["!other-login"], FRIEND: []}
    assert account.replay.mind.ledger.managed == {}


def test_18_a_chat_that_is_no_longer_one_to_one_loses_only_what_we_marked() -> None:
    account = two_chats({FRIEND: ["!f"]})
    account.write({**account.copy(), "mail@example.org": ["!romeo"]})
    account.do("retire", room="!romeo")
    assert account.content == {FRIEND: ["!f"], NURSE: ["!nurse"], "mail@example.org": ["!romeo"]}


def test_19_several_rooms_of_one_ghost_are_judged_each_for_itself() -> None:
    account = Account()
    account.manage(one=ROMEO, two=ROMEO, three=ROMEO)
    assert account.content == {ROMEO: ["!one", "!two", "!three"]}
    account.write({ROMEO: ["!one", "!three"]})
    assert account.answer["opted_out"] == ["!two"]
    account.do("retire", room="!one")
    assert account.content == {ROMEO: ["!three"]}


@pytest.mark.parametrize("content", [None, {}])
def test_22_a_document_that_was_never_set_is_begun(content: Content | None) -> None:
    account = Account()
    account.content = content
    account.manage(romeo=ROMEO)
    assert account.content == {ROMEO: ["!romeo"]}


def test_22_a_document_that_went_missing_is_written_again_and_nothing_is_opted_out() -> None:
    account = Account({})
    account.manage(romeo=ROMEO)
    account.write(None)
    assert account.content == {ROMEO: ["!romeo"]}
    assert account.answer["opted_out"] == []


def test_22_nothing_is_written_for_an_account_without_chats_and_document() -> None:
    mind = Mind(Ledger.of(UserId("@me:x")))
    assert isinstance(observe(mind, NotSet(), at=0.0).decision, Keep)


def test_23_versions_that_were_missed_do_not_make_a_removal_of_ours() -> None:
    account = two_chats({FRIEND: ["!f"]})
    old = account.copy()
    account.manage(third="@_dm_third:x")
    account.write({**old, STRANGER: ["!s1", "!s2"], FRIEND: ["!f", "!g"]})
    assert account.answer["opted_out"] == []
    assert account.content == {
        FRIEND: ["!f", "!g"], ROMEO: ["!romeo"], NURSE: ["!nurse"],
        STRANGER: ["!s1", "!s2"], "@_dm_third:x": ["!third"],
    }  # fmt: skip


def test_24_a_chat_that_the_user_marked_before_the_bridge_did_needs_no_write() -> None:
    account = Account({ROMEO: ["!romeo"]})
    account.manage(romeo=ROMEO)
    assert account.puts == 0


def test_28_a_chat_with_oneself_is_under_ones_own_ghost() -> None:
    account = Account()
    account.manage(me=MY_GHOST, romeo=ROMEO)
    account.write({BOT: ["!me"], ROMEO: ["!romeo"]})
    assert account.content == {ROMEO: ["!romeo"], MY_GHOST: ["!me"]}
    account.write({MY_GHOST: ["!me", "!romeo"]})
    assert account.content == {ROMEO: ["!romeo"], MY_GHOST: ["!me"]}


def test_29_the_management_room_is_the_users_wherever_they_mark_it() -> None:
    account = two_chats()
    before = account.puts
    account.write({**account.copy(), BOT: ["!management"]})
    removed = account.copy()
    del removed[BOT]
    account.write(removed)
    assert account.puts == before
    assert account.content == removed


def test_30_a_write_that_never_arrived_is_made_again() -> None:
    account = two_chats()
    stood = account.copy()
    account.replay.play({"op": "manage", "room": "!third", "ghost": "@_dm_third:x"})
    lost = account.replay.play({"op": "observe", "content": stood, "at": account.now + 1})
    assert lost is not None
    assert lost["action"] == "put"
    account.look()
    assert account.kinds[0] == "not_written"
    assert account.answer["opted_out"] == []
    assert account.content == {ROMEO: ["!romeo"], NURSE: ["!nurse"], "@_dm_third:x": ["!third"]}


def test_30_a_write_whose_record_was_lost_is_no_edit_of_the_user() -> None:
    account = two_chats()
    before = account.replay.mind
    account.do("rename", ghost=ROMEO, to="@_dm_new:x")
    after = account.replay.mind.ledger
    account.replay.mind = Mind(
        after, before.journal
    )  # the journal of before, the document of after
    assert account.look()["action"] == "keep"
    assert account.answer["opted_out"] == []


def test_31_a_document_that_jumps_back_loses_nothing_and_decides_nothing() -> None:
    account = two_chats({FRIEND: ["!f"]})
    backup = account.copy()
    for number in range(5):
        account.manage(**{f"new{number}": f"@_dm_new{number}:x"})
        account.write({**account.copy(), STRANGER: [f"!s{n}" for n in range(number + 1)]})
    before = account.copy()
    account.write(backup)
    assert account.kinds[0] == "jumped_back"
    assert account.content == before
    assert account.answer["opted_out"] == []


@pytest.mark.parametrize(
    "content", [{}, {ROMEO: None}, {ROMEO: [5, "!romeo"], BOT: ["!romeo", {}]}]
)
def test_nothing_that_is_written_under_our_keys_fails_a_strict_parser(content: Content) -> None:
    account = Account(content)
    account.manage(romeo=ROMEO)
    assert account.content is not None
    assert all(map(is_room_id, account.content[ROMEO]))


def test_a_put_is_a_document_and_says_why() -> None:
    ledger = two_chats().replay.mind.ledger
    outcome = observe(Mind(ledger), DirectDocument(), at=0.0)
    assert isinstance(outcome.decision, Put)
    assert {reason.room for reason in outcome.decision.reasons} == {
        None,
        RoomId("!romeo"),
        RoomId("!nurse"),
    }
