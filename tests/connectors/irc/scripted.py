"""An IRC server that keeps what was written, as the specification of chathistory has it, and fails as a test says.

It is made from the specification (IRCv3 batch, server-time, message-ids, echo-message, labeled-response and
chathistory) and shares no code with the connector. The real servers that keep private messages, soju and Ergo, are
not packaged where the suite can install them from.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

CAPS = "batch server-time message-tags echo-message labeled-response account-tag draft/chathistory"
ME = "romeo"


@dataclass(frozen=True)
class Said:
    """A line that was written. ``at``: seconds since the epoch."""

    at: float
    sender: str
    target: str
    text: str
    msgid: str
    account: str = ""
    command: str = "PRIVMSG"
    tags: str = ""


Script = Callable[["KeepingServer", list[str]], Iterable[str]]
"""What a server says to the parameters of a CHATHISTORY."""


@dataclass
class KeepingServer:
    """It has one user, romeo, of whom there may be several connections, one after the other.

    ``limit``: lines of a page. ``ids``: whether lines have ids. ``coarse``: whether the history knows seconds
    and nicks only, and no ids, like soju's files. ``script``: what is answered instead. ``silent``: says
    nothing any more. ``asked``: every CHATHISTORY. ``heard``: every line of the client's.
    """

    limit: int = 5
    caps: str = CAPS
    ids: bool = True
    coarse: bool = False
    script: dict[str, Script] = field(default_factory=dict)
    silent: bool = False
    deaf_to: str = ""
    asked: list[list[str]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    port: int = 0
    host: str = "127.0.0.1"
    tls: Literal["none"] = "none"
    ca_file: None = None

    async def __aenter__(self) -> Self:
        self._numbers = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what a test does

    def wrote(
        self,
        sender: str,
        text: str,
        *,
        at: float,
        target: str = ME,
        account: str = "",
        command: str = "PRIVMSG",
        tags: str = "",
        live: bool = False,
    ) -> Said:
        """Somebody has written, or romeo has with another client; ``live``: and it is sent to the bridge now."""
        said = Said(
            at,
            f"{sender}!{sender}@host",
            target,
            text,
            f"m{next(self._numbers)}",
            account,
            command,
            tags,
        )
        self.said.append(said)
        if live:
            self.send(self.line(said))
        return said

    def send(self, *lines: str) -> None:
        """Say this to the bridge now."""
        assert self._writer is not None, "not connected"
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())

    def cut(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def line(self, said: Said, batch: str = "", label: str = "") -> str:
        """As it is sent: live, or in a batch."""
        coarse = self.coarse and bool(batch)
        tags = {"time": stamp(said.at // 1 if coarse else said.at)}
        if self.ids and not coarse:
            tags["msgid"] = said.msgid
        if said.account:
            tags["account"] = said.account
        tags |= {key: value for key, value in (("batch", batch), ("label", label)) if value}
        source = said.sender.partition("!")[0] if coarse else said.sender
        packed = ";".join([*(f"{key}={value}" for key, value in tags.items()), *said.tags.split()])
        text = "" if said.command == "TAGMSG" else f" :{said.text}"
        return f"@{packed} :{source} {said.command} {said.target}{text}"

    # -- the server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writer = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                raw = (await reader.readuntil(b"\n")).decode().strip()
                self.heard.append(raw)
                if self.silent or writer.is_closing():
                    continue
                for line in self._answers(raw):
                    writer.write(f"{line}\r\n".encode())
        writer.close()

    def _answers(self, raw: str) -> Iterable[str]:
        label, given = "", ""
        if raw.startswith("@"):
            tags, raw = raw.split(" ", 1)
            items = tags[1:].split(";")
            label = dict(item.partition("=")[::2] for item in items).get("label", "")
            given = " ".join(item for item in items if item.startswith("+"))
        head, _, last = raw.partition(" :")
        command, *params = head.split() + ([last] if " :" in raw else [])
        if command == self.deaf_to:
            return
        match command:
            case "CAP" if params[0] == "LS":
                yield f":s CAP * LS :{self.caps}"
            case "CAP" if params[0] == "REQ":
                yield f":s CAP * ACK :{params[1]}"
            case "CAP" if params[0] == "END":
                yield f":s 001 {ME} :Welcome"
                limit = f" CHATHISTORY={self.limit}" if "chathistory" in self.caps else ""
                yield f":s 005 {ME} CASEMAPPING=ascii CHANTYPES=#{limit} :are supported"
                yield f":s 422 {ME} :no motd"
            case "PING":
                yield f":s PONG s :{params[-1]}"
            case "WHOIS":
                yield f":s 311 {ME} {params[0]} {params[0]} host * :name"
                yield f":s 318 {ME} {params[0]} :end"
            case "PRIVMSG" | "TAGMSG":
                now = datetime.datetime.now(datetime.UTC).timestamp()
                said = self.wrote(
                    ME, params[-1], at=now, target=params[0], command=command, tags=given
                )
                yield self.line(said, label=label)
            case "CHATHISTORY":
                self.asked.append(params)
                yield from self.script.get(params[0], history)(self, params)


def history(server: KeepingServer, params: list[str]) -> Iterable[str]:
    """What a server answers that keeps to the specification."""
    limit = min(int(params[-1]), server.limit)
    reference = f"r{next(server._numbers)}"
    if params[0] == "TARGETS":
        after, before = _time(params[1]), _time(params[2])
        latest: dict[str, float] = {}
        for said in server.said:
            peer = said.target if said.target != ME else said.sender.partition("!")[0]
            latest[peer] = max(latest.get(peer, 0.0), said.at)
        listed = sorted((at, peer) for peer, at in latest.items() if after < at < before)[:limit]
        yield f":s BATCH +{reference} draft/chathistory-targets"
        for at, peer in listed:
            yield f"@batch={reference} :s CHATHISTORY TARGETS {peer} {stamp(at)}"
    else:
        assert params[0] == "AFTER", params
        after = _time(params[2])
        page = [
            said
            for said in server.said
            if params[1] in (said.sender.partition("!")[0], said.target)
        ]
        shown = ("PRIVMSG", "NOTICE", *(["TAGMSG"] if "event-playback" in server.caps else []))
        page = [said for said in page if milli(said.at) > after and said.command in shown]
        page.sort(key=lambda said: said.at)
        yield f":s BATCH +{reference} chathistory {params[1]}"
        for said in page[:limit]:
            yield server.line(said, batch=reference)
    yield f":s BATCH -{reference}"


def milli(at: float) -> float:
    """A time as a tag can say it."""
    return int(at * 1000 + 1e-4) / 1000


def stamp(at: float) -> str:
    """A time as tags have it."""
    when = datetime.datetime.fromtimestamp(milli(at), datetime.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"


def _time(text: str) -> float:
    assert text.startswith("timestamp="), text
    return datetime.datetime.fromisoformat(text.removeprefix("timestamp=")).timestamp()


@contextlib.asynccontextmanager
async def keeping(**options: Any) -> AsyncIterator[KeepingServer]:
    """A server that keeps what was written."""
    async with KeepingServer(**options) as server:
        yield server
