"""What was written before a login: its recent conversations become chats, once, with their last messages.

`import_state` says what comes next; `Imports` carries it out. The network is asked through the session, what it
gives goes into the inbox before all that is there, and the chats' lanes show it like everything else. A few chats
are under way at a time, of all logins together, so what is new is never behind many.

The rule that must never break: what has been taken is recorded with the messages themselves, so wherever it is cut
short it goes on there, in this process or another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from dm_bridge.bridge.import_state import Door, ImportState, Stage
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.silence import Silence
from dm_bridge.errors import BridgeError, NetworkError, may_pass
from dm_bridge.ids import ChatId, LoginId, PortalKey, RemoteId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import capabilities_of
from dm_bridge.network.events import RemoteEvent, RemoteMessage, RemoteRead, SessionStatus
from dm_bridge.network.history import HISTORY_SECONDS, Conversations, History, HistoryPage
from dm_bridge.store.history import SEARCHING, HistoryStore, Imported, ImportRow
from dm_bridge.store.logins import LoginRow

log = structlog.get_logger(__name__)

T = TypeVar("T")

AT_ONCE = 8
"""Chats that are under way at once, of all logins: enough to keep a homeserver busy."""
MOST_ENTRIES = 20_000
"""Entries of a network's record in which conversations are looked for."""
PATIENCE = 30.0
"""Seconds for which something new waits for what is older of its chat."""
PROGRESS = 60.0
"""Seconds between two words about how far it is."""
LONGEST_PAUSE = 60.0
READ = RemoteId("history:read")

Tell = Callable[[UserId, str, str], Awaitable[None]]
"""Writes to a user's management rooms; what has the same last argument is said once."""


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """How many conversations, and how many messages of each. Either 0: none."""

    conversations: int = 50
    messages: int = 20

    @property
    def enabled(self) -> bool:
        """Whether anything is brought over."""
        return self.conversations > 0 and self.messages > 0


@dataclass
class _Import:
    """The import of one login."""

    row: ImportRow
    owner: UserId
    name: str
    state: ImportState
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    timers: dict[ChatId, asyncio.TimerHandle] = field(default_factory=dict)
    told_at: float = 0.0


