"""`direct`: what a person can see and decide about their direct chats.

The rule that must never break: it shows and changes the chats of the user who asks, and of nobody
else; a room is acted on only when it is among them.
"""

from __future__ import annotations

import enum
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import unquote

from dm_bridge.bridge.commands.reply import Answer, Reply, not_logged_in
from dm_bridge.errors import UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import Network
from dm_bridge.texts import phrase

LISTED = 10  # chats shown of each kind
HISTORY, MOST_HISTORY = 10, 50  # lines of history, unless asked for more, and at most
DETAILS = 5  # shown of one line of history
_NAME = 100  # characters of a contact's address that are shown
_SENTENCE = 200  # characters of a sentence that are shown
_ROOMY = 10_000  # bytes of history; with formatting, an event of 64 KiB holds it


class ChatState(enum.Enum):
    """Where a chat stands, as the provisioning API says it."""

    MARKED = "marked"
    PENDING = "pending"
    OPTED_OUT = "opted out"
    CONFLICT = "conflict"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class DirectChat:
    """A chat that is managed. ``contact``: the contact's address, as the network writes it."""

    room: RoomId
    contact: str
    state: ChatState


@dataclass(frozen=True, slots=True)
class DirectStatus:
    """How one account's direct chats are.

    ``observed``: a sentence that says how changes are noticed. ``last_seen``: when the document was last
    seen, in seconds since the epoch. ``problem``: a sentence, when something keeps it from being right.
    """

    chats: Sequence[DirectChat]
    access: Access
    observed: str
    last_seen: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A change. ``at``: seconds since the epoch. ``sentence``: who did what. ``details``: one a chat.

    ``before``, ``after``: the rooms under each key that it concerns. ``ours``: the bridge made it.
    """

    at: float
    sentence: str
    details: tuple[str, ...] = ()
    before: Mapping[str, Sequence[str]] = field(default_factory=dict)
    after: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ours: bool = False


class RepairOutcome(enum.Enum):
    """What came of a repair. ``SLOW``: it is not done yet. ``REFUSED``: it cannot be done."""

    RIGHT = "right"
    REPAIRED = "repaired"
    SLOW = "slow"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Repair:
    """What came of a repair. ``things``: how many were put right. ``sentence``: the same, as the bot says it."""

    outcome: RepairOutcome
    sentence: str
    things: int = 0


class DirectView(Protocol):
    """What the commands need of the part that keeps m.direct. All may raise `BridgeError`."""

    async def status(self, account: UserId) -> DirectStatus:
        """How the account's direct chats are; empty for an account without any."""

    async def mark(self, account: UserId, room: RoomId) -> None:
        """The user decides that a managed room is a direct chat."""

    async def unmark(self, account: UserId, room: RoomId) -> None:
        """The user decides that a managed room is no direct chat."""

    async def repair(self, account: UserId) -> Repair:
        """Read, decide and write now; what came of it."""

    async def history(self, account: UserId, limit: int) -> Sequence[HistoryLine]:
        """The last ``limit`` changes at most, newest last."""


