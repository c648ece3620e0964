"""Logins and their sessions: opened at start, kept, closed.

The rule that must never break: one login that cannot be opened, whatever the reason, never stops
another one, nor the start of the bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import structlog

from dm_bridge.bridge.audit_log import BOT
from dm_bridge.bridge.guard import Guard
from dm_bridge.bridge.live_logins import LiveLogin, Sink, resting
from dm_bridge.bridge.reports import BridgeStates
from dm_bridge.errors import BridgeError, NotAllowed, UserError, may_pass
from dm_bridge.ids import LoginId, NetworkName, PortalKey, UserId
from dm_bridge.matrix.formatting import plain
from dm_bridge.network.api import Login, Network, Session
from dm_bridge.network.events import RemoteEvent, RemoteReceived, SessionState, SessionStatus
from dm_bridge.network.login import LoginDone
from dm_bridge.network.signals import Signal
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.audit_log import Act
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore
from dm_bridge.store.sealing import SealingKey
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

T = TypeVar("T")

OPENED_AT_ONCE = 50
"""Sessions that are made at once: the event loop is not kept for longer."""
CONNECTING_AT_ONCE = 16
"""Sessions that are begun at once, after a start or when another process is gone; a network is not stormed."""
CONNECTED_WITHIN = 10.0
"""Seconds after which a session that is still connecting makes place for the next."""
OPEN_AGAIN = 5.0
"""Seconds until a login is opened again that could not be."""
CLOSE_DEADLINE = 8.0

TellUser = Callable[[UserId, str], Awaitable[None]]
"""Writes a few words of Markdown to a user's management rooms."""


class LoginHooks(Protocol):
    """Who has to know when users log in and out."""

    async def started(self, owners: Collection[UserId] | None) -> None:
        """The logins of these users, or all, are known; none is connected yet."""
        ...

    async def logged_in(self, login: LoginRow) -> None:
        """A login was made, or made again after a logout; it is about to be connected."""
        ...

    async def logged_out(self, login: LoginRow) -> None:
        """A login has ended; until this returns, the bridge may still act for its owner."""
        ...