class Imports:
    """``wake``: has the lanes of chats look again. ``tell``: see `Tell`. It is one of the `LoginHooks`."""

    def __init__(
        self,
        store: HistoryStore,
        logins: Callable[[], Logins],
        keeper: Keeper,
        silence: Silence,
        tell: Tell,
        wake: Callable[[Collection[PortalKey]], None],
        settings: ImportSettings,
    ) -> None:
        self._store = store
        self._logins = logins
        self._keeper = keeper
        self._silence = silence
        self._tell = tell
        self._wake = wake
        self._settings = settings
        self._imports: dict[LoginId, _Import] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._watched: dict[PortalKey, asyncio.Event] = {}
        self._turns: dict[UserId, tuple[asyncio.Lock, int]] = {}
        self._background: set[asyncio.Task[None]] = set()

    # -- which logins

    async def started(self, owners: Collection[UserId] | None) -> None:
        """See `LoginHooks`: take up what has not ended."""
        for row in await self._store.unfinished(owners):
            login = await self._logins().row(row.login)
            if login is not None:
                await self._add(row, login)

    async def logged_in(self, login: LoginRow) -> None:
        """See `LoginHooks`."""
        row = await self._store.of(login.id)
        if row is not None:
            await self._add(row, login)

    async def logged_out(self, login: LoginRow) -> None:
        """See `LoginHooks`: what has not been shown yet stays where it is."""
        one = self._imports.get(login.id)
        if one is not None:
            await self._end(one)
            await self._store.end(login.id)
            await self._silence.end(one.owner)

    async def give(self, owners: Collection[UserId]) -> None:
        """Another process goes on for these users."""
        wanted = set(owners)
        for one in [each for each in self._imports.values() if each.owner in wanted]:
            await self._end(one)

    async def stop(self) -> None:
        """Give up what is under way; it goes on at the next start."""
        for one in list(self._imports.values()):
            await self._end(one)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _add(self, row: ImportRow, login: LoginRow) -> None:
        if row.login in self._imports:
            return
        state = ImportState(searching=row.state == SEARCHING)
        for chat in await self._store.chats(row.login):
            match chat.state:
                case "found":
                    state.add(chat.chat, chat.place)
                case "taken":
                    state.add(chat.chat, chat.place, Stage.TAKEN)
                case _:
                    state.leave_out(chat.chat)
                    state.total += chat.state == "shown"
        self._imports[row.login] = _Import(row, login.owner, login.name, state)

    async def _end(self, one: _Import) -> None:
        self._imports.pop(one.row.login, None)
        for timer in one.timers.values():
            timer.cancel()
        if one.task is not None and one.task is not asyncio.current_task():
            one.task.cancel()
            await asyncio.gather(one.task, return_exceptions=True)

    def connected(self, login: LoginId) -> None:
        """A session has connected, or has not: then nothing is lost by a look."""
        one = self._imports.get(login)
        if one is None or self._logins().state(login).status is not SessionStatus.CONNECTED:
            return
        one.connected.set()
        if one.task is None:
            one.task = asyncio.create_task(self._run(one), name=f"import of {login}")

    # -- what lanes ask and tell

    def door(self, key: PortalKey) -> Door:
        """What the lane of a chat in which something waits may do now; when that changes, it is woken."""
        one = self._imports.get(key.login)
        if one is None:
            return Door.OPEN
        door = one.state.door(key.chat)
        if door is Door.SHUT and one.state.stage(key.chat) in (None, Stage.FOUND):
            one.state.hurry(key.chat)
            if key.chat not in one.timers:
                loop = asyncio.get_running_loop()
                timer = loop.call_later(PATIENCE, self._lose_patience, one, key.chat)
                one.timers[key.chat] = timer
        return door

    def news(self, chats: Collection[PortalKey]) -> None:
        """Something new has come in these chats."""
        for key in chats if self._imports else ():
            if (one := self._imports.get(key.login)) is not None:
                one.state.hurry(key.chat)

    def made(self, key: PortalKey) -> None:
        """The chat has a room, as far as one can be made."""
        self.shown(key)

    def shown(self, key: PortalKey) -> None:
        """Nothing waits in a chat any more."""
        if (event := self._watched.get(key)) is not None:
            event.set()

    @contextlib.contextmanager
    def watching(self, key: PortalKey) -> Iterator[asyncio.Event]:
        """An event that is set once the lane of a chat has done what its door lets it do."""
        event = self._watched[key] = asyncio.Event()
        try:
            yield event
        finally:
            del self._watched[key]

    def _lose_patience(self, one: _Import, chat: ChatId) -> None:
        one.timers.pop(chat, None)
        if one.state.stage(chat) in (None, Stage.FOUND) and one.state.door(chat) is Door.SHUT:
            one.state.leave_out(chat)
            task = asyncio.create_task(self._give_up(one, chat))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _give_up(self, one: _Import, chat: ChatId) -> None:
        """What is new is shown without what is older."""
        log.info("a chat goes on without its history", login=one.row.login)
        key = PortalKey(one.row.login, chat)
        with contextlib.suppress(BridgeError):
            await self._store.settle(key, "passed")
        self._wake([key])

    # -- carrying it out

    async def _run(self, one: _Import) -> None:
        failures = 0
        while True:
            try:
                await one.connected.wait()
                await self._carry(one)
                break
            except BridgeError as error:
                if not may_pass(error):
                    await self._fail(one, str(error))
                    break
                failures += 1
                log.info("an import pauses", login=one.row.login, reason=str(error))
                if self._logins().state(one.row.login).status is not SessionStatus.CONNECTED:
                    one.connected.clear()
                pause = min(LONGEST_PAUSE, max(error.retry_after or 0.0, 2.0 ** min(failures, 6)))
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            except Exception:
                log.exception("an import failed for a reason of our own", login=one.row.login)
                await self._fail(one, "Something went wrong in the bridge; tell its admin.")
                break
        await self._end(one)
        self._wake([PortalKey(one.row.login, chat) for chat in {*one.timers, *one.state.chats}])

    async def _fail(self, one: _Import, reason: str) -> None:
        with contextlib.suppress(BridgeError):
            await self._silence.end(one.owner)
            await self._store.end(one.row.login)
            await self._tell(
                one.owner,
                f"⚠ I could not bring over your earlier chats of {code(one.name)}: {plain(reason)} What is "
                "written from now on arrives; for older messages of somebody, write `history` and their address.",
                f"{one.row.login} failed",
            )

    async def _carry(self, one: _Import) -> None:
        session = self._session(one)
        if session is None:
            await self._store.end(one.row.login)
            return
        if one.state.searching:
            await self._search(one)
        if one.state.total:
            async with self.alone_with(one.owner):
                await self._announce(one)
                await self._silence.begin(one.owner)
                with self._keeper.holding(one.owner):
                    await self._each(one, one.state.to_make, self._prepare)
                await self._each(one, one.state.to_show, self._show)
                await self._silence.end(one.owner)
            outcome = await self._store.imported(one.row.login)
            await self._tell(one.owner, summary(outcome, one.name), f"{one.row.login} end")
        await self._store.end(one.row.login)
        log.info("the history of a login was brought over", login=one.row.login)

    @contextlib.asynccontextmanager
    async def alone_with(self, user: UserId) -> AsyncIterator[None]:
        """Nothing else that is old is brought over for the user meanwhile."""
        lock, users = self._turns.get(user, (asyncio.Lock(), 0))
        self._turns[user] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._turns.pop(user)
            if users > 1:
                self._turns[user] = lock, users - 1

    def _session(self, one: _Import) -> History | None:
        """Who can be asked; None when nobody ever can. Raises `NetworkError`."""
        logins = self._logins()
        session = logins.session(one.row.login)
        if session is None or logins.state(one.row.login).status is not SessionStatus.CONNECTED:
            raise NetworkError("The login is not connected.", retry_after=1.0)
        if not self._settings.enabled or not capabilities_of(session).history:
            return None
        return session if isinstance(session, History) else None

    async def _ask(self, one: _Import, ask: Callable[[History], Awaitable[T]]) -> T:
        session = self._session(one)
        if session is None:
            raise NetworkError("The network has no record of earlier messages any more.")
        try:
            async with asyncio.timeout(HISTORY_SECONDS):
                return await ask(session)
        except TimeoutError as error:
            raise NetworkError("The network does not answer.", retry_after=5.0) from error

    async def _search(self, one: _Import) -> None:
        login, further, entries = one.row.login, one.row.further, one.row.entries
        while one.state.searching:
            async with self._slots:
                part = await self._ask(one, _conversations(one.row.until, further))
            entries += part.read
            room = self._settings.conversations - one.state.total
            new = [each for each in part.found if not one.state.is_known(each.chat)][:room]
            full = len(new) == room or part.further is None or entries >= MOST_ENTRIES
            further = part.further
            await self._store.found(login, new, further, entries, all_=full)
            for each in new:
                one.state.add(each.chat, each.place)
            one.state.searching = not full
        free = [chat for chat in one.timers if one.state.door(chat) is Door.OPEN]
        for chat in free:  # what is no part of the import need not wait
            one.timers.pop(chat).cancel()
            one.state.drop(chat)
        self._wake([PortalKey(one.row.login, chat) for chat in free])

    async def _each(
        self,
        one: _Import,
        chats: Callable[[], Sequence[ChatId]],
        work: Callable[[_Import, ChatId], Awaitable[None]],
    ) -> None:
        """Do it until there are no such chats, a few at a time. Raises `BridgeError` when one has to wait."""
        busy: set[ChatId] = set()

        async def some() -> None:
            while True:
                async with self._slots:
                    chat = next((each for each in chats() if each not in busy), None)
                    if chat is None:
                        return
                    busy.add(chat)
                    await work(one, chat)
                    busy.remove(chat)

        tasks = [asyncio.create_task(some()) for _ in range(AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self, one: _Import, chat: ChatId) -> None:
        """Take a chat's messages, and have its room made; show it where something new waits behind."""
        key = PortalKey(one.row.login, chat)
        if one.state.stage(chat) is Stage.MADE:
            await self._show(one, chat)
            return
        if one.state.stage(chat) is Stage.FOUND and not await self._take(one, key):
            one.state.leave_out(chat)
            self._wake([key])
            return
        with self.watching(key) as made:
            self._wake([key])
            await made.wait()
        one.state.move(chat, Stage.MADE)
        if one.state.is_urgent(chat):
            await self._show(one, chat)

    async def _take(self, one: _Import, key: PortalKey) -> bool:
        """Whether the messages of a chat are in the inbox; else it is settled what became of it."""
        place, most = one.state.place(key.chat), self._settings.messages
        try:
            page = await self._ask(one, lambda session: session.older(key.chat, place, most))
        except NetworkError as error:
            if may_pass(error):
                raise
            await self._store.settle(key, "failed", str(error))
            return False
        if one.state.stage(key.chat) is not Stage.FOUND:  # given up meanwhile
            return False
        events = with_read(key.chat, page)
        if not any(isinstance(event, RemoteMessage) for event in events):
            await self._store.settle(key, "passed")
            return False
        one.state.move(key.chat, Stage.TAKING)
        try:
            taken = await self._store.take(key, events, page.older)
        except BaseException:
            one.state.move(key.chat, Stage.FOUND)
            raise
        if taken:
            one.state.move(key.chat, Stage.TAKEN)
        return taken

    async def _show(self, one: _Import, chat: ChatId) -> None:
        """Have the messages of a chat shown."""
        key = PortalKey(one.row.login, chat)
        one.state.move(chat, Stage.SHOWING)
        try:
            with self.watching(key) as shown:
                self._wake([key])
                await shown.wait()
            await self._store.settle(key, "shown")
        except BaseException:
            one.state.move(chat, Stage.MADE)
            raise
        if (timer := one.timers.pop(chat, None)) is not None:
            timer.cancel()
        one.state.drop(chat)
        await self._say_how_far(one)

    # -- what the user is told

    async def _announce(self, one: _Import) -> None:
        one.told_at = asyncio.get_running_loop().time()
        most = self._settings.messages
        messages = "the last message" if most == 1 else f"up to {most} messages"
        await self._tell(
            one.owner,
            f"I bring over {_chats(one.state.total)} of {code(one.name)}, with {messages} each. You are not "
            "notified of what is old, and what is new comes first.",
            f"{one.row.login} begin",
        )

    async def _say_how_far(self, one: _Import) -> None:
        now = asyncio.get_running_loop().time()
        if one.state.left and now - one.told_at >= PROGRESS:
            one.told_at = now
            done = one.state.total - one.state.left
            await self._tell(
                one.owner,
                f"So far I have brought over {done:,} of {_chats(one.state.total)} of {code(one.name)}.",
                f"{one.row.login} {done}",
            )


def _conversations(
    until: str | None, further: str | None
) -> Callable[[History], Awaitable[Conversations]]:
    return lambda session: session.conversations(until, further)


def with_read(chat: ChatId, page: HistoryPage) -> tuple[RemoteEvent, ...]:
    """What to show of a page: with it, what of it the user has read.

    Where the network does not know that, all of it: who logs in has seen their chats elsewhere. What it knows of
    a message that is not in the page is either newer, and comes by itself, or older: then nothing of it was read.
    """
    newest: RemoteId | None = None
    for event in page.events:
        if isinstance(event, RemoteMessage) and not event.from_self:
            newest = event.id
        if page.read is not None and getattr(event, "id", None) == page.read:
            break
    else:
        if page.read is not None:
            newest = None
    if newest is None:
        return page.events
    return (*page.events, RemoteRead(chat, READ, newest, from_self=True))


def summary(outcome: Imported, name: str) -> str:
    """What the user reads at the end."""
    messages = "one message" if outcome.messages == 1 else f"{outcome.messages:,} messages"
    said = f"I have brought over {_chats(outcome.chats)} of {code(name)}, with {messages}."
    if outcome.failed:
        why = " ".join(plain(reason) for reason in outcome.reasons[:3])
        said += f" ⚠ {_chats(outcome.failed).capitalize()} could not be read. {why}"
    return f"{said} For older messages of somebody, write `history` and their address."


def _chats(number: int) -> str:
    return "one chat" if number == 1 else f"{number:,} chats"
