"""What is known of the end of a record, and how it is stored."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.irc.known import MAX_KNOWN, MAX_UNSETTLED, OVERLAP, Known
from dm_bridge.connectors.irc.position import Position
from dm_bridge.ids import RemoteId

NOW = 1_800_000_000.0
BOTH = [RemoteId("id:a"), RemoteId("time:x:1")]


def again(known: Known, time: float = NOW) -> Known:
    """The next process's."""
    position = Position.parse(Position.text({}, time, *known.store(time)))
    return Known(position.known, position.unsettled, position.time)


def test_a_message_is_known_by_the_id_of_the_server_or_the_one_made_of_it() -> None:
    known = Known()
    known.add(BOTH, NOW)
    for one in (known, again(known)):
        assert one.has(BOTH)
        assert one.has(BOTH[1:])  # a record that does not keep the ids of servers
        assert not one.has([RemoteId("id:b"), BOTH[1]])  # the same words in the same second
        assert not one.has([RemoteId("time:x:2")])


def test_what_a_record_without_ids_had_is_known_when_it_comes_with_one() -> None:
    known = Known()
    known.add(BOTH[1:], NOW)
    assert known.has(BOTH)


def test_what_is_older_than_the_overlap_is_forgotten() -> None:
    known = Known()
    known.add([RemoteId("id:old")], NOW - OVERLAP - 2)
    known.add([RemoteId("id:new")], NOW - OVERLAP + 2)
    assert not again(known).has([RemoteId("id:old")])
    assert again(known).has([RemoteId("id:new")])
    assert again(again(known), NOW + 2 * OVERLAP).store(NOW + 4 * OVERLAP) == ("", [])


def test_each_line_that_was_sent_without_an_answer_comes_back_once() -> None:
    known = Known()
    known.begin("juliet", ["ok", "ok", "other"], NOW)
    known.settle("juliet", "other")
    after = again(known)
    assert not after.comes_back("nurse", "ok", NOW)
    assert not after.comes_back("juliet", "other", NOW)
    assert not after.comes_back("juliet", "ok", NOW - OVERLAP - 1)  # the user's, from before
    assert [after.comes_back("juliet", "ok", NOW + 1) for _ in range(3)] == [True, True, False]
    assert not after.arrived("juliet", ["ok"] * 3)
    assert after.arrived("juliet", ["ok", "ok"])
    assert not after.arrived("juliet", ["ok"])


def test_what_the_record_has_not_shown_is_not_in_it() -> None:
    known = Known()
    known.begin("juliet", ["before"], NOW)
    known.begin("juliet", ["since"], NOW + 10)
    known.read_until(NOW + 5)
    assert not known.comes_back("juliet", "before", NOW)
    assert known.comes_back("juliet", "since", NOW + 10)


@given(st.lists(st.integers(0, 2**32), max_size=3 * MAX_KNOWN), st.integers(0, 3 * MAX_UNSETTLED))
def test_it_never_grows_beyond_bounds(numbers: list[int], unsettled: int) -> None:
    known = Known()
    for number in numbers:
        known.add([RemoteId(f"id:{number}")], NOW)
    known.begin("juliet", [f"line {number}" for number in range(unsettled)], NOW)
    ids, lines = known.store(NOW)
    assert len(ids) <= 8 * MAX_KNOWN
    assert len(lines) <= MAX_UNSETTLED
    assert all(again(known).has([RemoteId(f"id:{number}")]) for number in numbers[-MAX_KNOWN:])


def test_positions_of_earlier_versions_are_read() -> None:
    position = Position.parse('{"people":{"juliet":"082bbbe3 "},"time":1767323046.0}')
    assert position.time == 1767323046.0
    assert json.loads(position.people) == {"juliet": "082bbbe3 "}
    assert (position.known, position.unsettled) == ("", ())


anything = (
    st.none() | st.text(max_size=9) | st.floats() | st.lists(st.text() | st.lists(st.integers()))
)


@given(st.fixed_dictionaries(dict.fromkeys(("time", "known", "unsettled"), anything)))
def test_no_position_is_an_error(fields: dict[str, object]) -> None:
    position = Position.parse(json.dumps(fields))
    assert Known(position.known, position.unsettled, position.time).store(None)
