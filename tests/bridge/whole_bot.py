"""All commands of the bot, over fakes of everything that they ask."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dm_bridge.bridge.audit_log import AuditLog
from dm_bridge.bridge.commands import Commands, Reply
from dm_bridge.bridge.commands.admin import AdminCommands
from dm_bridge.bridge.commands.data import DataCommands
from dm_bridge.bridge.commands.direct import (
    DirectChat,
    DirectStatus,
    HistoryLine,
    Repair,
    RepairOutcome,
)
from dm_bridge.bridge.commands.page import PageCommand
from dm_bridge.bridge.commands.retry import RetryCommand
from dm_bridge.bridge.commands.space import SpaceCommand
from dm_bridge.bridge.contact_moves import Moved
from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.bridge.second_tries import Tried, Written
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ContactId, GhostNamespace, LoginId, PortalKey, RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.network.api import EventSink, Login, Network
from dm_bridge.network.history import HistoryPage, RecordPart
from dm_bridge.store.audit_log import AuditEntry
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import Membership
from dm_bridge.store.queue import Depth, Direction
from dm_bridge.store.safeguards import Stop
from dm_bridge.store.spaces import SpaceMode, SpaceRow
from dm_bridge.store.undelivered import Undelivered
from dm_bridge.store.users import UserCounts, UserLine
from dm_bridge.testing.memory import MemoryPortalStore

from .fakes import FAKE
from .people_world import EVERYTHING, NURSE, ROMEO, USER, PeopleSession, World, world

NAMESPACE = GhostNamespace("_dm_", "example.org")
GHOST = NAMESPACE.user_id(FAKE, ROMEO)
ROOM = RoomId("!management")
CHAT = RoomId("!chat")
TYBALT = UserId("@tybalt:example.org")
ADDRESS = "juliet@example.com"
NOW = 1_700_000_000.0
TOKEN = "syt_anVsaWV0_abcdefghijklmnopqrst_012345"


class Session(PeopleSession):
    """Has a record of earlier messages, too."""

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        raise AssertionError

    async def older(self, chat: object, place: str | None, messages: int) -> HistoryPage:
        raise AssertionError


class Portals:
    """Opens and moves every chat, unless ``trouble``."""

    def __init__(self, store: MemoryPortalStore) -> None:
        self.store = store
        self.trouble = False

    async def open(
        self, key: PortalKey, login: LoginRow, network: Network, contact: ContactId, **_: object
    ) -> OpenPortal:
        if self.trouble:
            raise HomeserverError("Away.")
        return OpenPortal(key, login, CHAT, GHOST, contact != ROMEO, None, contact)

    async def delete(self, row: object, login: object) -> None: ...

    async def move_contact(self, *moved: Any) -> Moved:
        return Moved.TAKEN if "taken@example.org" in moved else Moved.DONE

    async def room_of_alias(self, alias: str) -> RoomId | None:
        return None


class Rest:
    """In the place of all else that the commands ask: the page, tokens, m.direct, exports, stores for admins."""

    minutes = 10

    def __init__(self, here: World) -> None:
        self.world = here
        self.others = Access.NONE
        self.token: str | None = None
        self.chats: list[DirectChat] = []
        self.changes: list[HistoryLine] = []
        self.trouble = False
        self.links = 0
        self.stops: dict[UserId, Stop] = {}

    # the page, and the user's data

    async def link(self, user: UserId) -> str:
        self.links += 2
        return "https://bridge.example.org/page/#enter=x"

    async def end_all(self, user: UserId) -> int:
        links, self.links = self.links, 0
        return links

    async def send(self, user: UserId, room: RoomId, transaction: str) -> None: ...

    async def erase(self, user: UserId, by: str = "") -> None: ...

    # tokens, and m.direct

    def access(self, user: UserId) -> Access:
        return self.others if self.token is None else Access.TOKEN

    async def give(self, user: UserId, token: str) -> str:
        if self.trouble:
            raise HomeserverError("Away.")
        self.token = token
        return ""

    async def forget(self, user: UserId) -> bool:
        token, self.token = self.token, None
        return token is not None

    async def status(self, account: UserId) -> DirectStatus:
        trouble = "Away." if self.trouble else None
        seen = None if self.trouble else 0.0
        return DirectStatus(self.chats, self.access(account), "", seen, trouble)

    async def mark(self, account: UserId, room: RoomId) -> None: ...

    async def unmark(self, account: UserId, room: RoomId) -> None: ...

    async def repair(self, account: UserId) -> Repair:
        return Repair(RepairOutcome.REFUSED, "Away.")

    async def history(self, account: UserId, limit: int) -> Sequence[HistoryLine]:
        return self.changes

    # older messages, and those that were not delivered

    async def bring(
        self, user: UserId, key: PortalKey, session: object, messages: int
    ) -> tuple[int, bool]:
        return {1: (1, True), 30: (0, True), 40: (0, False)}.get(messages, (messages, False))

    async def written(self, user: UserId) -> tuple[list[Written], list[Undelivered]]:
        rows = [
            Undelivered(n, CHAT, {}, NOW - 50.0 * n**3, n % 2 == 0, login.id, ROMEO)
            for login in self.world.logins.of(user)
            for n in range(13, 0, -1)
        ]
        return [Written(row, "But soft") for row in rows], rows[:1]

    async def send_again(self, user: UserId, chosen: Sequence[Written]) -> Tried:
        if self.trouble:
            return Tried([], self.world.logins.of(user))
        return Tried(chosen, [])

    def is_connected(self, login: object) -> bool:
        return True

    # what admins see and do

    async def ask(self, user: UserId, deed: str, fields: Mapping[str, str]) -> dict[str, Any]:
        if self.trouble:
            raise HomeserverError("Away.")
        logins = (
            [] if user == TYBALT else [{"id": "x", "network": "fake", "name": "x", "state": ""}]
        )
        return {"logged_out": ["x"], "told": user != TYBALT, "logins": logins}

    async def users(self, limit: int, offset: int) -> tuple[int, int, list[UserLine]]:
        return 41, 43, [UserLine(NURSE, 1, 2, "fake, irc", stopped=True, held=False)]

    async def counts(self, who: UserId) -> UserCounts:
        return UserCounts(1, 2, 3, 1, who == NURSE)

    async def stopped(self, users: object = None) -> dict[UserId, Stop]:
        return self.stops

    async def stop(self, who: UserId, by: UserId, reason: str) -> None:
        self.stops[who] = Stop(by, reason, 0.0)

    async def allow(self, who: UserId) -> bool:
        return self.stops.pop(who, None) is not None

    async def knows(self, who: UserId) -> bool:
        return who != "@nobody:example.org"

    async def depths(self) -> list[Depth]:
        return [
            Depth(direction, state, rows, 90.0)
            for direction in Direction
            for state, rows in (("waiting", 0), ("parked", 2))
        ]

    async def latest(self, number: int, *, users: Sequence[str]) -> list[AuditEntry]:
        entry = AuditEntry(USER, "sealed", NURSE, "harbour", {"cause": "Spam."})
        return [] if TYBALT in users else [entry]

    async def add(self, entry: AuditEntry) -> None: ...


class Spaces:
    """Come and go as asked, unless ``rest`` has trouble. Who asks for one twice has left it the second time."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._rows: dict[LoginId, SpaceRow] = {}

    async def row(self, login: LoginId) -> SpaceRow | None:
        return self._rows.get(login)

    def trouble(self, login: LoginId) -> str | None:
        return "Away." if self._rest.trouble else None

    async def want(self, login: LoginId) -> None:
        mode = SpaceMode.LEFT if login in self._rows else SpaceMode.ON
        room = None if self._rest.trouble else RoomId("!space")
        self._rows[login] = SpaceRow(login, mode, room is None, room, room is not None)

    async def refuse(self, login: LoginId) -> None:
        self._rows[login] = SpaceRow(login, SpaceMode.OFF, self._rest.trouble)


