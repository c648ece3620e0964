"""Whom a person means: by an address, a link, a name in their contact list, or a number of the last list.

The rule that must never break: a name that several people have is never guessed at; and what a person typed is not
quoted back, because people type passwords into the wrong place.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from dm_bridge.bridge.commands.reply import not_logged_in
from dm_bridge.bridge.commands.standing import words_for
from dm_bridge.bridge.commands.typed import uncopied
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.names import clean_name
from dm_bridge.errors import NetworkError, UserError
from dm_bridge.ids import ContactId, GhostNamespace, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import Contact, Network, Session, capabilities_of
from dm_bridge.network.people import Lists, readable
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import PortalStore
from dm_bridge.texts import phrase

MAX_LISTS = 200
"""Users whose last list is remembered."""
LISTED = 10
_NUMBER = re.compile(r"#?(\d{1,5})\.?")
_LINK = re.compile(r"(?:https://matrix\.to/#/|matrix:u/)(?P<to>[^/?]+)")


@dataclass(frozen=True, slots=True)
class Meant:
    """Somebody, by one of the user's logins that has a session."""

    login: LoginRow
    session: Session
    network: Network
    contact: ContactId


@dataclass(frozen=True, slots=True)
class By:
    """One of the user's logins, with its session."""

    login: LoginRow
    session: Session
    network: Network


class Resolving:
    """Finds whom people mean. ``namespace``: of the ghosts."""

    def __init__(self, logins: Logins, portals: PortalStore, namespace: GhostNamespace) -> None:
        self._logins = logins
        self._portals = portals
        self._namespace = namespace
        self._lists: OrderedDict[UserId, list[Meant]] = OrderedDict()

    def remember(self, user: UserId, listed: Sequence[Meant]) -> None:
        """What ``user`` has been shown, numbered from 1."""
        self._lists[user] = list(listed)
        self._lists.move_to_end(user)
        if len(self._lists) > MAX_LISTS:
            self._lists.popitem(last=False)

    def by(self, user: UserId, text: str, command: str, example: str) -> tuple[By, str]:
        """By which login, and the rest of ``text``: the first word may name one. Raises `UserError`."""
        rows = self._logins.of(user)
        if not rows:
            raise UserError(not_logged_in(self._logins.networks))
        first, _, rest = text.partition(" ")
        named = [r for r in rows if first.lower() in (r.id, r.name.lower(), r.remote.lower())]
        if named and (rest.strip() or not example):
            return self._connected(named[0]), rest.strip()
        if len(rows) == 1:
            return self._connected(rows[0]), text
        tail = f" {example}" if example else ""
        commands = ", ".join(f"`{command} {row.id}{tail}` ({code(row.name)})" for row in rows)
        raise UserError(phrase("login-which-one", commands=commands))

    def _connected(self, row: LoginRow) -> By:
        session = self._logins.session(row.id)
        if session is None:
            state = words_for(self._logins.state(row.id))
            raise UserError(
                phrase(
                    "login-not-connected", login=code(row.name), state=state, network=row.network
                )
            )
        return By(row, session, self._logins.network(row.network))

    async def meant(self, user: UserId, text: str, command: str) -> Meant:
        """Whom ``text`` means. Raises `UserError`: nobody, or not surely one."""
        text = uncopied(text)
        listed = _NUMBER.fullmatch(text)
        if listed is not None:
            return self._numbered(user, int(listed[1]))
        by, rest = self.by(user, text, command, "ADDRESS")
        rest = uncopied(rest)
        if len(words := rest.split()) == 2 and _is_address(by.network, words[-1]):
            raise UserError(phrase("login-no-such"))
        ghost = await self._ghost(rest)
        if ghost is not None:
            return await self._of_ghost(user, by, *ghost)
        try:
            return Meant(by.login, by.session, by.network, by.network.parse_contact(rest))
        except UserError as error:
            found = await self._named(by, rest)
            if not found:
                raise UserError(f"{error} {phrase('people-none-called-so')}") from None
        if len(found) > 1:
            self.remember(user, found)
            lines = [f"{n}. {code(each.contact)}" for n, each in enumerate(found[:LISTED], 1)]
            asked = [phrase("people-several-called-so", command=command)]
            if len(found) > LISTED:
                asked.append(phrase("people-first", people=LISTED))
            raise UserError(f"{' '.join(asked)}\n\n" + "\n".join(lines))
        return found[0]

    async def addressed(self, user: UserId, by: By, text: str) -> Meant:
        """Whom an address means, or a ghost's user id or link. Raises `UserError`."""
        ghost = await self._ghost(text)
        if ghost is not None:
            return await self._of_ghost(user, by, *ghost)
        return Meant(by.login, by.session, by.network, by.network.parse_contact(text))

    def _numbered(self, user: UserId, number: int) -> Meant:
        listed = self._lists.get(user, [])
        if not 0 < number <= len(listed):
            raise UserError(phrase("people-no-such-number"))
        meant = listed[number - 1]
        by = self._connected(meant.login)
        return Meant(by.login, by.session, by.network, meant.contact)

    async def _ghost(self, text: str) -> tuple[str, ContactId] | None:
        link = _LINK.match(text)
        named = unquote(link["to"]) if link is not None else text
        if link is not None and text.startswith("matrix:"):
            named = f"@{named}"
        if not named.startswith("@"):
            return None
        ghost = self._namespace.parse(named)
        if ghost is None:
            raise UserError(phrase("people-matrix-user"))
        contact = ghost.contact or await self._portals.ghost_contact(UserId(named))
        if contact is None:
            raise UserError(phrase("people-unknown"))
        return ghost.network, contact

    async def _of_ghost(self, user: UserId, by: By, network: str, contact: ContactId) -> Meant:
        if by.login.network != network:
            others = [row for row in self._logins.of(user) if row.network == network]
            if len(others) != 1:
                raise UserError(phrase("people-no-login"))
            by = self._connected(others[0])
        return Meant(by.login, by.session, by.network, by.network.parse_contact(contact))

    async def _named(self, by: By, text: str) -> list[Meant]:
        """Who in the contact list is called so: exactly, else in part."""
        wanted = " ".join(text.casefold().split())
        if not wanted:
            return []
        contacts = await listed_contacts(by)
        exact = [each for each in contacts if wanted in names_of(by.network, each)]
        some = exact or [
            each for each in contacts if any(wanted in name for name in names_of(by.network, each))
        ]
        return [Meant(by.login, by.session, by.network, each.id) for each in some]


