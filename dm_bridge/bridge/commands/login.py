"""Logging in, as a conversation: one question per message, in one room, with one user.

The rule that must never break: a message that answers with a secret is redacted before the network
is even asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.commands.typed import uncopied
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import BridgeError, CredentialsError, NetworkError, UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import Network
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField, LoginProcess

TOO_LONG = "That took too long, so I have stopped the login. Write `login` to begin again."
PATIENCE = 600.0  # seconds after which an unanswered question is no longer waiting


@dataclass
class _Dialogue:
    network: Network
    process: LoginProcess
    step: AskStep
    values: dict[str, str] = field(default_factory=dict, repr=False)
    expiry: asyncio.Task[None] | None = None
    answer: Answer | None = None

    @property
    def question(self) -> LoginField:
        """The first field without a value."""
        return next(f for f in self.step.fields if f.name not in self.values)

    @property
    def complete(self) -> bool:
        return all(f.name in self.values for f in self.step.fields)


class LoginDialogues:
    """The logins that users are in the middle of. They do not survive a restart, by design."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._open: dict[tuple[RoomId, UserId], _Dialogue] = {}

    def is_open(self, room: RoomId, user: UserId) -> bool:
        """Whether the next message of ``user`` in ``room`` is an answer."""
        return (room, user) in self._open

    async def open(
        self, user: UserId, room: RoomId, network: Network, given: str, answer: Answer
    ) -> None:
        """Begin, with the values that were given along: words in the order of the fields.

        The last field takes all that is left, so that a password may contain spaces.
        """
        await self.cancel(room, user)
        process = network.start_login()
        step = process.start()
        dialogue = _Dialogue(network, process, step)
        self._wait(room, user, dialogue)
        values = given.split(maxsplit=len(step.fields) - 1)
        self._open[(room, user)] = dialogue
        self._logins.begin(user)
        dialogue.answer = answer
        given_fields = list(zip(step.fields, values, strict=False))
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
            dialogue.process.check(question.name, value)
        except UserError as error:
            await answer(
                Reply(
                    f"⚠ {plain(str(error))} {_ask(dialogue.question)}",
                    asks_secret=dialogue.question.kind is FieldKind.SECRET,
                )
            )
            return False
        dialogue.values[question.name] = value
        return True

    async def submit(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        """Take a message as the answer to the question that is open."""
        dialogue = self._open[(room, user)]
        question = dialogue.question
        dialogue.answer = answer
        self._wait(room, user, dialogue)
        if question.kind is FieldKind.SECRET:
            await answer(Reply("", hide_request=True))
        if await self._take(dialogue, question, text.strip(), answer):
            await self._go_on(user, room, dialogue, answer)

    async def cancel(self, room: RoomId, user: UserId) -> bool:
        """Stop; whether there was something to stop."""
        if (room, user) not in self._open:
            return False
        await self._close(room, user)
        return True

    async def _go_on(self, user: UserId, room: RoomId, dialogue: _Dialogue, answer: Answer) -> None:
        if not dialogue.complete:
            await answer(_question(dialogue))
            return
        goes_on = succeeded = False
        try:
            await answer(Reply("Logging in…"))
            step = await dialogue.process.submit(dict(dialogue.values))
            if isinstance(step, AskStep):
                dialogue.step, dialogue.values, goes_on = step, {}, True
                await answer(_question(dialogue))
            else:
                succeeded = True
                await self._done(user, dialogue.network, step, answer)
        except (UserError, CredentialsError, NetworkError) as error:
            await answer(
                Reply(f"⚠ {plain(str(error))} To try again, write `login {dialogue.network.name}`.")
            )
        finally:
            if not goes_on and self._open.get((room, user)) is dialogue:
                await self._close(room, user, cancel=not succeeded)

    async def _done(self, user: UserId, network: Network, done: LoginDone, answer: Answer) -> None:
        await self._logins.add(user, network.name, done)
        await answer(
            Reply(
                f"You are logged in to {network.title} as {code(done.name)}. "
                "Your private chats will appear as they come; write `start` and an address to open one."
            )
        )

    def _wait(self, room: RoomId, user: UserId, dialogue: _Dialogue) -> None:
        """Give up unless there is an answer in time."""

        async def expire() -> None:
            await asyncio.sleep(PATIENCE)
            dialogue.expiry = None
            if self._open.get((room, user)) is dialogue:
                await self._close(room, user)
                if dialogue.answer is not None:
                    with contextlib.suppress(BridgeError):
                        await dialogue.answer(Reply(TOO_LONG))

        if dialogue.expiry is not None:
            dialogue.expiry.cancel()
        dialogue.expiry = asyncio.create_task(expire(), name="login dialogue")

    async def _close(self, room: RoomId, user: UserId, *, cancel: bool = True) -> None:
        dialogue = self._open.pop((room, user))
        if dialogue.expiry is not None:
            dialogue.expiry.cancel()
        self._logins.end(user)
        if cancel:
            await dialogue.process.cancel()


def _question(dialogue: _Dialogue) -> Reply:
    question = dialogue.question
    instructions = "" if dialogue.values else dialogue.step.instructions
    return Reply(
        f"{instructions} {_ask(question)}".lstrip(), asks_secret=question.kind is FieldKind.SECRET
    )


def _ask(question: LoginField) -> str:
    hint = " I will remove your message at once." if question.kind is FieldKind.SECRET else ""
    return f"Please send your {question.label}.{hint} (`cancel` stops.)"