class DirectCommands:
    """Runs `direct` and what may follow it.

    ``logged_in``: whether a user has a login, of any network. ``clock``: seconds since the epoch.
    """

    def __init__(
        self,
        view: DirectView,
        networks: Callable[[], Sequence[Network]],
        logged_in: Callable[[UserId], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._view = view
        self._networks = networks
        self._logged_in = logged_in
        self._clock = clock

    async def run(self, user: UserId, rest: str, answer: Answer) -> None:
        """Run ``direct rest`` for ``user``."""
        name, _, what = rest.strip().partition(" ")
        match name.lower():
            case "" | "status":
                text = await self._status(user)
            case "mark" | "unmark":
                text = await self._decide(user, what.strip(), mark=name.lower() == "mark")
            case "repair":
                text = await self._repair(user)
            case "history":
                text = await self._history(user, what.strip())
            case "help":
                text = phrase("direct-help")
            case _:
                text = phrase("direct-unknown")
        await answer(Reply(text))

    async def _status(self, user: UserId) -> str:
        status = await self._view.status(user)
        chats = [chat for chat in status.chats if chat.state is not ChatState.RETIRED]
        parts = [_counts(chats)]
        if status.problem:
            parts.append(f"⚠ {_sentence(status.problem)}")
        listed = [line for state in _ORDER for line in _list(chats, state)]
        if listed:
            parts.append("\n".join(listed))
        if self._needs_login(user, status):
            parts.append(not_logged_in(self._networks()))
        else:
            looked = f"{_sentence(status.observed)} {self._seen(status)}"
            parts += [phrase(_ACCESS[status.access]), looked]
        return "\n\n".join(part for part in parts if part)

    def _needs_login(self, user: UserId, status: DirectStatus) -> bool:
        """Whether a login is what is missing: without one there is nothing to look after, and no access."""
        return status.access is Access.NONE and not self._logged_in(user)

    def _seen(self, status: DirectStatus) -> str:
        if status.last_seen is None:
            return phrase("direct-not-looked")
        return phrase("direct-looked", when=ago(status.last_seen, self._clock()))

    async def _decide(self, user: UserId, what: str, *, mark: bool) -> str:
        if not what:
            raise UserError(phrase("direct-mark-which" if mark else "direct-unmark-which"))
        status = await self._view.status(user)
        if self._needs_login(user, status):
            raise UserError(not_logged_in(self._networks()))
        chat = self._choose(status.chats, what)
        contact = code(_clip(chat.contact))
        if mark:
            await self._view.mark(user, chat.room)
            text = phrase("direct-mark-done", contact=contact)
        else:
            await self._view.unmark(user, chat.room)
            text = phrase("direct-unmark-done", contact=contact)
        return f"{text} {phrase('direct-later')}" if status.access is Access.NONE else text

    def _choose(self, chats: Sequence[DirectChat], what: str) -> DirectChat:
        room = room_in(what)
        addresses = {what.casefold()} | set(self._addresses(what))
        found = [
            chat
            for chat in chats
            if chat.state is not ChatState.RETIRED
            and (chat.room == room if room else chat.contact.casefold() in addresses)
        ]
        if not found:
            raise UserError(phrase("direct-no-such-chat"))
        if len(found) > 1:
            rooms = ", ".join(code(chat.room) for chat in found[:LISTED])
            raise UserError(phrase("chat-which-room", rooms=rooms))
        return found[0]

    def _addresses(self, text: str) -> list[str]:
        """``text`` in the normal form of every network to which it is an address."""
        found = []
        for network in self._networks():
            try:
                found.append(network.parse_contact(text).casefold())
            except UserError:
                continue
        return found

    async def _repair(self, user: UserId) -> str:
        status = await self._view.status(user)
        if self._needs_login(user, status):
            return not_logged_in(self._networks())
        if status.access is Access.NONE:
            return phrase(_ACCESS[Access.NONE])
        return _sentence((await self._view.repair(user)).sentence)

    async def _history(self, user: UserId, what: str) -> str:
        limit = HISTORY
        if what:
            if re.fullmatch(r"[0-9]{1,9}", what) is None or int(what) < 1:
                raise UserError(phrase("direct-history-how-many"))
            limit = min(int(what), MOST_HISTORY)
        lines = list(await self._view.history(user, limit))[-limit:]
        if not lines:
            return phrase("direct-history-nothing")
        now = self._clock()
        shown: list[str] = []
        size = 0
        for line in reversed(lines):
            text = _history_line(line, now)
            size += len(text.encode())
            if size > _ROOMY and shown:
                break
            shown.append(text)
        return phrase("direct-history", changes="\n".join(reversed(shown)))


_ORDER = (ChatState.CONFLICT, ChatState.OPTED_OUT, ChatState.PENDING, ChatState.MARKED)
_COUNTS = {
    ChatState.MARKED: "direct-count-marked",
    ChatState.PENDING: "direct-count-pending",
    ChatState.OPTED_OUT: "direct-count-opted-out",
    ChatState.CONFLICT: "direct-count-conflict",
}
_MEANING = {
    ChatState.MARKED: "direct-chat-marked",
    ChatState.PENDING: "direct-chat-pending",
    ChatState.OPTED_OUT: "direct-chat-opted-out",
    ChatState.CONFLICT: "direct-chat-conflict",
}
_MORE = {
    ChatState.MARKED: "direct-more-marked",
    ChatState.PENDING: "direct-more-pending",
    ChatState.OPTED_OUT: "direct-more-opted-out",
    ChatState.CONFLICT: "direct-more-conflict",
}
_ACCESS = {
    Access.MASQUERADE: "direct-access-rights",
    Access.TOKEN: "direct-access-token",
    Access.NONE: "direct-access-none",
}


def _counts(chats: Sequence[DirectChat]) -> str:
    if not chats:
        return phrase("direct-no-chats")
    counts = Counter(chat.state for chat in chats)
    shown = [phrase(_COUNTS[s], chats=counts[s]) for s in reversed(_ORDER) if counts[s]]
    return phrase("direct-counts", counts=", ".join(shown))


def _list(chats: Sequence[DirectChat], state: ChatState) -> list[str]:
    of_state = sorted(
        (chat for chat in chats if chat.state is state), key=lambda chat: (chat.contact, chat.room)
    )
    lines = [
        phrase(_MEANING[state], contact=code(_clip(chat.contact))) for chat in of_state[:LISTED]
    ]
    if len(of_state) > LISTED:
        lines.append(phrase(_MORE[state], chats=len(of_state) - LISTED))
    return [f"- {line}" for line in lines]


def _history_line(line: HistoryLine, now: float) -> str:
    details = [f"    - {_sentence(detail)}" for detail in line.details[:DETAILS]]
    if len(line.details) > DETAILS:
        more = phrase("direct-history-more", changes=len(line.details) - DETAILS)
        details.append(f"    - {more}")
    said = phrase("direct-history-line", when=ago(line.at, now), what=_sentence(line.sentence))
    return "\n".join([f"- {said}", *details])


def ago(at: float, now: float) -> str:
    """When something was, for a person: "3 minutes ago" within two days, else the day and time in UTC."""
    seconds = now - at
    if 3600 <= seconds < 48 * 3600:
        return phrase("time-hours-ago", hours=int(seconds // 3600))
    if 60 <= seconds < 3600:
        return phrase("time-minutes-ago", minutes=int(seconds // 60))
    if -60 <= seconds < 60:
        return phrase("time-just-now")
    try:
        then = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return phrase("time-unknown")
    return phrase("time-at", day=then.strftime("%Y-%m-%d"), time=then.strftime("%H:%M"))


_LINK = re.compile(r"https://matrix\.to/#/(?P<to>[^/?#]+)|matrix:(?P<kind>roomid)/(?P<uri>[^/?#]+)")


def room_in(text: str) -> RoomId | None:
    """The room that a room id, a matrix.to link or a matrix: URI names, or that of an event it names."""
    text = text.strip("<> ")
    if text.startswith("!"):
        return RoomId(text.partition("?")[0].partition("/")[0])
    match = _LINK.match(text)
    if match is None:
        return None
    room = "!" + unquote(match["uri"]) if match["kind"] else unquote(match["to"])
    return RoomId(room) if room.startswith("!") else None


def _clip(text: str, most: int = _NAME) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def _sentence(text: str) -> str:
    return plain(_clip(text, _SENTENCE))
