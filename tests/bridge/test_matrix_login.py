"""`login-matrix` and `logout-matrix`, as a person writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import pytest_asyncio

from dm_bridge.bridge.commands import Commands, Reply, questions
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import HomeserverError, UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.sealing import SealingKey

from .fakes import FAKE, FakeNetwork, until
from .room_world import NAMESPACE

USER = UserId("@juliet:other.example")
NURSE = UserId("@nurse:example.org")
ROOM = RoomId("!management")
TOKEN = "syt_anVsaWV0_abcdefghijklmnopqrst_012345"


@dataclass
class FakeTokens:
    """Takes every token but with ``trouble``; ``log``: what happened, in order."""

    log: list[str] = field(default_factory=list)
    given: dict[UserId, str] = field(default_factory=dict)
    others: Access = Access.NONE
    trouble: Exception | None = None

    def access(self, user: UserId) -> Access:
        return Access.TOKEN if user in self.given else self.others

    async def give(self, user: UserId, token: str) -> str:
        self.log.append("asked")
        if self.trouble is not None:
            raise self.trouble
        self.given[user] = token
        return "https://matrix.other.example"

    async def forget(self, user: UserId) -> bool:
        return self.given.pop(user, None) is not None


@dataclass
class Bot:
    tokens: FakeTokens
    logins: Logins
    commands: Commands
    trouble_answering: Exception | None = None
    asked_for_secret: bool = False

    async def say(self, text: str, user: UserId = USER, room: RoomId = ROOM) -> str:
        answers: list[str] = []
        self.asked_for_secret = False

        async def answer(reply: Reply) -> None:
            if self.trouble_answering is not None:
                trouble, self.trouble_answering = self.trouble_answering, None
                raise trouble
            self.asked_for_secret |= reply.asks_secret
            if reply.hide_request:
                answers.append("«hidden»")
                self.tokens.log.append("hidden")
            answers.append(reply.text)

        await self.commands.run(user, room, text, answer)
        return "\n".join(answers)


def commands_of(logins: Logins, database: Database, tokens: FakeTokens | None = None) -> Commands:
    portals = SimpleNamespace(store=PortalStore(database))
    people = PeopleStore(database)
    return Commands(logins, portals, NAMESPACE, people, tokens=tokens)  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def bot(database: Database) -> AsyncIterator[Bot]:
    async def tell(user: UserId, text: str) -> None: ...

    logins = Logins(
        {FAKE: FakeNetwork()},
        LoginStore(database),
        InboxStore(database),
        SealingKey(bytes(32)),
        tell,
        lambda chats: None,
        lambda login: None,
        Metrics(),
    )
    tokens = FakeTokens()
    commands = commands_of(logins, database, tokens)
    yield Bot(tokens, logins, commands)
    await logins.stop()


async def test_the_token_is_asked_for_with_where_to_find_it_and_what_it_opens(bot: Bot) -> None:
    answer = await bot.say("login-matrix")
    for words in ("access token of `@juliet:other.example`", "Help & About", "your whole account"):
        assert words in answer
    assert bot.asked_for_secret
    assert bot.commands.is_waiting(USER, ROOM)
    assert "keep it encrypted" in await bot.say(TOKEN)
    assert bot.tokens.given == {USER: TOKEN}
    assert not bot.commands.is_waiting(USER, ROOM)


async def test_a_token_in_one_line_is_taken(bot: Bot) -> None:
    assert "keep it encrypted" in await bot.say(f"login-matrix {TOKEN}")
    assert bot.tokens.given == {USER: TOKEN}
    assert not bot.commands.is_waiting(USER, ROOM)
    assert not bot.logins.may_act_for(USER)


async def test_the_message_is_hidden_before_the_token_is_looked_at_and_again_with_it(
    bot: Bot,
) -> None:
    await bot.say(f"login-matrix {TOKEN}")
    assert bot.tokens.log == ["hidden", "asked", "hidden"]
    bot.tokens.log.clear()
    await bot.say("login-matrix")
    await bot.say(TOKEN)
    assert bot.tokens.log == ["hidden", "asked", "hidden"]


@pytest.mark.parametrize("text", ["`{}`", '"{}"', " {} ", "Bearer {}", "login-matrix {}", "<{}>"])
async def test_a_token_may_be_pasted_in_several_ways(bot: Bot, text: str) -> None:
    await bot.say("login-matrix")
    await bot.say(text.format(TOKEN))
    assert bot.tokens.given == {USER: TOKEN}


@pytest.mark.parametrize(
    "trouble",
    [UserError("This token belongs to [another](https://evil)."), HomeserverError("Try later.")],
)
async def test_a_token_that_is_not_taken_is_explained_and_the_question_is_closed(
    bot: Bot, trouble: Exception
) -> None:
    bot.tokens.trouble = trouble
    await bot.say("login-matrix")
    answer = await bot.say(TOKEN)
    assert "`login-matrix`" in answer
    assert "](" not in answer
    assert TOKEN not in answer
    assert not bot.commands.is_waiting(USER, ROOM)
    assert not bot.logins.may_act_for(USER)


async def test_a_token_that_soon_ends_is_taken_with_a_warning(bot: Bot) -> None:
    assert "few minutes" in await bot.say("login-matrix mat_abcdefghijklmnop_123456")
    assert "few minutes" not in await bot.say("login-matrix mct_abcdefghijklmnop_123456")


async def test_whoever_needs_no_token_is_told_so_and_may_give_one(bot: Bot) -> None:
    bot.tokens.others = Access.MASQUERADE
    assert "I need no token" in await bot.say("login-matrix")
    assert "keep it encrypted" in await bot.say(TOKEN)


async def test_while_the_bot_waits_it_may_act_for_the_user_and_no_longer(bot: Bot) -> None:
    await bot.say("login-matrix")
    assert bot.logins.may_act_for(USER)
    assert await bot.say("cancel") == "Stopped."
    assert not bot.logins.may_act_for(USER)
    assert await bot.say("cancel") == "There is nothing to stop."


async def test_help_leaves_the_question_open(bot: Bot) -> None:
    await bot.say("login-matrix")
    answer = await bot.say("help")
    assert "login-matrix" in answer
    assert "logout-matrix" in answer
    await bot.say(TOKEN)
    assert bot.tokens.given == {USER: TOKEN}


async def test_a_question_is_open_for_its_user_and_room_only(bot: Bot) -> None:
    await bot.say("login-matrix")
    await bot.say("some text", user=NURSE)
    await bot.say("some text", room=RoomId("!other"))
    assert bot.tokens.given == {}
    await bot.say(TOKEN)
    assert bot.tokens.given == {USER: TOKEN}


async def test_a_question_that_waits_too_long_is_closed(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "PATIENCE", 0.05)
    await bot.say("login-matrix")
    await until(lambda: not bot.commands.is_waiting(USER, ROOM))
    assert not bot.logins.may_act_for(USER)


async def test_leaving_the_room_closes_the_question(bot: Bot) -> None:
    await bot.say("login-matrix")
    await bot.commands.forget(USER, ROOM)
    assert not bot.commands.is_waiting(USER, ROOM)
    assert not bot.logins.may_act_for(USER)


@pytest.mark.parametrize("way", ["one line", "dialogue"])
async def test_an_answer_that_cannot_be_sent_leaves_nothing_stuck(bot: Bot, way: str) -> None:
    text = f"login-matrix {TOKEN}"
    if way == "dialogue":
        await bot.say("login-matrix")
        text = TOKEN
    bot.trouble_answering = HomeserverError("busy", retry_after=1)
    await bot.say(text)
    await bot.say(text)
    assert bot.tokens.given == {USER: TOKEN}
    assert not bot.logins.may_act_for(USER)


@pytest.mark.parametrize("text", [f"login_matrix {TOKEN}", TOKEN, f"here you are: {TOKEN}"])
async def test_a_token_outside_a_command_is_hidden(bot: Bot, text: str) -> None:
    answer = await bot.say(text)
    assert answer.startswith("«hidden»")
    assert TOKEN not in answer
    assert bot.tokens.given == {}


async def test_taking_the_token_back_says_that_its_session_lives_on(bot: Bot) -> None:
    assert await bot.say("logout-matrix") == "You have given me no token."
    await bot.say(f"login-matrix {TOKEN}")
    await bot.say(f"login-matrix {TOKEN}", user=NURSE)
    answer = await bot.say("logout-matrix")
    assert "not signed its session out" in answer
    assert bot.tokens.given == {NURSE: TOKEN}


async def test_without_tokens_the_commands_are_missing(bot: Bot, database: Database) -> None:
    bare = commands_of(bot.logins, database)
    bot.commands = bare
    assert "matrix" not in await bot.say("help")
    assert "do not know" in await bot.say("login-matrix")