class Logins:
    """All logins of one bridge.

    ``on_events``: called with the chats in which something new waits. ``tell``: how to reach a user.
    ``hooks``: whom to tell of logins and logouts. ``states``: reports how logins are. ``on_signal``: called with
    what sessions say that nobody keeps. ``received``: whether it matters that a contact's device has a message.
    ``imports``: whether what was written before a login is brought over. ``guard``: says who may log in.
    """

    def __init__(
        self,
        networks: Mapping[NetworkName, Network],
        store: LoginStore,
        inbox: InboxStore,
        key: SealingKey,
        tell: TellUser,
        on_events: Callable[[set[PortalKey]], None],
        on_connected: Callable[[LoginId], None],
        metrics: Metrics,
        hooks: LoginHooks | None = None,
        states: BridgeStates | None = None,
        on_signal: Callable[[LoginId, Signal], None] = lambda login, signal: None,
        *,
        received: bool = False,
        imports: bool = False,
        guard: Guard | None = None,
    ) -> None:
        self.guard = guard or Guard()
        self.store = store
        self._imports = imports
        self._hooks = hooks
        self._on_signal = on_signal
        self._received = received
        self._networks = networks
        self._inbox = inbox
        self._key = key
        self._tell = tell
        self._on_events = on_events
        self._on_connected = on_connected
        self._metrics = metrics
        self._states = states or BridgeStates()
        self._live: dict[LoginId, LiveLogin] = {}
        self._opening: dict[UserId, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()  # held while what is stored of a login follows what is live
        self._owned: dict[UserId, list[LiveLogin]] | None = None  # by owner; None: to be made anew
        metrics.before_exposition(self._count)
        self._slots = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def take(self, owners: Collection[UserId] | None = None) -> None:
        """Open the session of every active login of these users, or of all.

        Does not wait until they are connected: that is begun a few at a time.
        """
        rows = await (self.store.all() if owners is None else self.store.of(owners))
        rows = [row for row in rows if row.id not in self._live]
        await self.guard.take(owners)
        for row in rows:
            self._live[row.id] = LiveLogin(row, None, resting(row))
            if row.state is not LoginState.LOGGED_OUT:
                self._states.note(row, self._live[row.id].state)
        self._owned = None
        if self._hooks is not None:
            await self._hooks.started(owners)
        opened: list[LiveLogin | None] = []
        for first in range(0, len(rows), OPENED_AT_ONCE):
            some = rows[first : first + OPENED_AT_ONCE]
            opened += await asyncio.gather(*(self._open(row) for row in some))
        self._in_background(self._connect_all([live for live in opened if live is not None]))

    async def give(self, owners: Collection[UserId]) -> None:
        """Close the sessions of these users' logins, and know them no more."""
        wanted = set(owners)
        leaving = [live for live in self._live.values() if live.row.owner in wanted]
        for live in leaving:
            live.settled.set()
            del self._live[live.row.id]
            self._states.forget(live.row.id)
        self._owned = None
        await asyncio.gather(*(self._close(live) for live in leaving))

    def owner(self, login: LoginId) -> UserId | None:
        """Whose login it is, if it is one of a user that we have."""
        live = self._live.get(login)
        return None if live is None else live.row.owner

    def may_come(self, login: LoginId) -> bool:
        """Whether a session may come by itself: the login is another process's now, or is about to be opened."""
        live = self._live.get(login)
        return live is None or (live.awaited and live.row.state is LoginState.ACTIVE)

    def logging_in(self, user: UserId) -> bool:
        """Whether ``user`` is in the middle of logging in, or out."""
        return user in self._opening

    async def stop(self) -> None:
        """Close every session, within a deadline; whoever has the logins next opens them again."""
        for live in self._live.values():
            live.awaited = True
        await asyncio.gather(*(self._close(live) for live in self._live.values()))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def network(self, name: NetworkName) -> Network:
        """A configured network. Raises `UserError` when there is none of this name."""
        network = self._networks.get(name)
        if network is None:
            known = ", ".join(sorted(self._networks))
            raise UserError(
                phrase(
                    "notice-no-such-network", name=name, known=len(self._networks), networks=known
                )
            )
        return network

    def network_of(self, login: LoginRow) -> Network | None:
        """The network of a login, or None while it is switched off."""
        return self._networks.get(login.network)

    @property
    def networks(self) -> Sequence[Network]:
        """The configured networks."""
        return list(self._networks.values())

    async def row(self, login: LoginId) -> LoginRow | None:
        """A login, or None."""
        live = self._live.get(login)
        return live.row if live is not None else await self.store.get(login)

    def session(self, login: LoginId) -> Session | None:
        """The session of a login that is to be connected, or None."""
        live = self._live.get(login)
        return None if live is None else live.session

    def state(self, login: LoginId) -> SessionState:
        """Where a login stands."""
        live = self._live.get(login)
        return SessionState(SessionStatus.LOGGED_OUT) if live is None else live.state

    def since(self, login: LoginId) -> float:
        """When a login began to be in its state, in seconds since the epoch; 0 where that is not known."""
        live = self._live.get(login)
        return 0.0 if live is None else live.since

    def of(self, owner: UserId) -> list[LoginRow]:
        """The logins of a user that they have not logged out of."""
        return [live.row for live in self._of(owner) if live.row.state is not LoginState.LOGGED_OUT]

    def _of(self, owner: UserId) -> Sequence[LiveLogin]:
        """All logins of a user; asked for every message."""
        if self._owned is None:
            self._owned = {}
            for live in self._live.values():
                self._owned.setdefault(live.row.owner, []).append(live)
        return self._owned.get(owner, ())

    def may_act_for(self, user: UserId) -> bool:
        """Whether ``user`` has a login here, or is in the middle of one."""
        return user in self._opening or any(
            live.row.state is not LoginState.LOGGED_OUT for live in self._of(user)
        )

    def begin(self, user: UserId) -> None:
        """``user`` starts to log in; `end` must follow."""
        self._opening[user] = self._opening.get(user, 0) + 1

    def end(self, user: UserId) -> None:
        """``user`` is done logging in, one way or the other."""
        self._opening[user] -= 1
        if not self._opening[user]:
            del self._opening[user]

    async def add(
        self, owner: UserId, network: NetworkName, done: LoginDone, door: str = BOT
    ) -> LoginRow:
        """Keep a login that succeeded, and connect it. The same account again replaces its session.

        ``door``: by which the user came. Raises `NotAllowed` when they may not have one more login.
        """
        if (why := self.guard.barred(owner)) is not None:
            raise NotAllowed(why)
        login = await self.store.reserve(owner, network, done.remote, done.name)
        async with self._changing:
            sealed = self._key.seal(login, done.credentials)
            full = await self.store.activate(
                login,
                sealed,
                done.position,
                imports=self._imports,
                limits=self.guard.limits(owner),
            )
            if full is not None:
                raise await self.guard.full(owner, self.network(network), full, door)
            row = await self.store.get(login)
            assert row is not None
            previous = self._live.get(login)
            self._live[login] = LiveLogin(row, None, resting(row))
            self._owned = None
        if previous is not None:
            await self._close(previous)
        new = previous is None or previous.row.state is LoginState.LOGGED_OUT
        try:
            if new and self._hooks is not None:
                await self._hooks.logged_in(row)
        finally:
            live = await self._open(row)
            if live is not None:
                await self._connect(live)
        log.info("a user logged in", login=login, network=network, owner=owner)
        details = {"network": network, "login": login, "account": row.remote}
        await self.guard.audit.record(owner, Act.LOGIN, owner, details, door)
        return row

    async def logout(self, login: LoginId, by: str | None = None, door: str = BOT) -> None:
        """Close the session and forget the credentials; its rooms stay. ``by``: who does it, if not the owner."""
        live = self._live[login]
        owner = live.row.owner
        self.begin(owner)  # what their account still needs is written before access to it ends
        try:
            await self._close(live)
            async with self._changing:
                await self._set_state(live, LoginState.LOGGED_OUT, "")
            live.state = SessionState(SessionStatus.LOGGED_OUT)
            self._states.note(live.row, live.state)
            if self._hooks is not None:
                await self._hooks.logged_out(live.row)
        finally:
            self.end(owner)
        log.info("a user logged out", login=login, owner=live.row.owner)
        details = {"network": live.row.network, "login": login, "account": live.row.remote}
        await self.guard.audit.record(by or owner, Act.LOGOUT, owner, details, door)

    async def _open(self, row: LoginRow) -> LiveLogin | None:
        """Make a login's session, if it is to have one."""
        live = self._live[row.id]
        if row.state is not LoginState.ACTIVE:
            return None
        if (why := self.guard.barred(row.owner)) is not None:
            self._bar(live, why)
            return None
        return live if await self._succeeds(live, self._make_session(live)) else None

    def _bar(self, live: LiveLogin, why: str) -> None:
        """The owner may not be connected: nothing comes by itself."""
        live.awaited = False
        live.state = SessionState(SessionStatus.UNKNOWN_ERROR, why)
        self._states.note(live.row, live.state)
        self._on_connected(live.row.id)  # whoever waits for this login need wait no longer

    async def look_again(self, owner: UserId) -> None:
        """An admin has stopped a user, or allowed them again. Raises `StorageError`."""
        await self.guard.take([owner])
        barred = self.guard.barred(owner)
        for live in list(self._of(owner)):
            if barred is not None and live.row.state is LoginState.ACTIVE:
                self._bar(live, barred)
                await self._close(live)
            elif barred is None and live.session is None:
                live.awaited = live.row.state is LoginState.ACTIVE
                opened = await self._open(live.row)
                self._in_background(self._connect_all([] if opened is None else [opened]))

    async def _make_session(self, live: LiveLogin) -> None:
        row = live.row
        assert row.sealed is not None
        credentials = self._key.unseal(row.id, row.sealed)
        network = self.network(row.network)
        position = await self.store.position(row.id)
        if self._live.get(row.id) is not live:
            return  # given away, or replaced
        sink = Sink(self, live, position)
        live.session = network.open_session(Login(row.id, row.remote, credentials, position), sink)
        live.awaited = False

    async def _connect_all(self, opened: Sequence[LiveLogin]) -> None:
        async def connect(live: LiveLogin) -> None:
            async with self._slots:
                if await self._connect(live):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(CONNECTED_WITHIN):
                            await live.settled.wait()

        await asyncio.gather(*(connect(live) for live in opened))

    async def _connect(self, live: LiveLogin) -> bool:
        """Begin to connect, unless the session was closed meanwhile."""
        return live.session is not None and await self._succeeds(live, live.session.connect())

    async def _succeeds(self, live: LiveLogin, work: Awaitable[None]) -> bool:
        """Whether something goes well; if it does not, that is the login's own trouble."""
        try:
            await work
            return True
        except BridgeError as error:
            live.state = SessionState(SessionStatus.UNKNOWN_ERROR, str(error))
            log.error("a login could not be opened", login=live.row.id, reason=str(error))
            live.awaited = live.session is None and may_pass(error)
            if may_pass(error):
                self._in_background(self._open_later(live, error.retry_after or 0.0))
        except Exception:
            live.awaited = False
            live.state = SessionState(SessionStatus.UNKNOWN_ERROR, phrase("notice-our-mistake"))
            log.exception("a login could not be opened for a reason of our own", login=live.row.id)
        self._states.note(live.row, live.state)
        return False

    async def _open_later(self, live: LiveLogin, seconds: float) -> None:
        """Try again, unless the login was closed or replaced meanwhile."""
        await asyncio.sleep(max(seconds, OPEN_AGAIN))
        if self._live.get(live.row.id) is live and live.row.state is LoginState.ACTIVE:
            opened = live if live.session is not None else await self._open(live.row)
            await self._connect_all([] if opened is None else [opened])

    async def _close(self, live: LiveLogin) -> None:
        """Close a login's session; what it brought is committed then, or never, if the database is well."""
        session, live.session = live.session, None
        if session is not None:
            try:
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await session.disconnect()
            except Exception as error:
                log.warning(
                    "a session did not close cleanly", login=live.row.id, reason=repr(error)
                )
        try:
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self._inbox.settled()
        except TimeoutError:
            log.warning(
                "what a session brought may be committed late: the database is slow",
                login=live.row.id,
            )

    async def _set_state(self, live: LiveLogin, state: LoginState, reason: str) -> None:
        await self.store.set_state(live.row.id, state, reason)
        sealed = None if state is LoginState.LOGGED_OUT else live.row.sealed
        live.row = replace(live.row, state=state, reason=reason, sealed=sealed)

    # -- what sessions report

    async def delivered(self, login: LoginId, events: Sequence[RemoteEvent]) -> None:
        """Commit what a session brought, and wake those who carry it on.

        Also for what is known already: when the answer to a commit was lost, it was committed and nobody woken.
        """
        events = self._wanted(events)
        await self._inbox.add([(login, event) for event in events])
        self._on_events({PortalKey(login, event.chat) for event in events})

    async def delivered_at(
        self, login: LoginId, events: Sequence[RemoteEvent], before: str | None, position: str
    ) -> bool:
        """The same, and move the login's position; returns whether it was where the session left it."""
        events = self._wanted(events)
        _, moved = await self._inbox.add_at(login, events, before, position)
        self._on_events({PortalKey(login, event.chat) for event in events})
        return moved

    def _wanted(self, events: Sequence[RemoteEvent]) -> Sequence[RemoteEvent]:
        if self._received:
            return events
        return [event for event in events if not isinstance(event, RemoteReceived)]

    def signalled(self, live: LiveLogin, signal: Signal) -> None:
        """A session says something that nobody keeps; one that was closed or replaced is not listened to."""
        if self._live.get(live.row.id) is live and live.session is not None:
            self._on_signal(live.row.id, signal)

    def reported(self, live: LiveLogin, state: SessionState) -> None:
        """A session says where it stands; one that was closed or replaced is not listened to."""
        login = live.row.id
        if self._live.get(login) is not live or live.session is None:
            return
        before, live.state = live.state, state
        self._states.note(live.row, state)
        if state.status is not SessionStatus.CONNECTING:
            live.settled.set()
        if before.status is not state.status:
            log.info(
                "a session changed", login=login, state=state.status.value, reason=state.reason
            )
        match state.status:
            case SessionStatus.CONNECTED:
                self._on_connected(login)
            case SessionStatus.BAD_CREDENTIALS | SessionStatus.LOGGED_OUT:
                self._in_background(self._refused(live, state))
            case _:
                pass

    async def _refused(self, live: LiveLogin, state: SessionState) -> None:
        await self._close(live)
        if not await self._insist(lambda: self._record_refused(live, state)):
            return
        await self._insist(
            lambda: self._tell(
                live.row.owner,
                phrase(
                    "notice-disconnected",
                    login=plain(live.row.name),
                    why=plain(state.reason),
                    network=live.row.network,
                ),
            )
        )
        self._on_connected(live.row.id)  # whoever waits for this login need wait no longer

    async def _record_refused(self, live: LiveLogin, state: SessionState) -> bool:
        """Whether that is news: not for a login that was replaced or ended meanwhile."""
        async with self._changing:
            replaced = self._live.get(live.row.id) is not live
            if replaced or live.row.state is not LoginState.ACTIVE:
                return False
            await self._set_state(live, LoginState.BAD_CREDENTIALS, state.reason)
            return True

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """The result of ``work``, done again for as long as that may help; None when it does not."""
        while True:
            try:
                return await work()
            except BridgeError as error:
                log.error("a refused login could not be dealt with", reason=str(error))
                if not may_pass(error):
                    return None
                await asyncio.sleep(max(error.retry_after or 0.0, OPEN_AGAIN))

    def _in_background(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count(self) -> None:
        self._metrics.logins.clear()
        for live in self._live.values():
            ended = live.row.state is LoginState.LOGGED_OUT
            if not ended and self.guard.barred(live.row.owner) is None:
                self._metrics.logins.labels(live.row.network, live.state.status.value).inc()
