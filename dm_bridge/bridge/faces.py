"""What ghosts are called and look like, kept as their networks tell it.

A ghost is shared by all users: one login at a time says what it is called and looks like (`PeopleStore.claim`).
What a user calls a contact is shown in that user's room only. Homeservers forget such names whenever the ghost
gets another name or picture: then they are set again.

The rule that must never break: no message waits for any of this; at most `AT_ONCE` ghosts are changed at a time,
and what is too much is dropped, to be told again when its session connects the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog

from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.names import clean_name
from dm_bridge.bridge.sniffing import picture_type
from dm_bridge.errors import BridgeError, HomeserverError, NetworkError, may_pass
from dm_bridge.ids import ContactId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.matrix import ghosts
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.network.api import Network, capabilities_of
from dm_bridge.network.people import MAX_AVATAR, PEOPLE_SECONDS, Profiles, readable
from dm_bridge.network.signals import RemoteProfile
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import GhostRow, PortalStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

MAX_WAITING = 10_000
"""Profiles that wait to be looked at."""
PAGE = 200
AT_ONCE = 4
AGAIN = 60.0
"""Seconds until what the homeserver could not do is tried again."""
SPREAD = 15.0
"""Seconds within which a homeserver tells a ghost's rooms what it looks like."""
_TURN = 0.5
MAX_AVATAR_ID = 200

_Whom = tuple[LoginId, ContactId]


