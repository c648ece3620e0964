"""Logging in, as a conversation: one question per message, in one room, with one user.

The rule that must never break: a message that answers with a secret is redacted before the network
is even asked.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import assert_never

from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.commands.typed import uncopied
from dm_bridge.bridge.login_attempts import LoginAttempt
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import BridgeError, CredentialsError, NetworkError, UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import Network
from dm_bridge.network.login import AskStep, Display, FieldKind, LoginField, WaitStep
from dm_bridge.store.logins import LoginRow
from dm_bridge.texts import phrase


@dataclass
class _Dialogue:
    attempt: LoginAttempt
    values: dict[str, str] = field(default_factory=dict, repr=False)
    answer: Answer | None = None

    @property
    def questions(self) -> list[LoginField]:
        """The fields without a value, in order."""
        step = self.attempt.step
        fields = step.fields if isinstance(step, AskStep) else ()
        return [each for each in fields if each.name not in self.values]


class LoginDialogues:
    """The logins that users are in the middle of. They do not survive a restart, by design."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._open: dict[tuple[RoomId, UserId], _Dialogue] = {}

    def is_open(self, room: RoomId, user: UserId) -> bool:
        """Whether the next message of ``user`` in ``room`` is an answer."""
        return (room, user) in self._open

    def asks_secret(self, room: RoomId, user: UserId) -> bool:
        """Whether the open question is for a password or the like, which may be any text."""
        asked = self._open[(room, user)].questions
        return bool(asked) and asked[0].kind is FieldKind.SECRET

    async def open(
        self, user: UserId, room: RoomId, network: Network, given: str, answer: Answer
    ) -> None:
        """Begin, with the values that were given along: words in the order of the fields.

        The last field takes all that is left, so that a password may contain spaces.
        """
        await self.cancel(room, user)
        dialogue = _Dialogue(await LoginAttempt.begin(self._logins, user, network))
        self._open[(room, user)] = dialogue
        self._wait(room, user, dialogue)
        fields = dialogue.questions
        values = given.split(maxsplit=len(fields) - 1)
        dialogue.answer = answer
        given_fields = list(zip(fields, values, strict=False))
        if any(field_.kind is FieldKind.SECRET for field_, _ in given_fields):
            await answer(
                Reply("", hide_request=True)
            )  # before anything is found wrong with the rest
        for field_, value in given_fields:
            if not await self._take(dialogue, field_, value, answer):
                return
        await self._go_on(user, room, dialogue, answer)

    async def _take(
        self, dialogue: _Dialogue, question: LoginField, value: str, answer: Answer
    ) -> bool:
        """Take a value, or ask for it again, with the reason."""
        if question.kind is not FieldKind.SECRET:
            value = uncopied(value)
        try:
            dialogue.attempt.check(question.name, value)
        except UserError as error:
            asked = dialogue.questions[0]
            await answer(
                Reply(
                    f"⚠ {plain(str(error))} {_ask(asked)}",
                    asks_secret=asked.kind is FieldKind.SECRET,
                )
            )
            return False
        dialogue.values[question.name] = value
        return True

    async def submit(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        """Take a message as the answer to the question that is open."""
        dialogue = self._open[(room, user)]
        dialogue.answer = answer
        self._wait(room, user, dialogue)
        if questions := dialogue.questions:
            if questions[0].kind is FieldKind.SECRET:
                await answer(Reply("", hide_request=True))
            if not await self._take(dialogue, questions[0], text.strip(), answer):
                return
        await self._go_on(user, room, dialogue, answer)

    async def cancel(self, room: RoomId, user: UserId) -> bool:
        """Stop; whether there was something to stop."""
        if (room, user) not in self._open:
            return False
        await self._open.pop((room, user)).attempt.close()
        return True

    async def _go_on(self, user: UserId, room: RoomId, dialogue: _Dialogue, answer: Answer) -> None:
        if dialogue.questions:
            await answer(_question(dialogue))
            return
        attempt, goes_on = dialogue.attempt, False
        try:
            await answer(Reply(phrase("login-asking")))
            row = await attempt.submit(dialogue.values)
            if row is None:
                dialogue.values, goes_on = {}, True
                await answer(_question(dialogue))
            else:
                await answer(_done(attempt.network, row))
        except (UserError, CredentialsError, NetworkError) as error:
            again = phrase("login-try-again", network=attempt.network.name)
            await answer(Reply(f"⚠ {plain(str(error))} {again}"))
        finally:
            if not goes_on:
                await self._close(room, user, dialogue)

    def _wait(self, room: RoomId, user: UserId, dialogue: _Dialogue) -> None:
        """Give up unless there is an answer in time."""

        async def expired() -> None:
            if await self._close(room, user, dialogue) and dialogue.answer is not None:
                with contextlib.suppress(BridgeError):
                    await dialogue.answer(Reply(phrase("login-too-long")))

        dialogue.attempt.wait(expired)

    async def _close(self, room: RoomId, user: UserId, dialogue: _Dialogue) -> bool:
        """End a dialogue; whether it was still the one that is open."""
        current = self._open.get((room, user)) is dialogue
        if current:
            del self._open[(room, user)]
        await dialogue.attempt.close()
        return current


def _done(network: Network, row: LoginRow) -> Reply:
    return Reply(phrase("login-done", network=network.title, login=code(row.name)))


def _question(dialogue: _Dialogue) -> Reply:
    step = dialogue.attempt.step
    if isinstance(step, WaitStep):
        return Reply(_show(step))
    question = dialogue.questions[0]
    instructions = "" if dialogue.values else step.instructions
    return Reply(
        f"{instructions} {_ask(question)}".lstrip(), asks_secret=question.kind is FieldKind.SECRET
    )


def _show(step: WaitStep) -> str:
    match step.display:
        case Display.QR:
            shown = phrase("login-show-qr", data=code(step.data))
        case Display.CODE:
            shown = phrase("login-show-code", data=code(step.data))
        case Display.NOTHING:
            shown = ""
        case _:
            assert_never(step.display)
    done = phrase("login-when-done")
    return " ".join(part for part in (step.instructions, shown, done) if part)


def _ask(question: LoginField) -> str:
    secret = question.kind is FieldKind.SECRET
    return phrase("login-ask-secret" if secret else "login-ask", what=question.label)
