"""The bot's commands and dialogues: what they answer, and what they never say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import pytest_asyncio

from dm_bridge.bridge import login_attempts
from dm_bridge.bridge.commands import Commands, Reply
from dm_bridge.bridge.commands.page import PageCommand
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.errors import (
    CredentialsError,
    HomeserverError,
    NetworkError,
    StorageError,
    UserError,
)
from dm_bridge.ids import ContactId, GhostNamespace, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.matrix.formatting import notice
from dm_bridge.network.api import Network
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.login import Display, LoginDone, WaitStep
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.sealing import SealingKey

from .fakes import FAKE, NO_ADDRESS, FakeNetwork, until

USER = UserId("@juliet:example.org")
NURSE = UserId("@nurse:example.org")
ROOM = RoomId("!management")
NAMESPACE = GhostNamespace("_dm_", "example.org")
SECRET = "wherefore art thou"


class FakePortals:
    """Opens every portal in ``!chat``."""

    def __init__(self, store: PortalStore) -> None:
        self.store = store
        self.opened: list[tuple[PortalKey, ContactId]] = []
        self.joined = True
        self.trouble: Exception | None = None

    async def open(
        self, key: PortalKey, login: LoginRow, network: Network, contact: ContactId, **_: object
    ) -> OpenPortal:
        if self.trouble is not None:
            raise self.trouble
        self.opened.append((key, contact))
        ghost = UserId("@ghost:example.org")
        return OpenPortal(key, login, RoomId("!chat"), ghost, self.joined, None, contact)


@dataclass
class Bot:
    """What a person can do with the bot, and what came back."""

    network: FakeNetwork
    logins: Logins
    portals: FakePortals
    commands: Commands
    trouble_answering: Exception | None = None

    async def say(self, text: str, user: UserId = USER, room: RoomId = ROOM) -> str:
        """Write to the bot; all it answers, with «hidden» where it removes the message."""
        answers: list[str] = []

        async def answer(reply: Reply) -> None:
            if reply.hide_request:
                answers.append("«hidden»")
                self.network.log.append("hidden")
            if reply.text:
                if self.trouble_answering is not None:
                    trouble, self.trouble_answering = self.trouble_answering, None
                    raise trouble
                answers.append(reply.text)

        await self.commands.run(user, room, text, answer)
        return "\n".join(answers)

    async def log_in(self, address: str = "juliet@example.com", user: UserId = USER) -> LoginRow:
        done = LoginDone(ContactId(address), address, {"password": SECRET})
        return await self.logins.add(user, FAKE, done)


@pytest_asyncio.fixture
async def bot(database: Database) -> AsyncIterator[Bot]:
    network = FakeNetwork()

    async def tell(user: UserId, text: str) -> None: ...

    logins = Logins(
        {FAKE: network},
        LoginStore(database),
        InboxStore(database),
        SealingKey(bytes(32)),
        tell,
        lambda chats: None,
        lambda login: None,
        Metrics(),
    )
    portals = FakePortals(PortalStore(database))
    yield Bot(network, logins, portals, Commands(logins, portals, NAMESPACE, PeopleStore(database)))  # type: ignore[arg-type]
    await logins.stop()


# -- small talk


async def test_help_names_every_command_and_network(bot: Bot) -> None:
    answer = await bot.say("help")
    assert "`moved [ID] OLD NEW`" in answer
    for word in ("login", "logins", "logout", "start", "ping", "cancel", "Fake Network (`fake`)"):
        assert word in answer


async def test_whoever_comes_is_told_what_to_do_first(bot: Bot) -> None:
    assert "write `login fake` (Fake Network)" in bot.commands.first_step(USER)
    await bot.log_in()
    assert bot.commands.first_step(USER) == "Write `help` to see what I can do."


class FakeDoor:
    """In the place of the page's sessions."""

    minutes = 10
    open_for: ClassVar[dict[UserId, int]] = {}

    async def link(self, user: UserId) -> str:
        self.open_for[user] = self.open_for.get(user, 0) + 1
        return f"https://bridge.example.org/page/#enter={user[1:4]}"

    async def end_all(self, user: UserId) -> int:
        return self.open_for.pop(user, 0)


