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

LISTED = 10  # chats shown of each kind
HISTORY, MOST_HISTORY = 10, 50  # lines of history, unless asked for more, and at most
DETAILS = 5  # shown of one line of history
_NAME = 100  # characters of a contact's address that are shown
_SENTENCE = 200  # characters of a sentence that are shown
_ROOMY = 10_000  # bytes of history; with formatting, an event of 64 KiB holds it

USAGE = """\
- `direct`: your direct chats, and how I look after them
- `direct mark CHAT`: this chat is a direct one
- `direct unmark CHAT`: it is not, and I leave it so
- `direct repair`: look now, and put right what is wrong
- `direct history [N]`: what was changed, by whom

CHAT is your contact's address, or the room's id or link."""


class ChatState(enum.Enum):
    """Where a chat stands; the value is the word that people read."""

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
                text = f"You can write:\n\n{USAGE}"
            case _:
                text = f"I do not know this. You can write:\n\n{USAGE}"
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
            parts += [_ACCESS[status.access], _sentence(status.observed) + self._seen(status)]
        return "\n\n".join(part for part in parts if part)

    def _needs_login(self, user: UserId, status: DirectStatus) -> bool:
        """Whether a login is what is missing: without one there is nothing to look after, and no access."""
        return status.access is Access.NONE and not self._logged_in(user)

    def _seen(self, status: DirectStatus) -> str:
        if status.last_seen is None:
            return " I have not looked yet."
        return f" I last looked {ago(status.last_seen, self._clock())}."

    async def _decide(self, user: UserId, what: str, *, mark: bool) -> str:
        if not what:
            verb = "mark" if mark else "unmark"
            raise UserError(f"Which chat? For example: `direct {verb} juliet@example.org`")
        status = await self._view.status(user)
        if self._needs_login(user, status):
            raise UserError(not_logged_in(self._networks()))
        chat = self._choose(status.chats, what)
        contact = code(_clip(chat.contact))
        if mark:
            await self._view.mark(user, chat.room)
            text = f"Your chat with {contact} is a direct chat, and I keep it so."
        else:
            await self._view.unmark(user, chat.room)
            text = (
                f"I take your chat with {contact} out of your direct chats, and leave it out. "
                "`direct mark` reverses that."
            )
        return f"{text} {_LATER}" if status.access is Access.NONE else text

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
            raise UserError(
                "None of your bridged chats is that one. Give your contact's address, or the room's id or "
                "link; `direct` lists your chats."
            )
        if len(found) > 1:
            choice = ", ".join(code(chat.room) for chat in found[:LISTED])
            raise UserError(f"You have several chats with this contact. Which room? {choice}")
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
            return _ACCESS[Access.NONE]
        return _sentence((await self._view.repair(user)).sentence)

    async def _history(self, user: UserId, what: str) -> str:
        limit = HISTORY
        if what:
            if re.fullmatch(r"[0-9]{1,9}", what) is None or int(what) < 1:
                raise UserError("How many changes? For example: `direct history 20`")
            limit = min(int(what), MOST_HISTORY)
        lines = list(await self._view.history(user, limit))[-limit:]
        if not lines:
            return "I have seen no changes of your direct chats yet."
        now = self._clock()
        shown: list[str] = []
        size = 0
        for line in reversed(lines):
            text = _history_line(line, now)
            size += len(text.encode())
            if size > _ROOMY and shown:
                break
            shown.append(text)
        return "\n".join(["What was changed, newest last:", "", *reversed(shown)])


_ORDER = (ChatState.CONFLICT, ChatState.OPTED_OUT, ChatState.PENDING, ChatState.MARKED)
_MEANING = {
    ChatState.MARKED: "marked as direct",
    ChatState.PENDING: "waiting to be marked",
    ChatState.OPTED_OUT: "left out, because you want it so",
    ChatState.CONFLICT: "in conflict: another app keeps undoing the mark, so I stopped "
    "(`direct mark` tries again)",
}
_ACCESS = {
    Access.MASQUERADE: "I act for your account with the rights that your server gives me.",
    Access.TOKEN: "I act for your account with the token that you gave me (`logout-matrix` takes it back).",
    Access.NONE: "I have no access to your account, so I cannot look after your direct chats. "
    "With `login-matrix` you can give me a token for it.",
}
_LATER = "I have no access to your account now; I write it down there when I have (`login-matrix`)."


def _counts(chats: Sequence[DirectChat]) -> str:
    if not chats:
        return "You have no bridged chats."
    counts = Counter(chat.state for chat in chats)
    words = {ChatState.CONFLICT: "in conflict"}
    shown = [f"{counts[s]} {words.get(s, s.value)}" for s in reversed(_ORDER) if counts[s]]
    return f"Your direct chats: {', '.join(shown)}."


def _list(chats: Sequence[DirectChat], state: ChatState) -> list[str]:
    of_state = sorted(
        (chat for chat in chats if chat.state is state), key=lambda chat: (chat.contact, chat.room)
    )
    lines = [f"- {code(_clip(chat.contact))}: {_MEANING[state]}" for chat in of_state[:LISTED]]
    if len(of_state) > LISTED:
        words = "in conflict" if state is ChatState.CONFLICT else state.value
        lines.append(f"- and {len(of_state) - LISTED} more {words}")
    return lines


def _history_line(line: HistoryLine, now: float) -> str:
    details = [f"    - {_sentence(detail)}" for detail in line.details[:DETAILS]]
    if len(line.details) > DETAILS:
        details.append(f"    - and {len(line.details) - DETAILS} more")
    return "\n".join([f"- {ago(line.at, now)}: {_sentence(line.sentence)}", *details])


def ago(at: float, now: float) -> str:
    """When something was, for a person: "3 minutes ago" within two days, else the day and time in UTC."""
    seconds = now - at
    for size, word in ((3600.0, "hour"), (60.0, "minute")):
        if size <= seconds < 48 * 3600:
            number = int(seconds // size)
            return f"{number} {word}{'' if number == 1 else 's'} ago"
    if -60 <= seconds < 60:
        return "just now"
    try:
        return datetime.fromtimestamp(at, UTC).strftime("on %Y-%m-%d at %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"


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
