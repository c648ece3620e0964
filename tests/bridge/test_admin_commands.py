"""`admin`: for admins only, recorded first, bounded, and passed on to whoever has the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dm_bridge.bridge.audit_log import AuditLog
from dm_bridge.bridge.commands import Reply
from dm_bridge.bridge.commands.admin import PAGE, AdminCommands
from dm_bridge.bridge.deeds import LOGOUT, LOOK_AGAIN
from dm_bridge.errors import StorageError, UserError
from dm_bridge.ids import ContactId, NetworkName, RoomId, UserId
from dm_bridge.store.audit_log import AuditEntry, AuditStore
from dm_bridge.store.database import Database
from dm_bridge.store.erasing import ErasureStore
from dm_bridge.store.logins import LoginStore
from dm_bridge.store.queue import QueueStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.users import UserStore

ADMIN = UserId("@admin:example.org")
JULIET = UserId("@juliet:example.org")
ROOM = RoomId("!bot")


class Away:
    async def add(self, entry: AuditEntry) -> None:
        raise StorageError("It is away.")


class World:
    """``asked``: what was passed on; ``silent``: whoever has the user does not answer."""

    def __init__(self, database: Database, *, recorded: bool = True) -> None:
        self.database = database
        self.asked: list[tuple[UserId, str]] = []
        self.erased: list[tuple[UserId, str]] = []
        self.silent = False
        self.entries = AuditStore(database)
        self.commands = AdminCommands(
            lambda user: user.startswith("@admin"),
            self.ask,
            self.erase,
            lambda user: [user],
            UserStore(database),
            SafeguardStore(database),
            ErasureStore(database),
            QueueStore(database),
            self.entries,
            AuditLog(self.entries if recorded else Away()),
        )

    async def ask(self, user: UserId, deed: str, fields: Mapping[str, str]) -> dict[str, Any]:
        self.asked.append((user, deed))
        if self.silent:
            raise UserError("It did not answer in time.")
        return {"logged_out": ["juliet@example.com"], "told": True, "logins": []}

    async def erase(self, user: UserId, by: str) -> None:
        self.erased.append((user, by))

    async def say(self, text: str) -> str:
        answers: list[str] = []

        async def answer(reply: Reply) -> None:
            answers.append(reply.text)

        await self.commands.run(ADMIN, ROOM, text, answer)
        return "\n".join(answers)

    async def users(self, number: int) -> None:
        store = LoginStore(self.database)
        for n in range(number):
            owner = UserId(f"@u{n:03}:example.org")
            login = await store.reserve(owner, NetworkName("xmpp"), ContactId("x"), "x")
            await store.activate(login, b"sealed")


async def test_users_are_listed_page_by_page(database: Database) -> None:
    world = World(database)
    await world.users(PAGE + 2)
    first = await world.say("users")
    assert f"{PAGE + 2} logins of {PAGE + 2} users" in first
    assert first.count("@u") == PAGE
    assert "`admin users 2`" in first
    assert (await world.say("users 2")).count("@u") == 2
    for odd in ("all", "0", "9" * 5000):
        with pytest.raises(UserError, match="A page is a number"):
            await world.say(f"users {odd}")


async def test_what_is_stopped_is_recorded_though_nobody_answers(database: Database) -> None:
    world = World(database)
    await world.users(1)
    user = UserId("@u000:example.org")
    world.silent = True
    answer = await world.say(f"stop {user} too much spam")
    assert "It is recorded" in answer
    assert world.asked == [(user, LOOK_AGAIN)]
    store = SafeguardStore(database)
    assert (await store.stopped())[user].reason == "too much spam"
    world.silent = False
    assert "may go on" in await world.say(f"allow {user}")
    assert await store.stopped() == {}
    with pytest.raises(UserError, match="was not stopped"):
        await world.say(f"allow {user}")
    acts = [entry.act for entry in await world.entries.latest(20, users=[user])]
    assert acts == ["admin", "stopped", "admin", "allowed", "admin", "allowed"]
    with pytest.raises(UserError, match="an admin themselves"):
        await world.say("stop @admin2:example.org")
    assert "never met" in await world.say("stop @unknown:example.org")
    assert world.asked[-1] != ("@unknown:example.org", LOOK_AGAIN)


async def test_nothing_is_done_that_cannot_be_recorded(database: Database) -> None:
    world = World(database, recorded=False)
    await world.users(1)
    for command in ("users", "logout @u000:example.org", "erase @u000:example.org DELETE"):
        with pytest.raises(StorageError):
            await world.say(command)
    assert (world.asked, world.erased) == ([], [])


async def test_logging_out_and_erasing_are_passed_on(database: Database) -> None:
    world = World(database)
    await world.users(1)
    assert "logged out of" in await world.say("logout `@u000:example.org`")
    assert world.asked == [(UserId("@u000:example.org"), LOGOUT)]
    with pytest.raises(UserError, match="cannot be undone"):
        await world.say("erase @u000:example.org")
    assert world.erased == []
    await world.say("erase @u000:example.org DELETE")
    assert world.erased == [("@u000:example.org", ADMIN)]
    for text, said in (
        ("logout @nobody:example.org", "Nothing is known"),
        ("logout juliet", "whole user id"),
        ("nonsense", "no such command"),
    ):
        with pytest.raises(UserError, match=said):
            await world.say(text)


async def test_what_is_shown_of_one_user_and_of_the_log(database: Database) -> None:
    world = World(database)
    await world.users(1)
    text = await world.say("user @u000:example.org")
    assert "0 chats" in text
    assert "no logins" in text
    world.silent = True
    assert "did not answer" in await world.say("user @u000:example.org")
    assert "`admin audit" in await world.say("help")
    assert (await world.say("audit")).count("admin") >= 2
    assert "to Matrix: 0 waiting" in await world.say("queue")
