"""Brings over the history of one login: has rooms made, fills the inbox, and has the chats' lanes show it.

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

import structlog

from dm_bridge.bridge.import_asking import Asking, Import, ImportSettings
from dm_bridge.bridge.import_plan import read_mark
from dm_bridge.bridge.import_search import Search
from dm_bridge.bridge.import_state import UNTAKEN, Stage
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.silence import Silence
from dm_bridge.errors import NetworkError, may_pass
from dm_bridge.ids import ChatId, PortalKey, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.events import RemoteEvent
from dm_bridge.store.history import HistoryStore, Imported
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

AT_ONCE = 16
"""Chats that are under way at once, of all logins: enough to keep a homeserver busy."""
TOGETHER = 50
"""Chats that are marked as direct chats in one write. Their messages are shown while the next rooms are made:
homeservers do both at once faster than one after the other."""
ASKED_AT_ONCE = 2
"""Chats of one login whose messages are asked for at once. Servers that deal with one request after the other
answer many at once late and together, and the homeserver has nothing to do until then."""
CANCEL_AGAIN = 1.0
"""Seconds after which what has not ended is cancelled once more."""
PROGRESS = 60.0
"""Seconds between two words about how far it is."""

Tell = Callable[[UserId, str, str], Awaitable[None]]
"""Writes to a user's management rooms; what has the same last argument is said once."""


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
        self._asking = Asking(logins, settings)
        self._search = Search(store, self._asking, wake, settings)
        self._keeper = keeper
        self._silence = silence
        self._tell = tell
        self._wake = wake
        self.settings = settings
        self._slots = asyncio.Semaphore(AT_ONCE)
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
        session = self._asking.session(one)
        if session is None:
            if one.state.total:
                raise NetworkError(phrase("import-not-wanted"))
            await self._store.end(one.row.login)
            return
        async with self.alone_with(one.owner):
            while one.state.searching and not one.state.total:
                await self._search.go_on(one)
            if one.state.total:
                await self._announce(one)
                await self._silence.begin(one.owner)
                await _together(
                    self._search.search(one), self._make_rooms(one), self._show_messages(one)
                )
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

    async def _make_rooms(self, one: Import) -> None:
        """Make the rooms, and have those of a batch marked as direct chats in one write."""
        state = one.state
        state.begin_batch(TOGETHER)
        while state.finding or state.to_make():
            with self._keeper.holding(one.owner):
                await self._each(
                    one,
                    lambda: state.to_make(ask=self._may_ask(one)),
                    self._prepare,
                    lambda: not state.is_full and (state.finding or state.is_waiting),
                )
            state.release()
            state.begin_batch(TOGETHER)
            one.changed.set()
            while state.is_ahead(TOGETHER):
                await one.change()
        state.making = False
        one.changed.set()

    async def _show_messages(self, one: Import) -> None:
        """Take and show the messages of every batch while the rooms of the next are made."""
        state = one.state
        await self._each(
            one,
            lambda: state.to_show(ask=self._may_ask(one)),
            self._take_and_show,
            lambda: state.making or bool(state.to_show()),
        )

    def _may_ask(self, one: Import) -> bool:
        """Whether what chats lack is asked for. While it may come with the search, rooms are made first."""
        return one.asking < ASKED_AT_ONCE and not one.state.is_building

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
                await one.change()

        await _together(*(some() for _ in range(AT_ONCE)))

    async def _prepare(self, one: Import, chat: ChatId) -> None:
        """Have a chat's room made; show its messages where something new waits behind."""
        key, state = PortalKey(one.row.login, chat), one.state
        if state.join_batch(chat):
            one.changed.set()
        if state.is_to_be_housed(chat):
            state.move(chat, Stage.HOUSING)
            await self._make(key)
            state.move(chat, Stage.HOUSED)
            self._wake([key])  # something new may have come meanwhile: it is in a hurry
            if not state.is_building:
                one.changed.set()
            return
        if await self._is_taken(one, key):
            if state.stage(chat) is not Stage.MADE:
                await self._make(key)
                state.move(chat, Stage.MADE)
            if state.is_urgent(chat):
                await self._show(one, key)
            else:
                self._wake([key])  # as above
                one.changed.set()

    async def _take_and_show(self, one: Import, chat: ChatId) -> None:
        """Take the messages of a chat that has its room, if they are not, and show them."""
        key = PortalKey(one.row.login, chat)
        if await self._is_taken(one, key):
            await self._show(one, key)

    async def _is_taken(self, one: Import, key: PortalKey) -> bool:
        """Whether all that is wanted of a chat is in the inbox, now if it was not. Else it goes on without."""
        if one.state.stage(key.chat) not in UNTAKEN or await self._take(one, key):
            return True
        one.state.leave_out(key.chat)
        one.changed.set()
        self._wake([key])
        return False

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
                page = await self._asking.ask(
                    one, lambda session: session.older(key.chat, place, lacks)
                )
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

    async def _show(self, one: Import, key: PortalKey) -> None:
        """Have the messages of a chat shown."""
        one.state.move(key.chat, Stage.SHOWING)
        with self.watching(key) as shown:
            self._wake([key])
            await shown.wait()
        await self._store.show(key)
        one.wait_no_more(key.chat)
        one.state.leave_out(key.chat)
        one.changed.set()
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


async def _together(*works: Coroutine[None, None, None]) -> None:
    """Do all of it; when one fails, none goes on."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(*tasks)


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel until all have ended: what one waits for may end in the same moment, and swallow it."""
    cancelled = False
    while under_way := [task for task in tasks if not task.done()]:
        for task in under_way:
            task.cancel()
        try:
            await asyncio.wait(under_way, timeout=CANCEL_AGAIN)
        except asyncio.CancelledError:
            cancelled = True  # they must have ended first
    if cancelled:
        raise asyncio.CancelledError


def summary(outcome: Imported, name: str) -> str:
    """What the user reads at the end."""
    said = [phrase("import-ended", chats=outcome.chats, name=code(name), messages=outcome.messages)]
    if outcome.failed:
        why = " ".join(plain(reason) for reason in outcome.reasons[:3])
        said.append(phrase("import-some-failed", chats=outcome.failed, why=why))
    return " ".join([*said, phrase("import-older")])
