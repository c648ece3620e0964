"""`start`, `contacts`, `search`, `accept`, `decline`, `block`, `unblock`: what a person can do about people.

The rule that must never break: nobody is accepted, and no room made, unless the user has said so; and what their
network cannot do is said plainly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from dm_bridge.bridge.commands.people_work import People, in_time
from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.commands.resolving import (
    By,
    Meant,
    Resolving,
    line,
    listed_contacts,
)
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.requests import described
from dm_bridge.errors import BridgeError, UserError
from dm_bridge.ids import ContactId, RoomId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.network.api import Contact, capabilities_of
from dm_bridge.network.people import Answers, Blocks, Lists, readable
from dm_bridge.store.people import PeopleStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

PAGE = 100
"""Contacts in one message."""
FOUND = 50
IMPORTED_AT_ONCE = 4


class PeopleCommands:
    """Runs the commands about people."""

    def __init__(
        self, logins: Logins, portals: Portals, resolving: Resolving, store: PeopleStore
    ) -> None:
        self._logins = logins
        self._portals = portals
        self._resolving = resolving
        self._store = store
        self._people = People(portals)
        self._imports: dict[UserId, asyncio.Task[None]] = {}

    async def stop(self) -> None:
        """Give up what goes on; whoever asks again goes on with it."""
        tasks = list(self._imports.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- a chat

    async def start(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``start WHO``: open the chat with somebody."""
        if not rest:
            raise UserError(phrase("start-whom"))
        meant = await self._resolving.meant(user, rest, "start")
        if await self._people.is_blocked(meant):
            unblock = code(f"unblock {meant.contact}")
            raise UserError(phrase("start-blocked", contact=code(meant.contact), command=unblock))
        portal, known = await self._people.open(meant)
        link = f"https://matrix.to/#/{portal.room}"
        said = [phrase("start-done", link=link, who=called(meant, known))]
        if not portal.joined:
            said.append(phrase("start-invited"))
        await answer(Reply(" ".join(said)))

    # -- lists

    async def contacts(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``contacts``: the contact list, in pages; ``contacts import …``: open chats."""
        words = rest.split()
        if words and words[0].lower() == "import":
            await self._import(user, words[1:], answer)
            return
        by, rest = self._resolving.by(user, rest, "contacts", "")
        session = by.session
        if not (capabilities_of(session).contacts and isinstance(session, Lists)):
            raise UserError(phrase("contacts-not-there", network=by.network.title))
        contacts = await listed_contacts(by)
        if not contacts:
            await answer(Reply(phrase("contacts-empty")))
            return
        pages = -(-len(contacts) // PAGE)
        page = int(rest) if rest.isascii() and rest.isdigit() and len(rest) < 5 else 1
        if not 0 < page <= pages:
            raise UserError(phrase("contacts-no-such-page", pages=pages, last=str(pages)))
        self._resolving.remember(user, [meant_by(by, each) for each in contacts])
        chats = await self._chats(by)
        begin = (page - 1) * PAGE
        lines = [
            line(by.network, each, number, "people-line-chat" if each.id in chats else "")
            for number, each in enumerate(contacts[begin : begin + PAGE], begin + 1)
        ]
        shown = "\n".join(lines)
        said = [phrase("contacts-list", people=len(contacts), page=page, pages=pages, list=shown)]
        if page < pages:
            said.append(phrase("contacts-next-page", page=str(page + 1)))
        await answer(Reply(" ".join(said)))

    async def _chats(self, by: By) -> set[ContactId]:
        rows = await self._portals.store.of_login(by.login.id)
        return {row.contact for row in rows}

    async def search(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``search TEXT``: in the contact list, and in a directory of the network."""
        by, text = self._resolving.by(user, rest, "search", "TEXT")
        wanted = " ".join(text.casefold().split())
        if not wanted:
            raise UserError(phrase("search-whom"))
        answered = await self._people.search(by, text)
        found, known, problem = answered.contacts, answered.known, plain(answered.problem)
        if not found:
            await answer(Reply(f"{phrase('search-nobody')} {problem}".strip()))
            return
        self._resolving.remember(user, [meant_by(by, each) for each in found[:FOUND]])
        lines = [
            line(by.network, each, number, "" if each.id in known else "people-line-directory")
            for number, each in enumerate(found[:FOUND], 1)
        ]
        said = [phrase("search-found", list="\n".join(lines))]
        if len(found) > FOUND:
            said.append(phrase("search-more", people=len(found) - FOUND))
        await answer(Reply(" ".join([*said, problem]).strip()))

    async def _import(self, user: UserId, words: Sequence[str], answer: Answer) -> None:
        """``contacts import NUMBERS`` or ``all``: open chats with those who have none."""
        if not words:
            raise UserError(phrase("contacts-import-whom"))
        if user in self._imports:
            raise UserError(phrase("contacts-import-busy"))
        if words[-1].lower() == "all":
            by, _ = self._resolving.by(user, " ".join(words[:-1]), "contacts import", "all")
            meant = [meant_by(by, each) for each in await listed_contacts(by)]
        else:
            numbers = _numbers(words)
            meant = [await self._resolving.meant(user, str(n), "contacts") for n in numbers]
        task = asyncio.create_task(self._open_all(user, meant, answer), name=f"import for {user}")
        self._imports[user] = task
        await answer(Reply(phrase("contacts-import-begun", people=len(meant))))

    async def _open_all(self, user: UserId, wanted: Sequence[Meant], answer: Answer) -> None:
        slots = asyncio.Semaphore(IMPORTED_AT_ONCE)
        failed: list[ContactId] = []

        async def open_one(meant: Meant) -> None:
            async with slots:
                try:
                    await self._people.open(meant)
                except BridgeError as error:
                    log.info("a chat could not be opened", login=meant.login.id, reason=str(error))
                    failed.append(meant.contact)

        try:
            await asyncio.gather(*map(open_one, wanted))
            if failed:
                await answer(Reply(phrase("contacts-import-failed", people=len(failed))))
            else:
                await answer(Reply(phrase("contacts-import-done", people=len(wanted))))
        except BridgeError as error:
            log.info("a user could not be told what became of an import", reason=str(error))
        except Exception:
            log.exception("an import failed")
        finally:
            del self._imports[user]

    # -- who asks

    async def accept(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``accept``: who asks; ``accept WHO``: let them."""
        if not rest:
            await self._list_requests(user, answer)
            return
        meant, session = await self._asking(user, rest, "accept")
        await in_time(session.accept(meant.contact))
        await self._store.answered(meant.login.id, [meant.contact])
        start = code(f"start {meant.contact}")
        await answer(Reply(phrase("accept-done", who=called(meant), command=start)))

    async def decline(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``decline WHO``: refuse them."""
        if not rest:
            await self._list_requests(user, answer)
            return
        meant, session = await self._asking(user, rest, "decline")
        await in_time(session.decline(meant.contact))
        await self._store.answered(meant.login.id, [meant.contact])
        block = code(f"block {meant.contact}")
        await answer(Reply(phrase("decline-done", who=called(meant), command=block)))

    async def _list_requests(self, user: UserId, answer: Answer) -> None:
        lines = []
        listed: list[Meant] = []
        for login in self._logins.of(user):
            session, network = self._logins.session(login.id), self._logins.network_of(login)
            if session is None or network is None:
                continue
            for request in (await self._store.requests(login.id))[:PAGE]:
                listed.append(Meant(login, session, network, request.contact))
                entry = described(request, readable(network, request.contact))
                lines.append(f"{len(listed)}. {entry.removeprefix('- ')}")
        if not lines:
            await answer(Reply(phrase("requests-none")))
            return
        self._resolving.remember(user, listed)
        await answer(Reply(phrase("requests-list", list="\n".join(lines))))

    async def _asking(self, user: UserId, rest: str, command: str) -> tuple[Meant, Answers]:
        """Somebody who waits for an answer. Raises `UserError`."""
        meant = await self._resolving.meant(user, rest, command)
        session = meant.session
        if not (capabilities_of(session).requests and isinstance(session, Answers)):
            raise UserError(phrase("requests-not-needed", network=meant.network.title))
        waiting = await self._store.requests(meant.login.id)
        if all(request.contact != meant.contact for request in waiting):
            raise UserError(phrase("requests-not-of", contact=code(meant.contact)))
        return meant, session

    # -- who is not to be heard

    async def block(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``block``: who is blocked; ``block WHO``: let nothing of them through."""
        if not rest:
            await self._list_blocked(user, answer)
            return
        meant, session = await self._blocking(user, rest, "block")
        if meant.contact == meant.login.remote:
            raise UserError(phrase("chat-own-address"))
        await in_time(session.block(meant.contact))
        await self._store.answered(meant.login.id, [meant.contact])
        unblock = code(f"unblock {meant.contact}")
        await answer(Reply(phrase("block-done", who=called(meant), command=unblock)))

    async def unblock(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``unblock WHO``: let them through again."""
        if not rest:
            await self._list_blocked(user, answer)
            return
        meant, session = await self._blocking(user, rest, "unblock")
        if meant.contact not in await in_time(session.blocked()):
            raise UserError(phrase("unblock-not-blocked", contact=code(meant.contact)))
        await in_time(session.unblock(meant.contact))
        await answer(Reply(phrase("unblock-done", who=called(meant))))

    async def _blocking(self, user: UserId, rest: str, command: str) -> tuple[Meant, Blocks]:
        meant = await self._resolving.meant(user, rest, command)
        session = meant.session
        if not (capabilities_of(session).blocks and isinstance(session, Blocks)):
            raise UserError(phrase("block-not-possible", login=code(meant.login.name)))
        return meant, session

    async def _list_blocked(self, user: UserId, answer: Answer) -> None:
        by, _ = self._resolving.by(user, "", "block", "WHO")
        session = by.session
        if not (capabilities_of(session).blocks and isinstance(session, Blocks)):
            raise UserError(phrase("block-not-possible", login=code(by.login.name)))
        blocked = sorted(await in_time(session.blocked()))
        if not blocked:
            await answer(Reply(phrase("block-nobody")))
            return
        listed = [meant_by(by, await session_contact(by, each)) for each in blocked[:PAGE]]
        self._resolving.remember(user, listed)
        lines = [
            line(by.network, await session_contact(by, each.contact), number)
            for number, each in enumerate(listed, 1)
        ]
        said = [phrase("block-list", people=len(blocked), list="\n".join(lines))]
        if len(blocked) > PAGE:
            said.append(phrase("block-list-first", people=PAGE))
        await answer(Reply(" ".join(said)))


async def session_contact(by: By, contact: ContactId) -> Contact:
    """What is known of somebody."""
    return await by.session.contact(contact)


def meant_by(by: By, contact: Contact) -> Meant:
    """Somebody on a list of a login."""
    return Meant(by.login, by.session, by.network, contact.id)


def called(meant: Meant, known: Contact | None = None) -> str:
    """Somebody, as an answer speaks of them: by their address, and what people read for it."""
    read = readable(meant.network, meant.contact)
    return code(meant.contact) if read == meant.contact else f"{plain(read)}, {code(meant.contact)}"


def _numbers(words: Sequence[str]) -> list[int]:
    """The numbers in ``1 4-9``, in order. Raises `UserError`."""
    numbers: dict[int, None] = {}
    for word in " ".join(words).replace(",", " ").split():
        first, dash, last = word.strip("#.").partition("-")
        if not all(
            each.isascii() and each.isdigit() and len(each) < 6 for each in (first, last or first)
        ):
            raise UserError(phrase("contacts-import-numbers"))
        numbers |= dict.fromkeys(range(int(first), int(last if dash and last else first) + 1))
    return list(numbers)