class Bot:
    """All commands, and a person who writes them."""

    def __init__(self, here: World) -> None:
        self.world = here
        self.portals = Portals(here.portals)
        self.rest = Rest(here)
        rest: Any = self.rest
        here.network.open_session = self._open_session  # type: ignore[method-assign]
        here.network.people.can = dataclasses.replace(EVERYTHING, history=True)
        self.commands = Commands(
            here.logins,
            self.portals,  # type: ignore[arg-type]
            NAMESPACE,
            here.people,
            tokens=rest,
            direct=rest,
            retry=RetryCommand(rest, lambda: NOW),
            older=rest,
            page=PageCommand(rest),
            space=SpaceCommand(Spaces(self.rest), here.logins),  # type: ignore[arg-type]
            data=DataCommands(rest, rest.erase, here.logins, here.portals),
            admin=AdminCommands(
                lambda user: user == USER,
                rest.ask,
                rest.erase,
                lambda user: [user],
                rest,
                rest,
                rest,
                rest,
                rest,
                AuditLog(rest),
            ),
        )

    def _open_session(self, login: Login, sink: EventSink) -> Session:
        session = Session(login, sink, self.world.network.people)
        self.world.network.sessions.append(session)
        return session

    async def say(self, text: str) -> list[str]:
        """All that is answered to it, also later."""
        answers: list[str] = []

        async def answer(reply: Reply) -> None:
            if reply.text:
                answers.append(reply.text)

        await self.commands.run(USER, ROOM, text, answer)
        while imports := [*self.commands._people._imports.values()]:
            await asyncio.wait(imports)
        return answers

    async def chat(self, login: LoginRow, room: RoomId = CHAT) -> None:
        """A chat with Romeo."""
        key = PortalKey(login.id, self.world.network.sessions[-1].chat_with(ROMEO))
        await self.portals.store.reserve(key, ROMEO, GHOST)
        await self.portals.store.set_open(key, room, Membership.JOIN)


@asynccontextmanager
async def talking(arrange: Callable[[Bot], Any]) -> AsyncIterator[Bot]:
    async with world() as here:
        bot = Bot(here)
        await arrange(bot)
        yield bot
        await bot.commands.stop()
