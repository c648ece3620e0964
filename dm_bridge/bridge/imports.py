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
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Sequence,
)
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from dm_bridge.bridge.import_plan import pick, read_mark
from dm_bridge.bridge.import_state import Door, ImportState, Stage
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.silence import Silence
from dm_bridge.errors import BridgeError, NetworkError, NotYet, may_pass
from dm_bridge.ids import ChatId, LoginId, PortalKey, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import capabilities_of
from dm_bridge.network.events import RemoteEvent, SessionStatus
from dm_bridge.network.history import HISTORY_SECONDS, History, RecordPart
from dm_bridge.store.history import (
    FOUND,
    SEARCHING,
    HistoryStore,
    ImportChat,
    Imported,
    ImportRow,
)
from dm_bridge.store.logins import LoginRow

log = structlog.get_logger(__name__)

T = TypeVar("T")

AT_ONCE = 8
"""Chats that are under way at once, of all logins: enough to keep a homeserver busy."""
MOST_ENTRIES = 50_000
"""Entries of a network's record in which conversations are looked for."""
SEARCHES = 4
"""Records that are searched at once."""
PATIENCE = 30.0
"""Seconds for which something new waits for what is older of its chat."""
PROGRESS = 60.0
"""Seconds between two words about how far it is."""
LONGEST_PAUSE = 60.0

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
    changed: asyncio.Event = field(default_factory=asyncio.Event)
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
        self._searches = asyncio.Semaphore(SEARCHES)
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
        if row.login not in self._imports:
            one = _Import(row, login.owner, login.name, self._state(row, ()))
            self._imports[row.login] = one
            one.state = self._state(row, await self._store.chats(row.login))

    def _state(self, row: ImportRow, chats: Collection[ImportChat]) -> ImportState:
        state = ImportState(self._settings.messages, searching=row.state == SEARCHING)
        for chat in chats:
            match chat.state:
                case "found":
                    state.add(chat.chat, chat.place, chat.messages)
                case "taken":
                    state.add(chat.chat, chat.place, chat.messages, Stage.TAKEN)
                case _:
                    state.leave_out(chat.chat)
                    state.total += chat.state == "shown"
        return state

    async def _look_again(self, one: _Import) -> bool:
        """What is recorded counts: an attempt may have come further than is known. Whether it goes on."""
        row = await self._store.of(one.row.login)
        if row is None:
            return False
        state = self._state(row, await self._store.chats(one.row.login))
        state.follow(one.state)
        one.row, one.state = row, state
        return True

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
            await self._store.give_up(key)
        self._wake([key])

    # -- carrying it out

    async def _run(self, one: _Import) -> None:
        failures = 0
        while True:
            try:
                await one.connected.wait()
                if await self._look_again(one):
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
        async with self.alone_with(one.owner):
            while one.state.searching and not one.state.total:
                await self._search_on(one)
            if one.state.total:
                await self._announce(one)
                await self._silence.begin(one.owner)
                with self._keeper.holding(one.owner):
                    make = self._each(one, lambda: one.state.to_make(), self._prepare)
                    await _together(self._search(one), make)
                await self._each(one, lambda: one.state.to_show(), self._show)
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
        try:
            while one.state.searching:
                await self._search_on(one)
        finally:
            one.changed.set()
        free = [chat for chat in one.timers if one.state.door(chat) is Door.OPEN]
        for chat in free:  # what is no part of the import need not wait
            one.timers.pop(chat).cancel()
            one.state.drop(chat)
        self._wake([PortalKey(one.row.login, chat) for chat in free])

    async def _search_on(self, one: _Import) -> None:
        """Look at one more part of the record: for conversations, and for what known ones lack."""
        row, most = one.row, self._settings
        async with self._searches:
            part = await self._ask(one, _record(row.until, row.further))
        left = most.conversations - one.state.total
        picks = pick(part, one.state.wants, left, most.messages)
        found = sum(each.new for each in picks)
        entries = row.entries + part.looked_at
        # where a part brings less than asking for one chat does, all that is known is asked for so
        poor = found == left and sum(each.messages for each in picks) < most.messages
        over = part.further is None or entries >= MOST_ENTRIES or poor
        state = FOUND if over else SEARCHING
        added = await self._store.found(
            row, picks, part.further, part.looked_at, state, most.messages
        )
        if (
            picks
            and not added
            and await self._store.of(row.login)
            != replace(row, further=part.further, entries=entries, state=state)
        ):
            raise NotYet("The search is elsewhere.", 1.0)
        one.row = replace(row, further=part.further, entries=entries, state=state)
        for each in picks:
            if each.chat in added:
                one.state.add(each.chat, each.before, each.messages)
            elif each.new:
                one.state.leave_out(each.chat)
        if part.further is None:
            one.state.add_no_more()
        one.state.searching = not over
        one.changed.set()

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
                    if chat is not None:
                        busy.add(chat)
                        await work(one, chat)
                        busy.remove(chat)
                        continue
                if not one.state.searching:
                    return
                one.changed = one.changed if not one.changed.is_set() else asyncio.Event()
                await one.changed.wait()

        await _together(*(some() for _ in range(AT_ONCE)))

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
        """Whether all that is wanted of a chat is in the inbox; else it is recorded what became of it."""
        place, lacks = one.state.place(key.chat), one.state.lacks(key.chat)
        events: Sequence[RemoteEvent] = ()
        if lacks:
            try:
                page = await self._ask(one, lambda session: session.older(key.chat, place, lacks))
            except NetworkError as error:
                if may_pass(error):
                    raise
                await self._store.give_up(key, str(error))
                return False
            events, place = page.events, page.older
        if one.state.stage(key.chat) is not Stage.FOUND:  # given up meanwhile
            return False
        one.state.move(key.chat, Stage.TAKING)
        if not await self._store.take(key, events, place, read_mark):
            return False
        one.state.move(key.chat, Stage.TAKEN)
        return True

    async def _show(self, one: _Import, chat: ChatId) -> None:
        """Have the messages of a chat shown."""
        key = PortalKey(one.row.login, chat)
        one.state.move(chat, Stage.SHOWING)
        with self.watching(key) as shown:
            self._wake([key])
            await shown.wait()
        await self._store.show(key)
        if (timer := one.timers.pop(chat, None)) is not None:
            timer.cancel()
        one.state.leave_out(chat)
        await self._say_how_far(one)

    # -- what the user is told

    async def _announce(self, one: _Import) -> None:
        one.told_at = asyncio.get_running_loop().time()
        most = self._settings
        await self._tell(
            one.owner,
            f"I bring over your last chats of {code(one.name)}: up to {most.conversations:,}, with up to "
            f"{most.messages} messages each. You are not notified of what is old, and what is new comes first.",
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


def _record(until: str | None, further: str | None) -> Callable[[History], Awaitable[RecordPart]]:
    return lambda session: session.record(until, further)


async def _together(*works: Coroutine[None, None, None]) -> None:
    """Do all of it; when one fails, none goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