async def test_the_page_is_opened_and_closed_for_who_writes(bot: Bot) -> None:
    bot.commands = Commands(
        bot.logins,
        bot.portals,  # type: ignore[arg-type]
        NAMESPACE,
        PeopleStore(bot.portals.store._database),
        page=PageCommand(FakeDoor()),
    )
    said = await bot.say("page")
    assert f"[Open your page](https://bridge.example.org/page/#enter={USER[1:4]})" in said
    assert "once, in the next 10 minutes" in said
    assert "signed in nowhere" in await bot.say("page close", user=NURSE)
    assert "You are signed out." in await bot.say("page close")
    assert "Write `page`" in await bot.say("page open")


@pytest.mark.parametrize("text", ["HELP", " help ", "!help", "/help", "help me"])
async def test_a_command_may_be_written_in_several_ways(bot: Bot, text: str) -> None:
    assert "You can write" in await bot.say(text)


@pytest.mark.parametrize("text", [SECRET, "", "   ", "!", "[x](y)", "\n", "a" * 10_000])
async def test_what_is_not_understood_is_not_quoted(bot: Bot, text: str) -> None:
    assert await bot.say(text) == "I do not know this command. Write `help` to see what I can do."


async def test_ping_says_how_the_users_logins_are(bot: Bot) -> None:
    assert "no logins" in await bot.say("ping")
    await bot.log_in()
    assert "connected" in await bot.say("ping")
    await bot.log_in("second@example.com")
    bot.network.sessions[0].report(SessionStatus.TRANSIENT_DISCONNECT)
    assert "1 of your 2 logins" in await bot.say("ping")
    assert "no logins" in await bot.say("ping", user=NURSE)


async def test_nothing_to_cancel_is_said(bot: Bot) -> None:
    assert await bot.say("cancel") == "There is nothing to stop."


# -- logging in


async def test_logging_in_step_by_step(bot: Bot) -> None:
    assert "your address" in await bot.say("login fake")
    assert "your password. I will remove your message" in await bot.say("juliet@example.com")
    answer = await bot.say(SECRET)
    assert "You are logged in to Fake Network as `juliet@example.com`" in answer
    assert bot.network.submitted == [{"address": "juliet@example.com", "password": SECRET}]
    assert bot.network.sessions[0].connected


async def test_logging_in_with_one_line(bot: Bot) -> None:
    answer = await bot.say(f"login fake juliet@example.com {SECRET}")
    assert answer.startswith("«hidden»")
    assert "You are logged in" in answer
    assert bot.network.submitted == [{"address": "juliet@example.com", "password": SECRET}]


async def test_logging_in_with_half_a_line(bot: Bot) -> None:
    answer = await bot.say("login fake juliet@example.com")
    assert "«hidden»" not in answer
    assert "your password" in answer
    assert "You are logged in" in await bot.say(SECRET)


async def test_with_one_network_its_name_may_be_left_out(bot: Bot) -> None:
    assert "your address" in await bot.say("login")


COPIED = ["`{}`", "<{}>", '"{}"', "'{}'", "“{}”", "`<{}>`"]


@pytest.mark.parametrize("copied", COPIED)
async def test_an_address_to_log_in_with_may_be_copied_with_what_is_around_it(
    bot: Bot, copied: str
) -> None:
    address = copied.format("juliet@example.com")
    secret = copied.format(SECRET)
    await bot.say(f"login {address} {secret}")
    await bot.say(f"login fake {address}")
    await bot.say(secret)
    await bot.say("login")
    await bot.say(address)
    await bot.say(secret)
    expected = {"address": "juliet@example.com", "password": secret}
    assert bot.network.submitted == [expected] * 3


async def test_a_command_may_be_copied_with_what_is_around_it(bot: Bot) -> None:
    assert "your address" in await bot.say("`login fake`")


async def test_an_unknown_network_is_answered_with_the_known_ones(bot: Bot) -> None:
    assert "`login fake`" in await bot.say("login icq")


async def test_the_secret_is_removed_even_when_the_address_is_wrong(bot: Bot) -> None:
    answer = await bot.say(f"login fake {NO_ADDRESS} {SECRET}")
    assert answer.startswith("«hidden»\n⚠")
    assert bot.network.submitted == []
    assert "«hidden»" not in await bot.say(f"login fake {NO_ADDRESS}")


