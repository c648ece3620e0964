"""The null network: takes every message at once, and brings as many as it is told to.

It runs inside the bridge, as connectors do; orders come to a port of its own. As a real network's does, a session
commits what has gathered since its last commit, at most `BATCH` messages at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import deque
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from benchmarks.null import shape
from benchmarks.null.http import Answer, Server
from benchmarks.null.probe import Probe
from benchmarks.null.record import Record, text
from dm_bridge.errors import StorageError, UserError
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.api import API_VERSION, Contact, EventSink, Login, OutgoingMessage
from dm_bridge.network.events import RemoteMessage, SessionState, SessionStatus, Text
from dm_bridge.network.login import LoginProcess

Json = dict[str, Any]
BATCH = 100
CAPACITY = 1000
"""Messages that a session holds at most; a real one stops reading then."""
TICK = 0.002
_LAG_TICK = 0.01
_COUNT_EVERY = 1.0


class NullConfig(BaseModel):
    """The section ``networks.null``. ``control``: the port for orders. ``probe``: watch the event loop closely."""

    model_config = ConfigDict(extra="forbid")
    control: int
    probe: bool = False


class NullSession:
    """One login."""

    def __init__(self, login: Login, sink: EventSink, network: NullNetwork) -> None:
        self._login = login
        self._sink = sink
        self._network = network
        self._waiting: deque[RemoteMessage] = deque()
        self._delivering: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        self._network.sessions[shape.number_in(self._login.id)] = self
        self._sink.report(SessionState(SessionStatus.CONNECTED))

    async def disconnect(self) -> None:
        if self._delivering is not None:
            self._delivering.cancel()

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact)

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        self._network.record.note(message.content.body)
        return message.id

    def brings(self, message: RemoteMessage) -> bool:
        """A message has come; False while there is no place for it."""
        if len(self._waiting) >= CAPACITY:
            return False
        self._waiting.append(message)
        if self._delivering is None or self._delivering.done():
            self._delivering = asyncio.create_task(self._deliver())
        return True

    async def _deliver(self) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            try:
                await self._sink.deliver(batch)
            except StorageError:
                await asyncio.sleep(1)
                continue
            for _ in batch:
                self._waiting.popleft()


class NullNetwork:
    """Everybody."""

    name = shape.NETWORK
    title = "Null"

    def __init__(self, config: NullConfig) -> None:
        self._config = config
        self.sessions: dict[int, NullSession] = {}
        self.record = Record()
        self._lags: deque[float] = deque(maxlen=100_000)
        self._most_tasks = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._run = 0
        self._probe = Probe()

    async def start(self) -> None:
        if self._config.probe:
            self._tasks.add(self._probe.start())
        await Server(self._control, "127.0.0.1", self._config.control).up()
        self._in_background(self._watch_loop())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def start_login(self) -> LoginProcess:
        raise UserError("Nobody logs in to the null network.")

    def open_session(self, login: Login, sink: EventSink) -> NullSession:
        return NullSession(login, sink, self)

    def parse_contact(self, text: str) -> ContactId:
        return ContactId(text)

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return f"null:{contact}"

    # -- orders

    async def _control(self, _method: str, _target: str, body: bytes) -> Answer:
        order = orjson.loads(body)
        match order.pop("do"):
            case "bring":
                self._in_background(self._bring(**order))
            case "reset":
                self.record = Record()
                self._probe.reset()
                self._lags.clear()
                self._most_tasks = 0
            case "stats":
                return 200, orjson.dumps(self._stats())
            case "gc":
                gc.collect()
        return 200, b"{}"

    def _stats(self) -> Json:
        lags = sorted(self._lags)
        return {
            **self.record.summary(),
            "sessions": len(self.sessions),
            "bringing": len(self._tasks) - 1,
            "tasks": len(asyncio.all_tasks()),
            "most_tasks": self._most_tasks,
            "lag_p99": lags[int(len(lags) * 0.99)] if lags else 0.0,
            "longest_lag": lags[-1] if lags else 0.0,
            "cpu": sum(os.times()[:2]),
            "probe": self._probe.summary(),
        }

    async def _bring(self, portals: list[int], each: int, rate: float) -> None:
        """Bring ``each`` messages in each portal, ``rate`` a second (0: as fast as they are taken)."""
        self._run += 1
        made = 0
        start = time.monotonic()
        total = each * len(portals)
        while made < total:
            due = total
            if rate:
                due = min(total, int((time.monotonic() - start) * rate) + 1)
            while made < due:
                number, which = divmod(made, len(portals))
                at = start + made / rate if rate else time.monotonic()
                if not self._one(portals[which], number, at):
                    break
                made += 1
                if made % BATCH == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(TICK)

    def _one(self, portal: int, number: int, at: float) -> bool:
        person = shape.contact(portal)
        message = RemoteMessage(
            chat=ChatId(person),
            id=RemoteId(f"{os.getpid()}-{self._run}-{number}"),
            sender=person,
            from_self=False,
            content=Text(text(portal, number, at)),
            sent_at=time.time(),
        )
        return self.sessions[portal % len(self.sessions)].brings(message)

    def _in_background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_loop(self) -> None:
        counted = 0.0
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LAG_TICK)
            self._lags.append(time.monotonic() - before - _LAG_TICK)
            if before > counted + _COUNT_EVERY:  # to count them takes time itself
                counted = before
                self._most_tasks = max(self._most_tasks, len(asyncio.all_tasks()))


class NullConnector:
    """What the entry point names."""

    name = NullNetwork.name
    title = NullNetwork.title
    api_version = API_VERSION
    config_model = NullConfig

    def build(self, config: BaseModel) -> NullNetwork:
        assert isinstance(config, NullConfig)
        return NullNetwork(config)


connector = NullConnector()
