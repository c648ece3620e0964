"""What is acknowledged, and who resends what, against a server that follows a script."""

from __future__ import annotations

import asyncio
import random

import pytest

from dm_bridge.connectors.xmpp.acks import Ledger
from dm_bridge.errors import NetworkError
from dm_bridge.network.events import SessionStatus

from .support import Running, ScriptedServer, message, until

HELLO = "<message from='juliet@localhost/x' type='chat' id='{0}'><body>{0}</body></message>"
ASK = "<r xmlns='urn:xmpp:sm:3'/>"


def acknowledged(server: ScriptedServer) -> int:
    """How many stanzas the bridge has said it has."""
    return int(server.read.rsplit('h="', 1)[1].partition('"')[0])


def test_stanzas_without_events_count_when_what_came_before_is_committed() -> None:
    ledger = Ledger()
    assert ledger.safe == 0
    ledger.receive()
    assert ledger.safe == 1
    ledger.receive()
    ledger.expect_commit()
    ledger.receive()
    ledger.receive()
    ledger.expect_commit()
    assert (ledger.safe, ledger.received) == (1, 4)
    ledger.commit(1)
    assert ledger.safe == 3
    ledger.commit(1)
    assert ledger.safe == 4


def test_counts_wrap_like_the_servers() -> None:
    ledger = Ledger(2**32 - 1)
    ledger.receive()
    assert ledger.safe == 0


async def test_an_acknowledgement_covers_only_what_is_committed() -> None:
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (
            _,
            sink,
        ),
    ):
        await server.saw("<presence")
        base = server.read
        server.write(ASK)
        await until(lambda: len(server.read) > len(base))
        before = acknowledged(server)
        sink.broken = True
        server.write(HELLO.format("one") + HELLO.format("two") + ASK)
        await until(lambda: sink.refused > 0)
        await server.saw(f'h="{before}"', 2)
        assert acknowledged(server) == before
        sink.broken = False
        await until(
            lambda: acknowledged(server) >= before + 2
        )  # an answer to a question may follow
        assert sink.bodies == ["one", "two"]


async def test_a_resumption_asks_again_for_what_is_not_committed() -> None:
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (
            _,
            sink,
        ),
    ):
        await server.saw("<presence")
        server.write(HELLO.format("safe"))
        await until(lambda: sink.bodies == ["safe"])
        sink.broken = True
        server.write(HELLO.format("unsafe"))
        await until(lambda: sink.refused > 0)
        server.write(ASK)
        await server.saw("<a ")
        acknowledged = server.read.rsplit('h="', 1)[1].partition('"')[0]
        server.cut()
        await server.saw("<resume")
        assert f'h="{acknowledged}"' in server.read.partition("<resume")[2].partition(">")[0]
        sink.broken = False
        await until(lambda: sink.bodies == ["safe", "unsafe"])


async def test_an_unconfirmed_message_goes_again_on_resumption_and_only_once() -> None:
    async with ScriptedServer() as server:
        network = server.network(send_timeout=0.3)
        async with Running(network, "romeo@localhost", "x") as (session, sink):
            await server.saw("<presence")
            server.silent = True
            with pytest.raises(NetworkError) as caught:
                await session.send(message("juliet@localhost", "once", "out-1"))
            assert not caught.value.certain
            assert caught.value.retry_after is not None
            server.silent = False
            session._config = session._config.model_copy(update={"send_timeout": 60.0})
            assert await session.send(message("juliet@localhost", "once", "out-1")) == "out-1"
            await sink.status(SessionStatus.TRANSIENT_DISCONNECT)
            assert server.read.count("once</body>") == 2  # the first, and the stream's own repeat
            assert await session.send(message("juliet@localhost", "once", "out-1")) == "out-1"
            assert server.read.count("once</body>") == 2


