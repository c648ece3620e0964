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
from dm_bridge.texts import phrase

LISTED = 10
_BEGINNING = 40
_LARGEST = 2**63 - 1


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
        lines = [f"- {self._line(message)}" for message in shown]
        earlier = len(messages) - len(shown)
        if earlier:
            lines.insert(0, f"- {phrase('retry-earlier', messages=earlier)}")
        said = phrase("retry-list", messages="\n".join(lines), example=str(shown[-1].row.seq))
        return " ".join([said, *_left_out(hopeless)])

    def _line(self, message: Written) -> str:
        row = message.row
        return phrase(
            "retry-line-uncertain" if row.uncertain else "retry-line",
            number=str(row.seq),
            contact=code(row.contact),
            when=ago(row.at, self._clock()),
            text=plain(_beginning(message.text)),
        )

    async def _retry(self, user: UserId, chosen: Sequence[Written]) -> str:
        tried = await self._tries.send_again(user, chosen)
        sentences = [
            phrase("retry-not-connected", login=code(row.name), network=row.network)
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
        raise UserError(phrase("retry-which"))
    wanted = {int(number) for number in numbers if len(number) < len(str(_LARGEST))}
    chosen = [message for message in messages if message.row.seq in wanted]
    if len(chosen) < len(set(numbers)):
        missing = sorted(set(numbers) - {str(message.row.seq) for message in chosen})
        raise UserError(phrase("retry-no-such", numbers=", ".join(map(code, missing[:LISTED]))))
    return chosen


def _tried(messages: Sequence[Written]) -> str:
    if not messages:
        return phrase("retry-already")
    doubtful = sum(message.row.uncertain for message in messages)
    if len(messages) == 1:
        (message,) = messages
        text, contact = plain(_beginning(message.text)), code(message.row.contact)
        said = [phrase("retry-one", text=text, contact=contact)]
        doubt = phrase("retry-one-uncertain")
    else:
        said = [phrase("retry-several", messages=len(messages))]
        doubt = (
            phrase("retry-all-uncertain")
            if doubtful == len(messages)
            else phrase("retry-some-uncertain", messages=doubtful)
        )
    return " ".join([*said, doubt, phrase("retry-twice")] if doubtful else said)


def _nothing(hopeless: int) -> str:
    return " ".join([phrase("retry-nothing", days=DAYS), *_left_out(hopeless)])


def _left_out(number: int) -> list[str]:
    """What is said of what cannot be sent at all."""
    return [phrase("retry-left-out", messages=number)] if number else []


def _beginning(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _BEGINNING else f"{flat[: _BEGINNING - 1].rstrip()}…"
