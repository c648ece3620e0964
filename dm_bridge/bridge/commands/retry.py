"""`retry`: what a person wrote and was not delivered is tried again.

The rule that must never break: only messages of the user who asks are shown or tried again; and of one that may
have arrived already, they are told so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dm_bridge.bridge.commands.direct import ago
from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.second_tries import DAYS, SecondTries, Written
from dm_bridge.errors import UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.formatting import code, plain

LISTED = 10
_BEGINNING = 40
_LARGEST = 2**63 - 1
MAY_HAVE = (
    "may have arrived already. Where your network keeps an archive of what you write, I look there first and send "
    "nothing twice; where it does not, your contact may get it twice."
)


class RetryCommand:
    """Runs `retry`."""

    def __init__(self, tries: SecondTries, clock: Callable[[], float] = time.time) -> None:
        self._tries = tries
        self._clock = clock

    async def run(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``retry``: list; ``retry all``; ``retry NUMBER…``: as listed."""
        messages, beyond_hope = await self._tries.written(user)
        hopeless = len(beyond_hope)
        words = rest.lower().replace(",", " ").split()
        if not words:
            await answer(Reply(self._list(messages, hopeless)))
        elif not messages:
            await answer(Reply(_nothing(hopeless)))
        else:
            await answer(Reply(await self._retry(user, _chosen(messages, words))))

    def _list(self, messages: Sequence[Written], hopeless: int) -> str:
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

    def _line(self, message: Written) -> str:
        row = message.row
        doubt = " (it may have arrived)" if row.uncertain else ""
        when = ago(row.at, self._clock())
        return f"- `{row.seq}`, to {code(row.contact)}, {when}: “{plain(_beginning(message.text))}”{doubt}"

    async def _retry(self, user: UserId, chosen: Sequence[Written]) -> str:
        tried = await self._tries.send_again(user, chosen)
        sentences = [
            f"⚠ {code(row.name)} is not connected, so what you wrote from there stays where it is: write "
            f"`login {row.network}` first, then `retry`."
            for row in tried.resting
        ]
        if any(self._tries.is_connected(each.row.login) for each in chosen):
            sentences.insert(0, _tried(tried.done))
        return "\n\n".join(sentences)


def _chosen(messages: Sequence[Written], words: Sequence[str]) -> list[Written]:
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


def _tried(messages: Sequence[Written]) -> str:
    if not messages:
        return "That is being tried already."
    doubtful = sum(message.row.uncertain for message in messages)
    if len(messages) == 1:
        (message,) = messages
        said = (
            f"I try it again, in its old place: “{plain(_beginning(message.text))}”, to "
            f"{code(message.row.contact)}. The notice below it will say how that ends."
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
