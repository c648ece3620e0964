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

TOO_LONG = "That took too long, so I have stopped. Write `login-matrix` to begin again."
NOT_NEEDED = (
    "I can already act for your account, so I need no token; you may give me one all the same."
)
ASK = """\
Please send me an access token of {user}. With it I keep your direct chats in order, accept the invites to \
your bridged chats, and show what you write with other apps as yours. It opens your whole account, so give it \
only to a bridge whose admin you trust.

Best is a token of its own: log in once more with your password, in a private browser window; copy the token \
there (in Element: *All settings*, *Help & About*, *Access Token*), and close the window without signing out. \
The token of the app that you use works too, but ends when you sign out of that app.

I will remove your message at once. (`cancel` stops.)"""
TAKEN = (
    "The token works, and I keep it encrypted. Do not sign its session out, or I lose access. "
    "`logout-matrix` makes me forget it."
)
SHORT_LIVED = (
    "It looks like one of those that end after a few minutes; when it does, I tell you. "
    "One from a new login with your password lasts."
)
FORGOTTEN = (
    "I have forgotten your token. I have not signed its session out, because that may be the app that you "
    "use: if it was made for me, sign it out in the list of your sessions."
)

_SHORT_LIVED = "mat_"  # what access tokens of the Matrix Authentication Service begin with
_TOKEN_LIKE = re.compile(r"(?:syt|mat|mct)_\w{8,}|MDAx[\w-]{40,}")


class MatrixLogin:
    """The two commands, and the questions that are open. These do not survive a restart, by design."""

    def __init__(self, tokens: MatrixTokens, logins: Logins) -> None:
        self._tokens = tokens
        self._logins = logins
        self._questions = Questions(TOO_LONG, logins.end)

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
        text = ASK.format(user=code(user))
        if self._tokens.access(user) is Access.MASQUERADE:
            text = f"{NOT_NEEDED}\n\n{text}"
        await answer(Reply(text, asks_secret=True))

    async def submit(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        """Take a message as the token."""
        await answer(Reply("Looking at it…", hide_request=True))
        token = _token_in(text)
        try:
            try:
                await self._tokens.give(user, token)
            except BridgeError as error:
                await answer(Reply(f"⚠ {plain(str(error))} To try again, write `login-matrix`."))
                return
            words = f"{TAKEN} {SHORT_LIVED}" if token.startswith(_SHORT_LIVED) else TAKEN
            # hidden again: where the bot had not the power, the user's new token has it
            await answer(Reply(words, hide_request=True))
        finally:
            await self.cancel(room, user)

    async def cancel(self, room: RoomId, user: UserId) -> bool:
        """Stop asking; whether there was something to stop."""
        return self._questions.close(room, user)

    async def logout(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`logout-matrix`."""
        if not await self._tokens.forget(user):
            await answer(Reply("You have given me no token."))
            return
        rest_of_access = (
            " I can still act for your account without it."
            if self._tokens.access(user) is Access.MASQUERADE
            else " Your direct chats stay as they are, and I no longer look after them."
        )
        await answer(Reply(FORGOTTEN + rest_of_access))

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
