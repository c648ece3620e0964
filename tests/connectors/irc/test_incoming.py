"""What a server or a bouncer sends, turned into events; without a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from dm_bridge.connectors.irc.addresses import parse as parse_address
from dm_bridge.connectors.irc.casemap import CaseMapping
from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.incoming import Incoming
from dm_bridge.connectors.irc.intake import Intake
from dm_bridge.connectors.irc.lines import Line, parse
from dm_bridge.connectors.irc.people import People
from dm_bridge.connectors.irc.position import Position
from dm_bridge.connectors.irc.record import Here, Progress
from dm_bridge.connectors.irc.relations import Relations
from dm_bridge.connectors.irc.typing_notices import Typists
from dm_bridge.errors import UserError
from dm_bridge.ids import ContactId
from dm_bridge.network.events import RemoteMessage

from .support import Sink

NOW = 1_800_000_000.0


class Desk:
    """An `Incoming` with what is around it."""

    def __init__(self, position: str | None = None, *, keeps_time: bool = False) -> None:
        self.sink = Sink()
        self.intake = Intake(self.sink, "login", lambda pressed: None)
        self.answers: list[Line] = []
        stored = Position.parse(position)
        self.incoming = Incoming(
            "net",
            ContactId("romeo@net"),
            People(stored.people),
            Relations(),
            Typists("net", self.sink.signal),
            self.intake,
            self.answers.append,
            lambda: NOW,
            "1",
            Progress(stored, lambda: NOW),
        )
        self.incoming.begin(keeps=keeps_time)
        self.here = Here("romeo", Features({"server-time"}, {"CHANTYPES": "#"}))

    async def take(self, *lines: str) -> Sequence[RemoteMessage]:
        for raw in lines:
            line = parse(raw.encode())
            assert line is not None
            self.incoming.take(line, self.here)
        running = asyncio.create_task(self.intake.run())
        await self.intake.drained()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return self.sink.messages


PLAYED = [
    ":znc BATCH +1 znc.in/playback juliet",
    "@batch=1;time=2026-01-02T03:04:05.678Z :juliet!j@h PRIVMSG romeo :one",
    "@batch=1;time=2026-01-02T03:04:05.678Z :juliet!j@h PRIVMSG romeo :one",
    "@batch=1;time=2026-01-02T03:04:06.000Z :romeo!r@h PRIVMSG juliet :two",
    "@batch=1;time=2026-01-02T03:04:07.000Z :juliet!j@h PRIVMSG romeo :\x01PING 1\x01",
    ":znc BATCH -1",
]


async def test_what_a_bouncer_plays_has_its_time_and_the_same_ids_again() -> None:
    desk, again = Desk(keeps_time=True), Desk(keeps_time=True)
    first = list(await desk.take(*PLAYED))
    second = list(await again.take(*PLAYED))
    assert [(event.content.body, event.from_self) for event in first] == [
        ("one", False), ("one", False), ("two", True),
    ]  # fmt: skip
    assert first[0].sent_at == pytest.approx(1767323045.678)
    assert [event.id for event in first] == [event.id for event in second]
    assert len({event.id for event in first}) == 3
    assert {event.chat for event in first} == {"juliet@net"}
    assert desk.answers == []
    assert Position.parse(desk.sink.position).time == NOW


async def test_the_position_is_the_newest_time() -> None:
    before = Position.text({}, 1_700_000_000.0)
    desk = Desk(before, keeps_time=True)
    await desk.take(*PLAYED)
    assert Position.parse(desk.sink.position).time == 1_700_000_000.0  # not all may have come
    desk.incoming.caught_up(NOW)
    await desk.take()
    assert Position.parse(desk.sink.position).time == 1767323046.0
    without = Desk(before)
    await without.take(*PLAYED)
    assert Position.parse(without.sink.position).time is None


async def test_a_server_whose_clock_is_fast_hides_nothing_that_comes_later() -> None:
    desk = Desk(Position.text({}, NOW - 100), keeps_time=True)
    desk.incoming.caught_up(NOW)
    await desk.take("@time=2222-01-01T00:00:00.000Z :juliet!j@h PRIVMSG romeo :hi")
    assert Position.parse(desk.sink.position).time == NOW


async def test_the_id_of_the_server_is_kept() -> None:
    messages = await Desk().take("@msgid=xyz :juliet!j@h PRIVMSG romeo :hi")
    assert messages[0].id == "id:xyz"
    assert messages[0].sent_at == NOW


async def test_messages_without_any_mark_are_different_messages() -> None:
    messages = await Desk().take(*[":juliet!j@h PRIVMSG romeo :hi"] * 2)
    assert len({event.id for event in messages}) == 2


@pytest.mark.parametrize(
    "line",
    [
        ":juliet!j@h PRIVMSG #channel :hi",
        ":juliet!j@h PRIVMSG other :hi",
        ":irc.example.org PRIVMSG romeo :hi",
        ":irc.example.org NOTICE romeo :hi",
        ":romeo!r@h PRIVMSG romeo :note to self",
        ":romeo!r@h NOTICE juliet :answer of a program",
        ":juliet!j@h NOTICE romeo :unasked",
        ":juliet!j@h PRIVMSG romeo :\x01CLIENTINFO\x01",
        ":juliet!j@h TAGMSG romeo",
        ":juliet!j@h PRIVMSG romeo :",
        ":juliet!j@h PRIVMSG romeo :\x02 \x02",
        ":*status!znc@znc.in PRIVMSG romeo :Connected!",
        ":romeo!r@h PRIVMSG *playback :PLAY * 0",
        "PRIVMSG romeo :from nobody",
        ":juliet!j@h JOIN #channel",
        ":juliet!j@h QUIT :bye",
        ":juliet!j@h NICK",
    ],
)
async def test_what_is_no_private_message_is_none(line: str) -> None:
    assert await Desk().take(line) == []


@pytest.mark.parametrize("text", [None, "", "{", "[]", "1", '{"time": "x", "people": []}', "sid:7"])
def test_any_text_is_a_position(text: str | None) -> None:
    assert Position.parse(text).time is None


ONE = {"net": CaseMapping.ASCII}
TWO = {"net": CaseMapping.ASCII, "libera": CaseMapping.RFC1459}


@pytest.mark.parametrize(
    ("text", "mappings", "address"),
    [
        ("Juliet", ONE, "juliet@net"),
        (" juliet@NET ", ONE, "juliet@net"),
        ("Jul[x]@libera", TWO, "jul{x}@libera"),
        ("Jul[x]@net", TWO, "jul[x]@net"),
        ("irc://net/juliet,isnick", TWO, "juliet@net"),
        ("*status@net", TWO, "*status@net"),
        ("juliet!1a2b3c4d@net", ONE, "juliet!1a2b3c4d@net"),
        ("jü@net", ONE, "jü@net"),
    ],
)
def test_addresses_have_a_normal_form(
    text: str, mappings: dict[str, CaseMapping], address: str
) -> None:
    assert parse_address(text, mappings) == address
    assert parse_address(address, mappings) == address


@pytest.mark.parametrize(
    "text",
    ["", "juliet", "@net", "juliet@elsewhere", "#chan@net", "a b@net", "a,b@net", "1x@net", "a!b@net",
     "a\r\nQUIT@net", ":a@net", "a*@net", "irc://net/", "x" * 65 + "@net"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="looks like juliet"):
        parse_address(text, TWO)
