"""Many logins in one process: real XMPP and IRC sessions, over TLS, on a real Prosody and a real ngIRCd.

The homeserver is the null one: what is measured is what the sessions cost the bridge. The bridge is started
without logins, with those of each network, and with all of them; then four streams of messages, one each way on
each network, flow from the first connected logins until all are. The memory of a login is what the process has
more than without any.

The rule that must never break: a message of these streams that is lost, doubled or out of order fails the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from benchmarks.null import shape
from benchmarks.null.record import Record, text
from benchmarks.null.shape import Shape
from benchmarks.null.world import NullWorld, null_world
from benchmarks.people import PEOPLE, People, people_on_prosody
from benchmarks.report import Row
from dm_bridge.errors import AdminError
from dm_bridge.ids import LoginId
from dm_bridge.store.sealing import SealingKey
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.prosody import Prosody

Say = Callable[[str], None]
PASSWORD = "wherefore-art-thou"
CONTACT = "juliet0"
XMPP_CHAT, IRC_CHAT = 0, 1
"""Portals; each is of the login with the same number."""
RATE = 10.0
TARGET_MEMORY, TARGET_BLOCKED = 1.5, 0.05
_POLL = 0.1
NO_DEADLINE = 3600.0
_WITHIN = 120.0
_ROUNDS = 10_000  # of SCRAM, as Prosody has it


@dataclass(frozen=True, slots=True)
class Load:
    """How many logins there are of each network, and seconds of idling before memory is read again."""

    xmpp: int
    irc: int
    idle: float

    def __str__(self) -> str:
        return f"{self.xmpp} XMPP and {self.irc} IRC logins"


@dataclass(frozen=True, slots=True)
class Came:
    """A start. Seconds until all were connected, of processor time till then; megabytes then, and after idling.

    ``probe``: what `benchmarks.null.probe` saw.
    """

    took: float
    cpu: float
    rss: float
    rss_later: float
    probe: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Versions:
    """Of the servers."""

    prosody: str
    ngircd: str


class Servers:
    """Prosody and ngIRCd, with a contact on each."""

    def __init__(
        self, prosody: Prosody, people: People, ngircd: NgIrcd, juliet: IrcUser, record: Record
    ) -> None:
        """``record``: of what is written to the contacts."""
        self.prosody = prosody
        self.people = people
        self.ngircd = ngircd
        self.juliet = juliet
        self.record = record

    def networks(self) -> dict[str, Any]:
        """The bridge's configuration for them."""
        return {
            "xmpp": {
                "servers": {
                    self.prosody.domain: {
                        "host": self.prosody.host,
                        "port": self.prosody.port,
                        "tls": "starttls",
                        "ca_file": str(self.prosody.ca_file),
                    }
                }
            },
            "irc": {
                "servers": {
                    "bench": {
                        "host": self.ngircd.host,
                        "port": self.ngircd.port,
                        "ca_file": str(self.ngircd.ca_file),
                        "rate": 100,
                        "burst": 100,
                    }
                }
            },
        }


@contextlib.asynccontextmanager
async def servers(directory: Path, logins: int) -> AsyncIterator[Servers]:
    """Start them in ``directory``, with accounts for ``logins`` logins."""
    arrived = Record()
    async with contextlib.AsyncExitStack() as cleanup:
        prosody, people = await cleanup.enter_async_context(
            people_on_prosody(directory / "prosody", "starttls", arrived.note)
        )
        _write_accounts(directory / "prosody" / "data" / prosody.domain / "accounts", logins)
        ngircd = await NgIrcd.start(directory / "ngircd", tls="direct")
        cleanup.push_async_callback(ngircd.stop)
        juliet = await cleanup.enter_async_context(
            IrcUser(CONTACT, ngircd.host, ngircd.port, ca_file=ngircd.ca_file)
        )
        noting = asyncio.create_task(_note(juliet, arrived))
        try:
            yield Servers(prosody, people, ngircd, juliet, arrived)
        finally:
            noting.cancel()


