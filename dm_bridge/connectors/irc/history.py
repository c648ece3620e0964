"""Reading what a server keeps: which chats there were since a time, and then each of them, page by page.

IRCv3 ``chathistory`` (https://ircv3.net/specs/extensions/chathistory), as soju and Ergo have it. Pages are asked
for by time only, because soju knows no ids there, and each begins with a whole second: so a line without an id
gets the same one from whichever page, and none is missed between two pages.

The rule that must never break: what was not read is said, in the log, and never taken for read.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import AsyncIterator, Callable

import structlog

from dm_bridge.connectors.irc import failures
from dm_bridge.connectors.irc.addresses import is_nick
from dm_bridge.connectors.irc.asking import NotReadError, Question, StalledError
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.incoming import Incoming
from dm_bridge.connectors.irc.intake import Intake
from dm_bridge.connectors.irc.known import OVERLAP
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.record import Here, Record, time_of

MAX_CHATS = 1000
"""Chats that are read after one connection, those written in last at the end; the others are left for good."""
MAX_LINES = 20_000
"""Lines that a server may send at once."""
_MILLISECOND = 0.001
_AHEAD = 86_400.0


class _Answer(Question):
    """A question that is answered by a batch of a ``kind``.

    ``complete``: the server says that there is no more. ``refused``: why it shows nothing of this chat.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind
        self._outer = ""
        self._open: set[str] = set()
        self.complete = False
        self.refused = ""

    def take(self, line: Line) -> bool:
        if self.over:
            return False
        taken = self._take(line)
        if taken:
            self.go_on()
        return taken

    def _take(self, line: Line) -> bool:
        within = line.tags.get("batch", "") in self._open
        match line.command:
            case "BATCH":
                return self._batch(line, within)
            case "FAIL" if line.params[:2] == ("CHATHISTORY", "INVALID_TARGET"):
                self.refused = failures.said(line)
                self.finish()
            case "FAIL" if line.param(0) == "CHATHISTORY":
                self.finish(NotReadError(f"the server refused: {failures.said(line)}"))
            case "421" if line.param(1) == "CHATHISTORY":
                self.finish(NotReadError(f"the server refused: {failures.said(line)}"))
            case "PONG" if line.param(-1) == self.token:
                if not self._outer:
                    self.finish(NotReadError("the server sent no answer"))
            case _ if within:
                self.lines.append(line)
                if len(self.lines) > MAX_LINES:
                    self.finish(NotReadError("the server sent more than it was asked for"))
            case _:
                return False
        return True

    def _batch(self, line: Line, within: bool) -> bool:
        sign, name = line.param(0)[:1], line.param(0)[1:]
        if sign == "-" and name in self._open:
            self._open.discard(name)
            if name == self._outer:
                self.finish()
            return True
        if sign != "+" or not (within or (line.param(1) == self._kind and not self._outer)):
            return False
        if not self._outer:
            self._outer = name
            self.complete = "draft/chathistory-end" in line.tags
        self._open.add(name)
        return True


