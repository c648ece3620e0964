"""Bodies of pushed transactions, from good to hostile."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.ids import RoomId
from dm_bridge.matrix.ephemeral import TypingIn
from dm_bridge.matrix.transactions import BadTransaction, Transaction, parse_transaction

EVENT = {
    "event_id": "$event",
    "room_id": "!room",
    "sender": "@juliet:example.org",
    "type": "m.room.message",
    "content": {"body": "Ay me", "msgtype": "m.text"},
    "origin_server_ts": 1,
}


def body(*events: object, **more: object) -> bytes:
    return json.dumps({"events": events, **more}).encode()


def test_a_good_event_keeps_everything_it_had() -> None:
    (event,) = parse_transaction(body(EVENT)).events
    assert event.raw == EVENT
    assert (event.id, event.room, event.sender, event.type) == (
        "$event", "!room", "@juliet:example.org", "m.room.message",
    )  # fmt: skip


def test_order_is_kept() -> None:
    events = [{**EVENT, "event_id": f"${n}"} for n in (3, 1, 2)]
    assert [event.id for event in parse_transaction(body(*events)).events] == ["$3", "$1", "$2"]


def test_no_events_are_no_mistake() -> None:
    assert parse_transaction(b'{"events": []}') == Transaction((), 0)


def test_unknown_members_are_passed_over() -> None:
    assert parse_transaction(body(EVENT, **{"org.example": [1, {}], "to_device": None})).events


@pytest.mark.parametrize("key", ["ephemeral", "de.sorunome.msc2409.ephemeral"])
def test_ephemeral_events_are_taken_under_either_name_and_are_no_events(key: str) -> None:
    typing = {"type": "m.typing", "content": {"user_ids": []}, "room_id": "!room"}
    parsed = parse_transaction(body(EVENT, **{key: [typing]}))
    assert parsed.events == parse_transaction(body(EVENT)).events
    assert parsed.ephemeral == (TypingIn(RoomId("!room"), frozenset()),)


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{}",
        b"null",
        b"1",
        b'"events"',
        b'{"events": null}',
        b'{"events": {}}',
        b'{"events": "x"}',
        b'{"events": ["x"]}',
        b'{"events": [null]}',
        b'{"events": [[]]}',
        b'{"events": [], "ephemeral": {}}',
        b'{"events": [], "ephemeral": null}',
        b'{"events": [], "ephemeral": ["x"]}',
    ],
)
def test_a_body_of_another_shape_is_bad_json(raw: bytes) -> None:
    with pytest.raises(BadTransaction) as caught:
        parse_transaction(raw)
    assert caught.value.errcode == "M_BAD_JSON"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"\x00",
        b"\xff\xfe\xfd",
        b'{"events": [NaN]}',
        b'{"events": [], "x": NaN}',
        b'{"events": [], "x": Infinity}',
        b'{"events": [], "x": -Infinity, "y": "\\ud800"}',
        b'{"events": []} {}',
        b"{'events': []}",
        b'{"events": [],}',
        b"<html>502 Bad Gateway</html>",
    ],
)
def test_a_body_that_is_no_json_is_said_so(raw: bytes) -> None:
    with pytest.raises(BadTransaction) as caught:
        parse_transaction(raw)
    assert caught.value.errcode == "M_NOT_JSON"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [1024, 5_000, 1_000_000])
def test_endless_nesting_is_refused_and_not_followed(opening: bytes, depth: int) -> None:
    with pytest.raises(BadTransaction):
        parse_transaction(b'{"events": [' + opening * depth)
    closing = b"]" if opening == b"[" else b"1}"
    with pytest.raises(BadTransaction):
        parse_transaction(
            b'{"events": [], "x": ' + opening * depth + b"1" + closing[-1:] * depth + b"}"
        )


@pytest.mark.parametrize("key", ["event_id", "room_id", "sender", "type"])
@pytest.mark.parametrize(
    "value", [None, "", 1, [], {}, True, "with NUL \0", "x" * 256, "ü" * 128, "\0"]
)
def test_an_event_without_a_usable_id_room_sender_or_type_is_passed_over(
    key: str, value: object
) -> None:
    odd = {**EVENT, key: value}
    missing = {name: member for name, member in EVENT.items() if name != key}
    transaction = parse_transaction(body(odd, EVENT, missing))
    assert [event.raw for event in transaction.events] == [EVENT]
    assert transaction.odd == 2


def test_the_longest_identifiers_that_matrix_allows_pass() -> None:
    longest = {
        "event_id": "$" + "e" * 254,
        "room_id": "!" + "ü" * 127,
        "sender": "@" + "s" * 254,
        "type": "t" * 255,
    }
    assert parse_transaction(body({**EVENT, **longest})).odd == 0


def test_of_duplicate_keys_the_last_counts() -> None:
    raw = body(EVENT)[:-1] + b', "events": []}'
    assert parse_transaction(raw) == Transaction((), 0)
    raw = b'{"events": [{"event_id": "$first", ' + json.dumps(EVENT).encode()[1:] + b"]}"
    assert [event.id for event in parse_transaction(raw).events] == ["$event"]


def test_lone_surrogates_become_replacement_characters_and_pairs_stay() -> None:
    raw = body({**EVENT, "content": {"lone \ud800": ["\udfff", "pair 𝔘", "\ufeff"]}})
    (event,) = parse_transaction(raw).events
    assert event.raw["content"] == {"lone \ufffd": ["\ufffd", "pair 𝔘", "\ufeff"]}
    orjson.dumps(event.raw)


def test_nul_in_content_is_kept() -> None:
    (event,) = parse_transaction(body({**EVENT, "content": {"body": "a\0b"}})).events
    assert event.raw["content"] == {"body": "a\0b"}


@pytest.mark.parametrize("number", ["9" * 20, "9" * 400, "-" + "9" * 400, "1e999", "9" * 5000])
@pytest.mark.parametrize("surrogate", ["", "\\ud800"])
def test_numbers_beyond_every_type_harm_nobody(number: str, surrogate: str) -> None:
    event = json.dumps(EVENT)[:-1] + f', "n": {number}, "s": "{surrogate}"}}'
    transaction = parse_transaction(f'{{"events": [{event}]}}'.encode())
    assert len(transaction.events) == 1
    orjson.dumps(transaction.events[0].raw)


def test_sixteen_megabytes_are_read_like_any_other() -> None:
    big = {**EVENT, "content": {"body": "x" * (16 * 1024 * 1024 - 300)}}
    assert len(parse_transaction(body(EVENT, big)).events) == 2


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
almost_events = st.dictionaries(
    st.sampled_from(["event_id", "room_id", "sender", "type", "content", "state_key"]), json_values
)


@given(json_values | st.fixed_dictionaries({"events": st.lists(almost_events | json_values)}))
def test_whatever_json_arrives_is_a_transaction_or_a_bad_one(value: Any) -> None:
    check(json.dumps(value).encode())


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_bytes_arrive_are_a_transaction_or_a_bad_one(raw: bytes) -> None:
    check(raw)
    check(b'{"events": [' + raw + b"]}")
    check(b'{"events": [], "x": "' + raw + b'"}')


def check(raw: bytes) -> None:
    try:
        transaction = parse_transaction(raw)
    except BadTransaction:
        return
    for event in transaction.events:
        orjson.dumps(event.raw)
        for identifier in (event.id, event.room, event.sender, event.type):
            assert 0 < len(identifier.encode()) <= 255
            assert "\0" not in identifier
