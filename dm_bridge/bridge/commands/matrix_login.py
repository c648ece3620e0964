"""`login-matrix` and `logout-matrix`: a user gives the bridge a token for their own account.

The rule that must never break: a message that holds a token is redacted before anybody is asked about
the token; and no answer repeats it.
"""

from __future__ import annotations

import re

from dm_bridge.bridge.access import MatrixTokens
from dm_bridge.bridge.commands.questions import Questions
from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import BridgeError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.texts import phrase

_SHORT_LIVED = "mat_"  # what access tokens of the Matrix Authentication Service begin with
_TOKEN_LIKE = re.compile(r"(?:syt|mat|mct)_\w{8,}|MDAx[\w-]{40,}")


class MatrixLogin:
    """The two commands, and the questions that are open. These do not survive a restart, by design."""

    def __init__(self, tokens: MatrixTokens, logins: Logins) -> None:
        self._tokens = tokens
        self._logins = logins
        self._questions = Questions("matrix-too-long", logins.end)

    def is_open(self, room: RoomId, user: UserId) -> bool:
        """Whether the next message of ``user`` in ``room`` is a token."""
        return self._questions.is_open(room, user)

    async def login(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`login-matrix [TOKEN]`."""
        await self.cancel(room, user)
        self._begin(user, room, answer)
        if rest:
            await self.submit(user, room, rest, answer)
            return
        text = phrase("matrix-ask", user=code(user))
        if self._tokens.access(user) is Access.MASQUERADE:
            text = f"{phrase('matrix-not-needed')}\n\n{text}"
        await answer(Reply(text, asks_secret=True))

    async def submit(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        """Take a message as the token."""
        await answer(Reply(phrase("matrix-looking"), hide_request=True))
        token = _token_in(text)
        try:
            try:
                await self._tokens.give(user, token)
            except BridgeError as error:
                await answer(Reply(f"⚠ {plain(str(error))} {phrase('matrix-try-again')}"))
                return
            words = [phrase("matrix-taken")]
            if token.startswith(_SHORT_LIVED):
                words.append(phrase("matrix-short-lived"))
            # hidden again: where the bot had not the power, the user's new token has it
            await answer(Reply(" ".join(words), hide_request=True))
        finally:
            await self.cancel(room, user)

    async def cancel(self, room: RoomId, user: UserId) -> bool:
        """Stop asking; whether there was something to stop."""
        return self._questions.close(room, user)

    async def logout(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`logout-matrix`."""
        if not await self._tokens.forget(user):
            await answer(Reply(phrase("matrix-no-token")))
            return
        keeps = self._tokens.access(user) is Access.MASQUERADE
        access = phrase("matrix-still-access" if keeps else "matrix-no-access")
        await answer(Reply(f"{phrase('matrix-forgotten')} {access}"))

    def _begin(self, user: UserId, room: RoomId, answer: Answer) -> None:
        """Wait for a token."""
        self._questions.open(room, user, answer)
        self._logins.begin(user)


def holds_token(text: str) -> bool:
    """Whether a message that is no command seems to hold an access token."""
    return _TOKEN_LIKE.search(text) is not None


def _token_in(text: str) -> str:
    """The token in what a person pasted: without quotes around it, and without what they wrote before."""
    words = text.split()
    while words and words[0].lower().strip("!/:.") in ("login-matrix", "bearer"):
        words = words[1:]
    return " ".join(words).strip("`'\"<>“”‘’")
