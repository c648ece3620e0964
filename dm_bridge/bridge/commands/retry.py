"""`retry`: what a person wrote and was not delivered is tried again.

The rule that must never break: only messages of the user who asks are shown or tried again; and of one that may
have arrived already, they are told so.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dm_bridge.bridge import routing
from dm_bridge.bridge.commands.direct import ago
from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import UserError
from dm_bridge.ids import GhostNamespace, RoomId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.store.undelivered import Undelivered, UndeliveredStore

DAYS = 7
"""For how many days a message is offered; what is older is hardly news to anybody."""
MOST = 200
LISTED = 10
_BEGINNING = 40
_LARGEST = 2**63 - 1
MAY_HAVE = (
    "may have arrived already. Where your network keeps an archive of what you write, I look there first and send "
    "nothing twice; where it does not, your contact may get it twice."
)


@dataclass(frozen=True, slots=True)
class _Message:
    """``text``: how it begins."""

    row: Undelivered
    text: str


class RetryCommand:
    """Runs `retry`. ``wake``: is told the rooms in which something waits again."""

    def __init__(
        self,
        store: UndeliveredStore,
        logins: Logins,
        bot: UserId,
        namespace: GhostNamespace,
        wake: Callable[[set[RoomId]], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._logins = logins
        self._bot = bot
        self._namespace = namespace
        self._wake = wake
        self._clock = clock

    async def run(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``retry``: list; ``retry all``; ``retry NUMBER…``: as listed."""
        messages, hopeless = await self._of(user)
        words = rest.lower().replace(",", " ").split()
        if not words:
            await answer(Reply(self._list(messages, hopeless)))
        elif not messages:
            await answer(Reply(_nothing(hopeless)))
        else:
            await answer(Reply(await self._retry(user, _chosen(messages, words))))

    async def _of(self, user: UserId) -> tuple[list[_Message], int]:
        """What can be tried again; and how much will fail whatever is tried."""
        messages, hopeless = [], 0
        for row in await self._store.of(user, DAYS * 86400.0, MOST):
            facts = routing.RoomFacts(owner=user)
            match routing.route(row.event, facts, bot=self._bot, namespace=self._namespace):
                case routing.Message() as message:
                    messages.append(_Message(row, _beginning(message.words)))
                case routing.Edit() as edit:
                    messages.append(_Message(row, _beginning(f"(edited) {edit.words}")))
                case routing.Reaction(emoji=emoji):
                    messages.append(_Message(row, _beginning(f"(reaction) {emoji}")))
                case routing.Redaction():
                    messages.append(_Message(row, "(deleted a message)"))
                case routing.Unsendable():
                    hopeless += 1
                case _:
                    pass
        return messages, hopeless

    def _list(self, messages: Sequence[_Message], hopeless: int) -> str:
        if not messages:
            return _nothing(hopeless)
        shown = messages[-LISTED:]
        lines = [self._line(message) for message in shown]
        earlier = len(messages) - len(shown)
        if earlier:
            lines.insert(0, f"- {earlier} earlier {'one' if earlier == 1 else 'ones'}")
        example = shown[-1].row.seq
        return "\n".join(
            [
                "These messages of yours were not delivered, or may not have been:",
                "",
                *lines,
                "",
                f"To try one again, write `retry` and its number, such as `retry {example}`; for all of them, "
                f"`retry all`.{_hopeless(hopeless)}",
            ]
        )

    def _line(self, message: _Message) -> str:
        row = message.row
        doubt = " (it may have arrived)" if row.uncertain else ""
        when = ago(row.at, self._clock())
        return f"- `{row.seq}`, to {code(row.contact)}, {when}: “{plain(message.text)}”{doubt}"

    async def _retry(self, user: UserId, chosen: Sequence[_Message]) -> str:
        able = [m for m in chosen if self._logins.session(m.row.login) is not None]
        sentences = []
        if able:
            back = await self._store.put_back(user, [message.row.seq for message in able])
            able = [message for message in able if message.row.seq in back]
            await self._wake({message.row.room for message in able})
            sentences.append(_tried(able))
        resting = {m.row.login: None for m in chosen if self._logins.session(m.row.login) is None}
        for login in resting:
            row = await self._logins.row(login)
            if row is not None:
                sentences.append(
                    f"⚠ {code(row.name)} is not connected, so what you wrote from there stays where it is: write "
                    f"`login {row.network}` first, then `retry`."
                )
        return "\n\n".join(sentences)


def _chosen(messages: Sequence[_Message], words: Sequence[str]) -> list[_Message]:
    """What somebody means; raises `UserError`."""
    if list(words) == ["all"]:
        return list(messages)
    numbers = [word.strip("#`.") for word in words]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise UserError(
            "Which message? Write `retry` to see them, then `retry` and a number, or `retry all`."
        )
    wanted = {int(number) for number in numbers if len(number) < len(str(_LARGEST))}
    chosen = [message for message in messages if message.row.seq in wanted]
    if len(chosen) < len(set(numbers)):
        missing = sorted(set(numbers) - {str(message.row.seq) for message in chosen})
        raise UserError(
            f"There is no message {', '.join(map(code, missing[:LISTED]))} to try again, so I have tried none."
            " Write `retry` to see what there is."
        )
    return chosen


def _tried(messages: Sequence[_Message]) -> str:
    if not messages:
        return "That is being tried already."
    doubtful = sum(message.row.uncertain for message in messages)
    if len(messages) == 1:
        (message,) = messages
        said = (
            f"I try it again, in its old place: “{plain(message.text)}”, to {code(message.row.contact)}. "
            "The notice below it will say how that ends."
        )
        return f"{said} It {MAY_HAVE}" if doubtful else said
    said = (
        f"I try {len(messages)} messages again, in their old places. The notice below each will say how that "
        "ends."
    )
    if doubtful:
        who = "They" if doubtful == len(messages) else f"{doubtful} of them"
        said += f" {who} {MAY_HAVE}"
    return said


def _nothing(hopeless: int) -> str:
    return (
        f"Nothing that you wrote in the last {DAYS} days can be tried again.{_hopeless(hopeless)}"
    )


def _hopeless(number: int) -> str:
    """Of what cannot be sent at all; begins with a space."""
    if not number:
        return ""
    what = "One message is" if number == 1 else f"{number} messages are"
    why = "what the bridge cannot read, such as encrypted messages, fails every time it is tried."
    return f" {what} left out: {why}"


def _beginning(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _BEGINNING else f"{flat[: _BEGINNING - 1].rstrip()}…"