async def test_a_refused_resumption_without_a_count_leaves_the_message_uncertain() -> None:
    async with (
        ScriptedServer(resume="refuse") as server,
        Running(server.network(), "romeo@localhost", "x") as (session, _),
    ):
        await server.saw("<presence")
        server.silent = True
        attempt = asyncio.create_task(session.send(message("juliet@localhost", "one")))
        await server.saw("one</body>")
        server.silent = False
        server.cut()
        with pytest.raises(NetworkError) as caught:
            await attempt
        assert not caught.value.certain
        await server.saw("<presence", 2)
        assert server.read.count("one</body>") == 1


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_refused_resumption_with_a_count_settles_the_message(arrived: bool) -> None:
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (session, _),
    ):
        await server.saw("<presence")
        await session.send(message("juliet@localhost", "zero"))
        server.silent = True
        attempt = asyncio.create_task(session.send(message("juliet@localhost", "one")))
        await server.saw("one</body>")
        server.resume = f"refuse h='{server.handled + arrived}'"
        server.silent = False
        server.cut()
        if arrived:
            assert await attempt == "id-one"
        else:
            with pytest.raises(NetworkError) as caught:
                await attempt
            assert caught.value.certain
            assert caught.value.retry_after is not None
            assert await session.send(message("juliet@localhost", "one")) == "id-one"
            assert server.read.count("one</body>") == 2


async def test_without_stream_management_a_ping_confirms_the_message() -> None:
    async with (
        ScriptedServer(sm=False) as server,
        Running(server.network(), "romeo@localhost", "x") as (session, _),
    ):
        assert await session.send(message("juliet@localhost", "one")) == "id-one"
        assert "urn:xmpp:ping" in server.read.partition("one</body>")[2]
        server.silent = True
        attempt = asyncio.create_task(session.send(message("juliet@localhost", "two")))
        await server.saw("two</body>")
        server.cut()
        with pytest.raises(NetworkError) as caught:
            await attempt
        assert not caught.value.certain


async def test_an_acknowledgement_for_what_was_never_sent_ends_the_stream() -> None:
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (
            _,
            sink,
        ),
    ):
        server.write("<a xmlns='urn:xmpp:sm:3' h='4000'/>")
        state = await sink.status(SessionStatus.TRANSIENT_DISCONNECT)
        assert "never sent" in state.reason
        await server.saw("<presence", 2)
        assert "<resume" not in server.read


NEVER = {"retry_min": 60, "retry_max": 60}


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are as long as they may be."""
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


@pytest.mark.usefixtures("no_jitter")
async def test_sending_while_disconnected_waits_a_moment_and_then_fails_for_certain() -> None:
    async with ScriptedServer() as server:
        network = server.network(send_wait=0.2, **NEVER)
        async with Running(network, "romeo@localhost", "x") as (session, sink):
            server.cut()
            await sink.status(SessionStatus.TRANSIENT_DISCONNECT)
            with pytest.raises(NetworkError) as caught:
                await session.send(message("juliet@localhost", "one"))
            assert caught.value.certain
            assert caught.value.retry_after is not None


@pytest.mark.usefixtures("no_jitter")
async def test_a_message_that_waits_for_a_resumption_stays_uncertain() -> None:
    async with ScriptedServer() as server:
        network = server.network(send_timeout=0.3, send_wait=0.1, **NEVER)
        async with Running(network, "romeo@localhost", "x") as (session, sink):
            await server.saw("<presence")
            server.silent = True
            for _ in range(2):
                with pytest.raises(NetworkError) as caught:
                    await session.send(message("juliet@localhost", "one"))
                assert not caught.value.certain
                await sink.status(SessionStatus.TRANSIENT_DISCONNECT)


async def test_a_message_still_in_the_queue_of_a_lost_connection_was_surely_not_sent() -> None:
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (session, _),
    ):
        await server.saw("<presence")
        client = session._client
        assert client is not None
        assert client._run_out_filters is not None
        client._run_out_filters.cancel()
        attempt = asyncio.create_task(session.send(message("juliet@localhost", "one")))
        await until(lambda: not client.waiting_queue.empty())
        server.cut()
        with pytest.raises(NetworkError) as caught:
            await attempt
        assert caught.value.certain
        assert caught.value.retry_after is not None
        assert await session.send(message("juliet@localhost", "one")) == "id-one"
        assert server.read.count("one</body>") == 1
