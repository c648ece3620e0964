"""One connection to an IRC server: from the first packet to the end.

It answers PING, finds out what the server answers to what (`exchange`), and hands everything else on.

The rule that must never break: an exchange ends with what the server said, or with the error that says whether the
line was handed to the server; and no task outlives `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from dm_bridge.connectors.irc import failures
from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.lines import Line, UnsendableError, parse
from dm_bridge.connectors.irc.pacing import Pacer
from dm_bridge.connectors.irc.registration import Identity, Registration
from dm_bridge.connectors.irc.transport import Route, close
from dm_bridge.errors import NetworkError
from dm_bridge.texts import phrase

_WRITE_SECONDS = 20.0
_MAX_ANSWERS = 500

Claim = Callable[[Line], bool]


@dataclass(eq=False, slots=True)
class Exchange:
    """What was asked, and what came for it. ``token``: its label, or of the PING that follows it.

    ``through``: a bouncer answers PING, so an ISON follows instead. ``done``: resolved when all has come.
    ``ends``: a line that already says how it went.
    """

    token: str
    labelled: bool
    through: bool
    claim: Claim
    ends: Claim
    done: asyncio.Future[None]
    batch: str | None = None
    lines: list[Line] = field(default_factory=list)

    def take(self, line: Line) -> bool:
        """Whether ``line`` belongs here."""
        if self.labelled:
            return self._take_labelled(line)
        if line.command == "PONG" and line.param(-1) == self.token:
            self._finish()
            return True
        if self.through and self.done.done():
            return False  # what comes now belongs to the next one
        if not self.claim(line):
            if self.through and line.command == "303":
                self._finish()
                return True
            return False
        self._add(line)
        if self.ends(line):
            self._finish()
        return True

    def _take_labelled(self, line: Line) -> bool:
        if line.command == "BATCH" and line.param(0)[1:] == self.batch and line.param(0)[:1] == "-":
            self._finish()
            return True
        if self.batch is not None and line.tags.get("batch") == self.batch:
            self._add(line)
            return True
        if line.tags.get("label") != self.token:
            return False
        if line.command == "BATCH":
            self.batch = line.param(0)[1:]
        else:
            self._add(line)
            self._finish()
        return True

    def _add(self, line: Line) -> None:
        if len(self.lines) < _MAX_ANSWERS:
            self.lines.append(line)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class Client:
    """See the module. It connects once: `open`, then `close`; never again.

    ``on_line``: gets what is no answer, in order, once registered. ``first``: is offered each line before that,
    and says whether it took it. ``failure``: why it ended, unless we ended it. ``last_received``: loop time of the
    last line.
    """

    def __init__(
        self,
        route: Route,
        identity: Identity,
        on_line: Callable[[Line], None] = lambda line: None,
        certificate: str = "",
    ) -> None:
        loop = asyncio.get_running_loop()
        self._route = route
        self._certificate = certificate
        self._on_line = on_line
        self._registration = Registration(identity, route.name)
        self._ready: asyncio.Future[None] = loop.create_future()
        self._exchanges: list[Exchange] = []
        self._numbers = itertools.count(1)
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._going_on = asyncio.Event()
        self._going_on.set()
        self._closing = False
        self._loop = loop
        self.pacer = Pacer(route.server.rate, route.server.burst, loop.time)
        self.first: Claim = lambda line: False
        self.failure: NetworkError | None = None
        self.closed = asyncio.Event()
        self.last_received = 0.0

    @property
    def nick(self) -> str:
        """Ours, at the moment."""
        return self._registration.nick

    @property
    def account(self) -> str:
        """The account that the server says we are logged in to."""
        return self._registration.account

    @property
    def features(self) -> Features:
        return self._registration.features

    async def open(self, timeout: float) -> None:
        """Connect and get ready. Raises `CredentialsError`, `NetworkError`; must be closed in any case."""
        try:
            async with asyncio.timeout(timeout):
                reader, self._writer = await self._route.connect(self._certificate)
                self._reading = asyncio.create_task(self._read(reader))
                for line in self._registration.begin():
                    await self._write(line)
                await self._ready
        except TimeoutError:
            self.fail(failures.timed_out(self._route.name))
        except NetworkError as error:
            self.fail(error)
        if self.failure is not None:
            raise self.failure
        if self._closing:
            raise failures.closed(self._route.name)

    def fail(self, error: NetworkError) -> None:
        """End the connection because of ``error``; the first error is the one that counts."""
        if self.failure is None and not self._closing:
            self.failure = error
        self._end()

    async def close(self) -> None:
        """Take leave and end; idempotent."""
        writer = self._writer
        if writer is not None and not self.closed.is_set():
            self._closing = True
            with contextlib.suppress(NetworkError, TimeoutError, UnsendableError):
                async with asyncio.timeout(1.0):
                    await self._write(Line("QUIT", (phrase("irc-quit"),)))
        self._closing = True
        self._end()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if writer is not None:
            await close(writer)

    def _end(self) -> None:
        self.closed.set()
        self._going_on.set()
        if not self._ready.done():
            self._ready.set_result(None)
        for exchange in self._exchanges:
            if not exchange.done.done():
                exchange.done.set_exception(failures.lost(self._route.name, certain=False))
                exchange.done.exception()  # seen, even where nobody waits any more
        self._exchanges.clear()
        if self._writer is not None:
            self._writer.close()

    def pause(self, paused: bool) -> None:
        """Stop or go on reading from the server."""
        if paused:
            self._going_on.clear()
        else:
            self._going_on.set()

    # -- sending

    async def send(self, line: Line, cost: float = 1.0) -> None:
        """Send a line to which no answer is awaited, when its turn comes. Raises `NetworkError`."""
        await self.pacer.turn(cost)
        await self._write(line)

    async def send_if_free(self, line: Line) -> bool:
        """Send a line that can as well be left out, if nothing waits for its turn; whether it was sent.

        Raises `NetworkError`.
        """
        free = self.pacer.turn_if_free()
        if free:
            await self._write(line)
        return free

    async def ask(self, line: Line | None, token: str) -> None:
        """Send ``line``, and a PING with ``token``: its answer comes after all that answers the line at once."""
        await self.pacer.turn()
        await self._write(*([] if line is None else [line]), Line("PING", (token,)))

    async def ping(self, timeout: float) -> None:
        """Raises `NetworkError` when the server does not answer in time."""
        await self.exchange(None, timeout, lambda line: False)

    async def exchange(
        self,
        line: Line | None,
        timeout: float,
        claim: Claim,
        ends: Claim = lambda line: False,
        *,
        label: bool = False,
        cost: float = 1.0,
    ) -> list[Line]:
        """Send ``line``, and return what the server answers to it, once it has surely dealt with it.

        With ``label``, and where the server knows labels, answers are what carries it. Elsewhere a PING follows,
        and what comes before its answer and is claimed is taken for the answer; ``ends`` may know earlier. Through
        a bouncer that answers PING itself it is an ISON, which needs none after it.

        Raises `NetworkError`, with ``certain=False`` once the line was handed to the server.
        """
        if line is not None:
            await self.pacer.turn(cost)
            if self.features.answers_itself and line.command != "ISON":
                await self.pacer.turn()
        if self.closed.is_set():
            raise failures.lost(self._route.name, certain=True)
        labelled = label and line is not None and self.features.labels
        token = f"dm{next(self._numbers)}"
        through = line is not None and self.features.answers_itself
        done: asyncio.Future[None] = self._loop.create_future()
        exchange = Exchange(token, labelled, through, claim, ends, done)
        self._exchanges.append(exchange)
        try:
            if labelled and line is not None:
                await self._write(Line(line.command, line.params, {**line.tags, "label": token}))
            else:
                lines = [] if line is None else [line]
                if not through:
                    lines.append(Line("PING", (token,)))
                elif line is not None and line.command != "ISON":
                    lines.append(Line("ISON", (self.nick,)))
                await self._write(*lines)
            async with asyncio.timeout(timeout):
                await exchange.done
        except TimeoutError:
            self.fail(failures.timed_out(self._route.name))
            raise failures.lost(self._route.name, certain=False) from None
        finally:
            if exchange in self._exchanges:
                self._exchanges.remove(exchange)
        return exchange.lines

    async def _write(self, *lines: Line) -> None:
        """Hand lines to the kernel, all in one piece. Raises `UnsendableError` before anything is written."""
        data = b"".join(line.encode() for line in lines)
        writer = self._writer
        if writer is None or writer.is_closing():
            raise failures.lost(self._route.name, certain=True)
        try:
            writer.write(data)
            async with asyncio.timeout(_WRITE_SECONDS):
                await writer.drain()
        except (OSError, TimeoutError) as error:
            self.fail(failures.unreachable(self._route.name, self._route.address, error))
            raise failures.lost(self._route.name, certain=False) from error

    # -- reading

    async def _read(self, reader: asyncio.StreamReader) -> None:
        name = self._route.name
        try:
            while not self.closed.is_set():
                raw = await reader.readuntil(b"\n")
                self.last_received = self._loop.time()
                line = parse(raw, self._route.server.encoding)
                if line is not None:
                    await self._receive(line)
                await self._going_on.wait()
        except asyncio.LimitOverrunError:
            self.fail(failures.broken(phrase("irc-broken-endless", network=name)))
        except asyncio.IncompleteReadError:
            self.fail(failures.closed(name))
        except OSError as error:
            self.fail(failures.unreachable(name, self._route.address, error))
        except NetworkError as error:
            self.fail(error)

    async def _receive(self, line: Line) -> None:
        if line.command == "PING":
            await self._write(Line("PONG", line.params[-1:] or ("",)))
            return
        for answer in self._registration.receive(line):
            await self._write(answer)
        if not self._ready.done():
            if self._registration.done:
                self._ready.set_result(None)
            elif self._registration.welcomed and line.command in ("PRIVMSG", "NOTICE"):
                self._on_line(line)  # bouncers do not wait
            return
        if self.first(line):
            return
        for exchange in self._exchanges:
            if exchange.take(line):
                return
        self._on_line(line)
