"""Brings over the history of one login: asks the network, fills the inbox, and has the chats' lanes show it.

A few chats are under way at a time, of all logins together, so what is new is never behind many.

The rule that must never break: what has been taken is recorded with the messages themselves, so wherever it is cut
short it goes on there, in this process or another one.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from dm_bridge.bridge.import_state import UNTAKEN, Door, ImportState, Stage
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.silence import Silence
from dm_bridge.errors import NetworkError, NotYet, may_pass
from dm_bridge.ids import ChatId, PortalKey, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import capabilities_of
from dm_bridge.network.events import RemoteEvent, SessionStatus
from dm_bridge.network.history import HISTORY_SECONDS, History, RecordPart
from dm_bridge.store.history import FOUND, SEARCHING, HistoryStore, Imported, ImportRow
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

T = TypeVar("T")

AT_ONCE = 16
"""Chats that are under way at once, of all logins: enough to keep a homeserver busy."""
TOGETHER = 50
"""Chats that are marked as direct chats in one write. Their messages are shown while the next rooms are made:
homeservers do both at once faster than one after the other."""
MOST_ENTRIES = 50_000
"""Entries of a network's record in which conversations are looked for."""
BARREN = 5_000
"""Entries in a row that bring nothing, after which no more conversations are looked for."""
ASKED_EARLY = 4
"""Chats whose messages are asked for at once while the search may still bring them: it may take long, and the
homeserver would have nothing to do but rooms."""
SEARCHES = 4
"""Records that are searched at once."""
PROGRESS = 60.0
"""Seconds between two words about how far it is."""

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
class Import:
    """The import of one login."""

    row: ImportRow
    owner: UserId
    name: str
    state: ImportState
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    timers: dict[ChatId, asyncio.TimerHandle] = field(default_factory=dict)
    knocked: set[ChatId] = field(default_factory=set)
    """Chats whose lanes came while the door was not open."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    asking: int = 0
    """How many chats' messages are being asked for."""
    barren: int = 0
    """Entries since the last that brought something."""
    told_at: float = 0.0


