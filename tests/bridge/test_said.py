"""Whatever the bot answers is a message: it is talked to in a language in which all else is seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dm_bridge.bridge.commands.direct import ChatState, DirectChat, HistoryLine
from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.ids import ContactId, RoomId
from dm_bridge.matrix.accounts import Access
from dm_bridge.network.api import Contact
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.login import Display, WaitStep
from dm_bridge.testing import pseudo
from dm_bridge.texts import ENGLISH, speak

from .fakes import FAKE
from .people_world import EVERYTHING, NURSE, ROMEO, USER
from .whole_bot import ADDRESS, CHAT, GHOST, NAMESPACE, TOKEN, TYBALT, Bot, talking

DATA = (
    "Fake Network",  # what networks, homeservers and people say
    "Friend",
    "Romeo",
    "address",
    "password",
    "That is no address. One looks like",
    "That is no address.",
    "Scan it.",
    "Away",
    "Spam.",
    "But soft",
    "fake",
    "irc",
    "@nurse:example.org",  # what the audit log holds
    "@juliet:example.org",
    "sealed",
    "harbour",
    "cause",
)

SAID: dict[str, tuple[str, ...]] = {
    "help": ("help", "help me", "help admin", "help logni", "lgoin"),
    "login": (
        "login",
        "nonsense",
        ADDRESS,
        "secret",
        "done",
        "done",
        "login icq",
        "login fake nonsense secret",
        "login fake romeo@example.net",
        "cancel",
        "logon fake",
    ),
    "logins": ("logins", "logins all"),
    "logout": ("logout a b", "logout nonsense", "logout", f"logout {ADDRESS}"),
    "start": (
        "start",
        f"start {ROMEO}",
        f"start {ADDRESS} {ROMEO}",
        f"start wrong {ROMEO}",
        "start nobody",
        "start friend",
        "start 1",
        "start blocked1@example.net",
        f"start {NURSE}",
        f"start {GHOST}",
        f"start {GHOST.replace('fake', 'irc')}",
        f"start {NAMESPACE.user_id(FAKE, ContactId('x' * 300 + '@y'))}",
    ),
    "contacts": (
        "contacts import 1",
        "contacts",
        "contacts 2",
        "contacts 99",
        "contacts import",
        "contacts import x",
        "contacts import 1 2-4",
        "contacts import all",
        f"contacts {ADDRESS}",
    ),
    "search": ("search", "search friend", "search romeo", "search tybalt", f"search {ADDRESS} x"),
    "accept": ("accept", "accept 1", f"accept {ROMEO}", f"accept {ADDRESS} {ROMEO}"),
    "decline": ("decline", "decline 1", f"decline {ROMEO}"),
    "block": ("block", f"block {ROMEO}", f"block {ADDRESS}", f"start {ROMEO}", "block"),
    "unblock": ("unblock", "unblock 1", f"unblock {ROMEO}"),
    "history": (
        "history",
        f"history {ROMEO}",
        f"history {ROMEO} 1",
        f"history {ROMEO} 30",
        f"history {ROMEO} 40",
        f"history {ROMEO} 999",
    ),
    "retry": ("retry", "retry 1", "retry 2", "retry 77", "retry x", "retry all"),
    "delete-chat": (
        "delete-chat",
        "delete-chat nonsense",
        "delete-chat #alias:example.org",
        f"delete-chat {ROMEO}",
        f"delete-chat {CHAT}",
    ),
    "moved": (
        "moved",
        f"moved {ROMEO} {ROMEO}",
        f"moved {ROMEO} {ADDRESS}",
        f"moved {ROMEO} nonsense",
        f"moved nonsense {ROMEO}",
        f"moved {ROMEO} r@example.org",
        f"moved {ROMEO} taken@example.org",
        f"moved wrong {ROMEO} r@example.org",
        f"moved {NURSE} r@example.org",
    ),
    "direct": (
        "direct",
        "direct help",
        "direct nonsense",
        "direct mark",
        "direct unmark",
        "direct unmark nonsense",
        f"direct mark {ROMEO}",
        f"direct unmark {CHAT}",
        "direct mark twice@example.net",
        "direct repair",
        "direct history",
        "direct history 0",
        "direct history 3",
        f"login-matrix {TOKEN}",
        "direct",
    ),
    "login-matrix": ("login-matrix", TOKEN, f"login-matrix {TOKEN.replace('syt', 'mat')}"),
    "logout-matrix": ("logout-matrix", f"login-matrix {TOKEN}", "logout-matrix now"),
    "page": ("page", "page close", "page close", "page open"),
    "export-my-data": ("export-my-data", "export-my-data now"),
    "delete-my-data": ("delete-my-data", "no", "delete-my-data now", "`DELETE`"),
    "ping": ("ping", "ping x"),
    "cancel": ("cancel", "cancel x"),
    "admin": (
        "admin",
        "admin nonsense",
        "admin users",
        "admin users x",
        "admin user",
        f"admin user {NURSE}",
        f"admin user {TYBALT}",
        "admin user @nobody:example.org",
        f"admin logout {NURSE}",
        f"admin stop {NURSE}",
        f"admin user {NURSE}",
        f"admin stop {NURSE} Spam.",
        f"admin user {NURSE}",
        f"admin stop {TYBALT}",
        "admin users",
        f"admin stop {USER}",
        "admin stop @nobody:example.org",
        f"admin allow {NURSE}",
        f"admin allow {NURSE}",
        f"admin allow {TYBALT}",
        f"admin erase {NURSE}",
        f"admin erase {NURSE} DELETE",
        "admin queue",
        "admin audit",
        f"admin audit {TYBALT}",
    ),
}


async def nobody(bot: Bot) -> None:
    bot.world.network.shows = [WaitStep(Display.QR, "fake:x", "Scan it.")]


async def somebody(bot: Bot) -> None:
    """With one login, at which there is everything."""
    people = bot.world.network.people
    bot.world.network.shows = [WaitStep(Display.CODE, "x", ""), WaitStep(Display.NOTHING, "", "")]
    people.contacts = [Contact(ROMEO, name="Romeo")] + [
        Contact(ContactId(f"friend{n:03}@example.net"), private_name=f"Friend {n:03}")
        for n in range(120)
    ]
    people.directory = [Contact(ContactId("tybalt@example.net"))]
    people.blocked = [ContactId(f"blocked{n}@example.net") for n in range(101)]
    login = await bot.world.log_in(ADDRESS)
    await bot.chat(login)
    await bot.world.people.ask(login.id, ROMEO, "Romeo")
    bot.rest.others = Access.MASQUERADE
    bot.rest.chats = [
        DirectChat(RoomId(f"!{state.name}-{n}"), f"{n}@example.net", state)
        for state in ChatState
        for n in range(12)
    ] + [
        DirectChat(RoomId(room), contact, ChatState.MARKED)
        for room, contact in (
            (CHAT, ROMEO),
            ("!a", "twice@example.net"),
            ("!b", "twice@example.net"),
        )
    ]
    bot.rest.changes = [HistoryLine(at, "", ("",) * 7) for at in (0.0, 1e30)]


async def a_newcomer(bot: Bot) -> None:
    """With one login, at which there is nothing yet."""
    await bot.world.log_in(ADDRESS)


async def several(bot: Bot) -> None:
    """With several logins, which know nobody."""
    for login in (ADDRESS, "second@example.com"):
        await bot.chat(await bot.world.log_in(login), RoomId(f"!{login}"))


async def in_trouble(bot: Bot) -> None:
    """Where whatever can go wrong does."""
    await somebody(bot)
    bot.portals.trouble = bot.rest.trouble = True
    bot.rest.others = Access.NONE
    bot.world.network.trouble = CredentialsError("Away.")
    bot.world.network.people.trouble = NetworkError("Away.")
    bot.world.network.sessions[0].report(SessionStatus.BAD_CREDENTIALS, "Away.")


async def away(bot: Bot) -> None:
    """With a login that is not connected."""
    await somebody(bot)
    bot.world.network.sessions[0].report(SessionStatus.LOGGED_OUT)
    await bot.world.logins.stop()


async def on_a_poor_network(bot: Bot) -> None:
    """Which can do nothing but carry messages."""
    await bot.world.log_in(ADDRESS)
    bot.world.network.people.can = dataclasses.replace(
        EVERYTHING, **dict.fromkeys(("contacts", "search", "blocks", "requests"), False)
    )


@pytest.mark.parametrize(
    "arrange", [nobody, a_newcomer, somebody, several, in_trouble, away, on_a_poor_network]
)
async def test_whatever_is_answered_is_a_message(
    arrange: Callable[[Bot], Any], tmp_path: Path
) -> None:
    pseudo.write(tmp_path)
    speak(pseudo.LANGUAGE, tmp_path)
    try:
        for command, lines in SAID.items():
            async with talking(arrange) as bot:
                for line in (f"help {command}", *lines):
                    answers = await bot.say(line)
                    assert answers, f"nothing is answered to {line}"
                    for answer in answers:
                        assert pseudo.strays(answer, DATA) == [], f"{line}: {answer}"
    finally:
        speak(ENGLISH)


async def test_every_command_is_talked_of() -> None:
    async with talking(nobody) as bot:
        assert SAID.keys() == bot.commands._commands.keys() | {"admin"}
        for command, lines in SAID.items():
            assert command in lines
            assert any(line.startswith(f"{command} ") for line in lines)
