"""The composition root: builds every part from the configuration, wires them, runs them.

The rule that must never break: whatever was started is stopped, in reverse order, however the run
ends.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack

import structlog

from dm_bridge import __version__
from dm_bridge.app.files import Files
from dm_bridge.app.keeping import Keeping
from dm_bridge.app.listening import listen
from dm_bridge.app.meeting import Meeting
from dm_bridge.app.memory import make_room
from dm_bridge.app.page import Paged
from dm_bridge.app.provisioning import Provisioned
from dm_bridge.app.queue_watch import QueueWatch
from dm_bridge.app.reporting import Reporting
from dm_bridge.app.safety import Safety, guard_settings, pruner
from dm_bridge.app.tenancy import Tenancy
from dm_bridge.bridge.audit_log import AuditLog
from dm_bridge.bridge.commands import Commands
from dm_bridge.bridge.commands.retry import RetryCommand
from dm_bridge.bridge.commands.space import SpaceCommand
from dm_bridge.bridge.delivery import Deliveries, DeliverySettings
from dm_bridge.bridge.faces import Faces
from dm_bridge.bridge.features import RoomFeatures
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.guard import Guard
from dm_bridge.bridge.import_asking import ImportSettings
from dm_bridge.bridge.importing import Importer
from dm_bridge.bridge.imports import Imports
from dm_bridge.bridge.invites import Invites
from dm_bridge.bridge.lanes import Lanes
from dm_bridge.bridge.login_marks import AllHooks, LoginMarks
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.management import Management
from dm_bridge.bridge.older import Older
from dm_bridge.bridge.portal import Portals, PortalSettings
from dm_bridge.bridge.quiet import Quiet
from dm_bridge.bridge.requests import Requests
from dm_bridge.bridge.second_tries import SecondTries
from dm_bridge.bridge.shares import Shares
from dm_bridge.bridge.signals import Signals
from dm_bridge.bridge.silence import Silence
from dm_bridge.bridge.spaces import Spaces, SpaceSettings
from dm_bridge.bridge.steward import Steward
from dm_bridge.bridge.to_matrix import ToMatrix
from dm_bridge.bridge.to_remote import ToRemote
from dm_bridge.bridge.whose import Whose
from dm_bridge.config import Config
from dm_bridge.errors import BridgeError, HomeserverAway
from dm_bridge.ids import ContactId, LoginId, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.matrix.ephemeral import Ephemeral
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.intake import Intake
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.matrix.pings import Pings
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.matrix.transactions import PushedEvent
from dm_bridge.network.api import Network
from dm_bridge.network.signals import RemoteProfile, RemoteRequest, Signal
from dm_bridge.ops.health import Health
from dm_bridge.ops.metrics import Metrics
from dm_bridge.provisioning.admin import Vitals
from dm_bridge.provisioning.deeds import Deeds
from dm_bridge.store.audit_log import AuditStore
from dm_bridge.store.bell import Bell
from dm_bridge.store.database import Buried, Database
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.store.features import FeatureStore
from dm_bridge.store.history import HistoryStore
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.instances import CHANNEL, InstanceStore
from dm_bridge.store.logins import LoginRow, LoginStore
from dm_bridge.store.migrate import migrate
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.queue import QueueStore
from dm_bridge.store.references import ReferenceStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.schema import check_schema
from dm_bridge.store.sealing import SealingKey
from dm_bridge.store.spaces import SpaceStore
from dm_bridge.store.undelivered import UndeliveredStore
from dm_bridge.texts import phrase, speak

log = structlog.get_logger(__name__)


class App:
    """One bridge process. `run` is all there is to call."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = AsyncExitStack()
        self._bot = config.bot_user_id
        self._namespace = config.ghosts
        self.metrics = Metrics()
        self._unreachable = asyncio.Event()
        self._behind = False

    async def run(self, stop: asyncio.Event, *, migrate_first: bool) -> None:
        """Start, serve until ``stop`` is set, stop. Raises `AdminError` when it cannot start."""
        log.info("dm_bridge starts", version=__version__, data_dir=str(self._config.data_dir))
        async with self._stack:
            await self._build(await self._database(migrate_first))
            await self._join()
            await self._serve()
            work = asyncio.create_task(self._work())
            stopped = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait(
                    {self._alive, work, stopped}, return_when=asyncio.FIRST_COMPLETED
                )
                for task in (self._alive, work):
                    if task.done():
                        await task
                log.info("dm_bridge stops")
            finally:
                self._health.stopping()
                work.cancel()
                stopped.cancel()
                await asyncio.gather(work, stopped, return_exceptions=True)
        log.info("dm_bridge has stopped")

    # -- building

    async def _database(self, migrate_first: bool) -> Database:
        self._url = url = await self._database_url()
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

    async def _vitals(self, database: Database) -> Database:
        """Connections apart, for showing that we live: they are never busy with anything else."""
        vitals = await Database.open(self._url, size=2, instance=database.instance)
        self._stack.push_async_callback(vitals.close)
        return vitals

    async def _build(self, database: Database) -> None:
        config, appservice = self._config, self._config.appservice
        speak(config.texts.language, config.texts.folder)
        phrase.prepare()
        session = homeserver_session()
        self._stack.push_async_callback(session.close)
        self._homeserver = Homeserver(
            config.homeserver.url,
            appservice.as_token.get_secret_value(),
            session,
            self._unreachable.set,
            lambda: self._shares.refusal(),
        )
        files = Files(config, self._homeserver.budget, lambda: self._shares.refusal(), self._stack)
        reporting = Reporting(config, session, self.metrics, self._stack)
        self._inbox = InboxStore(database)
        self._outbox = OutboxStore(database)
        portal_store = PortalStore(database)
        references = ReferenceStore(database)
        ghosts = Ghosts(self._homeserver, portal_store, self._namespace)
        key = SealingKey.load(config.data_dir / "sealing.key")
        audit = AuditLog(AuditStore(database))
        guard = Guard(guard_settings(config), SafeguardStore(database), key, audit)
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
            refusal=lambda: self._shares.refusal(),
            alone=lambda: self._shares.alone,
            elsewhere=lambda account: self._tenancy.changed_elsewhere(account),
            audit=audit,
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
            lambda rows: self._tenancy.accept(rows),
            met=self._met,
            changed=lambda login: self._spaces.note(login),
            joined=lambda key: self._signals.presences.seen(key),
        )
        networks: dict[NetworkName, Network] = {
            NetworkName(section.name): section.build() for section in config.enabled_networks
        }
        for network in networks.values():
            await network.start()
            self._stack.push_async_callback(network.stop)
        self._ghosts = ghosts
        self._spaces = Spaces(
            self._homeserver,
            accounts,
            SpaceStore(database),
            lambda: self._logins,
            SpaceSettings(
                self._bot,
                config.homeserver.domain,
                config.direct.auto_join,
                config.spaces.new_logins,
            ),
        )
        history = ImportSettings(config.history.conversations, config.history.messages)
        history_store, silence = HistoryStore(database), Silence(accounts, self._namespace)
        importer = Importer(
            history_store,
            lambda: self._logins,
            keeping.keeper,
            silence,
            self._tell,
            lambda chats: self._tenancy.wake_chats(chats),
            history,
        )
        self._imports = Imports(
            importer,
            history_store,
            lambda: self._logins,
            silence,
            self._tell,
            lambda chats: self._tenancy.wake_chats(chats),
        )
        self._stack.push_async_callback(self._imports.stop)
        self._logins = Logins(
            networks,
            LoginStore(database),
            self._inbox,
            key,
            self._tell,
            lambda chats: self._tenancy.wake_chats(chats),
            self._login_changed,
            self.metrics,
            AllHooks(LoginMarks(keeping.keeper, portals), self._imports, self._spaces),
            reporting.states,
            self._signalled,
            received=config.delivery.status_events,
            imports=history.enabled,
            guard=guard,
        )
        self._signals = signals = Signals(
            self._homeserver,
            accounts,
            portal_store,
            references,
            self._logins,
            self._is_one_of_us,
            contacts=config.presence.contacts,
            users=config.presence.users,
        )
        self._stack.push_async_callback(signals.stop)
        people = PeopleStore(database)
        self._faces = Faces(
            self._homeserver, MediaRepository(self._homeserver), people, portal_store, self._logins
        )
        self._stack.push_async_callback(self._faces.stop)
        self._features = RoomFeatures(
            self._homeserver, FeatureStore(database), self._logins, config.media.largest
        )
        self._requests = Requests(people, self._logins, self._tell)
        self._invites = Invites(
            self._homeserver, portals, ghosts, self._logins, portal_store, self._bot, self._may_use
        )
        self._page = page = Paged(config, database, audit, self._tell)
        tries = SecondTries(
            UndeliveredStore(database),
            self._logins,
            self._bot,
            self._namespace,
            lambda rooms: self._tenancy.wake_rooms(rooms),
            lambda chats: self._tenancy.requeued(chats),
        )
        safety = Safety(
            config,
            database,
            key,
            audit,
            self._homeserver,
            keeping,
            self._logins,
            portals,
            silence,
            self._spaces,
            ask=lambda user, deed, fields: self._deeds.ask(user, deed, fields),
            leave=lambda errands: self._shares.leave_errands(errands),
            forget=lambda user, work: self._tenancy.forget(user, work),
        )
        self._management = Management(
            self._homeserver,
            accounts,
            RoomStore(database),
            commands := Commands(
                self._logins,
                portals,
                self._namespace,
                people,
                tokens=keeping.tokens,
                direct=keeping.view,
                older=Older(
                    self._homeserver,
                    history_store,
                    portal_store,
                    self._imports,
                    importer,
                    silence,
                    lambda chats: self._tenancy.wake_chats(chats),
                ),
                retry=RetryCommand(tries),
                page=page.command,
                space=SpaceCommand(self._spaces, self._logins),
                data=safety.data,
                admin=safety.admin,
            ),
            self._bot,
            self._namespace,
            self._may_use,
            config.homeserver.domain,
            Quiet(config.limits.commands_per_minute),
            audit,
        )
        self._stack.push_async_callback(commands.stop)
        self._stack.push_async_callback(page.stop)
        delivery = config.delivery
        deliveries = Deliveries(
            self._homeserver,
            self._outbox,
            portal_store,
            DeliverySettings(
                delivery.receipts, delivery.status_events, delivery.expire_hours * 3600
            ),
            signals.receipts,
            lambda rooms: self._tenancy.ours(rooms),
            reporting.checkpoints,
        )
        to_matrix = ToMatrix(
            self._homeserver,
            accounts,
            portals,
            self._logins,
            self._inbox,
            self._outbox,
            references,
            portal_store,
            self.metrics,
            deliveries,
            signals,
            files.inward,
            lambda chat: self._to_matrix.ends(chat),
            keeping.observation.happened,
            doors=self._imports,
        )
        self._sender = to_remote = ToRemote(
            self._homeserver,
            portals,
            self._logins,
            self._invites,
            self._management,
            self._inbox,
            self._outbox,
            references,
            portal_store,
            self._bot,
            self._namespace,
            self.metrics,
            deliveries,
            files.outward,
            lambda room: self._to_remote.ends(room),
            spaces=self._spaces,
        )
        self._queues = queues = QueueWatch(
            QueueStore(database),
            self.metrics,
            lambda chats: self._tenancy.requeued(chats),
            lambda rooms: self._tenancy.wake_rooms(rooms),
            deliveries.settle,
        )
        self._to_matrix: Lanes[PortalKey] = Lanes(
            "to Matrix", to_matrix.drain, queues.paused_chat, self._nobody_there
        )
        self._to_remote: Lanes[RoomId] = Lanes(
            "to the network", to_remote.drain, queues.paused_room
        )
        self._pings = Pings(
            f"{database.instance}/", lambda ping: self._tenancy.pinged_elsewhere(ping)
        )
        self._bell = Bell(database, CHANNEL)
        instances = InstanceStore(database)
        self._shares = Shares(
            instances,
            InstanceStore(await self._vitals(database)),
            config.processes.lease_seconds,
            self.metrics,
            self._bell.wait,
        )
        self._health = health = Health(database.healthy)
        self._provisioned = provisioned = Provisioned(
            config,
            database,
            session,
            self._homeserver.budget,
            key,
            self._logins,
            portals,
            keeping.view,
            tries,
            self._shares,
            lambda users: self._tenancy.adopt(users),
            self.metrics,
            Vitals(
                database.instance,
                lambda: health.homeserver_problem,
                lambda: health.intake_problem,
                database.healthy,
                self._shares.holds,
                lambda: self._shares.held,
                keeping.observation.how,
                lambda: keeping.observation.pushed_since,
                lambda: self._to_matrix.pausing + self._to_remote.pausing,
            ),
            Steward(self._logins, self._tell),
        )
        self._deeds = Deeds(provisioned.relay.answer)
        self._leaving = safety.leaving
        self._tenancy = Tenancy(
            self._shares,
            Whose(instances),
            self._logins,
            keeping,
            to_matrix,
            self._inbox,
            self._outbox,
            self._to_matrix,
            self._to_remote,
            self._pings,
            signals.attention,
            reporting.checkpoints.taken,
            self._imports,
            provisioned.relay,
            pruner(config, database),
            safety.leaving,
            self._spaces,
            self._bot,
        )
        self._meeting = Meeting(
            config, self._homeserver, keeping.as_users, self._pings, health, self._unreachable
        )
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

    async def _tell(self, user: UserId, text: str, about: str | None = None) -> None:
        await self._management.tell(user, text, about)

    def _nobody_there(self, error: BridgeError) -> bool:
        return isinstance(error, HomeserverAway) and error.url == self._homeserver.url

    def _login_changed(self, login: LoginId) -> None:
        self._to_remote.resume(self._sender.waited_for(login))
        self._signals.connected(login)
        self._features.note(login)
        self._imports.connected(login)
        self._spaces.note(login)

    def _met(self, login: LoginRow, contact: ContactId) -> None:
        self._faces.met(login, contact)
        self._features.note(login.id)

    def _signalled(self, login: LoginId, signal: Signal) -> None:
        match signal:
            case RemoteProfile():
                self._faces.note(login, signal)
            case RemoteRequest():
                self._requests.note(login, signal)
            case _:
                self._signals.from_network(login, signal)

    def _is_one_of_us(self, user: UserId) -> bool:
        return user == self._bot or self._namespace.owns(user)

    # -- serving

    async def _serve(self) -> None:
        intake = Intake(
            self._config.appservice.hs_token.get_secret_value(),
            self._accept,
            self._invites.ghost_exists,
            {network.name: network.title for network in self._logins.networks},
            self._pings.came,
            self._signalled_by_homeserver,
        )
        endpoints = [
            intake.add_routes,
            self._keeping.pushes.add_routes,
            lambda app: self._health.add_routes(app, self.metrics.exposition),
        ]
        if self._provisioned.endpoint is not None:
            endpoints.append(self._provisioned.endpoint.add_routes)
        calls = self._provisioned
        endpoints += self._page.endpoints(calls.relay.answer, self._logins.networks, calls.counted)
        self._stack.push_async_callback(self._provisioned.stop)
        await listen(self._config.appservice.listen, endpoints, self._stack)
        self._in_background(self._queues.count_waiting())
        self._in_background(self._signals.run(self._tenancy.signalled))
        self._in_background(self._faces.run())
        self._in_background(self._features.run())
        self._in_background(self._requests.run())
        self._in_background(self._spaces.turns.run())

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
        with self._health.taking_in(self._refused):
            await self._tenancy.accept(rows)
        if self._behind:
            self._behind = False
            self._signals.missed_reads.look_again()

    def _refused(self) -> None:
        self._behind = True
        self.metrics.intake_failures.inc()

    def _signalled_by_homeserver(self, signals: Sequence[Ephemeral]) -> None:
        self.metrics.signals.inc(len(signals))
        self._signals.pushed(signals)

    def _is_ours(self, event: PushedEvent) -> bool:
        return self._namespace.owns(event.sender) or (
            event.sender == self._bot and not _comes(event)
        )

    # -- beginning

    async def _join(self) -> None:
        """Be one of the processes on this database, until all that we had has been ended."""
        await self._shares.join(f"{self._bot} {self._namespace}", __version__)
        self._stack.push_async_callback(self._shares.leave)
        self._alive = asyncio.create_task(self._shares.live())
        self._stack.push_async_callback(_ended, self._alive)
        self._in_background(self._bell.hear())

    async def _work(self) -> None:
        """Wait for the homeserver; then carry messages, until cancelled."""
        problem = await self._meeting.meet()
        self._keeping.accounts.available = problem is None
        if problem is not None:
            log.error(problem)
        self._to_matrix.start()
        self._to_remote.start()
        self._keeping.begin()
        self._stack.push_async_callback(self._to_matrix.stop)
        self._stack.push_async_callback(self._logins.stop)
        self._stack.push_async_callback(self._to_remote.stop)
        self._stack.push_async_callback(self._provisioned.stop)
        self._stack.push_async_callback(self._leaving.stop)
        await self._shares.take_free(self._tenancy)
        await self._keeping.observe()
        self._in_background(self._queues.settle_notices())
        self._in_background(self._queues.look_for_requeued())
        self._in_background(self._tenancy.look_after())
        self._in_background(self._meeting.go_on())
        log.info("dm_bridge is running", bot=self._bot)
        await self._shares.share(self._tenancy)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        """Run something until the bridge stops."""
        self._stack.push_async_callback(_ended, asyncio.create_task(work))


def _comes(event: PushedEvent) -> bool:
    """Whether somebody moves by themselves, and does not leave; of our bot, all else is known when it does it."""
    if event.type != "m.room.member" or event.raw.get("state_key") != event.sender:
        return False
    content = event.raw.get("content")
    return not (isinstance(content, dict) and content.get("membership") == "leave")


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def run_bridge(config: Config, *, migrate: bool = True) -> int:
    """Run until SIGTERM or SIGINT; the process's exit code. Raises `AdminError`."""
    make_room()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    while True:
        try:
            await App(config).run(stop, migrate_first=migrate)
            return 0
        except Buried as error:
            log.error("this process begins anew", reason=str(error))


async def migrate_database(config: Config) -> tuple[str | None, str]:
    """Bring the schema up to date; the revision before (None: empty) and after. Raises `AdminError`."""
    if not config.database.embedded:
        return await migrate(config.database.url.get_secret_value())
    postgres = await EmbeddedPostgres.start(config.data_dir)
    try:
        return await migrate(postgres.url)
    finally:
        await postgres.stop()