async def test_the_secret_is_removed_before_the_network_is_asked(bot: Bot) -> None:
    await bot.say(f"login fake juliet@example.com {SECRET}")
    assert bot.network.log == ["hidden", "asked"]
    bot.network.log.clear()
    await bot.say("login fake")
    await bot.say("nurse@example.com")
    await bot.say(SECRET)
    assert bot.network.log == ["hidden", "asked"]


@pytest.mark.parametrize(
    "trouble",
    [
        CredentialsError("The password is wrong."),
        NetworkError("The network is away.", retry_after=5),
        UserError("That is no address."),
    ],
)
async def test_a_login_that_fails_says_why_and_how_to_go_on(bot: Bot, trouble: Exception) -> None:
    bot.network.trouble = trouble
    answer = await bot.say(f"login fake juliet@example.com {SECRET}")
    assert str(trouble) in answer.replace("\\", "")
    assert "`login fake`" in answer
    assert SECRET not in answer
    assert "do not know" in await bot.say("anything")
    assert not bot.logins.may_act_for(USER)


async def test_what_a_network_says_cannot_become_a_link(bot: Bot) -> None:
    bot.network.trouble = NetworkError("[Click here](https://evil.example) *now*")
    answer = await bot.say(f"login fake juliet@example.com {SECRET}")
    assert "](" not in answer
    assert r"\*now\*" in answer


@pytest.mark.parametrize(
    "trouble", [StorageError("The database is away.", retry_after=1), RuntimeError("a bug")]
)
async def test_a_login_that_ends_in_trouble_of_ours_can_be_begun_anew(
    bot: Bot, trouble: Exception
) -> None:
    bot.network.trouble = trouble
    await bot.say("login fake juliet@example.com")
    if isinstance(trouble, StorageError):
        assert "The database is away" in await bot.say(SECRET)
    else:
        with pytest.raises(RuntimeError):
            await bot.say(SECRET)
    assert not bot.logins.may_act_for(USER)
    bot.network.trouble = None
    assert "You are logged in" in await bot.say(f"login fake juliet@example.com {SECRET}")


async def test_an_answer_that_cannot_be_sent_does_not_leave_the_dialogue_stuck(bot: Bot) -> None:
    await bot.say("login fake juliet@example.com")
    bot.trouble_answering = HomeserverError("busy", retry_after=1)
    await bot.say(SECRET)
    assert "You can write" in await bot.say("help")
    assert "You are logged in" in await bot.say(f"login fake juliet@example.com {SECRET}")


async def test_a_login_can_be_cancelled_at_any_step(bot: Bot) -> None:
    for answers in ([], ["juliet@example.com"]):
        await bot.say("login fake")
        for text in answers:
            await bot.say(text)
        assert bot.logins.may_act_for(USER)
        assert await bot.say("Cancel") == "Stopped."
        assert not bot.logins.may_act_for(USER)
    assert bot.network.log == ["cancelled", "cancelled"]
    assert bot.network.submitted == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lgoin", "`login`"),
        ("Contcats?", "`contacts`"),
        ("logot", "`logout`"),
        ("strat x", "`start`"),
    ],
)
async def test_a_typo_is_answered_with_what_was_meant(bot: Bot, typed: str, meant: str) -> None:
    answer = await bot.say(typed)
    assert "Did you mean" in answer
    assert meant in answer


async def test_help_tells_about_one_command(bot: Bot) -> None:
    answer = await bot.say("help logout")
    assert answer == "`logout [ID]`: log out, and forget the password."
    answer = await bot.say("help `LOGIN`")
    assert "`login NETWORK`" in answer
    assert "`cancel` stops that" in answer
    assert "Did you mean `login`" in await bot.say("help logni")


async def test_what_may_be_a_password_is_not_quoted_back(bot: Bot) -> None:
    for text in ("logon swordfish", "help swordfish", "swordfish login"):
        assert "swordfish" not in await bot.say(text)


async def test_help_in_the_middle_of_a_login_is_help_and_the_question_stays_open(bot: Bot) -> None:
    await bot.say("login fake")
    assert "You can write" in await bot.say("help")
    assert "your password" in await bot.say("juliet@example.com")


