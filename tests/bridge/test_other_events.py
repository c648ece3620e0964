"""What is no message, and is said all the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge import routing
from dm_bridge.bridge.other_events import (
    MAX_ANSWERS,
    in_words,
)
from dm_bridge.bridge.routing import RoomFacts, route
from dm_bridge.ids import EventId, GhostNamespace, UserId
from dm_bridge.network.events import Text
from dm_bridge.texts import phrase

OWNER = UserId("@juliet:example.org")
GHOST = UserId("@_xmpp_xmpp_romeo:example.org")
UNSTABLE = "org.matrix.msc3381.poll.start"
OLD_TEXT = "org.matrix.msc1767.text"


def poll(kind: str, key: str, answers: object) -> dict[str, Any]:
    return {key: "Where?", kind: {"question": {key: "Where?"}, "answers": answers}}


@pytest.mark.parametrize("kind", ["m.poll.start", "m.poll", UNSTABLE])
@pytest.mark.parametrize("key", ["m.text", OLD_TEXT])
def test_a_poll_is_a_question_with_numbered_answers(kind: str, key: str) -> None:
    content = poll(kind, key, [{"id": "1", key: "Verona"}, {"id": "2", key: "Mantua"}])
    said = in_words("m.poll.start" if kind == "m.poll" else kind, content)
    assert said == Text("📊 Where?\n1. Verona\n2. Mantua")


def test_texts_of_several_forms_are_read() -> None:
    forms = [{"mimetype": "text/html", "body": "<b>no</b>"}, {"body": "plain"}]
    assert in_words("org.example.note", {"m.text": forms}) == Text("plain")


@pytest.mark.parametrize("answers", [None, "Verona", [None, 5, {}, {"m.text": 3}]])
def test_a_poll_with_answers_that_are_none_is_its_question(answers: object) -> None:
    assert in_words("m.poll.start", poll("m.poll.start", "m.text", answers)) == Text("📊 Where?")


def test_a_poll_without_a_question_is_what_it_says_for_others() -> None:
    assert in_words(UNSTABLE, {UNSTABLE: [], OLD_TEXT: "Where? 1. Verona"}) == Text(
        "Where? 1. Verona"
    )


def test_a_poll_has_an_end() -> None:
    answers = [{"m.text": f"answer {n}"} for n in range(10 * MAX_ANSWERS)]
    said = in_words("m.poll.start", poll("m.poll.start", "m.text", answers))
    assert isinstance(said, Text)
    assert len(said.body.splitlines()) == 1 + MAX_ANSWERS


@pytest.mark.parametrize("kind", ["m.call.invite", "org.matrix.msc4075.rtc.notification"])
def test_a_call_is_told_to_reach_nobody(kind: str) -> None:
    assert in_words(kind, {"call_id": "1"}) == phrase("delivery-no-calls")


@pytest.mark.parametrize("kind", ["m.call.candidates", "m.beacon", "org.example.data"])
def test_what_has_no_words_is_passed_over(kind: str) -> None:
    assert in_words(kind, {"data": 1, "body": "  "}) is None


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["m.text", OLD_TEXT, "body", "question", "answers", "mimetype", UNSTABLE, "m.poll.start"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(["m.poll.start", UNSTABLE, "x"]), st.dictionaries(
    st.sampled_from(["m.text", OLD_TEXT, "body", UNSTABLE, "m.poll.start"]), json
))  # fmt: skip
def test_any_content_has_an_answer(kind: str, content: dict[str, Any]) -> None:
    said = in_words(kind, content)
    assert said is None or (isinstance(said, Text) and said.body.strip())


def decide(
    kind: str, content: dict[str, Any], sender: str = OWNER, **more: object
) -> routing.Route:
    raw = {"type": kind, "sender": sender, "content": content, **more}
    facts = RoomFacts(owner=OWNER, ghost=GHOST)
    namespace = GhostNamespace("_xmpp_", "example.org")
    return route(raw, facts, bot=UserId("@bot:example.org"), namespace=namespace)


def test_only_what_the_user_says_in_the_timeline_is_carried() -> None:
    note = {"body": "note"}
    assert decide("org.example.note", note) == routing.Message(Text("note"), None)
    assert isinstance(decide("org.example.note", note, state_key=""), routing.Ignore)
    assert isinstance(decide("org.example.note", note, sender=GHOST), routing.Ignore)
    assert decide("m.call.invite", {}) == routing.Unsendable(phrase("delivery-no-calls"))


@pytest.mark.parametrize("kind", ["m.poll.end", "org.matrix.msc3381.poll.end"])
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("The poll with event id: $poll has ended.", "📊 The poll has ended."),
        ("", "📊 The poll has ended."),
        ("The poll has ended. Top answer: Verona", "The poll has ended. Top answer: Verona"),
    ],
)
def test_the_end_of_a_poll_is_told_without_the_ids_that_some_clients_put_into_it(
    kind: str, written: str, said: str
) -> None:
    relation = {"rel_type": "m.reference", "event_id": "$poll"}
    assert in_words(kind, {OLD_TEXT: written, "m.relates_to": relation}) == Text(said)


@pytest.mark.parametrize("kind", ["m.poll.start", UNSTABLE])
def test_a_poll_that_is_changed_is_no_other_poll(kind: str) -> None:
    changed = {
        **poll(kind, OLD_TEXT, []),
        "m.new_content": {**poll(kind, OLD_TEXT, [{OLD_TEXT: "Verona"}])},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$poll"},
    }
    said = Text("📊 Where?\n1. Verona")
    assert decide(kind, changed) == routing.Edit(EventId("$poll"), said, None)
    assert isinstance(decide(kind, {**changed, "m.new_content": {}}), routing.Ignore)
    assert isinstance(decide(kind, {**changed, "m.new_content": 7}), routing.Ignore)
    nothing = {**changed, "m.relates_to": {"rel_type": "m.replace"}}
    assert isinstance(decide(kind, nothing), routing.Ignore)


def test_a_poll_says_what_it_did_before_an_edit_that_is_taken_back() -> None:
    content = poll("m.poll.start", "m.text", [{"m.text": "Verona"}])
    event = {"type": "m.poll.start", "content": content}
    assert routing.said_by_now(event) == (Text("📊 Where?\n1. Verona"), None)
    newest = {"content": {"m.new_content": poll("m.poll.start", "m.text", [])}}
    edited = {**event, "unsigned": {"m.relations": {"m.replace": newest}}}
    assert routing.said_by_now(edited) == (Text("📊 Where?"), None)
    assert routing.said_by_now({"type": "m.poll.start", "content": {}}) is None


@pytest.mark.parametrize("kind", ["m.poll.response", "org.matrix.msc3381.poll.response"])
def test_a_vote_is_told_to_reach_nobody(kind: str) -> None:
    vote = {"m.relates_to": {"rel_type": "m.reference", "event_id": "$poll"}}
    assert decide(kind, vote) == routing.Unsendable(phrase("delivery-no-votes"))
    assert isinstance(decide(kind, vote, sender=GHOST), routing.Ignore)


@pytest.mark.parametrize("kind", ["m.beacon_info", "org.matrix.msc3672.beacon_info"])
def test_a_live_location_is_told_to_reach_nobody_when_it_begins(kind: str) -> None:
    begun, ended = ({"live": live, "timeout": 60_000} for live in (True, False))
    assert decide(kind, begun, state_key=OWNER) == routing.Unsendable(
        phrase("delivery-no-live-places")
    )
    assert isinstance(decide(kind, ended, state_key=OWNER), routing.Ignore)
    assert isinstance(decide(kind, begun, sender=GHOST, state_key=GHOST), routing.Ignore)


def test_nobody_is_asked_to_verify_anything() -> None:
    content = {"msgtype": "m.key.verification.request", "body": "wants to verify", "to": GHOST}
    assert isinstance(decide("m.room.message", content), routing.Unsendable)
