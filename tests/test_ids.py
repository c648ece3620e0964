"""Ghost user ids and derived ids: reversible, bounded, and never shared."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dm_bridge.ids import (
    MAX_USER_ID_BYTES,
    ContactId,
    GhostName,
    GhostNamespace,
    NetworkName,
    UserId,
    decode_identifier,
    digest_id,
    encode_identifier,
    server_name,
)

XMPP = NetworkName("xmpp")
GHOSTS = GhostNamespace("dm_", "example.org")

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates included
encoded_alphabet = st.text("abchzABC_=0123456789.-/+:@", min_size=1)
server_names = st.one_of(
    st.from_regex(r"[a-z0-9.\-]{1,150}", fullmatch=True),
    st.just("[2001:db8::1]:8448"),
)


@given(any_text)
@example("\ud83d\ude00")
@example("😀")
@example("__A_=3d=")
def test_every_text_survives_encoding(text: str) -> None:
    assert decode_identifier(encode_identifier(text)) == text


@given(any_text)
def test_an_encoded_identifier_uses_only_the_alphabet_of_localparts(text: str) -> None:
    assert set(encode_identifier(text)) <= set(string.ascii_lowercase + string.digits + "._=-/+")


@pytest.mark.parametrize(
    ("identifier", "encoded"),
    [
        ("A", "_a"),  # this and the next four: specification, appendices
        ("_", "__"),
        ("#", "=23"),
        ("á", "=c3=a1"),
        ("=", "=3d"),
        ("romeo@montague.example", "romeo=40montague.example"),
        ("d\\27artagnan@musketeers.lit", "d=5c27artagnan=40musketeers.lit"),
        ("+31/6-12.3", "+31/6-12.3"),
    ],
)
def test_the_mapping_is_the_one_of_the_specification(identifier: str, encoded: str) -> None:
    assert encode_identifier(identifier) == encoded


@given(encoded_alphabet)
@example("=41")
@example("=C3=A1")
@example("_")
@example("=4")
@example("=ff")
def test_nothing_decodes_but_what_encoding_gives(encoded: str) -> None:
    decoded = decode_identifier(encoded)
    assert decoded is None or encode_identifier(decoded) == encoded


@pytest.mark.parametrize(
    "encoded", ["A", "_A", "=4", "=zz", "=C3=A1", "=61", "=ff", "_", "á", "_="]
)
def test_what_no_identifier_encodes_to_is_refused(encoded: str) -> None:
    assert decode_identifier(encoded) is None


@given(any_text.filter(bool), server_names)
def test_a_short_ghost_id_says_whom_it_stands_for(contact: str, domain: str) -> None:
    namespace = GhostNamespace("dm_", domain)
    user_id = namespace.user_id(XMPP, ContactId(contact))
    expected = None if "_=h" in user_id else contact
    assert namespace.parse(user_id) == GhostName(XMPP, ContactId(expected) if expected else None)
    assert namespace.owns(user_id)
    assert re.match(namespace.regex(), user_id)
    assert server_name(user_id) == domain


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=400), server_names)
@example("é" * 300, "example.org")
@example("a" * 1000, "d" * 170)
def test_a_ghost_id_never_exceeds_255_bytes(contact: str, domain: str) -> None:
    user_id = GhostNamespace("dm_", domain).user_id(XMPP, ContactId(contact))
    assert len(user_id.encode()) <= MAX_USER_ID_BYTES


def test_an_id_of_exactly_255_bytes_is_still_reversible_and_one_more_is_hashed() -> None:
    room = MAX_USER_ID_BYTES - len(GHOSTS.user_id(XMPP, ContactId("a"))) + 1
    longest, longer = ContactId("a" * room), ContactId("a" * (room + 1))
    assert len(GHOSTS.user_id(XMPP, longest)) == MAX_USER_ID_BYTES
    assert GHOSTS.parse(GHOSTS.user_id(XMPP, longest)) == GhostName(XMPP, longest)
    assert GHOSTS.parse(GHOSTS.user_id(XMPP, longer)) == GhostName(XMPP, None)


def test_long_contacts_that_differ_in_one_letter_keep_different_ghosts() -> None:
    ids = {GHOSTS.user_id(XMPP, ContactId("x" * 500 + letter)) for letter in "abcABC_="}
    assert len(ids) == 8


@given(any_text)
def test_a_hashed_id_is_never_the_encoding_of_a_contact(contact: str) -> None:
    assert not encode_identifier(contact).startswith("=h")


@given(any_text.filter(bool), any_text.filter(bool))
@example("a_b", "aB")
@example("é", "=c3=a9")
def test_two_contacts_never_share_a_ghost(first: str, second: str) -> None:
    assume(first != second)
    ids = {GHOSTS.user_id(XMPP, ContactId(contact)) for contact in (first, second)}
    assert len(ids) == 2


@given(encoded_alphabet)
def test_a_parsed_id_is_the_only_id_of_its_contact(localpart: str) -> None:
    user_id = f"@dm_xmpp_{localpart}:example.org"
    ghost = GHOSTS.parse(user_id)
    if ghost is not None and ghost.contact is not None:
        assert GHOSTS.user_id(ghost.network, ghost.contact) == user_id


@pytest.mark.parametrize(
    "user_id",
    [
        "@dm_xmpp_romeo:elsewhere.org",
        "@dm_xmpp_romeo:sub.example.org",
        "@dm_xmpp_romeo:example.org.evil",
        "@dm_xmpp_romeo:elsewhere.org:example.org",
        "@other_xmpp_romeo:example.org",
        "@dm_xmpp_:example.org",
        "@dm_xmpp:example.org",
        "@dm_XMPP_romeo:example.org",
        "@dm_xmpp_Romeo:example.org",
        "@dm_xmpp_=h12:example.org",
        "@dm_xmpp_=4:example.org",
        "@dm_xmpp_" + "a" * 300 + ":example.org",
        "dm_xmpp_romeo:example.org",
        "@romeo:example.org",
        "",
    ],
)
def test_what_is_no_ghost_of_ours_is_not_parsed(user_id: str) -> None:
    assert GHOSTS.parse(user_id) is None


@given(any_text)
def test_parsing_never_fails(text: str) -> None:
    for user_id in (text, f"@dm_xmpp_{text}:example.org"):
        ghost = GHOSTS.parse(user_id)
        assert ghost is None or GHOSTS.owns(user_id)


def test_a_domain_is_matched_literally_not_as_a_pattern() -> None:
    assert not re.match(GHOSTS.regex(), "@dm_xmpp_romeo:exampleXorg")
    assert not re.match(GHOSTS.regex(), "@dm_xmpp_romeo:example.org.evil")
    assert re.match(GHOSTS.regex(), "@dm_xmpp_romeo:example.org")


@pytest.mark.parametrize("network", ["", "XMPP", "x_y", "1x", "xmpp\n", "x:y"])
def test_a_ghost_needs_a_proper_network_name(network: str) -> None:
    with pytest.raises(ValueError, match="not a network name"):
        GHOSTS.user_id(NetworkName(network), ContactId("romeo"))


def test_a_contact_without_an_identifier_has_no_ghost() -> None:
    with pytest.raises(ValueError, match="without an identifier"):
        GHOSTS.user_id(XMPP, ContactId(""))


def test_a_domain_that_leaves_no_room_for_ghosts_is_named() -> None:
    namespace = GhostNamespace("dm_", "d" * 200)
    with pytest.raises(ValueError, match="shorten the prefix"):
        namespace.user_id(XMPP, ContactId("a" * 100))
    assert namespace.parse("@dm_xmpp_" + "a" * 100 + ":" + "d" * 200) is None


@given(st.lists(any_text, max_size=4), st.lists(any_text, max_size=4))
@example(["a", "bc"], ["ab", "c"])
@example(["a"], ["a", ""])
@example([], [""])
@example(["\ud83d\ude00"], ["😀"])
def test_derived_ids_are_equal_only_for_equal_parts(first: list[str], second: list[str]) -> None:
    assert (digest_id(*first) == digest_id(*second)) == (first == second)


@given(st.lists(any_text, max_size=4))
def test_a_derived_id_is_safe_in_a_path(parts: list[str]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_\-]{32}", digest_id(*parts))


def test_a_derived_id_never_changes_between_versions() -> None:
    """A retry after an upgrade must send the id that was sent before it."""
    assert digest_id("login", "chat", "message") == "3gvtoEtqWXJEUXf5w4KVWKcO1DZXeOcw"


def test_a_server_name_keeps_its_port() -> None:
    assert server_name(UserId("@romeo:example.org:8448")) == "example.org:8448"