class Faces:
    """`run` must run. ``store``, ``portals``: where it is recorded."""

    def __init__(
        self,
        homeserver: Homeserver,
        media: MediaRepository,
        store: PeopleStore,
        portals: PortalStore,
        logins: Logins,
    ) -> None:
        self._homeserver = homeserver
        self._media = media
        self._store = store
        self._portals = portals
        self._logins = logins
        self._told: dict[_Whom, RemoteProfile] = {}
        self._met: dict[_Whom, None] = {}
        self._later: dict[_Whom, RemoteProfile] = {}
        self._news = asyncio.Event()
        self._spreading: dict[UserId, asyncio.Task[None]] = {}

    def note(self, login: LoginId, profile: RemoteProfile) -> None:
        """A session says how a contact is called, or looks."""
        self._put(self._told, login, profile)
        self._news.set()

    def met(self, login: LoginRow, contact: ContactId) -> None:
        """There is a room with a contact now: ask the network what it knows of them."""
        if len(self._met) < MAX_WAITING:
            self._met[login.id, contact] = None
            self._news.set()

    async def run(self) -> None:
        """Until cancelled, show it."""
        while True:
            try:
                async with asyncio.timeout(AGAIN):
                    await self._news.wait()
            except TimeoutError:
                for (login, _), profile in self._later.items():
                    self._put(self._told, login, profile, newer=False)
                self._later.clear()
            self._news.clear()
            while self._told or self._met:
                try:
                    await self._turn()
                except BridgeError as error:
                    log.info("it cannot be shown how contacts look", reason=str(error))
                except Exception:
                    log.exception("it cannot be shown how contacts look")

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._spreading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _put(
        waiting: dict[_Whom, RemoteProfile],
        login: LoginId,
        profile: RemoteProfile,
        *,
        newer: bool = True,
    ) -> None:
        whom = login, profile.contact
        other = waiting.get(whom)
        if other is None and len(waiting) >= MAX_WAITING:
            return
        if other is not None:
            profile = _merged(other, profile) if newer else _merged(profile, other)
        waiting[whom] = profile

    async def _turn(self) -> None:
        """Look at some of what waits. What concerns no ghost is most of it, and costs next to nothing."""
        some = list(self._told)[:PAGE]
        told = {whom: self._told.pop(whom) for whom in some}
        met = list(self._met)[:PAGE]
        for whom in met:
            del self._met[whom]
        by_login: dict[LoginId, set[ContactId]] = {}
        for login, contact in (*told, *met):
            by_login.setdefault(login, set()).add(contact)
        slots = asyncio.Semaphore(AT_ONCE)

        async def show(row: LoginRow, network: Network, ghost: GhostRow) -> None:
            whom = row.id, ghost.contact
            async with slots:
                await self._show(row, network, ghost, told.get(whom), ask=whom in met)

        shown = []
        for login, contacts in by_login.items():
            row = await self._logins.row(login)
            network = None if row is None else self._logins.network_of(row)
            if row is not None and network is not None:
                known = await self._store.ghosts(row.network, contacts)
                shown += [show(row, network, ghost) for ghost in known.values()]
        await asyncio.gather(*shown)

    async def _show(
        self,
        login: LoginRow,
        network: Network,
        ghost: GhostRow,
        told: RemoteProfile | None,
        *,
        ask: bool,
    ) -> None:
        try:
            if ask:
                asked = await self._ask(login.id, ghost.contact)
                told = asked if told is None else _merged(asked, told)
            assert told is not None
            if told.private_name is not None:
                await self._name_privately(login.id, ghost, told.private_name)
            if told.name is not None or told.avatar is not None:
                await self._change(login.id, network, ghost, told)
        except BridgeError as error:
            log.info("a ghost could not be changed", ghost=ghost.user_id, reason=str(error))
            if told is not None and may_pass(error):
                self._put(self._later, login.id, told)
        except Exception:
            log.exception("a ghost could not be changed", ghost=ghost.user_id)

    async def _ask(self, login: LoginId, contact: ContactId) -> RemoteProfile:
        """What the session knows of a contact, and what the network tells now."""
        session = self._logins.session(login)
        if session is None:
            return RemoteProfile(contact)
        known = await session.contact(contact)
        found = RemoteProfile(contact, private_name=known.private_name)
        if capabilities_of(session).profiles and isinstance(session, Profiles):
            try:
                async with asyncio.timeout(PEOPLE_SECONDS):
                    found = _merged(found, await session.profile(contact))
            except (NetworkError, TimeoutError) as error:
                log.info("a profile could not be read", login=login, reason=str(error))
        return found

    # -- for all

    async def _change(
        self, login: LoginId, network: Network, ghost: GhostRow, told: RemoteProfile
    ) -> None:
        name, avatar, url = ghost.name, ghost.avatar, ghost.avatar_url
        if told.name is not None:
            name = clean_name(told.name) or readable(network, ghost.contact)
        if told.avatar is not None and len(told.avatar) <= MAX_AVATAR_ID:
            avatar = told.avatar
        if (name, avatar) == (ghost.name, ghost.avatar):
            return
        if not await self._store.claim(ghost.user_id, login):
            return
        if name is not None and name != ghost.name:
            await ghosts.set_name(self._homeserver, ghost.user_id, name)
            await self._store.set_name(ghost.user_id, name)
        if avatar is not None and avatar != ghost.avatar:
            url = await self._upload(login, ghost, avatar) if avatar else None
            if url != ghost.avatar_url:
                await ghosts.set_avatar(self._homeserver, ghost.user_id, url)
            await self._store.set_avatar(ghost.user_id, avatar, url)
        if (name, url) != (ghost.name, ghost.avatar_url):
            await self._spread(ghost.user_id, name or ghost.contact, url)

    async def _upload(self, login: LoginId, ghost: GhostRow, avatar: str) -> str | None:
        """Where the homeserver has the picture; None when it is none that can be shown."""
        session = self._logins.session(login)
        if session is None or not isinstance(session, Profiles):
            raise NetworkError(phrase("picture-not-connected"), retry_after=AGAIN)
        try:
            async with asyncio.timeout(PEOPLE_SECONDS):
                data = await session.avatar(ghost.contact, avatar)
        except TimeoutError as error:
            raise NetworkError(phrase("picture-not-in-time"), retry_after=AGAIN) from error
        kind = picture_type(data) if len(data) <= MAX_AVATAR else None
        if kind is None:
            log.info("a contact's picture is none", ghost=ghost.user_id, bytes=len(data))
            return None
        try:
            picture = _at_once(data)
            return str(await self._media.upload(picture, len(data), kind, "", user=ghost.user_id))
        except HomeserverError as error:
            if may_pass(error):
                raise
            log.info("the homeserver refused a picture", ghost=ghost.user_id, reason=str(error))
            return None

    # -- for one

    async def _name_privately(self, login: LoginId, ghost: GhostRow, told: str) -> None:
        session = self._logins.session(login)
        if session is None:
            return
        key = PortalKey(login, session.chat_with(ghost.contact))
        portal = await self._portals.get(key)
        name = clean_name(told)
        if name == ghost.contact:
            name = None
        if portal is None or portal.room is None or portal.private_name == name:
            return
        await self._portals.set_private_name(key, name)
        await self._show_in(
            portal.room, ghost.user_id, name or ghost.name or ghost.contact, ghost.avatar_url
        )

    async def _show_in(self, room: RoomId, ghost: UserId, name: str, url: str | None) -> None:
        try:
            await ghosts.show_in(self._homeserver, ghost, room, name, url)
        except HomeserverError as error:
            if may_pass(error):
                raise
            log.info("a ghost could not be named in a room", room=room, reason=str(error))

    async def _spread(self, ghost: UserId, name: str, url: str | None) -> None:
        """The homeserver tells all rooms of a ghost: keep the names that users have given it."""
        private = await self._store.named_privately(ghost)
        if not private:
            return
        before = self._spreading.pop(ghost, None)
        if before is not None:
            before.cancel()
        task = asyncio.create_task(self._keep_names(ghost, private, name, url))
        self._spreading[ghost] = task

    async def _keep_names(
        self, ghost: UserId, chats: Sequence[PortalKey], name: str, url: str | None
    ) -> None:
        try:
            until = asyncio.get_running_loop().time() + SPREAD
            for chat in chats:
                portal = await self._portals.get(chat)
                if portal is None or portal.room is None or portal.private_name is None:
                    continue
                await self._told_of(portal.room, ghost, (name, url), until)
                await self._show_in(portal.room, ghost, portal.private_name, url)
        except BridgeError as error:
            log.info("a ghost could not be named in its rooms", ghost=ghost, reason=str(error))
        except Exception:
            log.exception("a ghost could not be named in its rooms", ghost=ghost)
        finally:
            if self._spreading.get(ghost) is asyncio.current_task():
                del self._spreading[ghost]

    async def _told_of(
        self, room: RoomId, ghost: UserId, wanted: tuple[str, str | None], until: float
    ) -> None:
        """Wait until the homeserver has told a room how a ghost looks, which it does in its own time."""
        clock = asyncio.get_running_loop().time
        while clock() < until:
            shown = await ghosts.shown_in(self._homeserver, ghost, room)
            if (shown.get("displayname"), shown.get("avatar_url") or None) == wanted:
                return
            await asyncio.sleep(_TURN)


def _merged(first: RemoteProfile, then: RemoteProfile) -> RemoteProfile:
    """What both say; of what both know, what came later."""

    def newest(field: str) -> str | None:
        later: str | None = getattr(then, field)
        earlier: str | None = getattr(first, field)
        return earlier if later is None else later

    return RemoteProfile(then.contact, newest("name"), newest("private_name"), newest("avatar"))


async def _at_once(data: bytes) -> AsyncIterator[bytes]:
    yield data
