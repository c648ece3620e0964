"""Reports to collectors: what is said, once, to a real server that may be slow, wrong or away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from dm_bridge.bridge.reports import BridgeStates, Checkpoints, Outlet, outlet
from dm_bridge.ids import ContactId, EventId, LoginId, NetworkName, RoomId
from dm_bridge.matrix.homeserver import Json
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.testing.processes import free_port
from tests.store.stored import OWNER

from .collector import Collector
from .fakes import until

TOKEN = "a-token-of-the-application-service"
ROOM = RoomId("!room")


@pytest_asyncio.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    monkeypatch.setattr(outlet, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(outlet, "LONGEST_PAUSE", 0.02)
    collector = Collector()
    await collector.server.start_server()
    yield collector
    await collector.server.close()


@contextlib.asynccontextmanager
async def an_outlet(
    collector: Collector, *, bound: int = 100, batch: int = 10, metrics: Metrics | None = None
) -> AsyncIterator[Outlet]:
    """An outlet that runs."""
    async with aiohttp.ClientSession() as session:
        made = Outlet(
            "checkpoints",
            str(collector.server.make_url("/reports")),
            TOKEN,
            session,
            metrics or Metrics(),
            lambda reports: {"checkpoints": list(reports)},
            batch=batch,
            bound=bound,
        )
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def numbers(collector: Collector) -> list[int]:
    return [report["n"] for body in collector.got for report in body["checkpoints"]]


def figure(metrics: Metrics, outcome: str) -> float | None:
    labels = {"collector": "checkpoints", "outcome": outcome}
    return metrics.registry.get_sample_value("dm_bridge_reports_total", labels)


# -- to a collector


async def test_reports_are_posted_in_order_some_at_a_time_with_the_token(
    collector: Collector,
) -> None:
    metrics = Metrics()
    async with an_outlet(collector, metrics=metrics) as made:
        for n in range(25):
            made.put(n, {"n": n})
        await until(lambda: figure(metrics, "sent") == 25)  # counted when the answer has come
    assert numbers(collector) == list(range(25))
    assert [len(body["checkpoints"]) for body in collector.got] == [10, 10, 5]
    assert collector.tokens == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("status", [500, 503, 429, 401, 404, 302])
async def test_a_collector_in_trouble_is_tried_again(collector: Collector, status: int) -> None:
    collector.answers = [status] * 3
    async with an_outlet(collector) as made:
        made.put(1, {"n": 1})
        await until(lambda: numbers(collector) == [1])
    assert collector.asked == 4


async def test_what_a_collector_refuses_does_not_hold_up_the_rest(collector: Collector) -> None:
    collector.answers = [400]
    metrics = Metrics()
    async with an_outlet(collector, batch=1, metrics=metrics) as made:
        made.put(1, {"n": 1})
        made.put(2, {"n": 2})
        await until(lambda: figure(metrics, "sent") == 1)
    assert numbers(collector) == [2]
    assert figure(metrics, "refused") == 1


async def test_while_a_collector_is_away_the_newest_are_kept_and_the_rest_is_counted(
    collector: Collector,
) -> None:
    metrics = Metrics()
    collector.answers = [503] * 3
    async with an_outlet(collector, bound=5, metrics=metrics) as made:
        for n in range(1000):
            made.put(n, {"n": n})
        await until(lambda: len(numbers(collector)) == 5)
    assert numbers(collector) == [995, 996, 997, 998, 999]
    assert figure(metrics, "dropped") == 995


async def test_odd_text_is_posted_and_a_mistake_of_ours_ends_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_outlet(collector, batch=1) as made:
        made.put(1, {"n": 1, "info": "\ud800 \0"})
        await until(lambda: numbers(collector) == [1])
        real, mistakes = made._post, iter([RuntimeError("odd")])

        async def mistaken(body: bytes, deadline: float) -> int:
            for mistake in mistakes:
                raise mistake
            return await real(body, deadline)

        monkeypatch.setattr(made, "_post", mistaken)
        made.put(2, {"n": 2})
        await until(lambda: numbers(collector) == [1, 2])


async def test_nobody_at_the_address_is_no_trouble(collector: Collector) -> None:
    async with an_outlet(collector) as made:
        made._url = f"http://127.0.0.1:{free_port()}/reports"
        made.put(1, {"n": 1})
        await asyncio.sleep(0.05)
        made._url = str(collector.server.make_url("/reports"))
        await until(lambda: numbers(collector) == [1])


async def test_a_collector_that_hangs_is_left_and_tried_again(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "DEADLINE", 0.05)
    collector.hold = asyncio.Event()
    async with an_outlet(collector) as made:
        made.put(1, {"n": 1})
        await until(lambda: collector.asked >= 2)
        collector.hold.set()
        collector.hold = None
        await until(lambda: 1 in numbers(collector))


async def test_what_is_newer_takes_the_place_of_what_waits_and_is_not_lost_while_that_is_sent(
    collector: Collector,
) -> None:
    collector.hold = asyncio.Event()
    async with an_outlet(collector, batch=1) as made:
        made.put("login", {"n": 1})
        await until(lambda: collector.asked == 1)
        made.put("login", {"n": 2})
        made.put("login", {"n": 3})
        collector.hold.set()
        await until(lambda: numbers(collector) == [1, 3])


async def test_a_stop_posts_what_is_left_and_waits_for_no_one(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "LAST_DEADLINE", 0.1)
    metrics = Metrics()
    async with an_outlet(collector, metrics=metrics) as made:
        pass
    async with aiohttp.ClientSession() as session:
        made._session = session
        made.put(1, {"n": 1})
        await made.finish()
        assert numbers(collector) == [1]
        collector.hold = asyncio.Event()
        made.put(2, {"n": 2})
        await made.finish()
        assert figure(metrics, "dropped") == 1
        collector.hold.set()


# -- message checkpoints


class Reported:
    """Takes reports: ``all``, and by step and status."""

    def __init__(self) -> None:
        self.all: list[Json] = []
        self.keys: list[Hashable] = []

    def put(self, key: Hashable, report: Json) -> None:
        self.keys.append(key)
        self.all.append(report)

    @property
    def steps(self) -> list[tuple[str, str]]:
        return [(report["step"], report["status"]) for report in self.all]


def row(
    kind: str = "m.room.message", received: float = 1.0, body: str = "But soft", **content: Any
) -> OutboxRow:
    event = EventId("$event")
    raw = {
        "type": kind,
        "sender": OWNER,
        "content": {"msgtype": "m.text", "body": body, **content},
    }
    return OutboxRow(event, ROOM, OWNER, raw, received)


@pytest.fixture
def reported() -> Reported:
    return Reported()


@pytest.fixture
def checkpoints(reported: Reported) -> Checkpoints:
    return Checkpoints(reported.put, lambda: 1.5)


def test_a_message_on_its_way_has_the_form_of_mautrix_and_says_nothing_of_its_text(
    checkpoints: Checkpoints, reported: Reported
) -> None:
    checkpoints.taken(row())
    checkpoints.delivered(row())
    common = {
        "event_id": "$event",
        "room_id": ROOM,
        "timestamp": 1500,
        "status": "SUCCESS",
        "event_type": "m.room.message",
        "message_type": "m.text",
        "reported_by": "BRIDGE",
        "retry_num": 0,
    }
    assert reported.all == [{**common, "step": step} for step in ("BRIDGE", "REMOTE")]
    assert "But soft" not in str(reported.all)


def test_the_same_is_reported_once_and_each_attempt_is_numbered(
    checkpoints: Checkpoints, reported: Reported
) -> None:
    for _ in range(3):
        checkpoints.waiting(row(), "It is away.")
    checkpoints.failed(row(), "It is away.", expired=True, unsendable=False)
    again = row(received=2.0)
    checkpoints.failed(again, "It is away.", expired=True, unsendable=False)
    checkpoints.delivered(again)
    assert reported.steps == [
        ("REMOTE", status) for status in ("WILL_RETRY", "TIMEOUT", "TIMEOUT", "SUCCESS")
    ]
    assert [report["retry_num"] for report in reported.all] == [0, 1, 2, 3]
    assert reported.all[0]["info"] == "It is away."
    assert len(set(reported.keys)) == 4


@pytest.mark.parametrize(
    ("kind", "unsendable", "expected"),
    [
        ("m.room.message", False, ("REMOTE", "PERM_FAILURE")),
        ("m.room.message", True, ("REMOTE", "UNSUPPORTED")),
        ("m.sticker", True, ("REMOTE", "UNSUPPORTED")),
        ("m.room.encrypted", True, ("DECRYPTED", "UNSUPPORTED")),
    ],
)
def test_what_cannot_be_sent_is_told_from_what_was_not(
    checkpoints: Checkpoints,
    reported: Reported,
    kind: str,
    unsendable: bool,
    expected: tuple[str, str],
) -> None:
    checkpoints.failed(row(kind), "No.", expired=False, unsendable=unsendable)
    assert reported.steps == [expected]


def test_commands_and_what_comes_back_are_reported(
    checkpoints: Checkpoints, reported: Reported
) -> None:
    checkpoints.command(row(), readable=True)
    checkpoints.sent_back(ROOM, EventId("$other"), "There is no such account.")
    checkpoints.command(row("m.room.encrypted"), readable=False)
    assert reported.steps == [
        ("COMMAND", "SUCCESS"),
        ("REMOTE", "DELIVERY_FAILED"),
        ("DECRYPTED", "UNSUPPORTED"),
    ]


@pytest.mark.parametrize("kind", ["m.room.member", "org.odd", "m.room.tombstone"])
def test_what_is_no_message_is_not_reported(
    checkpoints: Checkpoints, reported: Reported, kind: str
) -> None:
    checkpoints.taken(row(kind))
    assert reported.all == []


@pytest.mark.parametrize("msgtype", ["org.odd", None, 3, ["m.text"]])
def test_a_kind_of_message_that_nobody_knows_is_left_out(
    checkpoints: Checkpoints, reported: Reported, msgtype: object
) -> None:
    checkpoints.taken(row(msgtype=msgtype))
    assert "message_type" not in reported.all[0]


def test_what_was_reported_is_remembered_up_to_a_bound(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dm_bridge.bridge.reports.checkpoints.REMEMBERED", 10)
    for n in range(100):
        checkpoints.sent_back(ROOM, EventId(f"${n}"), "")
    assert len(checkpoints._reported) == 10


# -- states of logins

LOGIN = LoginRow(
    LoginId("login"),
    OWNER,
    NetworkName("xmpp"),
    ContactId("juliet@example.com"),
    "Juliet",
    LoginState.ACTIVE,
    "",
    None,
)
CONNECTED = SessionState(SessionStatus.CONNECTED)
REFUSED = SessionState(SessionStatus.BAD_CREDENTIALS, "The password is wrong.")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states(reported: Reported, clock: Clock) -> BridgeStates:
    return BridgeStates(reported.put, clock)


def test_a_state_has_the_form_of_mautrix(states: BridgeStates, reported: Reported) -> None:
    states.note(LOGIN, REFUSED)
    assert reported.all == [
        {
            "state_event": "BAD_CREDENTIALS",
            "user_id": OWNER,
            "remote_id": "juliet@example.com",
            "remote_name": "Juliet",
            "timestamp": 1000,
            "ttl": 3600,
            "source": "bridge",
            "error": "xmpp-bad-credentials",
            "message": "The password is wrong.",
        }
    ]
    assert reported.keys == [LOGIN.id]


@pytest.mark.parametrize("status", list(SessionStatus))
def test_every_status_of_a_session_is_one_that_collectors_know(
    states: BridgeStates, reported: Reported, status: SessionStatus
) -> None:
    states.note(LOGIN, SessionState(status))
    assert [report["state_event"] for report in reported.all] == [status.value]


def test_a_state_is_reported_when_it_changes_and_again_before_it_is_stale(
    states: BridgeStates, reported: Reported, clock: Clock
) -> None:
    states.note(LOGIN, CONNECTED)
    states.note(LOGIN, CONNECTED)
    states.repeat()
    assert len(reported.all) == 1
    clock.now += 21600
    states.repeat()
    states.repeat()
    assert [report["timestamp"] for report in reported.all] == [1000, 22600]
    states.note(LOGIN, REFUSED)
    assert [report["state_event"] for report in reported.all][-1] == "BAD_CREDENTIALS"


@pytest.mark.parametrize("gone", [True, False])
def test_a_login_that_is_gone_is_not_reported_again(
    states: BridgeStates, reported: Reported, clock: Clock, gone: bool
) -> None:
    states.note(LOGIN, CONNECTED)
    if gone:
        states.forget(LOGIN.id)
    else:
        states.note(LOGIN, SessionState(SessionStatus.LOGGED_OUT))
    said = len(reported.all)
    clock.now += 100_000
    states.repeat()
    assert len(reported.all) == said


def test_without_a_collector_nothing_is_kept() -> None:
    silent, quiet = Checkpoints(), BridgeStates()
    silent.taken(row())
    quiet.note(LOGIN, CONNECTED)
    quiet.repeat()
    assert (len(silent._reported), len(quiet._last)) == (0, 0)