class Importer:
    """``wake``: has the lanes of chats look again. ``tell``: see `Tell`."""

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
        self.settings = settings
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._searches = asyncio.Semaphore(SEARCHES)
        self._watched: dict[PortalKey, asyncio.Event] = {}
        self._turns: dict[UserId, tuple[asyncio.Lock, int]] = {}

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

    async def carry(self, one: Import) -> None:
        session = self._session(one)
        if session is None:
            if one.state.total:
                raise NetworkError(phrase("import-not-wanted"))
            await self._store.end(one.row.login)
            return
        async with self.alone_with(one.owner):
            while one.state.searching and not one.state.total:
                await self._search_on(one)
            if one.state.total:
                await self._announce(one)
                await self._silence.begin(one.owner)
                await _together(self._search(one), self._make_rooms(one), self._show_messages(one))
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

    def _session(self, one: Import) -> History | None:
        """Who can be asked; None when nobody ever can. Raises `NetworkError`."""
        logins = self._logins()
        session = logins.session(one.row.login)
        if session is None or logins.state(one.row.login).status is not SessionStatus.CONNECTED:
            raise NetworkError(phrase("import-not-connected"), retry_after=1.0)
        if not self.settings.enabled or not capabilities_of(session).history:
            return None
        return session if isinstance(session, History) else None

    async def _ask(self, one: Import, ask: Callable[[History], Awaitable[T]]) -> T:
        session = self._session(one)
        if session is None:
            raise NetworkError(phrase("import-no-record"))
        try:
            async with asyncio.timeout(HISTORY_SECONDS):
                return await ask(session)
        except TimeoutError as error:
            raise NetworkError(phrase("import-no-answer"), retry_after=5.0) from error

    async def _search(self, one: Import) -> None:
        try:
            while one.state.searching:
                await self._search_on(one)
        finally:
            one.changed.set()
        free = [chat for chat in one.knocked if one.state.door(chat) is Door.OPEN]
        for chat in free:  # what is no part of the import need not wait
            one.knocked.discard(chat)
            if (timer := one.timers.pop(chat, None)) is not None:
                timer.cancel()
            one.state.drop(chat)
        self._wake([PortalKey(one.row.login, chat) for chat in free])

    async def _search_on(self, one: Import) -> None:
        """Look at one more part of the record: for conversations, and for what known ones lack."""
        row, most = one.row, self.settings
        async with self._searches:
            part = await self._ask(one, _record(row.until, row.further))
        left = most.conversations - one.state.total
        picks = pick(part, one.state.wants, left, most.messages)
        found = sum(each.new for each in picks)
        entries = row.entries + part.looked_at
        # where a part brings less than asking for one chat does, all that is known is asked for so
        poor = found == left and sum(each.messages for each in picks) < most.messages
        one.barren = 0 if picks else one.barren + part.looked_at
        endless = entries >= MOST_ENTRIES or one.barren >= BARREN
        over = part.further is None or endless or poor
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
            raise NotYet(phrase("import-elsewhere"), 1.0)
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

    async def _make_rooms(self, one: Import) -> None:
        """Make the rooms, and have those of a batch marked as direct chats in one write."""
        state = one.state
        state.begin_batch(TOGETHER)
        while state.searching or state.to_make():
            with self._keeper.holding(one.owner):
                await self._each(
                    one,
                    lambda: state.to_make(ask=one.asking < ASKED_EARLY),
                    self._prepare,
                    lambda: state.searching and not state.is_full,
                )
            state.release()
            state.begin_batch(TOGETHER)
            one.changed.set()
        state.making = False
        one.changed.set()

    async def _show_messages(self, one: Import) -> None:
        """Show the messages of every batch while the rooms of the next are made."""
        await self._each(one, one.state.to_show, self._show, lambda: one.state.making)

    async def _each(
        self,
        one: Import,
        chats: Callable[[], Sequence[ChatId]],
        work: Callable[[Import, ChatId], Awaitable[None]],
        more: Callable[[], bool],
    ) -> None:
        """Do it until there are no such chats and no ``more`` will come, a few at a time.

        Raises `BridgeError` when one has to wait.
        """
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
                if not more():
                    return
                one.changed = one.changed if not one.changed.is_set() else asyncio.Event()
                await one.changed.wait()

        await _together(*(some() for _ in range(AT_ONCE)))

    async def _prepare(self, one: Import, chat: ChatId) -> None:
        """Take a chat's messages, and have its room made; show it where something new waits behind."""
        key = PortalKey(one.row.login, chat)
        if one.state.stage(chat) is Stage.MADE:
            await self._show(one, chat)
            return
        if one.state.join_batch(chat):
            one.changed.set()
        if not one.state.is_complete(chat) and one.asking >= ASKED_EARLY:
            one.state.move(chat, Stage.HOUSING)
            await self._make(key)
            one.state.move(chat, Stage.HOUSED)
            self._wake([key])  # something new may have come meanwhile: it is in a hurry
            return
        if one.state.stage(chat) in UNTAKEN and not await self._take(one, key):
            one.state.leave_out(chat)
            self._wake([key])
            return
        await self._make(key)
        one.state.move(chat, Stage.MADE)
        if one.state.is_urgent(chat):
            await self._show(one, chat)

    async def _make(self, key: PortalKey) -> None:
        with self.watching(key) as made:
            self._wake([key])
            await made.wait()

    async def _take(self, one: Import, key: PortalKey) -> bool:
        """Whether all that is wanted of a chat is in the inbox; else it is recorded what became of it."""
        place, lacks = one.state.place(key.chat), one.state.lacks(key.chat)
        events: Sequence[RemoteEvent] = ()
        if lacks:
            one.state.move(key.chat, Stage.ASKING)
            one.asking += 1
            try:
                page = await self._ask(one, lambda session: session.older(key.chat, place, lacks))
            except NetworkError as error:
                if may_pass(error):
                    raise
                await self._store.give_up(key, str(error))
                return False
            finally:
                one.asking -= 1
                one.changed.set()
            events, place = page.events, page.older
        if one.state.stage(key.chat) not in UNTAKEN:  # given up meanwhile
            return False
        one.state.move(key.chat, Stage.TAKING)
        if not await self._store.take(key, events, place, read_mark):
            return False
        one.state.move(key.chat, Stage.TAKEN)
        return True

    async def _show(self, one: Import, chat: ChatId) -> None:
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

    async def _announce(self, one: Import) -> None:
        one.told_at = asyncio.get_running_loop().time()
        most = self.settings
        await self._tell(
            one.owner,
            phrase(
                "import-begins",
                name=code(one.name),
                chats=most.conversations,
                messages=most.messages,
            ),
            f"{one.row.login} begin",
        )

    async def _say_how_far(self, one: Import) -> None:
        now = asyncio.get_running_loop().time()
        if one.state.left and now - one.told_at >= PROGRESS:
            one.told_at = now
            done = one.state.total - one.state.left
            await self._tell(
                one.owner,
                phrase("import-so-far", done=done, total=one.state.total, name=code(one.name)),
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
    said = [phrase("import-ended", chats=outcome.chats, name=code(name), messages=outcome.messages)]
    if outcome.failed:
        why = " ".join(plain(reason) for reason in outcome.reasons[:3])
        said.append(phrase("import-some-failed", chats=outcome.failed, why=why))
    return " ".join([*said, phrase("import-older")])
