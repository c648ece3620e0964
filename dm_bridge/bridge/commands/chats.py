"""`delete-chat` and `moved`: what a person can do about one of their chats.

The rule that must never break: only chats of the user who asks are found, however they are named; a
chat that is somebody else's does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from dm_bridge.bridge.commands.direct import room_in
from dm_bridge.bridge.commands.reply import Answer, Reply, not_logged_in
from dm_bridge.bridge.commands.typed import uncopied
from dm_bridge.bridge.contact_moves import Moved
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import Portals
from dm_bridge.errors import UserError
from dm_bridge.ids import PortalKey, RoomId, UserId
from dm_bridge.matrix.formatting import code
from dm_bridge.network.api import Network, Session
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import PortalRow
from dm_bridge.texts import phrase

LISTED = 10  # chats to choose from that are shown
_LINK = re.compile(r"https://matrix\.to/#/(?P<to>[^/?]+)")


class ChatCommands:
    """Runs the commands about single chats."""

    def __init__(self, logins: Logins, portals: Portals) -> None:
        self._logins = logins
        self._portals = portals

    async def delete(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``delete-chat ROOM``: end a chat; ``ROOM``: its room, a link to it, or the contact's address."""
        row = await self._chat(user, uncopied(rest))
        login = await self._logins.row(row.key.login)
        assert login is not None
        await self._portals.delete(row, login)
        contact = code(row.contact)
        said = [phrase("delete-chat-done", contact=contact)]
        if row.room is not None:
            said.append(phrase("delete-chat-room", link=f"https://matrix.to/#/{row.room}"))
        said.append(phrase("delete-chat-again", contact=contact))
        await answer(Reply(" ".join(said)))

    async def _chat(self, user: UserId, what: str) -> PortalRow:
        if not what:
            raise UserError(phrase("delete-chat-which"))
        rows = await self._portals.store.of_owner(user)
        found = await self._matching(rows, what)
        if not found:
            raise UserError(phrase("delete-chat-none"))
        if len(found) > 1:
            rooms = ", ".join(code(str(row.room)) for row in found[:LISTED])
            raise UserError(phrase("chat-which-room", rooms=rooms))
        return found[0]

    async def _matching(self, rows: Sequence[PortalRow], what: str) -> list[PortalRow]:
        room = room_in(what)
        named = _linked(what)
        if room is None and named.startswith("#"):
            room = await self._portals.room_of_alias(named)
            if room is None:
                raise UserError(phrase("delete-chat-no-alias"))
        if room is not None:
            former = await self._portals.store.by_former_room(room)
            key = None if former is None else former.key
            return [row for row in rows if row.room == room or row.key == key]
        if named.startswith("@"):
            return [row for row in rows if row.ghost == named]
        addresses = {what.casefold(), *self._addresses(what)}
        return [row for row in rows if row.contact.casefold() in addresses]

    def _addresses(self, text: str) -> list[str]:
        found = []
        for network in self._logins.networks:
            try:
                found.append(network.parse_contact(text).casefold())
            except UserError:
                continue
        return found

    async def moved(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``moved OLD NEW``: a contact has another address on the same network."""
        words = [uncopied(word) for word in rest.split()]
        if len(words) not in (2, 3):
            raise UserError(phrase("moved-which"))
        login, session, network, row = await self._login_with(user, words)
        old, new = row.contact, network.parse_contact(words[-1])
        if new == old:
            raise UserError(phrase("moved-nowhere"))
        if new == login.remote:
            raise UserError(phrase("chat-own-address"))
        known = await session.contact(new)
        outcome = await self._portals.move_contact(
            row.key, login, network, old, new, session.chat_with(new), known.name
        )
        if outcome is not Moved.DONE:
            raise UserError(phrase("moved-taken", new=code(new), old=old))
        await answer(Reply(phrase("moved-done", old=code(old), new=code(new))))

    async def _login_with(
        self, user: UserId, words: list[str]
    ) -> tuple[LoginRow, Session, Network, PortalRow]:
        """The one login that has a chat with the old address; the first of three words may name it."""
        logins = self._logins.of(user)
        if not logins:
            raise UserError(not_logged_in(self._logins.networks))
        if len(words) == 3:
            name = words[0].lower()
            logins = [row for row in logins if name in (row.id, row.name.lower(), row.remote)]
            if not logins:
                raise UserError(phrase("login-no-such"))
        found = []
        for login in logins:
            session = self._logins.session(login.id)
            if session is None:
                continue
            network = self._logins.network(login.network)
            try:
                old = network.parse_contact(words[-2])
            except UserError:
                if len(logins) == 1:
                    raise
                continue
            key = PortalKey(login.id, session.chat_with(old))
            row = await self._portals.store.get(key)
            if row is not None:
                found.append((login, session, network, row))
        if not found:
            raise UserError(phrase("moved-no-chat"))
        if len(found) > 1:
            commands = ", ".join(
                f"`moved {login.id} {row.contact} …` ({code(login.name)})"
                for login, _, _, row in found
            )
            raise UserError(phrase("moved-which-login", commands=commands))
        return found[0]


def _linked(text: str) -> str:
    """The alias or user that a matrix.to link is to; otherwise ``text``."""
    match = _LINK.match(text.strip("<> "))
    return unquote(match["to"]) if match is not None else text
