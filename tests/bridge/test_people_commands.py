"""The commands about people: whom they find, what they do, and what they say they cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from dm_bridge.bridge.commands import people_work
from dm_bridge.bridge.commands.people import PeopleCommands
from dm_bridge.bridge.commands.reply import Reply
from dm_bridge.bridge.commands.resolving import Resolving
from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.errors import BridgeError, HomeserverError, NetworkError
from dm_bridge.ids import ContactId, GhostNamespace, PortalKey, RoomId, UserId
from dm_bridge.network.api import Capabilities, Contact, Network
from dm_bridge.store.logins import LoginRow
from dm_bridge.testing.memory import MemoryPortalStore

from .fakes import FAKE, until
from .people_world import NURSE, ROMEO, USER, World, world

NAMESPACE = GhostNamespace("_dm_", "example.org")
ROOM = RoomId("!management")


@dataclass
class Portals:
    """Opens every portal; ``trouble``: with whom it fails."""

    store: MemoryPortalStore
    opened: list[tuple[str, ContactId]] = field(default_factory=list)
    trouble: set[ContactId] = field(default_factory=set)

    async def open(
        self, key: PortalKey, login: LoginRow, network: Network, contact: ContactId, **_: object
    ) -> OpenPortal:
        if contact in self.trouble:
            raise HomeserverError("No.", status=403)
        self.opened.append((login.remote, contact))
        return OpenPortal(key, login, RoomId("!chat"), UserId("@g:x"), True, None, contact)


@dataclass
class Bot:
    """The commands, and a login of juliet's."""

    world: World
    portals: Portals
    commands: PeopleCommands
    said: list[str] = field(default_factory=list)

    async def say(self, command: str, rest: str = "", user: UserId = USER) -> str:
        answers: list[str] = []

        async def answer(reply: Reply) -> None:
            answers.append(reply.text)
            self.said.append(reply.text)

        try:
            await getattr(self.commands, command)(user, ROOM, rest, answer)
        except BridgeError as error:
            return f"⚠ {error}"
        return "\n".join(answers)

    @property
    def opened(self) -> list[ContactId]:
        return [contact for _, contact in self.portals.opened]


@pytest_asyncio.fixture
async def bot() -> AsyncIterator[Bot]:
    async with world() as w:
        await w.log_in("juliet@example.com")
        portals = Portals(w.portals)
        resolving = Resolving(w.logins, w.portals, NAMESPACE)
        commands = PeopleCommands(w.logins, portals, resolving, w.people)  # type: ignore[arg-type]
        yield Bot(w, portals, commands)
        await commands.stop()


def people(bot: Bot, *contacts: Contact) -> None:
    bot.world.network.people.contacts = list(contacts)


def friends(count: int) -> list[Contact]:
    return [
        Contact(ContactId(f"friend{n:04}@example.net"), private_name=f"Friend {n:04}")
        for n in range(1, count + 1)
    ]


# -- whom somebody means


@pytest.mark.parametrize(
    "who",
    [
        "Romeo@Example.net",
        "<romeo@example.net>",
        NAMESPACE.user_id(FAKE, ROMEO),
        f"https://matrix.to/#/{NAMESPACE.user_id(FAKE, ROMEO)}",
        f"matrix:u/{NAMESPACE.user_id(FAKE, ROMEO)[1:]}",
        "my Romeo",
        "MY  ROMEO",
        "rom",
        "juliet@example.com romeo@example.net",
    ],
)
async def test_a_contact_is_found_by_whatever_names_one(bot: Bot, who: str) -> None:
    people(bot, Contact(ROMEO, name="Romeo M.", private_name="My Romeo"), *friends(2))
    await bot.say("start", who)
    assert bot.opened == [ROMEO]


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("", "With whom"),
        ("nobody", "Nobody in your contact list"),
        ("7", "no such number"),
        ("@alice:example.org", "a Matrix user"),
        (NAMESPACE.user_id(FAKE, ContactId("x" * 300 + "@y")), "do not know this contact"),
        ("wrong romeo@example.net", "no such login"),
    ],
)
async def test_nobody_is_found_by_what_names_none(bot: Bot, who: str, words: str) -> None:
    assert words in await bot.say("start", who)
    assert bot.opened == []


