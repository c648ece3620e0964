"""Who asks to be a contact of a user: told to the user as a question, and never answered without them.

Networks say it again whenever somebody logs in; what was told is recorded, so the user hears of each request once.

The rule that must never break: who floods a user with requests fills neither memory nor the user's room: of a
login there is one notice in `PAUSE` seconds, however many ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import structlog

from dm_bridge.bridge.logins import Logins, TellUser
from dm_bridge.bridge.names import clean_name
from dm_bridge.errors import BridgeError
from dm_bridge.ids import ContactId, LoginId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.people import readable
from dm_bridge.network.signals import RemoteRequest
from dm_bridge.store.people import PeopleStore, RequestRow
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

MAX_WAITING = 1000
GATHER = 1.0
"""Seconds in which requests are gathered for one notice."""
PAUSE = 60.0
LISTED = 10
_TEXT = 200


class Requests:
    """`run` must run. ``tell``: how to reach a user."""

    def __init__(
        self,
        store: PeopleStore,
        logins: Logins,
        tell: TellUser,
    ) -> None:
        self._store = store
        self._logins = logins
        self._tell = tell
        self._news: dict[tuple[LoginId, ContactId], RemoteRequest] = {}
        self._over: dict[LoginId, set[ContactId]] = {}
        self._due: dict[LoginId, float] = {}
        self._last: dict[LoginId, float] = {}
        self._texts: dict[tuple[LoginId, ContactId], str] = {}
        self._changed = asyncio.Event()

    def note(self, login: LoginId, request: RemoteRequest) -> None:
        """A session says that somebody asks, or does not any more."""
        whom = login, request.contact
        if request.withdrawn:
            self._news.pop(whom, None)
            self._over.setdefault(login, set()).add(request.contact)
            self._changed.set()
        elif whom in self._news or len(self._news) < MAX_WAITING:
            self._over.get(login, set()).discard(request.contact)
            self._news[whom] = request
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled, tell users."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout_at(min(self._due.values(), default=None)):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            await self._well(self._record())
            for login in [each for each, at in self._due.items() if at <= clock()]:
                del self._due[login]
                if await self._well(self._say(login)):
                    self._last[login] = clock()
                else:
                    self._due[login] = clock() + PAUSE
            self._last = {each: at for each, at in self._last.items() if at + PAUSE > clock()}

    @staticmethod
    async def _well(work: Awaitable[None]) -> bool:
        """Whether something goes well."""
        try:
            await work
            return True
        except BridgeError as error:
            log.info("a user could not be told who asks to be a contact", reason=str(error))
        except Exception:
            log.exception("a user could not be told who asks to be a contact")
        return False

    async def _record(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._over:
            login, contacts = self._over.popitem()
            await self._store.answered(login, contacts)
        for whom in list(self._news):
            request = self._news[whom]
            login, contact = whom
            if await self._store.ask(login, contact, clean_name(request.name)):
                if len(self._texts) < MAX_WAITING:
                    self._texts[whom] = " ".join(request.text.split())[:_TEXT]
                soon = max(now + GATHER, self._last.get(login, now - PAUSE) + PAUSE)
                self._due.setdefault(login, soon)
            if self._news.get(whom) == request:
                del self._news[whom]

    async def _say(self, login: LoginId) -> None:
        row = await self._logins.row(login)
        waiting = [each for each in await self._store.requests(login) if not each.told]
        texts = {each.contact: self._texts.pop((login, each.contact), "") for each in waiting}
        if row is None or not waiting:
            return
        network = self._logins.network(row.network)
        several = len(self._logins.of(row.owner)) > 1
        lines = [
            described(each, readable(network, each.contact), texts[each.contact])
            for each in waiting[:LISTED]
        ]
        if len(waiting) > LISTED:
            lines.append(phrase("requests-more", more=len(waiting) - LISTED))
        asked = (
            phrase("requests-asked-on", people=len(waiting), login=code(row.name))
            if several
            else phrase("requests-asked", people=len(waiting))
        )
        answer = phrase("requests-answer", example=code(f"accept {waiting[0].contact}"))
        await self._tell(row.owner, "\n".join([asked, "", *lines, "", answer]))
        await self._store.set_told(login, [each.contact for each in waiting])


def described(request: RequestRow, address: str, text: str = "") -> str:
    """A line of a list of requests."""
    name = f"{plain(request.name)}, " if request.name else ""
    read = f" ({plain(address)})" if address != request.contact else ""
    said = f": “{plain(text)}”" if text else ""
    return f"- {name}{code(request.contact)}{read}{said}"
