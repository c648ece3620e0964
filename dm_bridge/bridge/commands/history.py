"""`history`: older messages of a chat.

The rule that must never break: only chats of the user who asks are looked into.
"""

from __future__ import annotations

from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.commands.resolving import Resolving
from dm_bridge.bridge.older import MOST, Older
from dm_bridge.errors import UserError
from dm_bridge.ids import PortalKey, RoomId, UserId
from dm_bridge.matrix.formatting import code
from dm_bridge.network.api import capabilities_of
from dm_bridge.network.history import History
from dm_bridge.texts import phrase

USUALLY = 20


class HistoryCommand:
    """Runs the command."""

    def __init__(self, older: Older, resolving: Resolving) -> None:
        self._older = older
        self._resolving = resolving

    async def run(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``history [ID] WHO [N]``: the ``N`` messages before those that are in the chat."""
        who, messages = _asked(rest)
        meant = await self._resolving.meant(user, who, "history")
        session, contact = meant.session, code(meant.contact)
        if not (capabilities_of(session).history and isinstance(session, History)):
            raise UserError(phrase("history-no-record", login=code(meant.login.name)))
        key = PortalKey(meant.login.id, meant.session.chat_with(meant.contact))
        found, more = await self._older.bring(user, key, session, messages)
        if found:
            said = [phrase("history-found", messages=found, contact=contact)]
        else:
            said = [phrase("history-nothing-yet" if more else "history-nothing", contact=contact)]
        if more:
            again = code(f"history {meant.contact} {messages}")
            said.append(phrase("history-more", command=again))
        await answer(Reply(" ".join(said)))


def _asked(rest: str) -> tuple[str, int]:
    """Whom, and how many. Raises `UserError`."""
    who, _, last = rest.strip().rpartition(" ")
    if who and last.isascii() and last.isdigit():
        number = int(last) if len(last) < 6 else 0
        if not 0 < number <= MOST:
            raise UserError(phrase("history-how-many", most=MOST))
        return who.strip(), number
    if not rest:
        raise UserError(phrase("history-whom"))
    return rest, USUALLY
