"""The session of one login: keeps a connection, and carries messages both ways.

The rule that must never break: a refused login ends all attempts until somebody logs in again, and every other
failure leads to another attempt, after a pause that grows and is never the same for all logins.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import version
from typing import Any

import structlog

from dm_bridge.connectors.irc.addresses import parts
from dm_bridge.connectors.irc.casemap import CaseMapping
from dm_bridge.connectors.irc.catch_up import CatchUp
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.config import IrcConfig
from dm_bridge.connectors.irc.credentials import Credentials, ServicesAway, identify
from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.incoming import Incoming
from dm_bridge.connectors.irc.intake import Intake
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.people import People
from dm_bridge.connectors.irc.position import Position
from dm_bridge.connectors.irc.presence import Presence
from dm_bridge.connectors.irc.record import Here, Progress
from dm_bridge.connectors.irc.relations import Relations
from dm_bridge.connectors.irc.sending import Sending
from dm_bridge.connectors.irc.transport import Route
from dm_bridge.connectors.irc.typing_notices import OwnTyping, Typists
from dm_bridge.errors import CredentialsError, NetworkError, UserError
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.abilities import OutgoingReactions
from dm_bridge.network.api import (
    Capabilities,
    Contact,
    EventSink,
    Login,
    Outgoing,
    OutgoingMessage,
)
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.texts import phrase

_log = structlog.get_logger(__name__)

STABLE_SECONDS = 60.0
"""A connection that lasted this long makes the next pause short again."""
_DRAIN_SECONDS = 1.5
_REMEMBERED = 1000
_MAX_ANSWERS = 10


class IrcSession:
    """See `dm_bridge.network.api.Session`. ``learned``: told of the server's case mapping."""

    def __init__(
        self,
        login: Login,
        credentials: Credentials,
        route: Route,
        config: IrcConfig,
        sink: EventSink,
        learned: Callable[[CaseMapping], None],
    ) -> None:
        self._login = login
        self._credentials = credentials
        self._route = route
        self._config = config
        self._sink = sink
        self._learned = learned
        self._log = _log.bind(login=login.id)
        position = Position.parse(login.position)
        trusting = route.server.trust_nicks
        self._people = People(position.people, trusting=trusting)
        self._intake = Intake(sink, login.id, self._on_pressure)
        self._relations = Relations()
        self._typists = Typists(route.name, sink.signal)
        self._incoming = Incoming(
            route.name,
            login.remote,
            self._people,
            self._relations,
            self._typists,
            self._intake,
            self._answer,
            time.time,
            version("dm-bridge"),
            Progress(position, time.time),
        )
        self._sending = Sending(
            route.name,
            self._people,
            self._incoming,
            self._relations,
            config.send_timeout,
            trusting=trusting,
            watched=lambda nick: self._presence is not None and self._presence.watches(nick),
            changed=self._people_changed,
            recorded=self._intake.drained,
        )
        self._typing = OwnTyping(self._sending.reaches)
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: Client | None = None
        self._catch_up = self._new_catch_up()
        self._presence: Presence | None = None
        self._live = asyncio.Event()
        self._refusal: CredentialsError | None = None
        self._reported: SessionState | None = None
        self._stop = asyncio.Event()
        self._sent: OrderedDict[RemoteId, RemoteId] = OrderedDict()
        self._revision = -1

    @property
    def capabilities(self) -> Capabilities:
        """Moves are told of people in a shared channel, or with an account. The rest is the server's."""
        features = self._client.features if self._client is not None else Features()
        offered = features.history or features.playback
        relations = self._relations
        return Capabilities(
            catches_up=offered and not self._catch_up.failed,
            own_messages=features.several_clients,
            formatting=True,
            moves=True,
            replies=relations.able,
            reactions=relations.reacts,
            typing=features.typing,
        )

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
        tasks, client = set(self._tasks), self._client
        self._catch_up.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._intake.drained()
        if client is not None:
            await client.close()
        await self._typing.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._client = None

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        attempt = 0
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            live_since: float | None = None
            error: Exception | None = None
            client = self._client = self._new_client()
            try:
                await client.open(self._config.connect_timeout)
                await self._begin(client)
                live_since = loop.time()
                self._live.set()
                self._report(SessionStatus.CONNECTED, self._nick_note(client))
                await self._serve(client)
                error = client.failure
            except (CredentialsError, UserError) as refused:
                self._refusal = CredentialsError(str(refused))
                self._report(SessionStatus.BAD_CREDENTIALS, str(refused))
                return
            except NetworkError as failed:
                error = client.failure or failed
            except Exception as bug:
                self._log.exception("the session failed unexpectedly")
                error = bug
            finally:
                self._live.clear()
                self._catch_up.end()
                self._presence = None
                self._people.all_left()
                self._typists.all_stopped()
                await client.close()
            if self._stop.is_set():
                return
            if live_since is not None and loop.time() - live_since >= STABLE_SECONDS:
                attempt = 0
            self._report_failure(error)
            await asyncio.sleep(self._pause(attempt, error))
            attempt += 1

    def _new_catch_up(self) -> CatchUp:
        return CatchUp(
            self._incoming,
            self._intake,
            self._login.id,
            self._take,
            self._config.record_timeout,
        )

    def _new_client(self) -> Client:
        self._catch_up = self._new_catch_up()
        return Client(
            self._route,
            self._credentials.identity,
            self._on_line,
            certificate=self._credentials.certificate,
        )

    async def _begin(self, client: Client) -> None:
        """Set up a new connection: NickServ, channels, who is there, what was missed."""
        self._learned(client.features.casemapping)
        self._presence = Presence(
            client,
            self._people,
            self._incoming,
            self._credentials.identity.nick,
            self._config.presence_interval,
        )
        try:
            await identify(client, self._credentials, self._config.send_timeout)
        except ServicesAway as away:  # as after a netsplit: the chats go on without the account
            self._log.warning("the nick was not identified", reason=str(away))
        await self._relations.begin(client, self._config.send_timeout)
        for channel in self._route.server.channels:
            await client.send(Line("JOIN", (channel,)))
        self._incoming.begin(keeps=client.features.keeps_lines)
        if not client.features.keeps_lines:
            self._catch_up.end()
        if self._intake.pressed:
            client.pause(True)

    async def _serve(self, client: Client) -> None:
        """Wait for the end of the connection; end it when the server no longer answers."""
        assert self._presence is not None
        watching = asyncio.create_task(self._watch_people(client, self._presence))
        reading = asyncio.create_task(self._read_missed(client))
        interval = self._config.ping_interval
        try:
            while not client.closed.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await client.closed.wait()
                        return
                quiet = asyncio.get_running_loop().time() - client.last_received
                if quiet >= interval and not self._intake.pressed:
                    await client.ping(self._config.ping_timeout)
        finally:
            watching.cancel()
            reading.cancel()
            await asyncio.gather(watching, reading, return_exceptions=True)

    async def _read_missed(self, client: Client) -> None:
        if self._catch_up.over.is_set():
            return
        try:
            await self._catch_up.run(client)
        except NetworkError as error:
            client.fail(error)
        except Exception:
            self._log.exception("what was missed could not be read")
            self._catch_up.end()

    async def _watch_people(self, client: Client, presence: Presence) -> None:
        try:
            await presence.run()
        except NetworkError as error:
            client.fail(error)
        except Exception:
            self._log.exception("people could not be watched")

    def _pause(self, attempt: int, error: Exception | None) -> float:
        config = self._config
        limit = min(config.retry_max, config.retry_min * 2 ** min(attempt, 20))
        pause = random.uniform(0, limit)  # noqa: S311 - full jitter
        least = error.retry_after if isinstance(error, NetworkError) else None
        if least is not None and least > 30:  # the server asked to be left alone
            pause += min(least, config.retry_max)
        return pause

    def _nick_note(self, client: Client) -> str:
        wanted = self._credentials.identity.nick
        fold = client.features.casemapping.fold
        if fold(client.nick) == fold(wanted):
            return ""
        return phrase("irc-other-nick", nick=wanted, own=client.nick)

    def _report_failure(self, error: Exception | None) -> None:
        if error is None or isinstance(error, NetworkError):
            reason = "" if error is None else str(error)
            self._log.info("the connection ended", reason=reason)
            self._report(SessionStatus.TRANSIENT_DISCONNECT, reason)
        else:
            self._report(
                SessionStatus.UNKNOWN_ERROR,
                phrase("irc-unexpected", network=self._route.name),
            )

    def _report(self, status: SessionStatus, reason: str = "") -> None:
        state = SessionState(status, reason)
        if state != self._reported and not self._stop.is_set():
            self._reported = state
            self._sink.report(state)

    # -- what arrives

    def _on_line(self, line: Line) -> None:
        client = self._client
        if client is None:
            return
        here = Here(client.nick, client.features)
        if not self._catch_up.hold(line, here):
            self._take(line, here)
        if line.command == "NICK" and self._live.is_set():
            self._report(SessionStatus.CONNECTED, self._nick_note(client))

    def _take(self, line: Line, here: Here, *, again: bool = False) -> None:
        try:
            if self._presence is None or not self._presence.take(line, here):
                self._incoming.take(line, here, again=again)
        except Exception:
            self._log.exception("a line could not be understood", command=line.command)
        self._people_changed()

    def _people_changed(self) -> None:
        if self._presence is not None and self._revision != self._people.revision:
            self._revision = self._people.revision
            self._presence.changed()

    def _answer(self, line: Line) -> None:
        """Send a line some time: an answer to a question of somebody's client."""
        client = self._client
        if client is not None and len(self._tasks) < _MAX_ANSWERS:
            self._spawn(self._send_answer(client, line))

    async def _send_answer(self, client: Client, line: Line) -> None:
        with contextlib.suppress(NetworkError, ValueError):
            await client.send(line)

    def _on_pressure(self, pressed: bool) -> None:
        self._log.info("reading from the server pauses" if pressed else "reading goes on")
        if self._client is not None:
            self._client.pause(pressed)

    # -- what the bridge asks for

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact, name=self._incoming.name(parts(contact)[0]))

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        """See `Session.send`. Several chats send at once; within a chat the caller awaits each."""
        self._typing.wrote(parts(message.chat)[0])
        return await self._once(message, lambda client: self._sending.send(client, message))

    async def react(self, reactions: OutgoingReactions) -> RemoteId:
        """See `Reacts`."""
        return await self._once(reactions, lambda client: self._sending.react(client, reactions))

    async def typing(self, chat: ChatId, typing: bool) -> None:
        """See `Types`."""
        client = self._client
        if client is None or not self._live.is_set():
            raise NetworkError(phrase("irc-not-connected", network=self._route.name))
        nick, mark, _ = parts(chat)
        if not mark and client.features.typing:
            self._typing.tell(client, nick, typing)

    async def _once(
        self, what: Outgoing, send: Callable[[Client], Awaitable[RemoteId | None]]
    ) -> RemoteId:
        if what.id not in self._sent:
            client = await self._ready_client()
            self._sent[what.id] = await send(client) or what.id
            if len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)
            self._incoming.moved([])
        return self._sent[what.id]

    async def _ready_client(self) -> Client:
        if self._refusal is not None:
            raise CredentialsError(str(self._refusal))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.send_wait):
                await self._live.wait()
                await self._catch_up.over.wait()
        client = self._client
        if client is None or not self._live.is_set() or client.closed.is_set():
            raise NetworkError(
                phrase("irc-not-connected", network=self._route.name),
                retry_after=self._config.send_wait,
            )
        if not self._catch_up.over.is_set():
            raise NetworkError(
                phrase("irc-still-reading", network=self._route.name),
                retry_after=self._config.send_wait,
            )
        return client
