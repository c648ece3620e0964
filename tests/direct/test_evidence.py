"""Of two explanations as short as each other, the likelier one counts, and what it rests on is in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.engine import Mind, observe
from dm_bridge.direct.ledger import Ledger, activate, manage
from dm_bridge.direct.reconcile import Put
from dm_bridge.ids import RoomId, UserId

FRIEND, OTHER = "@friend:example.org", "@other:example.org"
GHOST, GHOST2 = "@_dm_juliet:example.org", "@_dm_nurse:example.org"
BOT = "@dmbot:example.org"
CHAT, CHAT2 = "!chat:example.org", "!chat2:example.org"
EMPTY: dict[str, Any] = {"@left:example.org": []}


class Account:
    """One account, its document as it stands on the homeserver, and the bridge's mind."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.mind = Mind(Ledger.of(UserId("@me:example.org"), never_keys=[UserId(BOT)]))
        self.content: dict[str, Any] = {}
        self.stands(content)

    def stands(self, content: Mapping[str, Any]) -> Account:
        """``content`` stands there, and the bridge sees it, and what it writes if it does."""
        self.content = dict(content)
        for _ in range(2):
            document = DirectDocument.parse(self.content)
            assert isinstance(document, DirectDocument)
            outcome = observe(self.mind, document, at=0.0)
            self.mind = outcome.mind
            if isinstance(outcome.decision, Put):
                self.content = outcome.decision.document.content()
        return self

    def chat(self, room: str = CHAT, ghost: str = GHOST) -> Account:
        """The bridge gets a chat."""
        ledger = manage(self.mind.ledger, RoomId(room), UserId(ghost))
        self.mind = Mind(activate(ledger, RoomId(room)), self.mind.journal)
        return self.stands(self.content)

    def opted_out(self, room: str = CHAT) -> bool:
        return self.mind.ledger.managed[RoomId(room)].opted_out

    def marks(self, room: str = CHAT, ghost: str = GHOST) -> bool:
        return room in (self.content.get(ghost) or [])


def moved_then_marked(empty: Mapping[str, Any]) -> Account:
    """A room of others is moved, and after that the bridge marks a chat."""
    account = Account({FRIEND: ["!r"], **empty})
    account.stands({FRIEND: [], OTHER: ["!r"], **empty} if empty else {OTHER: ["!r"]})
    return account.chat()


def added_then_marked(empty: Mapping[str, Any]) -> Account:
    """A room of others is added, and after that the bridge marks a chat."""
    account = Account({OTHER: ["!o"], **empty})
    return account.stands({OTHER: ["!o"], FRIEND: ["!r"], **empty}).chat()


def test_who_leaves_empty_lists_and_none_there_did_not_take_the_chat_away() -> None:
    account = added_then_marked(EMPTY)
    account.stands({OTHER: ["!o"], FRIEND: ["!r"], **EMPTY})
    assert account.marks()
    assert not account.opted_out()


def test_who_leaves_an_empty_list_there_took_the_chat_away() -> None:
    account = added_then_marked(EMPTY)
    account.stands({OTHER: ["!o"], FRIEND: ["!r"], GHOST: [], **EMPTY})
    assert account.opted_out()


def test_who_leaves_no_empty_lists_anywhere_took_the_chat_away() -> None:
    account = added_then_marked({})
    account.stands({OTHER: ["!o"], FRIEND: ["!r"]})
    assert account.opted_out()


def test_without_another_explanation_the_chat_was_taken_away() -> None:
    account = Account({FRIEND: ["!r"], **EMPTY}).chat()
    account.stands({FRIEND: ["!r"], **EMPTY})
    assert account.opted_out()


def test_who_takes_it_away_again_means_it() -> None:
    account = added_then_marked(EMPTY)
    account.stands({OTHER: ["!o"], FRIEND: ["!r"], **EMPTY})
    account.stands({OTHER: ["!o"], FRIEND: ["!r"], **EMPTY})
    assert account.opted_out()
    assert not account.marks()


def test_the_same_move_on_an_old_copy_is_likelier_than_an_unmark_that_nothing_shows() -> None:
    account = moved_then_marked({})
    account.stands({OTHER: ["!r"]})
    assert account.marks()
    assert not account.opted_out()
    account.stands({OTHER: ["!r"]})
    assert account.opted_out(), "the second time they mean it"


def test_an_unmark_that_shows_is_likelier_than_the_same_move_again() -> None:
    account = moved_then_marked(EMPTY)
    account.stands({FRIEND: [], OTHER: ["!r"], GHOST: [], **EMPTY})
    assert account.opted_out()


def test_a_client_that_joins_with_an_old_copy_is_likelier_than_an_unmark_on_an_old_copy() -> None:
    account = Account({FRIEND: ["!r"]}).chat(CHAT2, GHOST2)
    before = account.content
    account.chat()
    account.stands({**account.content, BOT: [CHAT2]})
    assert BOT not in account.content, "the bridge tidies away"
    account.stands({**before, BOT: [CHAT2]})
    assert account.marks()
    assert not account.opted_out()


def test_a_list_in_place_of_what_was_none_is_one_edit_with_what_stands_in_it() -> None:
    account = Account({FRIEND: ["!r"]}).chat()
    spoiled = {**account.content, GHOST: None}
    account.stands(spoiled)
    assert account.marks()
    account.stands({**spoiled, GHOST: ["!another:example.org"]})
    assert account.marks()
    assert account.marks("!another:example.org")
    assert not account.opted_out()


def test_a_list_that_was_replaced_by_something_else_comes_back_with_what_others_put_there() -> None:
    account = Account({FRIEND: ["!r"]}).chat()
    account.stands({**account.content, GHOST: [CHAT, "!another:example.org"]})
    account.stands({FRIEND: ["!r"], GHOST: "spoiled"})
    assert account.content == {FRIEND: ["!r"], GHOST: [CHAT, "!another:example.org"]}
    assert not account.opted_out()
