"""The import of one login, and how the network is asked for what is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from dm_bridge.bridge.import_state import ImportState
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, UserId
from dm_bridge.network.api import capabilities_of
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.history import HISTORY_SECONDS, History
from dm_bridge.store.history import ImportRow
from dm_bridge.texts import phrase

T = TypeVar("T")


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
    uneventful: int = 0
    """Parts since the last that had a new conversation."""
    told_at: float = 0.0

    def wait_no_more(self, chat: ChatId) -> None:
        """Patience with a chat does not run out any more."""
        if (timer := self.timers.pop(chat, None)) is not None:
            timer.cancel()

    async def change(self) -> None:
        """Return when ``changed`` is set from now on."""
        if self.changed.is_set():
            self.changed = asyncio.Event()
        await self.changed.wait()


class Asking:
    """Asks the sessions of ``logins``."""

    def __init__(self, logins: Callable[[], Logins], settings: ImportSettings) -> None:
        self._logins = logins
        self._settings = settings

    def session(self, one: Import) -> History | None:
        """Who can be asked; None when nobody ever can. Raises `NetworkError`."""
        logins = self._logins()
        session = logins.session(one.row.login)
        if session is None or logins.state(one.row.login).status is not SessionStatus.CONNECTED:
            raise NetworkError(phrase("import-not-connected"), retry_after=1.0)
        if not self._settings.enabled or not capabilities_of(session).history:
            return None
        return session if isinstance(session, History) else None

    async def ask(self, one: Import, ask: Callable[[History], Awaitable[T]]) -> T:
        session = self.session(one)
        if session is None:
            raise NetworkError(phrase("import-no-record"))
        try:
            async with asyncio.timeout(HISTORY_SECONDS):
                return await ask(session)
        except TimeoutError as error:
            raise NetworkError(phrase("import-no-answer"), retry_after=5.0) from error
