"""What it means to have a user, and to lose them to another process: `Shares` decides, this carries it out.

The rule that must never break: what is taken in is committed together with word of it for whoever has the
user; and a user is given away only when nothing is under way for them any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from dm_bridge.app.keeping import Keeping
from dm_bridge.bridge.attention import Attention
from dm_bridge.bridge.imports import Imports
from dm_bridge.bridge.lanes import Lanes
from dm_bridge.bridge.leaving import Leaving
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.shares import Shares
from dm_bridge.bridge.spaces import Spaces
from dm_bridge.bridge.to_matrix import ToMatrix
from dm_bridge.bridge.whose import Whose
from dm_bridge.direct import Source
from dm_bridge.errors import BridgeError
from dm_bridge.ids import PortalKey, RoomId, UserId
from dm_bridge.matrix.ephemeral import Ephemeral, PresenceOf, from_text, to_text
from dm_bridge.matrix.pings import Pings
from dm_bridge.provisioning.relay import Relay
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.instances import Errand
from dm_bridge.store.outbox import OutboxRow, OutboxStore

log = structlog.get_logger(__name__)

ROOM = "room"
DIRECT = "m.direct"
PING = "ping"
SIGNAL = "signal"
LOOK_AFTER = 60.0
"""Seconds between two looks for what waits although nobody is at it."""
PRUNE_AFTER = 600.0
"""Seconds between two times that what is too old is removed."""
MAX_KNOWN = 100_000


class Tenancy:
    """The `Tenants` of one bridge, and its doors for what concerns users that another process may have.

    ``taken``: is told of every new event of the homeserver that was committed. ``prune``: removes what is too old;
    the eldest process does. ``bot``: what it does in rooms of which nothing is known is passed over.
    """

    def __init__(
        self,
        shares: Shares,
        whose: Whose,
        logins: Logins,
        keeping: Keeping,
        carrier: ToMatrix,
        inbox: InboxStore,
        outbox: OutboxStore,
        to_matrix: Lanes[PortalKey],
        to_remote: Lanes[RoomId],
        pings: Pings,
        attention: Attention,
        taken: Callable[[OutboxRow], None] = lambda row: None,
        imports: Imports | None = None,
        relay: Relay | None = None,
        prune: Callable[[], Awaitable[None]] | None = None,
        leaving: Leaving | None = None,
        spaces: Spaces | None = None,
        bot: UserId | None = None,
    ) -> None:
        self._spaces = spaces
        self._bot = bot
        self._leaving = leaving
        self._prune = prune
        self._relay = relay
        self._attention = attention
        self._imports = imports
        self._shares = shares
        self._whose = whose
        self._logins = logins
        self._keeping = keeping
        self._carrier = carrier
        self._inbox = inbox
        self._outbox = outbox
        self._to_matrix = to_matrix
        self._to_remote = to_remote
        self._pings = pings
        self._taken = taken
        self._known: set[UserId] = set()
        self._changed: set[UserId] = set()

    # -- taking in

    async def accept(self, rows: Sequence[OutboxRow]) -> None:
        """Commit events of the homeserver, and wake their rooms, here or elsewhere.

        Also for what is known already: when the answer to a commit was lost, it was committed and nobody woken.
        """
        if not rows:
            return
        senders: dict[RoomId, UserId] = {}
        for row in rows:
            if row.sender != self._bot:
                senders.setdefault(row.room, row.sender)
        whose = await self._whose.of(dict.fromkeys(row.room for row in rows), senders)
        rows = [row for row in rows if row.room in whose]
        await self.adopt(set(whose.values()))
        ours = {room for room, user in whose.items() if self._shares.holds(user)}
        errands = [Errand(user, ROOM, room) for room, user in whose.items() if room not in ours]
        for row in await self._outbox.add(rows, errands):
            self._taken(row)
        for room in whose:
            if room in ours and self._shares.holds(whose[room]):
                self._to_remote.wake(room)
        lost = [Errand(whose[r], ROOM, r) for r in ours if not self._shares.holds(whose[r])]
        if lost:
            await self._shares.leave_errands(lost)

    async def adopt(self, users: Collection[UserId]) -> None:
        """Take those of these users with whom the bridge never had to do. Raises `StorageError`."""
        strangers = [u for u in users if u not in self._known and not self._shares.holds(u)]
        if strangers:
            await self._shares.adopt(strangers)
            if len(self._known) > MAX_KNOWN:
                self._known.clear()
            self._known.update(strangers)

    def wake_chats(self, chats: Collection[PortalKey]) -> None:
        """Something new waits in these chats; those of others are woken by others."""
        for chat in chats:
            if self._is_ours(chat):
                self._to_matrix.wake(chat)

    def requeued(self, chats: Collection[PortalKey]) -> None:
        """The same for what was put back, which may have been sent in part before it was put aside."""
        self._carrier.doubt(chat for chat in chats if self._is_ours(chat))
        self.wake_chats(chats)

    def _is_ours(self, chat: PortalKey) -> bool:
        owner = self._logins.owner(chat.login)
        return owner is not None and self._shares.holds(owner)

    async def wake_rooms(self, rooms: Collection[RoomId]) -> None:
        """The same for rooms. Raises `StorageError`."""
        for room, user in (await self._whose.of(rooms)).items():
            if self._shares.holds(user):
                self._to_remote.wake(room)

    async def ours(self, rooms: Collection[RoomId]) -> set[RoomId]:
        """Which of these rooms are for us to look after; those that are nobody's, too. Raises `StorageError`."""
        whose = await self._whose.of(rooms)
        return {room for room in rooms if room not in whose or self._shares.holds(whose[room])}

    async def signalled(self, signals: Sequence[Ephemeral]) -> None:
        """Pass on what users do besides writing. Raises `StorageError`."""
        rooms = {signal.room for signal in signals if not isinstance(signal, PresenceOf)}
        whose = await self._whose.of(rooms)
        errands = []
        for signal in signals:
            user = signal.user if isinstance(signal, PresenceOf) else whose.get(signal.room)
            if user is not None and self._shares.holds(user):
                self._attention.note(signal)
            elif user is not None:
                errands.append(Errand(user, SIGNAL, to_text(signal)))
        if errands:
            await self._shares.leave_errands(errands)

    def changed_elsewhere(self, account: UserId) -> None:
        """The homeserver says that somebody changed the m.direct of an account that we do not keep."""
        if len(self._changed) < MAX_KNOWN:
            self._changed.add(account)

    async def pinged_elsewhere(self, transaction: str) -> None:
        """A ping came that another process may have asked for."""
        if not self._shares.alone:
            await self._shares.leave_errands(
                [Errand(transaction.rpartition("/")[0], PING, transaction)]
            )

    async def look_after(self) -> None:
        """Until cancelled, pass on what concerns others, and now and then wake what nobody is at."""
        waited = LOOK_AFTER  # strangers may have written before the lanes ran
        unpruned = PRUNE_AFTER
        while True:
            await asyncio.sleep(1.0)
            waited += 1.0
            unpruned += 1.0
            try:
                if self._changed:
                    changed, self._changed = self._changed, set()
                    await self._shares.leave_errands(
                        [Errand(each, DIRECT, each) for each in changed]
                    )
                if waited >= LOOK_AFTER:
                    waited = 0.0
                    await self._wake_idle()
                if unpruned >= PRUNE_AFTER and self._prune is not None and self._shares.eldest:
                    unpruned = 0.0
                    await self._prune()
            except BridgeError as error:
                log.warning("what waits could not be looked for", reason=str(error))
            except Exception:
                log.exception("what waits could not be looked for for a reason of our own")

    async def _wake_idle(self) -> None:
        if self._leaving is not None:
            await self._leaving.taken(list(self._shares.held))
        chats, rooms = set(self._to_matrix.keys), set(self._to_remote.keys)
        self.wake_chats([chat for chat in await self._inbox.chats_waiting() if chat not in chats])
        idle = [room for room in await self._outbox.rooms_waiting() if room not in rooms]
        users = set((await self._whose.of(idle)).values())
        self._known -= users  # one may have been erased, and not known to anybody since
        await self.adopt(users)
        await self.wake_rooms(idle)

    # -- having users

    async def take(self, users: Collection[UserId]) -> None:
        """Get ready for users. What waits for them may have been sent by who had them before."""
        self._carrier.doubt(await self._inbox.chats_waiting(users))
        await self._keeping.tokens.take(users)
        await self._logins.take(users)

    async def taken(self, users: Collection[UserId]) -> None:
        """They are ours: take up what waits for them."""
        await self._keeping.take(users)
        self.wake_chats(await self._inbox.chats_waiting(users))
        await self.wake_rooms(await self._outbox.rooms_waiting())
        if self._leaving is not None:
            await self._leaving.taken(users)

    async def forget(self, user: UserId, work: Callable[[], Awaitable[object]]) -> None:
        """End what is under way for a user of ours, and do ``work``, which removes them. Raises `BridgeError`."""
        try:
            await self._shares.forget(user, self, work)
        finally:
            self._is_stranger(user)

    def _is_stranger(self, user: UserId) -> None:
        """The bridge has nothing to do with the user any more; here, nothing that is remembered of them counts."""
        self._known.discard(user)
        self._whose.forget(user)
        self._keeping.forget(user)

    async def give(self, users: Collection[UserId]) -> None:
        """They are not ours any more: end what is under way for them."""
        wanted = set(users)
        if self._imports is not None:
            await self._imports.give(users)
        if self._spaces is not None:
            await self._spaces.give(users)
        chats = []
        for chat in self._to_matrix.keys:
            login = await self._logins.row(chat.login)
            if login is not None and login.owner in wanted:
                chats.append(chat)
        whose = await self._whose.of(list(self._to_remote.keys))
        rooms = [room for room, user in whose.items() if user in wanted]
        await asyncio.gather(self._to_matrix.end(chats), self._to_remote.end(rooms))
        self._carrier.forget(lambda chat: not self._is_ours(chat))
        await self._logins.give(users)
        await self._keeping.give(users)

    def may_give(self, user: UserId) -> bool:
        """Whether nothing is under way for the user that another process could not go on with."""
        return not self._logins.logging_in(user)

    async def run(self, errand: Errand) -> None:
        """Do what another process left for us."""
        match errand.kind:
            case "ping":
                self._pings.note(errand.subject)
                return
            case "provision" if self._relay is not None:
                self._relay.asked(errand)
                return
            case "forgotten":
                self._is_stranger(UserId(errand.subject))
                return
            case "provisioned" if self._relay is not None:
                self._relay.answered(errand)
                return
            case _ if not self._shares.holds(UserId(errand.for_whom)):
                return  # whoever takes the user looks for what waits
            case "room":
                self._keeping.observation.activity(UserId(errand.for_whom))
                self._to_remote.wake(RoomId(errand.subject))
            case "signal":
                if (signal := from_text(errand.subject)) is not None:
                    self._attention.note(signal)
            case "erase" if self._leaving is not None:
                await self._leaving.taken([UserId(errand.for_whom)])
            case "m.direct":
                self._keeping.keeper.look(UserId(errand.for_whom), Source.PUSHED)
            case kind:
                log.warning("an errand of a newer version was passed over", kind=kind)
