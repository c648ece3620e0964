"""What was written before a login: its recent conversations become chats, once, with their last messages.

`import_plan` and `import_state` decide, `importing` carries it out; `Imports` knows for which logins, and what
that means for the lanes of their chats.

The rule that must never break: what is new of a chat waits for what is older, and for no longer than `PATIENCE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection

import structlog

from dm_bridge.bridge.import_asking import Import
from dm_bridge.bridge.import_state import UNTAKEN, Door, ImportState, Stage
from dm_bridge.bridge.importing import Importer, Tell, end
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.silence import Silence
from dm_bridge.errors import BridgeError, may_pass
from dm_bridge.ids import ChatId, LoginId, PortalKey, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.events import SessionStatus
from dm_bridge.store.history import SEARCHING, HistoryStore, ImportChat, ImportRow
from dm_bridge.store.logins import LoginRow
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

PATIENCE = 30.0
"""Seconds for which something new waits for what is older of its chat."""
LONGEST_PAUSE = 60.0
LEAVE_WITHIN = 10.0
"""Seconds for which is waited for what is on its way when an import is broken off."""


class Imports:
    """It is one of the `LoginHooks`, and the `Doors` of the lanes. All else is as for `Importer`."""

    def __init__(
        self,
        importer: Importer,
        store: HistoryStore,
        logins: Callable[[], Logins],
        silence: Silence,
        tell: Tell,
        wake: Callable[[Collection[PortalKey]], None],
    ) -> None:
        self._importer = importer
        self._store = store
        self._logins = logins
        self._silence = silence
        self._tell = tell
        self._wake = wake
        self._imports: dict[LoginId, Import] = {}
        self._leaving: dict[PortalKey, asyncio.Event] = {}
        self._giving_up: set[PortalKey] = set()
        self._given: dict[LoginId, UserId] = {}
        """Whose lanes may not have ended yet when their import does: what is older is not complete."""
        self._background: set[asyncio.Task[None]] = set()

    # -- which logins

    async def started(self, owners: Collection[UserId] | None) -> None:
        """See `LoginHooks`: take up what has not ended."""
        for row in await self._store.unfinished(owners):
            login = await self._logins().row(row.login)
            if login is not None:
                await self._add(row, login)
        self._given = {
            login: owner
            for login, owner in self._given.items()
            if owners is not None and owner not in owners
        }

    async def logged_in(self, login: LoginRow) -> None:
        """See `LoginHooks`."""
        row = await self._store.of(login.id)
        if row is not None:
            await self._add(row, login)

    async def logged_out(self, login: LoginRow) -> None:
        """See `LoginHooks`: what has not been shown yet is left to `history`."""
        one = self._imports.get(login.id)
        if one is not None:
            if one.task is not None:
                await end(one.task)
            await self._break_off(one)
            await self._end(one)
            self._wake_all(one)

    async def _break_off(self, one: Import) -> None:
        """Show nothing more of it. Nobody is notified of what is on its way: it is waited for."""
        keys = [PortalKey(one.row.login, chat) for chat in one.state.shut()]
        left = {key: asyncio.Event() for key in keys}
        self._leaving |= left
        self._wake(keys)
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                for event in left.values():
                    await event.wait()
        except TimeoutError:
            log.warning("something old may notify", login=one.row.login)
        finally:
            for key in keys:
                self._leaving.pop(key, None)
        await self._store.break_off(one.row.login)
        await self._silence.end(one.owner)

    def _wake_all(self, one: Import) -> None:
        self._wake([PortalKey(one.row.login, chat) for chat in {*one.knocked, *one.state.chats}])

    async def give(self, owners: Collection[UserId]) -> None:
        """Another process goes on for these users."""
        wanted = set(owners)
        for one in [each for each in self._imports.values() if each.owner in wanted]:
            self._given[one.row.login] = one.owner
            await self._end(one)

    async def stop(self) -> None:
        """Give up what is under way; it goes on at the next start."""
        await self.give({one.owner for one in self._imports.values()})
        await end(*self._background)

    async def _add(self, row: ImportRow, login: LoginRow) -> None:
        if row.login not in self._imports:
            one = Import(row, login.owner, login.name, self._state(row, ()))
            self._imports[row.login] = one
            one.state = self._state(row, await self._store.chats(row.login))

    def _state(self, row: ImportRow, chats: Collection[ImportChat]) -> ImportState:
        state = ImportState(self._importer.settings.messages, searching=row.state == SEARCHING)
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

    async def _look_again(self, one: Import) -> bool:
        """What is recorded counts: an attempt may have come further than is known. Whether it goes on."""
        row = await self._store.of(one.row.login)
        if row is None:
            return False
        state = self._state(row, await self._store.chats(one.row.login))
        state.follow(one.state)
        one.row, one.state = row, state
        return True

    async def _end(self, one: Import) -> None:
        self._imports.pop(one.row.login, None)
        for timer in one.timers.values():
            timer.cancel()
        if one.task is not None and one.task is not asyncio.current_task():
            await end(one.task)

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
        if key in self._giving_up or key.login in self._given:
            return Door.SHUT
        one = self._imports.get(key.login)
        if one is None:
            return Door.OPEN
        door = one.state.door(key.chat)
        if door is not Door.OPEN:
            one.knocked.add(key.chat)
        return door

    def waits(self, key: PortalKey) -> None:
        """Somebody has written in a chat whose door is shut."""
        one = self._imports.get(key.login)
        if one is None or one.state.door(key.chat) is Door.OPEN:
            return
        one.state.hurry(key.chat)
        one.changed.set()
        if one.state.stage(key.chat) in (None, *UNTAKEN) and key.chat not in one.timers:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(PATIENCE, self._lose_patience, one, key.chat)
            one.timers[key.chat] = timer

    def made(self, key: PortalKey) -> None:
        """The chat has a room, as far as one can be made."""
        self._importer.shown(key)

    def shown(self, key: PortalKey) -> None:
        """Nothing waits in a chat any more."""
        self._importer.shown(key)

    def left(self, key: PortalKey) -> None:
        """Nothing of a chat is on its way, and its door is shut."""
        if (event := self._leaving.get(key)) is not None:
            event.set()

    def _lose_patience(self, one: Import, chat: ChatId) -> None:
        one.timers.pop(chat, None)
        if one.state.stage(chat) in (None, *UNTAKEN) and one.state.door(chat) is not Door.OPEN:
            one.state.leave_out(chat)
            one.changed.set()
            self._giving_up.add(PortalKey(one.row.login, chat))
            task = asyncio.create_task(self._give_up(one, chat))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _give_up(self, one: Import, chat: ChatId) -> None:
        """What is new is shown without what is older; nothing is until that is out of the way."""
        log.info("a chat goes on without its history", login=one.row.login)
        key = PortalKey(one.row.login, chat)
        try:
            with contextlib.suppress(BridgeError):
                await self._store.give_up(key)
        finally:
            self._giving_up.discard(key)
        self._wake([key])

    # -- carrying it out

    async def _run(self, one: Import) -> None:
        failures = 0
        while True:
            try:
                await one.connected.wait()
                if await self._look_again(one):
                    await self._importer.carry(one)
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
                await self._fail(one, phrase("import-our-mistake"))
                break
        await self._end(one)
        self._wake_all(one)

    async def _fail(self, one: Import, reason: str) -> None:
        with contextlib.suppress(BridgeError):
            await self._break_off(one)
            await self._tell(
                one.owner,
                phrase("import-failed", name=code(one.name), why=plain(reason)),
                f"{one.row.login} failed",
            )