async def test_a_name_that_several_have_is_asked_back_with_numbers_that_then_count(
    bot: Bot,
) -> None:
    people(bot, *friends(2))
    asked = await bot.say("start", "friend")
    assert "1. `friend0001@example.net`" in asked
    assert bot.opened == []
    await bot.say("start", "2.")
    assert bot.opened == [ContactId("friend0002@example.net")]
    await bot.say("start", "friend 0001")
    assert bot.opened[1:] == [ContactId("friend0001@example.net")]


async def test_a_number_counts_for_the_user_who_was_shown_it_and_their_login(bot: Bot) -> None:
    await bot.world.log_in("nurse@example.com", NURSE)
    people(bot, *friends(1))
    await bot.say("contacts")
    assert "no such number" in await bot.say("start", "1", NURSE)
    await bot.world.log_in("j@example.org")
    await bot.say("contacts", "j@example.org")
    await bot.say("start", "1")
    assert bot.portals.opened == [("j@example.org", ContactId("friend0001@example.net"))]


async def test_a_ghost_of_a_network_without_a_login_is_said_to_be_one(bot: Bot) -> None:
    ghost = GhostNamespace("_dm_", "example.org").user_id(FAKE, ROMEO).replace("fake", "irc")
    assert "no login" in await bot.say("start", ghost)


# -- lists


async def test_a_thousand_contacts_are_shown_in_pages_that_fit_into_events(bot: Bot) -> None:
    long = Contact(ContactId("z" * 200 + "@example.net"), private_name="Z" * 10_000)
    people(bot, long, *friends(1000))
    pages = [await bot.say("contacts", str(n)) for n in range(1, 12)]
    assert all(len(page.encode()) < 20_000 for page in pages)
    assert "1001 people, page 1 of 11" in pages[0]
    assert "1. Friend 0001, `friend0001@example.net`" in pages[0]
    assert "901. Friend 0901" in pages[9]
    assert "`contacts 2`" in pages[0]
    assert "next page" not in pages[10]
    assert await bot.say("contacts") == pages[0]
    assert "has 11 pages" in await bot.say("contacts", "12")
    await bot.say("start", "1000")
    assert bot.opened == [ContactId("friend1000@example.net")]


async def test_names_are_shown_clean_and_addresses_readable(bot: Bot) -> None:
    people(
        bot,
        Contact(ContactId(r"a\40b@gateway.example")),
        Contact(ROMEO, name="\u202e*Romeo*\n"),
    )
    shown = await bot.say("contacts")
    assert r"a at b\@gateway\.example, `a\40b@gateway.example`" in shown
    assert r"\*Romeo\*, `romeo@example.net`" in shown


async def test_people_are_looked_for_in_the_contact_list_and_the_directory(bot: Bot) -> None:
    people(bot, Contact(ROMEO, private_name="My Romeo"))
    bot.world.network.people.directory = [Contact(ROMEO), Contact(ContactId("romeo2@x.example"))]
    found = await bot.say("search", "romeo")
    assert "1. My Romeo, `romeo@example.net`\n2. `romeo2@x.example` (directory)" in found
    await bot.say("start", "2")
    assert bot.opened == [ContactId("romeo2@x.example")]


async def test_a_directory_that_is_not_there_is_said_with_what_was_found(bot: Bot) -> None:
    people(bot, Contact(ROMEO))
    bot.world.network.people.trouble = NetworkError("There is none.")
    for text, words in (("romeo", "1. `romeo@"), ("tybalt", "I find nobody.")):
        found = await bot.say("search", text)
        assert words in found
        assert "There is none" in found


