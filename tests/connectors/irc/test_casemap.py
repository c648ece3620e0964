"""Nicks are the same exactly where the server takes them for the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.irc.casemap import CaseMapping


@pytest.mark.parametrize(
    ("name", "mapping"),
    [
        ("ascii", CaseMapping.ASCII),
        ("rfc1459", CaseMapping.RFC1459),
        ("RFC1459-strict", CaseMapping.STRICT),
        ("strict-rfc1459", CaseMapping.STRICT),
        ("rfc7613", CaseMapping.ASCII),
        ("", CaseMapping.ASCII),
    ],
)
def test_a_mapping_is_known_by_its_name(name: str, mapping: CaseMapping) -> None:
    assert CaseMapping.named(name) is mapping


@pytest.mark.parametrize(
    ("mapping", "same"),
    [
        (CaseMapping.ASCII, "aA"),
        (CaseMapping.STRICT, "aA{[}]|\\"),
        (CaseMapping.RFC1459, "aA{[}]|\\^~"),
    ],
)
def test_pairs_are_the_same_to_a_server(mapping: CaseMapping, same: str) -> None:
    pairs = ["aA", "{[", "}]", "|\\", "^~", "äÄ", "_-", "`@"]
    for pair in pairs:
        one, other = pair[0], pair[1]
        assert (mapping.fold(f"x{one}") == mapping.fold(f"x{other}")) == (f"{one}{other}" in same)


@given(st.sampled_from(CaseMapping), st.text(max_size=40))
def test_a_normal_form_is_its_own(mapping: CaseMapping, nick: str) -> None:
    folded = mapping.fold(nick)
    assert mapping.fold(folded) == folded
    assert len(folded) == len(nick)
