"""What a user does without writing, told to their networks: they read, they type, they are there.

The homeserver pushes it without an id, once; whoever takes it in keeps nothing of it. What a user has read while
their network is away waits in memory until it is back; up to where a network has been told is kept, so that what
nobody heard of is found (`dm_bridge.bridge.missed_reads`). Which message of the contact an event is, or comes
after, is recorded, or else the room says so: people may read a message before the bridge has recorded it.

The rule that must never break: only what the owner of a chat does is told, and of one chat one thing at a time,
the newest; what the bridge itself has marked as read is told to nobody, nor that something was read which stands
behind what was.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

import structlog

from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.recognition import Recognition
from dm_bridge.errors import BridgeError, may_pass
from dm_bridge.ids import EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.matrix.around import around
from dm_bridge.matrix.ephemeral import Ephemeral, PresenceOf, ReadBy, TypingIn
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.network.abilities import Appears, OutgoingRead, Reads, Reference, Types
from dm_bridge.network.api import capabilities_of
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.signals import Availability
from dm_bridge.store.portals import PortalRow, PortalStore
from dm_bridge.store.references import Known, ReferenceStore

log = structlog.get_logger(__name__)
K = TypeVar("K")
T = TypeVar("T")

MAX_ROOMS = 1000
"""Rooms in which something may be under way, or wait for a network."""
MAX_NEWEST = 10_000
"""Chats of which is remembered what was marked, and told."""
DEADLINE = 10.0
"""Seconds for telling a network."""
AGAIN = 30.0
"""Seconds until a network is told what it could not be told; once, and else when it is back."""


@dataclass(slots=True)
class _News:
    """What has not been told yet. ``typing``: who types; None: nothing new. ``missed``: see `Attention.missed`."""

    typing: Collection[UserId] | None = None
    read: dict[UserId, EventId] | None = None
    missed: tuple[EventId, EventId | None] | None = None


class Attention:
    """Tells it in the background."""

    def __init__(
        self,
        homeserver: Homeserver,
        portals: PortalStore,
        references: ReferenceStore,
        logins: Logins,
    ) -> None:
        self._homeserver = homeserver
        self._portals = portals
        self._references = references
        self._recognition = Recognition(homeserver, references)
        self._logins = logins
        self._news: dict[RoomId, _News] = {}
        self._tasks: dict[RoomId, asyncio.Task[None]] = {}
        self._marked: OrderedDict[PortalKey, EventId] = OrderedDict()
        self._told: OrderedDict[PortalKey, RemoteId] = OrderedDict()
        self._appearances: OrderedDict[UserId, PresenceOf] = OrderedDict()
        self._appearing: dict[LoginId, asyncio.Task[None]] = {}
        self._waiting: dict[LoginId, dict[RoomId, tuple[UserId, EventId]]] = {}
        self._timers: dict[LoginId, asyncio.TimerHandle] = {}
        self._failed: OrderedDict[PortalKey, EventId] = OrderedDict()

    # -- what happens in Matrix

    def note(self, signal: Ephemeral) -> None:
        """The homeserver says that a user of ours is there, or types, or has read something, in a room of ours."""
        if isinstance(signal, PresenceOf):
            self._note_presence(signal)
            return
        news = self._news_of(signal.room)
        if news is None:
            return
        match signal:
            case TypingIn(_, users):
                news.typing = users
            case ReadBy(_, user, event):
                news.read = {**(news.read or {}), user: event}
        self._tell_soon(signal.room)

    def missed(self, portal: PortalRow, event: EventId) -> None:
        """The owner of a chat has read ``event``, and ``portal`` says what its network had been told before.

        What has been pushed since is newer, so it prevails.
        """
        if portal.room is not None and (news := self._news_of(portal.room)) is not None:
            news.missed = event, portal.read_event
            self._tell_soon(portal.room)

    def _news_of(self, room: RoomId) -> _News | None:
        """Where to note something of a room, unless there is too much."""
        if room not in self._news and len(self._news) >= MAX_ROOMS:
            return None
        return self._news.setdefault(room, _News())

    def _tell_soon(self, room: RoomId) -> None:
        if room not in self._tasks:
            task = asyncio.create_task(self._tell(room), name=f"attention in {room}")
            self._tasks[room] = task

    def _note_presence(self, signal: PresenceOf) -> None:
        _keep(self._appearances, signal.user, signal)
        for login in self._logins.of(signal.user):
            self._appear(login.id, signal)

    def _appear(self, login: LoginId, signal: PresenceOf) -> None:
        if len(self._appearing) < MAX_ROOMS and login not in self._appearing:
            name = f"appearance of {signal.user}"
            self._appearing[login] = asyncio.create_task(self._tell_presence(login), name=name)

    def marked(self, key: PortalKey, event: EventId) -> None:
        """The bridge says for the user that they have read ``event``: their network knows."""
        _keep(self._marked, key, event)

    def connected(self, login: LoginId) -> None:
        """The network of a login can be told again."""
        self._tell_waiting(login)
        owner = self._logins.owner(login)
        if owner is not None and (signal := self._appearances.get(owner)) is not None:
            self._appear(login, signal)

    def _tell_waiting(self, login: LoginId) -> None:
        if login in self._timers:
            self._timers.pop(login).cancel()
        for room, (user, event) in self._waiting.pop(login, {}).items():
            if room in self._tasks:  # something newer may be on its way
                self._waiting.setdefault(login, {})[room] = user, event
                self._set_timer(login)
            else:
                self.note(ReadBy(room, user, event))

    def _set_timer(self, login: LoginId) -> None:
        if login not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[login] = loop.call_later(AGAIN, self._tell_waiting, login)

    async def stop(self) -> None:
        """Give up what is under way."""
        for timer in self._timers.values():
            timer.cancel()
        tasks = [*self._tasks.values(), *self._appearing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- telling

    async def _tell(self, room: RoomId) -> None:
        try:
            while (news := self._news.get(room)) is not None:
                self._news[room] = _News()
                if news == _News() or (portal := await self._portals.by_room(room)) is None:
                    break
                try:
                    async with asyncio.timeout(DEADLINE):
                        await self._tell_news(room, portal, news)
                except (BridgeError, TimeoutError) as error:
                    reason = str(error) or type(error).__name__
                    log.info("a network could not be told", room=room, reason=reason)
                    if isinstance(error, TimeoutError) or may_pass(error):
                        self._tell_later(room, portal, news)
        except BridgeError as error:
            log.info("a network could not be told", room=room, reason=str(error))
        except Exception:
            log.exception("a network could not be told for a reason of our own", room=room)
        finally:
            self._news.pop(room, None)
            del self._tasks[room]

    def _tell_later(self, room: RoomId, portal: PortalRow, news: _News) -> None:
        event = self._wait(room, portal, news)
        if event is None or self._failed.get(portal.key) == event:
            return
        _keep(self._failed, portal.key, event)
        self._set_timer(portal.key.login)

    def _wait(self, room: RoomId, portal: PortalRow, news: _News) -> EventId | None:
        """Keep up to where the owner of a chat has read until its network is back, and return it."""
        login = portal.key.login
        owner = self._logins.owner(login)
        event, pushed = _read_by(owner, portal, news)
        if owner is None or event is None or sum(map(len, self._waiting.values())) >= MAX_ROOMS:
            return None
        waiting = self._waiting.setdefault(login, {})
        if pushed or room not in waiting:
            waiting[room] = owner, event
        return event

    async def _tell_presence(self, login: LoginId) -> None:
        try:
            told: PresenceOf | None = None
            while True:
                owner, session = self._logins.owner(login), self._logins.session(login)
                signal = None if owner is None else self._appearances.get(owner)
                if session is None or signal is None or signal == told:
                    return
                if not (capabilities_of(session).presence and isinstance(session, Appears)):
                    return
                async with asyncio.timeout(DEADLINE):
                    await session.appear(Availability(signal.presence), signal.text)
                told = signal
        except (BridgeError, TimeoutError) as error:
            log.info("a network could not be told", login=login, reason=str(error))
        except Exception:
            log.exception("a network could not be told for a reason of our own", login=login)
        finally:
            del self._appearing[login]

    async def _tell_news(self, room: RoomId, portal: PortalRow, news: _News) -> None:
        login = portal.key.login
        owner, session = self._logins.owner(login), self._logins.session(login)
        if owner is None:
            return
        if session is None or self._logins.state(login).status is not SessionStatus.CONNECTED:
            self._wait(room, portal, news)
            return
        can = capabilities_of(session)
        event, _ = _read_by(owner, portal, news)
        if event is not None and can.reads and isinstance(session, Reads):
            newer = await self._tell_read(portal, room, session, event, owner)
            self._waiting.get(login, {}).pop(room, None)
            if newer and event != portal.read_event:
                await self._portals.set_read(portal.key, event)
        if news.typing is not None and can.typing and isinstance(session, Types):
            await session.typing(portal.key.chat, owner in news.typing)

    async def _tell_read(
        self, portal: PortalRow, room: RoomId, session: Reads, event: EventId, owner: UserId
    ) -> bool:
        """Whether the event is not behind what was told before, as another device of the user may be."""
        key = portal.key
        if self._marked.get(key) == event:
            return True
        read, told = await self._read_up_to(portal, room, event, owner), self._told.get(key)
        if read is None:
            return True
        if told is not None and await self._references.is_up_to(key, read.id, told):
            return read.id == told
        await session.read(read)
        _keep(self._told, key, read.id)
        return True

    async def _read_up_to(
        self, portal: PortalRow, room: RoomId, event: EventId, owner: UserId
    ) -> OutgoingRead | None:
        """The message of the contact that an event is, or the last one before it, if it is none.

        None for an older one, which stands behind newer ones: who reads it has read others before, or has not.
        """
        key = portal.key
        known = await self._references.of_event(key, event)
        if known is not None and known.event not in (None, event):  # an edit by the user
            known = await self._references.of_event(key, EventId(str(known.event)))
        if known is not None and (known.threaded or known.apart):
            # contacts write in no thread, and homeservers do not say in which it was read; and the network
            # would take an older message for the end of what was read
            return None
        if known is not None and (read := _outgoing(key, known)) is not None:
            return read
        there = await around(self._homeserver, room, event, portal.ghost)
        if _in_thread(there.event):
            return None
        for found in (there.event, *there.before):
            known = (
                None if _in_thread(found) else await self._recognition.said(portal, found, owner)
            )
            if known is not None and (read := _outgoing(key, known)) is not None:
                return read
        return None


def _read_by(owner: UserId | None, portal: PortalRow, news: _News) -> tuple[EventId | None, bool]:
    """Up to where the owner of a chat has read, and whether that was pushed."""
    pushed = None if owner is None else (news.read or {}).get(owner)
    if pushed is None and news.missed is not None and news.missed[1] == portal.read_event:
        return news.missed[0], False
    return pushed, pushed is not None


def _outgoing(key: PortalKey, known: Known) -> OutgoingRead | None:
    """What to tell of a message of the contact; None of any other."""
    if known.from_self or known.reference is None or known.id is None:
        return None
    about = Reference(known.edits or known.reference, from_self=False, text=known.text)
    return OutgoingRead(key.chat, known.id, about)


def _in_thread(event: Json) -> bool:
    relation = event.get("content", {}).get("m.relates_to")
    return isinstance(relation, dict) and relation.get("rel_type") == "m.thread"


def _keep(kept: OrderedDict[K, T], key: K, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MAX_NEWEST:
        kept.popitem(last=False)
