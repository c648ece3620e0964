"""The composition root: builds every part from the configuration, wires them, runs them.

The rule that must never break: whatever was started is stopped, in reverse order, however the run
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack

import structlog
from aiohttp import web

from dm_bridge import __version__
from dm_bridge.app.keeping import Keeping
from dm_bridge.app.queue_watch import QueueWatch
from dm_bridge.bridge.commands import Commands
from dm_bridge.bridge.delivery import Deliveries, DeliverySettings
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.invites import Invites
from dm_bridge.bridge.lanes import Lanes
from dm_bridge.bridge.login_marks import LoginMarks
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.management import Management
from dm_bridge.bridge.portal import Portals, PortalSettings
from dm_bridge.bridge.to_matrix import ToMatrix
from dm_bridge.bridge.to_remote import ToRemote
from dm_bridge.config import Config
from dm_bridge.errors import AdminError, BridgeError
from dm_bridge.ids import LoginId, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.matrix import handshake
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.intake import MAX_BODY, Intake, matrix_errors
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.matrix.transactions import PushedEvent
from dm_bridge.network.api import Network
from dm_bridge.ops.health import Health
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginStore
from dm_bridge.store.migrate import check_schema, migrate
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.queue import QueueStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.sealing import SealingKey

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 60.0
PING_INTERVAL = 30.0


class App:
    """One bridge process. `run` is all there is to call."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = AsyncExitStack()
        self._bot = config.bot_user_id
        self._namespace = config.ghosts
        self.metrics = Metrics()
        self._unreachable = asyncio.Event()

    async def run(self, stop: asyncio.Event, *, migrate_first: bool) -> None:
        """Start, serve until ``stop`` is set, stop. Raises `AdminError` when it cannot start."""
        log.info("dm_bridge starts", version=__version__, data_dir=str(self._config.data_dir))
        async with self._stack:
            await self._build(await self._database(migrate_first))
            await self._serve()
            meet = asyncio.create_task(self._meet_homeserver())
            stopped = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({meet, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if meet.done():
                    await meet
                    await self._begin()
                    await stopped
                log.info("dm_bridge stops")
            finally:
                self._health.stopping()
                meet.cancel()
                stopped.cancel()
                await asyncio.gather(meet, stopped, return_exceptions=True)
        log.info("dm_bridge has stopped")

    # -- building

    async def _database(self, migrate_first: bool) -> Database:
        url = await self._database_url()
        if migrate_first:
            before, after = await migrate(url)
            if before != after:
                log.info("the database schema was upgraded", before=before, after=after)
        else:
            await check_schema(url)
        database = await Database.open(url)
        self._stack.push_async_callback(database.close)
        return database

    async def _database_url(self) -> str:
        if not self._config.database.embedded:
            return self._config.database.url.get_secret_value()
        postgres = await EmbeddedPostgres.start(self._config.data_dir)
        self._stack.push_async_callback(postgres.stop)
        self._in_background(postgres.watch())
        log.info("the embedded PostgreSQL runs", data=str(self._config.data_dir / "postgres"))
        return postgres.url

    async def _build(self, database: Database) -> None:
        config, appservice = self._config, self._config.appservice
        session = homeserver_session()
        self._stack.push_async_callback(session.close)
        self._homeserver = Homeserver(
            config.homeserver.url,
            appservice.as_token.get_secret_value(),
            session,
            self._unreachable.set,
        )
        self._inbox = InboxStore(database)
        self._outbox = OutboxStore(database)
        portal_store = PortalStore(database)
        ghosts = Ghosts(self._homeserver, portal_store, self._namespace)
        key = SealingKey.load(config.data_dir / "sealing.key")
        self._keeping = keeping = Keeping(
            config,
            database,
            self._homeserver,
            session,
            ghosts,
            key,
            self.metrics,
            self._stack,
            may_act_for=lambda user: self._logins.may_act_for(user),
            never_keys=self._never_keys,
            tell=self._tell,
        )
        accounts = keeping.accounts
        portals = Portals(
            self._homeserver,
            accounts,
            ghosts,
            keeping.keeper,
            portal_store,
            keeping.store,
            PortalSettings(self._bot, config.direct.auto_join, config.direct.mark_ghosts),
            self._missed,
        )
        networks: dict[NetworkName, Network] = {
            NetworkName(section.name): section.build() for section in config.enabled_networks
        }
        for network in networks.values():
            await network.start()
            self._stack.push_async_callback(network.stop)
        self._ghosts = ghosts
        self._logins = Logins(
            networks,
            LoginStore(database),
            self._inbox,
            key,
            self._tell,
            self._wake_chats,
            self._login_changed,
            self.metrics,
            LoginMarks(keeping.keeper, portals),
        )
        self._invites = Invites(
            self._homeserver, portals, ghosts, self._logins, portal_store, self._bot, self._may_use
        )
        self._management = Management(
            self._homeserver,
            accounts,
            RoomStore(database),
            Commands(self._logins, portals, tokens=keeping.tokens, direct=keeping.view),
            self._bot,
            self._namespace,
            self._may_use,
            config.homeserver.domain,
        )
        self._carrier = to_matrix = ToMatrix(
            self._homeserver,
            accounts,
            portals,
            self._logins,
            self._inbox,
            self._outbox,
            portal_store,
            self.metrics,
            lambda: self._to_matrix.stopping,
            keeping.observation.happened,
        )
        delivery = config.delivery
        self._deliveries = deliveries = Deliveries(
            self._homeserver,
            self._outbox,
            portal_store,
            DeliverySettings(
                delivery.receipts, delivery.status_events, delivery.expire_hours * 3600
            ),
        )
        self._stack.push_async_callback(deliveries.stop)
        to_remote = ToRemote(
            self._homeserver,
            portals,
            self._logins,
            self._invites,
            self._management,
            self._inbox,
            self._outbox,
            portal_store,
            self._bot,
            self._namespace,
            self.metrics,
            deliveries,
            lambda: self._to_remote.stopping,
        )
        self._queues = queues = QueueWatch(
            QueueStore(database), self.metrics, self._requeued, self._wake_rooms
        )
        self._to_matrix: Lanes[PortalKey] = Lanes("to Matrix", to_matrix.drain, queues.paused_chat)
        self._to_remote: Lanes[RoomId] = Lanes(
            "to the network", to_remote.drain, queues.paused_room
        )
        self._health = health = Health(database.healthy)
        metrics = self.metrics
        metrics.pausing.labels("to_matrix").set_function(lambda: self._to_matrix.pausing)
        metrics.pausing.labels("to_remote").set_function(lambda: self._to_remote.pausing)
        metrics.ready.labels("homeserver").set_function(lambda: health.homeserver_ok)
        metrics.ready.labels("intake").set_function(lambda: health.intake_problem is None)

    def _may_use(self, user: UserId) -> bool:
        return self._config.permission_of(user).may_use

    def _never_keys(self, account: UserId) -> Iterable[UserId]:
        yield self._bot
        for login in self._logins.of(account):
            yield self._ghosts.user_id(login.network, login.remote)

    async def _tell(self, user: UserId, text: str) -> None:
        await self._management.tell(user, text)

    def _wake_chats(self, chats: set[PortalKey]) -> None:
        for chat in chats:
            self._to_matrix.wake(chat)

    def _wake_rooms(self, rooms: set[RoomId]) -> None:
        for room in rooms:
            self._to_remote.wake(room)

    def _requeued(self, chats: set[PortalKey]) -> None:
        """What was put back may have been sent in part, before it was put aside."""
        self._carrier.doubt(chats)
        self._wake_chats(chats)

    def _login_changed(self, _login: LoginId) -> None:
        self._to_remote.nudge()

    # -- serving

    async def _serve(self) -> None:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[matrix_errors])
        self._intake = intake = Intake(
            self._config.appservice.hs_token.get_secret_value(),
            self._accept,
            self._invites.ghost_exists,
            {network.name: network.title for network in self._logins.networks},
        )
        intake.add_routes(app)
        self._keeping.pushes.add_routes(app)
        self._health.add_routes(app, self.metrics.exposition)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        listen = self._config.appservice.listen
        try:
            await web.TCPSite(runner, listen.host, listen.port).start()
        except OSError as error:
            raise AdminError(
                f"Nothing can listen on {listen} ({error.strerror}). "
                "Change appservice.listen, or stop what uses that port."
            ) from error
        self._in_background(self._queues.count_waiting())
        log.info("listening for the homeserver", listen=str(listen))

    async def _accept(self, events: Sequence[PushedEvent]) -> None:
        """Commit pushed events, but for those of our own ghosts and bot; then wake their rooms."""
        self.metrics.transactions.inc(len(events))
        for sender in {event.sender for event in events}:
            self._keeping.observation.activity(sender)
        rows = [
            OutboxRow(event.id, event.room, event.sender, event.raw)
            for event in events
            if not self._is_ours(event)
        ]
        with self._health.taking_in(self.metrics.intake_failures.inc):
            await self._missed(rows)

    async def _missed(self, rows: Sequence[OutboxRow]) -> None:
        """Commit events of the homeserver, and wake the rooms of those that are new."""
        if rows:
            for row in await self._outbox.add(rows):
                self._to_remote.wake(row.room)

    def _is_ours(self, event: PushedEvent) -> bool:
        return self._namespace.owns(event.sender) or (
            event.sender == self._bot and event.type != "m.room.member"
        )

    # -- beginning

    async def _meet_homeserver(self) -> None:
        """Return once the homeserver knows us; keep asking while it does not answer."""
        failures = 0
        while True:
            try:
                await handshake.check_identity(self._homeserver, self._bot)
                problem = await handshake.accounts_problem(self._keeping.as_users)
                break
            except AdminError:
                raise
            except BridgeError as error:
                failures += 1
                pause = min(LONGEST_PAUSE, 2.0 ** min(failures, 6)) * random.uniform(0.5, 1)  # noqa: S311
                log.warning("waiting for the homeserver", reason=str(error), again_in=round(pause))
                await asyncio.sleep(pause)
        self._keeping.accounts.available = problem is None
        if problem is not None:
            log.error(problem)

    async def _begin(self) -> None:
        waiting = set(await self._inbox.chats_waiting())
        self._carrier.doubt(waiting)
        self._to_matrix.start()
        self._to_remote.start()
        await self._keeping.begin()
        self._stack.push_async_callback(self._to_matrix.stop)
        self._stack.push_async_callback(self._logins.stop)
        self._stack.push_async_callback(self._to_remote.stop)
        await self._logins.start()
        await self._keeping.resume()
        self._wake_chats(waiting)
        self._wake_rooms(set(await self._outbox.rooms_waiting()))
        self._in_background(self._deliveries.resume())
        self._in_background(self._queues.look_for_requeued())
        self._in_background(self._ping())
        log.info("dm_bridge is running", bot=self._bot)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        """Run something until the bridge stops."""
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)

    async def _ping(self) -> None:
        """Learn, and keep learning, whether the homeserver reaches us."""
        failures = 0
        while True:
            try:
                appservice = self._config.appservice
                problem = await handshake.ping_problem(
                    self._homeserver, appservice.id, appservice.url, self._intake.pinged
                )
            except BridgeError as error:
                problem = str(error)
            if problem is None:
                if not self._health.homeserver_ok:
                    log.info("the homeserver reaches the bridge")
                failures = 0
            else:
                failures += 1
                if failures > 1:  # right after a start, the homeserver may still be backing off
                    log.error(problem)
            self._health.homeserver(problem)
            if problem is not None:
                await asyncio.sleep(min(LONGEST_PAUSE, 2.0 ** min(failures, 6)))
                continue
            self._unreachable.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_INTERVAL):
                    await self._unreachable.wait()
                    url = self._config.homeserver.url
                    self._health.homeserver(f"The homeserver at {url} cannot be reached.")


async def run_bridge(config: Config, *, migrate: bool = True) -> int:
    """Run until SIGTERM or SIGINT; the process's exit code. Raises `AdminError`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await App(config).run(stop, migrate_first=migrate)
    return 0


async def migrate_database(config: Config) -> tuple[str | None, str]:
    """Bring the schema up to date; the revision before (None: empty) and after. Raises `AdminError`."""
    if not config.database.embedded:
        return await migrate(config.database.url.get_secret_value())
    postgres = await EmbeddedPostgres.start(config.data_dir)
    try:
        return await migrate(postgres.url)
    finally:
        await postgres.stop()
