"""The bot's commands: one line of text in, short answers out.

The rule that must never break: a command acts for the user who wrote it, and for nobody else; and
what a person typed is never quoted back where it may hold a password.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from dm_bridge import __version__
from dm_bridge.bridge.access import MatrixTokens
from dm_bridge.bridge.commands.admin import AdminCommands
from dm_bridge.bridge.commands.chats import ChatCommands
from dm_bridge.bridge.commands.data import DataCommands
from dm_bridge.bridge.commands.direct import DirectCommands, DirectView
from dm_bridge.bridge.commands.history import HistoryCommand
from dm_bridge.bridge.commands.login import LoginDialogues
from dm_bridge.bridge.commands.matrix_login import MatrixLogin, holds_token
from dm_bridge.bridge.commands.page import PageCommand
from dm_bridge.bridge.commands.people import PeopleCommands
from dm_bridge.bridge.commands.reply import Answer, Reply, choice
from dm_bridge.bridge.commands.resolving import Resolving
from dm_bridge.bridge.commands.retry import RetryCommand
from dm_bridge.bridge.commands.space import SpaceCommand
from dm_bridge.bridge.commands.standing import words_for
from dm_bridge.bridge.commands.typed import uncopied
from dm_bridge.bridge.commands.which import which_login
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.older import Older
from dm_bridge.bridge.portal import Portals
from dm_bridge.errors import BridgeError, UserError
from dm_bridge.ids import GhostNamespace, NetworkName, RoomId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import Network
from dm_bridge.network.events import SessionStatus
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.people import PeopleStore
from dm_bridge.texts import phrase

__all__ = ["Answer", "Commands", "Reply"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Command:
    """``help``: the message that says how it is written, and what for. ``by_login``: one of several is named."""

    help: str
    run: Callable[[UserId, RoomId, str, Answer], Awaitable[None]]
    by_login: bool = False


class Dialogues(Protocol):
    """Questions that wait for the next message of a user in a room."""

    def is_open(self, room: RoomId, user: UserId) -> bool: ...
    async def submit(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None: ...
    async def cancel(self, room: RoomId, user: UserId) -> bool: ...


class Commands:
    """Runs commands. Those about what is None are missing."""

    def __init__(
        self,
        logins: Logins,
        portals: Portals,
        namespace: GhostNamespace,
        people: PeopleStore,
        *,
        tokens: MatrixTokens | None = None,
        direct: DirectView | None = None,
        retry: RetryCommand | None = None,
        older: Older | None = None,
        page: PageCommand | None = None,
        space: SpaceCommand | None = None,
        data: DataCommands | None = None,
        admin: AdminCommands | None = None,
    ) -> None:
        self._logins = logins
        self._portals = portals
        self._dialogues = LoginDialogues(logins)
        self._all_dialogues: list[Dialogues] = [self._dialogues]
        self._admin = admin
        self._commands = {
            "help": _Command("help-help", self._help),
            "login": _Command("help-login", self._login),
            "logins": _Command("help-logins", self._list),
            "logout": _Command("help-logout", self._logout, by_login=True),
        }
        resolving = Resolving(logins, portals.store, namespace)
        self._add_people(PeopleCommands(logins, portals, resolving, people))
        if older is not None:
            history = HistoryCommand(older, resolving)
            self._commands["history"] = _Command("help-history", history.run, by_login=True)
        if retry is not None:
            self._commands["retry"] = _Command("help-retry", retry.run)
        self._add_chats(ChatCommands(logins, portals))
        if direct is not None:
            self._add_direct(
                DirectCommands(direct, lambda: logins.networks, lambda user: bool(logins.of(user)))
            )
        if tokens is not None:
            self._add_matrix(MatrixLogin(tokens, logins))
        if page is not None:
            self._commands["page"] = _Command("help-page", page.run)
        if space is not None:
            self._commands["space"] = _Command("help-space", space.run, by_login=True)
        if data is not None:
            self._add_data(data)
        self._commands |= {
            "ping": _Command("help-ping", self._ping),
            "cancel": _Command("help-cancel", self._cancel),
        }

    def _add_people(self, people: PeopleCommands) -> None:
        self._people = people
        self._commands |= {
            "start": _Command("help-start", people.start, by_login=True),
            "contacts": _Command("help-contacts", people.contacts, by_login=True),
            "search": _Command("help-search", people.search, by_login=True),
            "accept": _Command("help-accept", people.accept, by_login=True),
            "decline": _Command("help-decline", people.decline, by_login=True),
            "block": _Command("help-block", people.block, by_login=True),
            "unblock": _Command("help-unblock", people.unblock, by_login=True),
        }

    def first_step(self, user: UserId) -> str:
        """What somebody who has just come can do next."""
        if self._logins.of(user) or not self._logins.networks:
            return phrase("first-step")
        return phrase("first-step-login", commands=self._ways_in())

    def _ways_in(self) -> str:
        """How to log in to each network; empty when there is none."""
        return choice(f"`login {n.name}` ({n.title})" for n in self._logins.networks)

    async def stop(self) -> None:
        """Give up what goes on in the background."""
        await self._people.stop()

    def _add_chats(self, chats: ChatCommands) -> None:
        self._commands |= {
            "delete-chat": _Command("help-delete-chat", chats.delete),
            "moved": _Command("help-moved", chats.moved, by_login=True),
        }

    def _add_direct(self, direct: DirectCommands) -> None:
        async def run(user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
            await direct.run(user, rest, answer)

        self._commands["direct"] = _Command("help-direct", run)

    def _add_matrix(self, matrix: MatrixLogin) -> None:
        self._all_dialogues.append(matrix)
        self._commands |= {
            "login-matrix": _Command("help-login-matrix", matrix.login),
            "logout-matrix": _Command("help-logout-matrix", matrix.logout),
        }

    def _add_data(self, data: DataCommands) -> None:
        self._all_dialogues.append(data)
        self._commands |= {
            "export-my-data": _Command("help-export-my-data", data.export),
            "delete-my-data": _Command("help-delete-my-data", data.delete),
        }

    def _dialogue(self, user: UserId, room: RoomId) -> Dialogues | None:
        """What waits for the next message of ``user`` in ``room``."""
        return next((d for d in self._all_dialogues if d.is_open(room, user)), None)

    def is_waiting(self, user: UserId, room: RoomId) -> bool:
        """Whether a login waits for what ``user`` writes next in ``room``."""
        return self._dialogue(user, room) is not None

    async def forget(self, user: UserId, room: RoomId) -> None:
        """Stop what ``user`` is in the middle of in ``room``."""
        for dialogues in self._all_dialogues:
            await dialogues.cancel(room, user)

    async def run(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        """Run what ``user`` wrote in ``room``, and ``answer`` with what they should read."""
        dialogue = self._dialogue(user, room)
        if dialogue is None:
            text = uncopied(text)
        words = text.split()
        name = words[0].lower().strip("!/:.") if words else ""
        command = self._commands.get(name) or await self._for_admins(user, name)
        begins_anew = name == "login" and len(words) > 1  # perhaps with a password
        if begins_anew and dialogue is self._dialogues and not dialogue.asks_secret(room, user):
            dialogue = None
        try:
            if dialogue is not None and text.strip().lower() not in ("cancel", "help"):
                await dialogue.submit(user, room, text, answer)
            elif command is not None:
                await command.run(user, room, text.strip()[len(words[0]) :].strip(), answer)
            else:
                await answer(
                    Reply(
                        self._unknown(name),
                        hide_request=self._may_hold_password(words) or holds_token(text),
                    )
                )
        except BridgeError as error:
            if not isinstance(error, UserError):
                log.warning("a command failed", command=name if command else "?", reason=str(error))
                await answer(Reply(f"⚠ {plain(str(error))}"))
            else:
                await answer(Reply(f"⚠ {error}"))

    async def _for_admins(self, user: UserId, name: str) -> _Command | None:
        if name != "admin" or self._admin is None:
            return None
        if self._admin.may_administer(user):
            return _Command("help-admin", self._admin.run)
        await self._admin.refused(user)
        return None

    def _may_hold_password(self, words: list[str]) -> bool:
        """Whether somebody may have tried to log in: an address, and more."""
        return len(words) > 1 and any(
            _is_contact(network, word) for network in self._logins.networks for word in words
        )

    def _unknown(self, name: str) -> str:
        """What to say of a command that there is not; it may be a password, and is not quoted."""
        near = difflib.get_close_matches(name, self._commands, n=2)
        if not near:
            return phrase("help-unknown")
        return phrase("help-unknown-meant", commands=choice(f"`{each}`" for each in near))

    async def _help(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        name = rest.split()[0].lower().strip("!/:.`") if rest else ""
        if name == "admin" and self._admin is not None and self._admin.may_administer(user):
            await self._admin.run(user, room, "help", answer)
            return
        if name in self._commands:
            await self._help_with(user, room, name, answer)
            return
        if difflib.get_close_matches(name, self._commands):
            raise UserError(self._unknown(name))
        lines = [f"- {phrase(command.help)}" for command in self._commands.values()]
        if self._admin is not None and self._admin.may_administer(user):
            lines.append(f"- {phrase('help-admin')}")
        networks = [f"{n.title} (`{n.name}`)" for n in self._logins.networks]
        text = phrase(
            "help-list",
            commands="\n".join(lines),
            networks=", ".join(networks),
            many=len(networks),
        )
        await answer(Reply(text))

    async def _help_with(self, user: UserId, room: RoomId, name: str, answer: Answer) -> None:
        command = self._commands[name]
        if name == "direct":
            await command.run(user, room, "help", answer)
            return
        parts = [phrase("help-one", command=phrase(command.help))]
        if name == "login":
            known = self._ways_in()
            parts += [
                phrase("help-one-login", commands=known)
                if known
                else phrase("help-one-login-none"),
                phrase("help-one-login-how"),
            ]
        if command.by_login and len(self._logins.of(user)) > 1:
            parts.append(phrase("help-one-several"))
        await answer(Reply(" ".join(parts)))

    async def _login(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        try:
            network, values = self._network_first(rest)
        except UserError:
            if " " in rest:  # an address and a password, perhaps
                await answer(Reply("", hide_request=True))
            raise
        await self._dialogues.open(user, room, network, values, answer)

    def _network_first(self, rest: str) -> tuple[Network, str]:
        known = {network.name: network for network in self._logins.networks}
        name, _, values = rest.partition(" ")
        if name.lower() in known:
            return known[NetworkName(name.lower())], values.strip()
        if len(known) == 1:
            only = next(iter(known.values()))
            if not name or _is_contact(only, name):
                return only, rest
        commands = ", ".join(f"`login {name}`" for name in sorted(known))
        if not commands:
            raise UserError(phrase("login-which-network-none"))
        raise UserError(phrase("login-which-network", commands=commands))

    async def _list(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        rows = self._logins.of(user)
        if not rows:
            commands = choice(f"`login {network.name}`" for network in self._logins.networks)
            await answer(Reply(phrase("logins-none", commands=commands)))
            return
        await answer(Reply(phrase("logins-list", logins="\n".join(map(self._describe, rows)))))

    def _describe(self, row: LoginRow) -> str:
        titles = {network.name: network.title for network in self._logins.networks}
        title = titles.get(row.network, row.network)
        return f"- {code(row.id)}: {title}, {code(row.name)}, {self._state(row)}"

    def _state(self, row: LoginRow) -> str:
        """How a login is, and what to do about that; without the last full stop."""
        state = self._logins.state(row.id)
        words = words_for(state)
        if state.status is not SessionStatus.BAD_CREDENTIALS:
            return words
        return phrase("login-state-and-way-out", state=words, network=row.network)

    async def _logout(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        words = rest.split()
        if len(words) > 1:
            raise UserError(phrase("logout-one-at-a-time"))
        row = which_login(self._logins.of(user), words, "logout")
        await self._logins.logout(row.id)
        await answer(Reply(phrase("logout-done", login=code(row.name))))

    async def _ping(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        rows = self._logins.of(user)
        up = sum(self._logins.state(row.id).status is SessionStatus.CONNECTED for row in rows)
        match len(rows):
            case 0:
                state = phrase("ping-no-logins")
            case 1:
                state = phrase("ping-login", state=self._state(rows[0]))
            case many:
                state = phrase("ping-logins", up=up, logins=many)
        await answer(Reply(f"{phrase('ping-pong', version=__version__)} {state}"))

    async def _cancel(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        if (dialogue := self._dialogue(user, room)) is not None:
            await dialogue.cancel(room, user)
            await answer(Reply(phrase("cancel-done")))
        else:
            await answer(Reply(phrase("cancel-nothing")))


def _is_contact(network: Network, text: str) -> bool:
    try:
        network.parse_contact(uncopied(text))
    except UserError:
        return False
    return True