class History:
    """Of one connection."""

    def __init__(
        self,
        client: Client,
        incoming: Incoming,
        intake: Intake,
        login: str,
        stall: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._incoming = incoming
        self._intake = intake
        self._stall = stall
        self._clock = clock
        self._log = structlog.get_logger(__name__).bind(login=login)
        self._answer: _Answer | None = None
        self._limit = client.features.history_page
        self._count = 0

    def take(self, line: Line) -> bool:
        """Whether ``line`` is a part of what was asked for."""
        return self._answer is not None and self._answer.take(line)

    async def read(self, since: float | None) -> None:
        """Take all that was written after ``since``. Raises `NotReadError`, `NetworkError`.

        Of a chat that the server will not show the others are read all the same.
        """
        if since is None:
            return
        since = math.floor(since - OVERLAP) - _MILLISECOND
        failed: NotReadError | None = None
        async for target, latest in self._chats(since):
            try:
                await self._chat(target, since, latest)
            except StalledError:
                raise
            except NotReadError as error:
                failed = error
        if self._count:
            self._log.info("missed messages were read", count=self._count)
        if failed is not None:
            raise failed

    def _fold(self, nick: str) -> str:
        return self._client.features.casemapping.fold(nick)

    def _is_chat(self, target: str) -> bool:
        own = self._fold(target) == self._fold(self._client.nick)
        return is_nick(target) and not own and not self._client.features.is_channel(target)

    async def _ask(self, answer: _Answer, *params: str) -> None:
        self._answer = answer
        try:
            line = Line("CHATHISTORY", (*params, str(self._limit)))
            await answer.ask(self._client, line, self._stall)
        finally:
            self._answer = None

    # -- which chats

    async def _chats(self, since: float) -> AsyncIterator[tuple[str, float]]:
        """The folded nicks with whom something was written after ``since``, and when last."""
        given: set[str] = set()
        after = since
        while True:
            answer, targets = await self._targets(after)
            for target, latest in targets:
                nick = self._fold(target)
                if nick in given or not self._is_chat(target):
                    continue
                if len(given) >= MAX_CHATS:
                    self._log.warning("there are too many chats; some were not read")
                    return
                given.add(nick)
                yield nick, latest
            following = targets[-1][1] - _MILLISECOND if targets else after
            if answer.complete or following <= after:
                return
            after = following

    async def _targets(self, after: float) -> tuple[_Answer, list[tuple[str, float]]]:
        """What the server lists from ``after`` on, by the time of the last line.

        So a chat comes before the one that its person has gone on to.
        """
        answer = _Answer("draft/chathistory-targets")
        until = _stamp(self._clock() + _AHEAD)
        await self._ask(answer, "TARGETS", _stamp(after), until)
        found = []
        for line in answer.lines:
            at = _seconds(line.param(2))
            is_target = line.command == "CHATHISTORY" and line.param(0).upper() == "TARGETS"
            if is_target and at is not None:
                found.append((line.param(1), at))
        return answer, sorted(found, key=lambda item: item[1])

    # -- one chat

    async def _chat(self, target: str, since: float, latest: float) -> None:
        """Read the chat with a folded nick from ``since`` to ``latest``, when its last line is."""
        after = since
        while True:
            answer = _Answer("chathistory")
            try:
                await self._ask(answer, "AFTER", target, _stamp(after))
            except NotReadError:
                self._take(answer.lines, target)
                raise
            if answer.refused:
                self._log.warning("the server does not show a chat", reason=answer.refused)
                return
            times = [at for line in answer.lines if (at := time_of(line)) is not None]
            newest = max(times, default=after)
            if answer.complete or newest >= latest or newest <= after:
                self._take(answer.lines, target)
                return
            page, following = _whole(answer.lines, newest)
            if following <= after:
                self._take(answer.lines, target)
                raise NotReadError("the server sends the same lines again and again")
            self._take(page, target)
            await self._intake.drained()
            after = following

    def _take(self, lines: list[Line], target: str) -> None:
        here = Here(self._client.nick, self._client.features)
        record = Record(target)
        for line in lines:
            self._incoming.recorded(line, here, record)
        self._count += len(lines)


def _whole(lines: list[Line], newest: float) -> tuple[list[Line], float]:
    """The lines of a page but those of its last second, unless there are no others; and after when the next one
    begins."""
    second = math.floor(newest)
    page = [line for line in lines if (time_of(line) or 0.0) < second]
    return (page, second - _MILLISECOND) if page else (lines, newest)


def _stamp(at: float) -> str:
    when = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return f"timestamp={when.strftime('%Y-%m-%dT%H:%M:%S')}.{when.microsecond // 1000:03}Z"


def _seconds(text: str) -> float | None:
    return time_of(Line("", tags={"time": text}))