async def test_a_second_login_takes_the_place_of_the_first(bot: Bot) -> None:
    await bot.say("login fake juliet@example.com")
    await bot.say("cancel")
    await bot.say("login fake")
    await bot.say("nurse@example.com")
    assert "You are logged in to Fake Network as `nurse@example.com`" in await bot.say(SECRET)


async def test_a_login_that_is_written_into_a_question_begins_anew(bot: Bot) -> None:
    await bot.say("login fake")
    answer = await bot.say(f"login fake juliet@example.com {SECRET}")
    assert answer.startswith("«hidden»")
    assert "You are logged in to Fake Network as `juliet@example.com`" in answer


async def test_a_password_may_look_like_a_login(bot: Bot) -> None:
    await bot.say("login fake juliet@example.com")
    assert "You are logged in" in await bot.say("login fake nurse@example.com")


async def test_what_is_to_be_done_elsewhere_is_shown_until_it_is_done(bot: Bot) -> None:
    bot.network.shows = [
        WaitStep(Display.QR, "fake:pair", "Scan this with your phone."),
        WaitStep(Display.CODE, "1`2", "Type this on your phone."),
    ]
    await bot.say("login fake")
    await bot.say("juliet@example.com")
    shown = await bot.say(SECRET)
    assert "Scan this with your phone. This is what to make a QR code of: `fake:pair`" in shown
    assert "Write `done` when you have." in shown
    assert "Type this on your phone. The code: ``1`2``" in await bot.say("done")
    assert "You are logged in" in await bot.say("done")
    assert bot.network.submitted[1:] == [{}, {}]


async def test_a_question_that_waits_too_long_is_forgotten(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_attempts, "PATIENCE", 0.05)
    assert "your address" in await bot.say("login fake")
    await until(lambda: not bot.logins.may_act_for(USER))
    assert "do not know this command" in await bot.say("juliet@example.com")
    assert not bot.logins.may_act_for(USER)


async def test_a_question_is_open_for_its_user_and_room_only(bot: Bot) -> None:
    await bot.say("login fake")
    assert "do not know" in await bot.say("juliet@example.com", user=NURSE)
    assert "do not know" in await bot.say("juliet@example.com", room=RoomId("!other"))
    assert "your password" in await bot.say("juliet@example.com")


# -- logins


async def test_logins_lists_only_the_users_own(bot: Bot) -> None:
    assert "You have no logins" in await bot.say("logins")
    row = await bot.log_in("ju`li*et*@example.com")
    await bot.log_in("nurse@example.com", user=NURSE)
    answer = await bot.say("logins")
    assert row.id in answer
    assert "``ju`li*et*@example.com``" in answer
    assert "nurse" not in answer


async def test_a_login_on_a_network_that_is_gone_does_not_hide_the_others(bot: Bot) -> None:
    await bot.log_in()
    done = LoginDone(ContactId("juliet@irc"), "juliet@irc", {})
    gone = await bot.logins.add(USER, NetworkName("irc"), done)
    answer = await bot.say("logins")
    assert "`juliet@example.com`" in answer
    assert gone.id in answer
    assert "logged out" in await bot.say(f"logout {gone.id}")


async def test_a_state_with_a_reason_is_listed_with_it_and_without_its_markup(bot: Bot) -> None:
    await bot.log_in()
    bot.network.sessions[0].report(SessionStatus.TRANSIENT_DISCONNECT, "<b>[x](y)</b>")
    answer = await bot.say("logins")
    assert "trying again" in answer
    assert "](" not in answer


async def test_logging_out_the_only_login_needs_no_name(bot: Bot) -> None:
    row = await bot.log_in()
    answer = await bot.say("logout")
    assert "logged out of `juliet@example.com`" in answer
    stored = await bot.logins.row(row.id)
    assert stored is not None
    assert stored.state is LoginState.LOGGED_OUT
    assert await bot.say("logout") == "⚠ You have no logins."