async def listed_contacts(by: By) -> list[Contact]:
    """The contact list of a login, by name; empty where its network has none."""
    session = by.session
    if not (capabilities_of(session).contacts and isinstance(session, Lists)):
        return []
    try:
        contacts = await session.contacts()
    except NetworkError:
        return []
    return sorted(contacts, key=lambda each: ((title(each) or each.id).casefold(), each.id))


def names_of(network: Network, contact: Contact) -> list[str]:
    """All that somebody may be called by, for comparing."""
    names = (contact.private_name, contact.name, contact.id, readable(network, contact.id))
    return [" ".join(name.casefold().split()) for name in names if name]


def title(contact: Contact) -> str | None:
    """What the user reads for a name; None when there is none."""
    return clean_name(contact.private_name) or clean_name(contact.name)


def line(network: Network, contact: Contact, number: int, mark: str = "") -> str:
    """A line of a numbered list. ``mark``: the message that says more of the ``$person``."""
    read = readable(network, contact.id)
    name = title(contact) or (read if read != contact.id else None)
    person = f"{plain(name)}, {code(contact.id)}" if name else code(contact.id)
    return f"{number}. {phrase(mark, person=person) if mark else person}"


def _is_address(network: Network, text: str) -> bool:
    try:
        network.parse_contact(uncopied(text))
    except UserError:
        return False
    return True