async def _note(juliet: IrcUser, arrived: Record) -> None:
    """Take down what is written to Juliet on IRC."""
    mark = 0
    while True:
        await juliet.wait_for(
            lambda line: line.command == "PRIVMSG", after=mark, timeout=NO_DEADLINE
        )
        lines, mark = juliet.received[mark:], juliet.mark()
        for line in lines:
            if line.command == "PRIVMSG":
                arrived.note(line.text)


async def login_rows(directory: Path, quick: bool, say: Say) -> tuple[list[Row], Versions]:
    """Measure in ``directory``."""
    count, idle, messages = (50, 10.0, 50) if quick else (200, 60.0, 150)
    both = Load(count, count, idle)
    async with (
        servers(directory, count) as on,
        null_world(directory / "bridge", on.networks()) as world,
    ):
        alone = []
        for load in (Load(0, 0, 5.0), Load(count, 0, idle), Load(0, count, idle)):
            alone.append(await _start(world, load))
            say(f"{load}: {alone[-1]}")
        flowing = asyncio.create_task(_flow(world, on, messages))
        together = await _start(world, both, flowing)
        say(f"{both}: {together}")
        to_matrix, _ = await world.arrived("homeserver", 2 * messages, _WITHIN)
        to_networks = on.record.summary()
        versions = Versions(await on.prosody.version(), await on.ngircd.version())
        if to_networks["count"] != 2 * messages or to_networks["disorder"]:
            raise AdminError(f"Messages to the networks were lost or doubled: {to_networks}")
    base, xmpp, irc = alone
    late, callback = together.probe["late"], together.probe["callback"]
    rows = [
        _memory_row(f"{count} XMPP logins", xmpp, base, count),
        _memory_row(f"{count} IRC logins", irc, base, count),
        Row(
            str(both),
            _start_cell(together),
            f"{together.rss_later:.0f} MB",
            f"loop blocked {late * 1000:.0f} ms ({together.probe['late_cpu'] * 1000:.0f} ms of CPU), "
            f"by one callback {callback * 1000:.0f} ms",
            f"under {TARGET_BLOCKED * 1000:.0f} ms",
            late < TARGET_BLOCKED,
        ),
        Row(
            f"meanwhile, {messages} messages each way on each network",
            "",
            f"to Matrix p50 {to_matrix.p50 * 1000:.0f} ms, p99 {to_matrix.p99 * 1000:.0f} ms",
            f"to the networks p50 {to_networks['p50'] * 1000:.0f} ms, p99 {to_networks['p99'] * 1000:.0f} ms",
        ),
    ]
    return rows, versions


def _memory_row(what: str, came: Came, base: Came, count: int) -> Row:
    each = (came.rss - base.rss) / count
    later = (came.rss_later - base.rss_later) / count
    return Row(
        what,
        _start_cell(came),
        f"{came.rss_later:.0f} MB, {base.rss_later:.0f} MB without",
        f"{each * 1024:.0f} kB each, {later * 1024:.0f} kB after idling",
        f"under {TARGET_MEMORY} MB",
        max(each, later) < TARGET_MEMORY,
    )


def _start_cell(came: Came) -> str:
    return f"{came.took:.1f} s ({came.cpu:.1f} s of CPU)"


async def _start(world: NullWorld, load: Load, flow: asyncio.Task[None] | None = None) -> Came:
    """Start the bridge with ``load``, and let it idle. ``flow`` must have begun before all were connected."""
    await _populate(world, load)
    began = time.monotonic()
    await world.bridge.run()
    await _connected(world, load)
    took, cpu = time.monotonic() - began, world.cpu
    if flow is not None:
        if flow.done():
            raise AdminError("The messages did not last until all logins were connected.")
        await flow
    probe = (await world.network("stats"))["probe"]
    rss = world.rss
    await asyncio.sleep(load.idle)
    return Came(took, cpu, rss, world.rss, probe)


async def _flow(world: NullWorld, on: Servers, messages: int) -> None:
    """As soon as the two logins are connected, messages on both networks, both ways."""
    await _connected(world, Load(XMPP_CHAT + 1, IRC_CHAT + 1, 0))
    await world.homeserver("push", portals=[XMPP_CHAT, IRC_CHAT], each=messages, rate=2 * RATE)
    start = time.monotonic()
    for number in range(messages):
        now = time.monotonic()
        on.people.send(CONTACT, _jid(XMPP_CHAT), text(XMPP_CHAT, number, now))
        on.juliet.say(_nick(IRC_CHAT), text(IRC_CHAT, number, now))
        await asyncio.sleep(max(0.0, start + (number + 1) / RATE - time.monotonic()))


