"""The session of one login: keeps a client connected, and carries messages both ways.

The rule that must never break: a refused password ends all attempts until somebody logs in again,
and every other failure leads to another attempt, after a pause that grows and is never the same
for all logins.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

import structlog

from dm_bridge.connectors.xmpp import receipts, subscriptions
from dm_bridge.connectors.xmpp.acks import Resumption
from dm_bridge.connectors.xmpp.archive import Archive
from dm_bridge.connectors.xmpp.catch_up import CatchUp
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.courtesies import Courtesies
from dm_bridge.connectors.xmpp.deliveries import Deliveries
from dm_bridge.connectors.xmpp.failures import RejectedError, StreamConflictError
from dm_bridge.connectors.xmpp.history import HistoryReader
from dm_bridge.connectors.xmpp.intake import Intake
from dm_bridge.connectors.xmpp.limits import Limits
from dm_bridge.connectors.xmpp.presence import Presences, appearance
from dm_bridge.connectors.xmpp.session_people import SessionPeople
from dm_bridge.connectors.xmpp.session_sending import SessionSending
from dm_bridge.connectors.xmpp.stanzas import (
    Ignored,
    archive_id,
    carbons_enable,
    copied_from_contact,
    read_message,
    roster_members,
    roster_query,
)
from dm_bridge.connectors.xmpp.transport import Route
from dm_bridge.connectors.xmpp.upload import UploadService
from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.abilities import (
    OutgoingRead,
)
from dm_bridge.network.api import Capabilities, EventSink, Login
from dm_bridge.network.events import RemoteFailure, RemoteMessage, SessionState, SessionStatus
from dm_bridge.network.history import HistoryPage, RecordPart
from dm_bridge.network.signals import Availability
from dm_bridge.texts import phrase

T = TypeVar("T")

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 3.0
"""For which a session waits to know whether its server takes files."""
STABLE_SECONDS = 60.0
"""A connection that lasted this long makes the next pause short again."""
_DRAIN_SECONDS = 1.5


class XmppSession(SessionPeople, SessionSending):
    """See `dm_bridge.network.api.Session`."""

    def __init__(
        self,
        login: Login,
        route: Route,
        config: XmppConfig,
        sink: EventSink,
        uploads: UploadService,
    ) -> None:
        self._login = login
        self._route = route
        self._config = config
        self._sink = sink
        self._uploads = uploads
        self._log = _log.bind(login=login.id)
        self._courtesies = Courtesies(lambda: self._client, config.connect_timeout, self._log)
        self._intake = Intake(sink, login.id, self._on_pressure, self._courtesies.committed)
        self._deliveries = Deliveries()
        self._catch_up = CatchUp(
            self._intake,
            login.position,
            self._log,
            self._deliveries.sent_back,
            self._courtesies.came,
        )
        self._archived = self._copied = False
        self._displayed: tuple[Client, dict[ChatId, RemoteId]] | None = None
        self._looking = asyncio.Lock()
        self._begun = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._client: Client | None = None
        self._live = asyncio.Event()
        self._refusal: CredentialsError | None = None
        self._reported: SessionState | None = None
        self._stop = asyncio.Event()
        super().__init__(sink, config.connect_timeout, self._log)
        self._roster_version: str | None = None
        self._presences = Presences()
        self._limits = Limits(sink.signal, config.connect_timeout)
        self._appearance: list[Element] = []

    # -- connecting

    async def connect(self) -> None:
        if self._tasks or self._stop.is_set():
            return
        self._report(SessionStatus.CONNECTING)
        self._spawn(self._intake.run())
        self._spawn(self._run())

    async def disconnect(self) -> None:
        self._stop.set()
        self._live.clear()
        self._people.close()
        tasks, client = set(self._tasks), self._client
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._intake.drained()
        if client is not None:
            await client.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._client = None
        self._deliveries.abandon(certain=False)

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self) -> None:
        attempt = 0
        conflicts = 0
        client: Client | None = None
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            previous = None if client is None else client.resumption()
            live_since: float | None = None
            error: Exception | None = None
            try:
                client = self._client = self._new_client(previous)
                self._begun &= await client.open(self._config.connect_timeout)
                if not self._begun:
                    await self._begin(client)
                live_since = loop.time()
                self._become_live(client)
                await self._serve(client)
                error = client.failure
            except CredentialsError as refused:
                self._refusal = refused
                self._report(SessionStatus.BAD_CREDENTIALS, str(refused))
                self._deliveries.abandon(certain=False)
                return
            except NetworkError as failed:
                error = failed
                if client is not None:
                    client.fail(failed)
            except Exception as bug:
                self._log.exception("the session failed unexpectedly")
                error = bug
            finally:
                self._live.clear()
                if self._client is not None:
                    await self._client.dispose()
            if self._stop.is_set():
                return
            self._settle(client)
            if live_since is not None and loop.time() - live_since >= STABLE_SECONDS:
                attempt = conflicts = 0
            conflicts += isinstance(error, StreamConflictError)
            self._report_failure(error)
            await asyncio.sleep(self._pause(attempt, conflicts, error))
            attempt += 1

    def _new_client(self, previous: Resumption | None) -> Client:
        jid = f"{self._login.remote}/{self._config.resource}.{self._login.id}"
        return Client(
            previous.full_jid if previous is not None else jid,
            self._login.credentials.get("password", ""),
            self._route,
            previous=previous,
            on_message=self._on_message,
            on_accepted=self._deliveries.accept,
            on_resume_refused=lambda exact: self._deliveries.abandon(certain=exact),
            on_roster=self._on_roster,
            on_presence=self._on_presence,
        )

    async def _begin(self, client: Client) -> None:
        """Set up a session that continues none that was set up: roster, carbons, then presence.

        The archive is read only after presence: from then on nothing passes by that is not in it.
        """
        timeout = self._config.connect_timeout
        self._catch_up.begin()
        try:
            await self._fetch_roster(client, timeout)
        except RejectedError as error:
            self._log.warning("the server gives no contact list", error=str(error))
        try:
            await client.request("set", carbons_enable(), timeout)
            self._copied = True
        except RejectedError as error:
            self._copied = False
            self._log.warning("the server offers no carbon copies", error=str(error))
        self._archived = await self._archive(client).exists()
        if not self._archived:
            self._catch_up.without_archive()
        await asyncio.wait({self._spawn(self._uploads.look(client))}, timeout=LOOK_SECONDS)
        self._presences.clear()
        client.send_available(self._appearance)
        self._begun = True

    def _archive(self, client: Client) -> Archive:
        return Archive(client, self._config.connect_timeout)

    async def _fetch_roster(self, client: Client, timeout: float) -> None:
        versioned = "rosterver" in client.features
        version = (self._roster_version or "") if versioned else None
        answer = await client.request("get", roster_query(version), timeout)
        query = answer.find("{jabber:iq:roster}query")
        if query is not None:
            self._people.roster_begins()
            self._courtesies.contacts([], anew=True)
            self._on_roster(query)

    def _become_live(self, client: Client) -> None:
        if self._intake.pressed:
            client.pause(True)
        self._live.set()
        self._report(SessionStatus.CONNECTED)

    async def _serve(self, client: Client) -> None:
        """Read what was missed, next to all else, and wait for the end of the connection."""
        reading = asyncio.create_task(self._read_archive(client))
        try:
            await self._watch(client)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_archive(self, client: Client) -> None:
        """A resumed stream only goes on with what the one before had not finished."""
        if self._catch_up.done:
            return
        try:
            await self._catch_up.run(self._archive(client), client.account)
            self._intake.put_unacknowledged(await self._courtesies.displayed(client))
        except NetworkError as error:
            client.fail(error)
        except Exception:
            self._log.exception("the archive could not be read")
            client.fail(
                NetworkError(
                    phrase("xmpp-archive-unreadable", address=self._login.remote), retry_after=60.0
                )
            )

    async def _watch(self, client: Client) -> None:
        """Wait for the end of the connection; end it when the server no longer answers."""
        interval = self._config.ping_interval
        while not client.closed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await client.closed.wait()
                    return
            quiet = asyncio.get_running_loop().time() - client.last_received
            if quiet < interval or self._intake.pressed:
                continue
            try:
                await client.ping(self._config.ping_timeout)
            except NetworkError as error:
                client.fail(error)
                return

    def _settle(self, client: Client | None) -> None:
        """Decide what becomes of messages under way, now that the connection is gone."""
        if client is not None:
            self._deliveries.abandon(certain=True, only=client.unsent())
        if client is None or client.resumption() is None:
            self._deliveries.abandon(certain=False)

    def _pause(self, attempt: int, conflicts: int, error: Exception | None) -> float:
        config = self._config
        limit = min(config.retry_max, config.retry_min * 2 ** min(attempt, 20))
        pause = random.uniform(0, limit)  # noqa: S311 - full jitter
        if isinstance(error, StreamConflictError):
            floor = min(config.retry_max, config.conflict_pause * 2 ** min(conflicts - 1, 10))
            pause += max(config.conflict_pause, floor)
        return pause

    def _report_failure(self, error: Exception | None) -> None:
        if error is None or isinstance(error, NetworkError):
            reason = "" if error is None else str(error)
            self._log.info("the connection ended", reason=reason)
            self._report(SessionStatus.TRANSIENT_DISCONNECT, reason)
        else:
            self._report(
                SessionStatus.UNKNOWN_ERROR,
                phrase("xmpp-unexpected", domain=self._route.domain),
            )

    def _report(self, status: SessionStatus, reason: str = "") -> None:
        state = SessionState(status, reason)
        if state != self._reported and not self._stop.is_set():
            self._reported = state
            self._sink.report(state)

    # -- what arrives

    def _on_message(self, stanza: Element) -> None:
        client = self._client
        if client is None:
            return
        event = read_message(stanza, client.account, secrets.token_hex(8), time.time())
        if isinstance(event, Ignored):
            if event.suspicious:
                self._log.warning("a stanza was dropped", why=event.why)
            else:
                self._on_notice(stanza, client)
            return
        self._courtesies.came(stanza, event)
        if isinstance(event, RemoteMessage) and event.sender_name is not None:
            self._people.wrote_as(event.sender, event.sender_name)
        elif (
            isinstance(event, RemoteMessage)
            and not event.from_self
            and self._people.looks_again(event.sender)
        ):
            self._spawn(self._people.look_again(client, event.sender))
        if isinstance(event, RemoteFailure):
            self._deliveries.sent_back(event.message)
        position = self._catch_up.live(archive_id(stanza, client.account))
        self._intake.put(event, client.acks.ledger, position)

    def _on_notice(self, stanza: Element, client: Client) -> None:
        """A message that is none: somebody types, or has another name, or another device has displayed it."""
        if self._people.noticed(stanza):
            return
        if client.is_own_account(stanza.get("from")):
            self._intake.put_unacknowledged(self._courtesies.displayed_now(stanza, client))
            stanza = copied_from_contact(stanza)  # who types may have another device in mind
        if (typing := receipts.typing_from(stanza)) is not None:
            self._sink.signal(typing)

    def _on_presence(self, stanza: Element) -> None:
        if self._client is not None:
            self._people.presence(stanza, self._client.account.bare)
            if (contact := subscriptions.shown_by(stanza)) is not None:
                self._spawn(self._people.look_again(self._client, contact))
        changed = self._presences.came(stanza)
        if changed is not None:
            self._sink.signal(changed)

    def _on_pressure(self, pressed: bool) -> None:
        self._log.info("reading from the server pauses" if pressed else "reading goes on")
        if self._client is not None:
            self._client.pause(pressed)

    def _on_roster(self, query: Element) -> None:
        self._courtesies.contacts(roster_members(query))
        self._people.roster(query)
        self._roster_version = query.get("ver")

    # -- what the bridge asks for

    @property
    def capabilities(self) -> Capabilities:
        """An archive and carbons are what servers may lack; see docs/xmpp.md."""
        return Capabilities(
            catches_up=self._archived,
            own_messages=self._copied,
            sends_once=self._archived,
            formatting=True,
            late_failures=True,
            lines=True,
            replies=True,
            edits=True,
            retractions=True,
            reactions=True,
            reads=True,
            typing=True,
            presence=True,
            media=True,
            largest_media=self._uploads.largest,
            profiles=True,
            contacts=True,
            search=True,
            blocks=self._people.can_block,
            requests=True,
            history=self._archived,
        )

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    async def read(self, read: OutgoingRead) -> None:
        """See `Reads`."""
        await self._courtesies.read(await self._ready_client(), read)

    async def appear(self, availability: Availability, text: str) -> None:
        """See `Appears`."""
        self._appearance = appearance(availability, xml_text(text))
        if self._live.is_set() and self._client is not None:
            self._client.send_available(self._appearance)

    async def typing(self, chat: ChatId, typing: bool) -> None:
        """See `Types`."""
        (await self._ready_client()).send_notice(chat, receipts.typing_notice(typing))

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        """See `History`."""
        return await (await self._history()).record(until, further)

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        """See `History`."""
        return await (await self._history()).older(chat, place, messages)

    async def _history(self) -> HistoryReader:
        """What the user has read is asked for once for each stream."""
        client = await self._ready_client()
        async with self._looking:
            if self._displayed is None or self._displayed[0] is not client:
                reads = await self._courtesies.displayed(client)
                self._displayed = client, {read.chat: read.target for read in reads}
            displayed = self._displayed[1]
        return HistoryReader(self._archive(client), client.account, displayed, self._log)

    async def _ready_client(self) -> Client:
        if self._refusal is not None:
            raise CredentialsError(str(self._refusal))
        try:
            async with asyncio.timeout(self._config.send_wait):
                await self._live.wait()
        except TimeoutError:
            pass
        client = self._client
        if client is None or not self._live.is_set() or client.closed.is_set():
            raise NetworkError(
                phrase("xmpp-not-connected", address=self._login.remote),
                retry_after=self._config.send_wait,
            )
        return client
