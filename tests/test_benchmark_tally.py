"""The benchmark fails on what no bridge may do: lose, double, reorder or misplace a message."""

from __future__ import annotations

import pytest

from benchmarks.tally import Disorder, Tally, body
from dm_bridge.testing.matrix_client import MatrixUser, Seen


def seen(chat: str, number: int, *, room: str = "", run: str = "r", sender: str = "@g:x") -> Seen:
    event = {
        "type": "m.room.message",
        "sender": sender,
        "content": {"msgtype": "m.text", "body": body(run, chat, number)},
    }
    return Seen("timeline", room or f"!{chat}", event, 0.0)


def audit(events: list[Seen], **chats: int) -> None:
    user = MatrixUser("http://127.0.0.1:1", "@alice:x", "token")
    user.seen.extend(events)
    tally = Tally(user)
    tally.expect("r", chats)
    tally.audit()


def test_every_message_once_and_in_order_passes() -> None:
    audit([seen("a", 0), seen("b", 0), seen("b", 1), seen("a", 1)], a=2, b=2)


def test_what_other_runs_brought_does_not_count() -> None:
    audit([seen("a", 0, run="other"), seen("a", 0)], a=1)


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([seen("a", 1), seen("a", 0)], "message 1 came where 0 was due"),
        ([seen("a", 0), seen("a", 0), seen("a", 1)], "came twice"),
        ([seen("a", 1)], "missing"),
        ([seen("a", 0), seen("a", 1, room="!b")], "several rooms"),
        ([seen("a", 0), seen("a", 1, sender="@h:x")], "by several"),
        ([], "0 chats arrived"),
    ],
    ids=["inverted", "doubled", "lost", "moved", "by another", "nothing"],
)
def test_disorder_fails(events: list[Seen], complaint: str) -> None:
    with pytest.raises(Disorder, match=complaint):
        audit(events, a=2)


def test_two_chats_in_one_room_fail() -> None:
    with pytest.raises(Disorder, match="in one room"):
        audit([seen("a", 0, room="!one"), seen("b", 0, room="!one")], a=1, b=1)