@pytest.mark.parametrize("how", ["id", "address"])
async def test_one_of_several_logins_is_named(bot: Bot, how: str) -> None:
    first = await bot.log_in("first@example.com")
    await bot.log_in("second@example.com")
    assert "Which one?" in await bot.say("logout")
    await bot.say(f"logout {first.id if how == 'id' else first.remote}")
    assert [row.remote for row in bot.logins.of(USER)] == ["second@example.com"]


async def test_nobody_logs_out_anybody_else(bot: Bot) -> None:
    row = await bot.log_in()
    await bot.log_in("nurse@example.com", user=NURSE)
    assert "no such login" in await bot.say(f"logout {row.id}", user=NURSE)
    assert bot.logins.session(row.id) is not None


# -- opening chats


async def test_a_chat_is_opened_and_linked(bot: Bot) -> None:
    row = await bot.log_in()
    answer = await bot.say("start Romeo@Example.net")
    assert notice(answer)["body"] == (
        "Here you are: your chat (https://matrix.to/#/!chat) with `romeo@example.net`."
    )
    assert notice(answer)["formatted_body"] == (
        '<p>Here you are: <a href="https://matrix.to/#/!chat">your chat</a> with '
        "<code>romeo@example.net</code>.</p>"
    )
    assert bot.portals.opened == [
        (PortalKey(row.id, bot.network.sessions[0].chat_with(ContactId("romeo@example.net"))), "romeo@example.net")
    ]  # fmt: skip
    bot.portals.joined = False
    assert "invited" in await bot.say("start romeo@example.net")


@pytest.mark.parametrize("copied", COPIED)
async def test_the_address_of_a_chat_may_be_copied_with_what_is_around_it(
    bot: Bot, copied: str
) -> None:
    await bot.log_in()
    await bot.say(f"start {copied.format('romeo@example.net')}")
    assert [contact for _, contact in bot.portals.opened] == ["romeo@example.net"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("start", "With whom"),
        ("start nobody", "no address"),
        ("start a b c", "Nobody in your contact list"),
    ],
)
async def test_a_chat_without_an_address_says_what_one_is(bot: Bot, text: str, words: str) -> None:
    await bot.log_in()
    assert words in await bot.say(text)
    assert bot.portals.opened == []


async def test_a_chat_needs_a_login_that_is_connected(bot: Bot) -> None:
    for command in ("start romeo@example.net", "moved romeo@example.net romeo@example.org"):
        answer = await bot.say(command)
        assert "You are not logged in to any network. Write `login fake`" in answer
    await bot.log_in()
    bot.network.sessions[0].report(SessionStatus.BAD_CREDENTIALS, "Wrong password.")
    refused = "refused by its server: Wrong password. To log in again, write `login fake`"
    assert notice(await bot.say("logins"))["body"].endswith(refused)
    assert f"Your login is {refused}." in notice(await bot.say("ping"))["body"]
    await bot.logins.stop()
    answer = await bot.say("start romeo@example.net")
    assert notice(answer)["body"] == f"⚠ `juliet@example.com` is {refused}."


async def test_with_several_logins_a_chat_is_started_from_the_one_that_is_named(bot: Bot) -> None:
    await bot.log_in("first@example.com")
    second = await bot.log_in("second@example.com")
    assert "Which one?" in await bot.say("start romeo@example.net")
    await bot.say(f"start {second.id} romeo@example.net")
    assert [key.login for key, _ in bot.portals.opened] == [second.id]


async def test_a_login_that_is_named_must_be_there_even_if_there_is_only_one(bot: Bot) -> None:
    row = await bot.log_in()
    assert "no such login" in await bot.say("start wrong romeo@example.net")
    assert bot.portals.opened == []
    await bot.say(f"start {row.id} romeo@example.net")
    assert len(bot.portals.opened) == 1


async def test_nobody_is_logged_out_by_a_command_that_says_more_than_that(bot: Bot) -> None:
    row = await bot.log_in()
    assert "One at a time" in await bot.say(f"logout {row.id} please")
    assert bot.logins.session(row.id) is not None


async def test_a_homeserver_that_refuses_is_said_so_without_markup(bot: Bot) -> None:
    await bot.log_in()
    bot.portals.trouble = HomeserverError("refused: [x](https://evil.example)", status=403)
    answer = await bot.say("start romeo@example.net")
    assert answer.startswith("⚠ refused")
    assert "](" not in answer