async def test_chats_are_opened_with_those_whose_numbers_are_given_and_no_others(
    bot: Bot,
) -> None:
    people(bot, *friends(20))
    assert "numbers" in await bot.say("contacts", "import")
    assert "no such number" in await bot.say("contacts", "import 1")
    await bot.say("contacts")
    assert "Which numbers" in await bot.say("contacts", "import 1 x")
    bot.portals.trouble = {ContactId("friend0005@example.net")}
    await bot.say("contacts", "import 1, 4-6")
    await until(lambda: "could not open the chats with one person" in bot.said[-1])
    assert sorted(bot.opened) == [f"friend{n:04}@example.net" for n in (1, 4, 6)]


async def test_chats_are_opened_with_all_contacts_if_that_is_said(bot: Bot) -> None:
    people(bot, *friends(20))
    assert "20 people" in await bot.say("contacts", "import all")
    await until(lambda: "Done" in bot.said[-1])
    assert len(bot.opened) == 20


# -- who asks, who is blocked


async def test_only_who_asks_is_accepted_or_refused(bot: Bot) -> None:
    did = bot.world.network.people.did
    (login,) = bot.world.logins.of(USER)
    assert "Nobody waits" in await bot.say("accept")
    assert "does not wait" in await bot.say("accept", ROMEO)
    for command, words in (("accept", "is your contact now"), ("decline", "I have refused")):
        await bot.world.people.ask(login.id, ROMEO, "Ro")
        assert "1. Ro, `romeo@example.net`" in await bot.say(command)
        assert words in await bot.say(command, "1")
        assert did.pop() == (command, ROMEO)
        assert "does not wait" in await bot.say(command, ROMEO)
    assert did == []


async def test_nobody_answers_what_somebody_else_was_asked(bot: Bot) -> None:
    (login,) = bot.world.logins.of(USER)
    await bot.world.people.ask(login.id, ROMEO, None)
    await bot.world.log_in("nurse@example.com", NURSE)
    assert "does not wait" in await bot.say("accept", ROMEO, NURSE)
    assert bot.world.network.people.did == []


async def test_who_is_blocked_is_listed_and_no_chat_is_opened_with_them(bot: Bot) -> None:
    blocked = bot.world.network.people.blocked
    assert "blocked nobody" in await bot.say("block")
    assert "is blocked" in await bot.say("block", ROMEO)
    assert blocked == [ROMEO]
    assert "You have blocked" in await bot.say("start", ROMEO)
    assert bot.opened == []
    assert "1. `romeo@example.net`" in await bot.say("block")
    assert "no longer" in await bot.say("unblock", "1")
    assert blocked == []
    assert "is not blocked" in await bot.say("unblock", ROMEO)
    assert "your own" in await bot.say("block", "juliet@example.com")


async def test_a_chat_is_opened_although_nobody_says_who_is_blocked(bot: Bot) -> None:
    bot.world.network.people.trouble = NetworkError("Away.", retry_after=1.0)
    await bot.say("start", ROMEO)
    assert bot.opened == [ROMEO]


async def test_what_a_network_cannot_do_is_said(bot: Bot) -> None:
    bot.world.network.people.can = Capabilities()
    for command, rest, words in (
        ("contacts", "", "no contact list"),
        ("search", "x", "there is no directory"),
        ("block", ROMEO, "cannot block"),
        ("block", "", "cannot block"),
        ("unblock", ROMEO, "cannot block"),
        ("accept", ROMEO, "nobody needs to ask"),
    ):
        assert words in await bot.say(command, rest)


async def test_a_network_that_does_not_answer_is_said_not_to(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_work, "PEOPLE_SECONDS", 0.0)

    async def never(_contact: ContactId) -> None:
        await until(lambda: False)

    (session,) = bot.world.network.sessions
    monkeypatch.setattr(session, "block", never)
    assert "does not answer" in await bot.say("block", ROMEO)
