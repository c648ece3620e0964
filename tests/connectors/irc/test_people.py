"""Chats follow people, never nicks. `Story` plays what a session sees, and knows where each chat ends."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from dm_bridge.connectors.irc.people import MAX_PEOPLE, Move, People, digest

JULIET, MALLORY, NURSE = digest("jul", "verona"), digest("mal", "mantua"), digest("nurse", "verona")


def stored(people: People) -> People:
    return People(json.dumps(people.store()))


def test_a_first_message_moves_nobody() -> None:
    people = People()
    assert people.seen("juliet", JULIET, None) == []
    assert people.changed
    people.changed = False
    assert people.seen("juliet", JULIET, None) == []
    assert not people.changed


def test_identd_alone_does_not_make_another_person() -> None:
    assert digest("~jul", "Verona") == digest("jul", "verona")
    assert digest("jul", "") == ""


def test_a_change_of_nick_takes_the_chat_along_and_frees_the_nick() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    assert people.renamed("juliet", "julia", JULIET) == [Move("juliet", "julia")]
    assert people.seen("juliet", MALLORY, None) == []
    assert people.seen("julia", JULIET, None) == []


def test_a_chain_of_changes_is_followed() -> None:
    people = People()
    people.seen("a", JULIET, None)
    moves = [people.renamed(old, new, JULIET) for old, new in ("ab", "bc", "ca")]
    assert moves == [[Move("a", "b")], [Move("b", "c")], [Move("c", "a")]]


def test_two_who_swap_nicks_swap_chats() -> None:
    people = People()
    people.seen("a", JULIET, None)
    people.seen("b", MALLORY, None)
    assert people.renamed("a", "x", JULIET) == [Move("a", "x")]
    assert people.renamed("b", "a", MALLORY) == [Move("b", "a")]
    assert people.renamed("x", "b", JULIET) == [Move("x", "b")]


def test_who_takes_over_a_nick_does_not_get_the_chat_and_who_comes_back_does() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    people.left("juliet")
    former = f"juliet!{JULIET}"
    assert people.seen("juliet", MALLORY, None) == [Move("juliet", former)]
    people = stored(people)
    assert people.seen("juliet", JULIET, None) == [
        Move("juliet", f"juliet!{MALLORY}"),
        Move(former, "juliet"),
    ]


def test_who_takes_the_nick_of_another_by_changing_theirs_keeps_their_own_chat() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    people.seen("mallory", MALLORY, None)
    people.left("juliet")
    assert people.renamed("mallory", "juliet", MALLORY) == [
        Move("juliet", f"juliet!{JULIET}"),
        Move("mallory", "juliet"),
    ]


def test_who_was_never_met_and_changes_to_the_nick_of_another_is_noticed() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    people.left("juliet")
    assert people.renamed("mallory", "juliet", MALLORY) == [Move("juliet", f"juliet!{JULIET}")]


def test_somebody_who_comes_back_with_the_same_host_is_the_same() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    people.all_left()
    assert stored(people).seen("juliet", JULIET, None) == []


def test_who_comes_back_under_their_own_nick_keeps_both_chats() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    people.left("juliet")
    people.seen("juliet_", JULIET, None)
    assert people.renamed("juliet_", "juliet", JULIET) == []


def test_an_account_is_stronger_than_a_host() -> None:
    people = People()
    people.seen("juliet", JULIET, "capulet")
    people.left("juliet")
    assert people.seen("juliet", MALLORY, "capulet") == []
    people.left("juliet")
    assert people.seen("juliet", MALLORY, "montague") == [Move("juliet", f"juliet!{MALLORY}")]


def test_somebody_with_an_account_is_found_under_another_nick() -> None:
    people = People()
    people.seen("juliet", JULIET, "capulet")
    people.left("juliet")
    assert people.seen("julia", NURSE, "capulet") == [Move("juliet", "julia")]


def test_somebody_with_an_account_who_is_there_twice_has_two_chats() -> None:
    people = People()
    people.seen("juliet", JULIET, "capulet")
    assert people.seen("phone", NURSE, "capulet") == []
    assert people.is_present("juliet")


def test_who_is_not_logged_in_is_not_who_was() -> None:
    people = People()
    people.seen("juliet", JULIET, "capulet")
    people.left("juliet")
    assert people.seen("juliet", MALLORY, "") != []


def test_an_account_is_learned_while_somebody_is_there() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    people.logged_in("juliet", "capulet")
    people.left("juliet")
    assert people.seen("juliet", MALLORY, "capulet") == []


def test_a_new_host_is_learned_while_somebody_is_there() -> None:
    people = People()
    people.seen("juliet", JULIET, None)
    people.has_host("juliet", NURSE)
    people.left("juliet")
    people.has_host("juliet", MALLORY)
    assert people.seen("juliet", NURSE, None) == []


def test_whoever_is_written_to_first_is_known_when_they_are_seen() -> None:
    people = People()
    people.meet("juliet")
    assert people.seen("juliet", JULIET, None) == []
    people.left("juliet")
    assert people.seen("juliet", MALLORY, None) == [Move("juliet", f"juliet!{JULIET}")]


def test_strangers_who_are_only_seen_are_not_remembered() -> None:
    people = People()
    assert people.noticed("stranger", MALLORY, None) == []
    assert "stranger" not in people
    people.seen("juliet", JULIET, None)
    people.left("juliet")
    assert people.noticed("juliet", MALLORY, None) == [Move("juliet", f"juliet!{JULIET}")]


def test_where_nothing_is_said_of_accounts_doubt_is_left_for_later() -> None:
    people = People()
    people.seen("juliet", JULIET, "capulet")
    assert people.noticed("juliet", MALLORY, None) == []
    assert not people.is_present("juliet")
    assert people.seen("juliet", MALLORY, "capulet") == []


def test_where_nicks_are_trusted_the_nick_is_the_person() -> None:
    people = People(trusting=True)
    people.seen("juliet", JULIET, None)
    people.left("juliet")
    assert people.seen("juliet", MALLORY, None) == []


def test_people_met_longest_ago_are_forgotten() -> None:
    people = People()
    for number in range(MAX_PEOPLE + 1):
        people.seen(f"n{number}", JULIET, None)
    assert len(people.store()) == MAX_PEOPLE
    assert "n0" not in people


def test_what_is_no_store_is_an_empty_one() -> None:
    for text in ("", "{", "[]", '{"a": 1}', "null"):
        assert People(text).store() == {}


NICKS = st.sampled_from(["a", "b", "c"])
WHO = st.sampled_from([0, 1, 2])
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["say", "nick", "quit", "join", "restart", "nick unseen", "quit unseen"]),
        WHO,
        NICKS,
    )
)

TAKEN_TWICE = [(act, who, "a") for who in (0, 1, 0, 2, 1) for act in ("join", "say", "quit unseen")]


@given(ACTS, st.booleans(), st.booleans())
@example(acts=TAKEN_TWICE, with_accounts=True, from_one_host=True)
def test_no_chat_ever_changes_hands(
    acts: list[tuple[str, int, str]], with_accounts: bool, from_one_host: bool
) -> None:
    """Whatever happens, in sight or not, each chat holds the words of one person only."""
    people = People()
    masks = [JULIET] * 3 if with_accounts and from_one_host else [JULIET, MALLORY, NURSE]
    accounts = ["x", "y", "z"] if with_accounts else [None, None, None]
    at: dict[int, str] = {}
    chats: dict[str, set[int]] = {}

    def apply(moves: list[Move]) -> None:
        for move in moves:
            if move.old in chats and move.new not in chats:
                chats[move.new] = chats.pop(move.old)

    for act, who, nick in acts:
        free = nick not in at.values()
        if act == "join" and who not in at and free:
            at[who] = nick
        elif act == "say" and who in at:
            apply(people.seen(at[who], masks[who], accounts[who]))
            chats.setdefault(at[who], set()).add(who)
        elif act.startswith("nick") and who in at and free:
            if act == "nick":
                apply(people.renamed(at[who], nick, masks[who]))
            at[who] = nick
        elif act.startswith("quit") and who in at:
            nick = at.pop(who)
            if act == "quit":
                people.left(nick)
        elif act == "restart":
            people = stored(people)
    assert all(len(words) == 1 for words in chats.values())
