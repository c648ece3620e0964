"""`direct`, as a person writes it: their own chats, in plain sentences, and never too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson
import pytest

from dm_bridge.bridge.commands import Reply
from dm_bridge.bridge.commands.direct import (
    ChatState,
    DirectChat,
    DirectCommands,
    DirectStatus,
    HistoryLine,
    Repair,
    RepairOutcome,
    ago,
    room_in,
)
from dm_bridge.errors import UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.matrix.formatting import notice

from .fakes import FakeNetwork

USER = UserId("@juliet:example.org")
NURSE = UserId("@nurse:example.org")
NOW = 1_700_000_000.0
ROMEO = DirectChat(RoomId("!romeo:example.org"), "romeo@example.net", ChatState.MARKED)
PARIS = DirectChat(RoomId("!paris"), "paris@example.net", ChatState.OPTED_OUT)
TYBALT = DirectChat(RoomId("!tybalt"), "tybalt@example.net", ChatState.PENDING)
GONE = DirectChat(RoomId("!gone"), "rosaline@example.net", ChatState.RETIRED)


@dataclass
class FakeView:
    """``decided``: what was asked for, in order."""

    statuses: dict[UserId, DirectStatus] = field(default_factory=dict)
    lines: list[HistoryLine] = field(default_factory=list)
    decided: list[tuple[object, ...]] = field(default_factory=list)

    async def status(self, account: UserId) -> DirectStatus:
        return self.statuses.get(account, DirectStatus((), Access.NONE, "Nobody looks."))

    async def mark(self, account: UserId, room: RoomId) -> None:
        self.decided.append(("mark", account, room))

    async def unmark(self, account: UserId, room: RoomId) -> None:
        self.decided.append(("unmark", account, room))

    async def repair(self, account: UserId) -> Repair:
        self.decided.append(("repair", account))
        return Repair(RepairOutcome.REPAIRED, "I put back 2 chats.", 2)

    async def history(self, account: UserId, limit: int) -> Sequence[HistoryLine]:
        self.decided.append(("history", account, limit))
        return self.lines


class Bot:
    def __init__(self) -> None:
        self.view = FakeView()
        self.logged_in = True
        self.be()
        self._commands = DirectCommands(
            self.view, lambda: [FakeNetwork()], lambda _: self.logged_in, lambda: NOW
        )

    def be(self, *chats: DirectChat, access: Access = Access.MASQUERADE) -> None:
        self.view.statuses[USER] = DirectStatus(
            chats, access, "Your server tells me of every change.", NOW - 200
        )

    async def say(self, text: str, user: UserId = USER) -> str:
        said: list[str] = []

        async def answer(reply: Reply) -> None:
            assert not reply.hide_request
            said.append(reply.text)

        await self._commands.run(user, text, answer)
        (only,) = said
        return only


@pytest.fixture
def bot() -> Bot:
    return Bot()


# -- status


async def test_the_status_counts_and_lists_chats_and_says_how_they_are_looked_after(
    bot: Bot,
) -> None:
    bot.be(ROMEO, PARIS, TYBALT, GONE)
    answer = await bot.say("")
    assert "Your direct chats: 1 marked, 1 pending, 1 opted out." in answer
    assert "- `romeo@example.net`: marked as direct" in answer
    assert "- `paris@example.net`: left out, because you want it so" in answer
    assert "- `tybalt@example.net`: waiting to be marked" in answer
    assert "rosaline" not in answer
    body = notice(answer)["body"]
    assert "Your server tells me of every change. I last looked 3 minutes ago." in body
    assert "rights that your server gives me" in answer
    assert answer == await bot.say("status")


async def test_a_conflict_comes_first_and_says_what_to_do(bot: Bot) -> None:
    bot.be(ROMEO, replace(PARIS, state=ChatState.CONFLICT))
    lines = [line for line in (await bot.say("")).splitlines() if line.startswith("- ")]
    assert "in conflict" in lines[0]
    assert "`direct mark`" in lines[0]


async def test_without_access_the_way_to_give_it_is_said(bot: Bot) -> None:
    bot.be(ROMEO, access=Access.NONE)
    assert "`login-matrix`" in await bot.say("")
    bot.be(ROMEO, access=Access.TOKEN)
    assert "`logout-matrix`" in await bot.say("")


@pytest.mark.parametrize("text", ["", "repair", "mark romeo@example.net", "unmark x"])
async def test_without_a_login_it_is_the_login_that_is_missing(bot: Bot, text: str) -> None:
    bot.be(replace(ROMEO, state=ChatState.RETIRED), access=Access.NONE)
    bot.logged_in = False
    try:
        answer = await bot.say(text)
    except UserError as error:
        answer = str(error)
    assert "You are not logged in to any network. Write `login fake`" in answer
    assert "login-matrix" not in answer
    assert bot.view.decided == []


async def test_a_problem_is_shown_without_its_markup(bot: Bot) -> None:
    status = bot.view.statuses[USER]
    bot.view.statuses[USER] = replace(status, problem="[Broken](https://evil)", last_seen=None)
    answer = await bot.say("")
    assert "⚠" in answer
    assert "](" not in answer
    assert "I have not looked yet" in answer


async def test_the_status_of_somebody_without_chats_shows_nobody_elses(bot: Bot) -> None:
    bot.be(ROMEO)
    answer = await bot.say("", user=NURSE)
    assert "no bridged chats" in answer
    assert "romeo" not in answer


async def test_a_thousand_chats_of_every_sort_fit_into_one_message(bot: Bot) -> None:
    states = (ChatState.MARKED, ChatState.PENDING, ChatState.OPTED_OUT, ChatState.CONFLICT)
    bot.be(
        *(
            DirectChat(RoomId(f"!{n}-{state.name}"), f"{n}@{'&' * 3000}", state)
            for n in range(1000)
            for state in states
        )
    )
    answer = await bot.say("")
    assert "1000 marked" in answer
    assert "and 990 more marked" in answer
    assert len(answer.splitlines()) < 60
    assert len(orjson.dumps(notice(answer))) < 50_000


# -- mark and unmark


@pytest.mark.parametrize(
    "what",
    [
        "!romeo:example.org",
        "!romeo:example.org?via=example.org",
        "https://matrix.to/#/!romeo:example.org",
        "https://matrix.to/#/!romeo:example.org?via=example.org&via=b.example",
        "https://matrix.to/#/%21romeo%3Aexample.org/%24event?via=example.org",
        "<https://matrix.to/#/!romeo:example.org/$event>",
        "matrix:roomid/romeo:example.org/e/event?via=x",
        "romeo@example.net",
        " Romeo@Example.NET ",
    ],
)
@pytest.mark.parametrize("verb", ["mark", "unmark"])
async def test_a_chat_is_named_by_room_link_or_contact(bot: Bot, verb: str, what: str) -> None:
    bot.be(PARIS, ROMEO)
    answer = await bot.say(f"{verb} {what}")
    assert bot.view.decided == [(verb, USER, ROMEO.room)]
    assert "`romeo@example.net`" in answer


@pytest.mark.parametrize(
    "what",
    [
        "!other:example.org",
        "!gone",
        "rosaline@example.net",
        "https://matrix.to/#/@romeo:example.org",
        "https://matrix.to/#/#alias:example.org",
        "https://evil.example/#/!romeo:example.org",
        "romeo",
        "!",
        "mark",
        "!romeo:example.org.evil",
    ],
)
async def test_a_room_that_is_none_of_the_users_chats_is_not_touched(bot: Bot, what: str) -> None:
    bot.be(ROMEO, GONE)
    with pytest.raises(UserError) as caught:
        await bot.say(f"unmark {what}")
    assert what not in str(caught.value)
    assert bot.view.decided == []


async def test_nobody_decides_about_anybody_elses_chats(bot: Bot) -> None:
    bot.be(ROMEO)
    for what in (ROMEO.room, ROMEO.contact):
        with pytest.raises(UserError):
            await bot.say(f"unmark {what}", user=NURSE)
    assert bot.view.decided == []


async def test_two_chats_with_one_contact_are_told_apart_by_room(bot: Bot) -> None:
    bot.be(ROMEO, replace(ROMEO, room=RoomId("!second")))
    with pytest.raises(UserError, match="`!second`"):
        await bot.say("mark romeo@example.net")
    await bot.say("mark !second")
    assert bot.view.decided == [("mark", USER, "!second")]


async def test_a_decision_without_access_says_that_it_waits(bot: Bot) -> None:
    bot.be(ROMEO, access=Access.NONE)
    assert "when I have" in await bot.say("unmark romeo@example.net")
    assert bot.view.decided == [("unmark", USER, ROMEO.room)]


@pytest.mark.parametrize("verb", ["mark", "unmark"])
async def test_which_chat_is_asked_when_none_is_named(bot: Bot, verb: str) -> None:
    with pytest.raises(UserError, match=f"direct {verb} juliet@"):
        await bot.say(verb)


# -- repair


async def test_repair_says_what_came_of_it(bot: Bot) -> None:
    bot.be(ROMEO)
    assert notice(await bot.say("repair"))["body"] == "I put back 2 chats."
    bot.be(ROMEO, access=Access.NONE)
    bot.view.decided.clear()
    assert "`login-matrix`" in await bot.say("repair")
    assert bot.view.decided == []


# -- history


async def test_history_is_told_in_words_newest_last(bot: Bot) -> None:
    bot.view.lines = [
        HistoryLine(NOW - 7200, "Element wrote an old copy.", ("put back romeo@example.net",)),
        HistoryLine(NOW - 30, "You took a chat out."),
    ]
    body = notice(await bot.say("history"))["body"]
    assert body.splitlines()[2:] == [
        "- 2 hours ago: Element wrote an old copy.",
        "    - put back romeo@example.net",
        "- just now: You took a chat out.",
    ]


@pytest.mark.parametrize(("text", "limit"), [("", 10), ("3", 3), ("50", 50), ("999999999", 50)])
async def test_history_asks_for_so_many_lines(bot: Bot, text: str, limit: int) -> None:
    assert "no changes" in await bot.say(f"history {text}")
    assert bot.view.decided == [("history", USER, limit)]


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "٣", "9999999999", "1 2"])
async def test_history_of_no_number_says_how_to_ask(bot: Bot, text: str) -> None:
    with pytest.raises(UserError, match="direct history 20"):
        await bot.say(f"history {text}")
    assert bot.view.decided == []


@pytest.mark.parametrize("text", ["s", '"', "&", "😀", "\ud800", "\n"])
async def test_the_longest_history_fits_into_one_event(bot: Bot, text: str) -> None:
    old = HistoryLine(NOW - 90, text * 5000, tuple(text * 5000 for _ in range(1000)))
    new = HistoryLine(NOW, "The newest.", ("detail",) * 7)
    bot.view.lines = [*[old] * 1000, new]
    answer = await bot.say("history 50")
    assert answer.splitlines()[-7:] == [
        "- just now: The newest\\.",
        *["    - detail"] * 5,
        "    - and 2 more",
    ]
    assert len(orjson.dumps(notice(answer))) < 50_000


# -- the rest


@pytest.mark.parametrize("text", ["help", "HELP", "nonsense", "marks x", "[x](y)"])
async def test_what_is_not_understood_is_answered_with_what_is(bot: Bot, text: str) -> None:
    answer = await bot.say(text)
    for usage in ("direct mark CHAT", "direct unmark CHAT", "direct repair", "direct history [N]"):
        assert usage in answer
    assert "[x]" not in answer


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (-30, "just now"),
        (59.9, "just now"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (3600, "1 hour ago"),
        (47.9 * 3600, "47 hours ago"),
        (48 * 3600, "on 2023-11-12 at 22:13 UTC"),
        (-3600, "on 2023-11-14 at 23:13 UTC"),
        (1e30, "at an unknown time"),
        (-1e30, "at an unknown time"),
        (float("nan"), "at an unknown time"),
        (float("inf"), "at an unknown time"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert ago(NOW - seconds, NOW) == words


def test_a_room_id_is_not_read_out_of_anything_else() -> None:
    for text in (
        "",
        "romeo",
        "https://matrix.to/",
        "https://matrix.to/#/",
        "matrix:u/romeo",
        "@a:b",
    ):
        assert room_in(text) is None