async def _populate(world: NullWorld, load: Load) -> None:
    async def fill(connection: asyncpg.Connection, of: Shape, key: SealingKey) -> None:
        await _fill(connection, load, key)

    await world.populate(2, max(load.xmpp, load.irc, 1), fill)


async def _connected(world: NullWorld, load: Load) -> None:
    """Return when so many are. Raises `AdminError`."""
    deadline = time.monotonic() + _WITHIN
    counts: dict[str, float] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):  # not yet there
                async with session.get(f"{world.bridge.url}/metrics") as answer:
                    metrics = await answer.text()
                state = 'dm_bridge_logins{{network="{}",state="CONNECTED"}}'
                counts = {each: _figure(metrics, state.format(each)) for each in ("xmpp", "irc")}
            if counts and counts["xmpp"] >= load.xmpp and counts["irc"] >= load.irc:
                return
            if time.monotonic() > deadline:
                raise AdminError(f"Only {counts} were connected in time, of {load}.")
            await asyncio.sleep(_POLL)


def _figure(metrics: str, name: str) -> float:
    for line in metrics.splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    return 0.0


# -- accounts and logins


def _write_accounts(directory: Path, count: int) -> None:
    """Accounts x0, x1, ... as Prosody stores them (RFC 5802, section 3); to register each one takes a while."""
    directory.mkdir(parents=True, exist_ok=True)
    salted = hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), b"salt", _ROUNDS)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest()  # noqa: S324
    server = hmac.digest(salted, b"Server Key", "sha1").hex()
    account = (
        f'return {{ ["iteration_count"] = {_ROUNDS}; ["salt"] = "salt"; '
        f'["stored_key"] = "{stored}"; ["server_key"] = "{server}"; }};\n'
    )
    for number in range(count):
        (directory / f"x{number}.dat").write_text(account, encoding="ascii")


def _jid(number: int) -> str:
    return f"x{number}@localhost"


def _nick(number: int) -> str:
    return f"i{number}"


async def _fill(connection: asyncpg.Connection, load: Load, key: SealingKey) -> None:
    logins = []
    for number in range(max(load.xmpp, load.irc)):
        if number < load.xmpp:
            logins.append((number, "xmpp", _jid(number), {"password": PASSWORD}))
        if number < load.irc:
            kept = {"network": "bench", "nick": _nick(number), "method": "none"}
            logins.append((number, "irc", f"{_nick(number)}@bench", kept))
    await connection.copy_records_to_table(
        "login",
        columns=["login_id", "owner", "network", "remote", "name", "state", "credentials"],
        records=[
            (
                _login(number, network),
                shape.owner(number),
                network,
                remote,
                remote,
                "active",
                key.seal(_login(number, network), kept),
            )
            for number, network, remote, kept in logins
        ],
    )
    await connection.copy_records_to_table(
        "share",
        columns=["user_id"],
        records=[(owner,) for owner in sorted({shape.owner(each[0]) for each in logins})],
    )
    chats = [
        (_login(XMPP_CHAT, "xmpp"), "xmpp", f"{CONTACT}@{PEOPLE}", XMPP_CHAT),
        (_login(IRC_CHAT, "irc"), "irc", f"{CONTACT}@bench", IRC_CHAT),
    ]
    chats = chats if load.xmpp and load.irc else []
    await connection.copy_records_to_table(
        "ghost",
        columns=["network", "contact", "user_id", "name", "registered"],
        records=[(network, who, shape.ghost(room), who, True) for _, network, who, room in chats],
    )
    await connection.copy_records_to_table(
        "portal",
        columns=["login_id", "chat_id", "contact", "ghost", "room_id", "state", "membership"],
        records=[
            (login, who, who, shape.ghost(room), shape.room(room), "open", "join")
            for login, _, who, room in chats
        ],
    )


def _login(number: int, network: str) -> LoginId:
    return LoginId(f"{number:03}{network}")
