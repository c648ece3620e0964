"""The connector that docs/connectors.md shows: it keeps what the page says that a connector promises."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dm_bridge.errors import CredentialsError, NetworkError, StorageError, UserError
from dm_bridge.ids import ContactId, LoginId, RemoteId
from dm_bridge.network import registry
from dm_bridge.network.api import Connector, Login, Network, OutgoingMessage, Session
from dm_bridge.network.events import RemoteEvent, RemoteMessage, SessionState, SessionStatus, Text
from dm_bridge.network.login import LoginDone
from dm_bridge.network.signals import Signal
from tests.observed import until

HERE = Path(__file__).parent
MODULE = "echo_connector"
NYMPH = ContactId("nymph")


class Sink:
    """Fails as often as ``failures`` says, then keeps what comes."""

    def __init__(self) -> None:
        self.failures = 0
        self.events: list[RemoteEvent] = []
        self.signals: list[Signal] = []
        self.states: list[SessionStatus] = []

    async def deliver(self, events: Sequence[RemoteEvent], position: str | None = None) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageError("The database cannot be reached.")
        self.events += events

    def signal(self, signal: Signal) -> None:
        self.signals.append(signal)

    def report(self, state: SessionState) -> None:
        self.states.append(state.status)


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> Connector:
    """Found through its entry point, as it would be when its package is installed."""
    point = importlib.metadata.EntryPoint("echo", f"{MODULE}:connector", registry.GROUP)
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    return registry.load_connector("echo")


@pytest.fixture
def network(connector: Connector) -> Network:
    return connector.build(connector.config_model.model_validate({"retry": 0.01}))


def a_session(network: Network, sink: Sink, **credentials: str) -> Session:
    login = Login(LoginId("1"), NYMPH, credentials or {"password": "sesame"})
    return network.open_session(login, sink)


def a_message(session: Session) -> OutgoingMessage:
    return OutgoingMessage(session.chat_with(NYMPH), RemoteId("m1"), Text("Who's there?"))


async def test_a_login_asks_for_name_and_password_and_gives_what_a_session_needs(
    network: Network,
) -> None:
    process = network.start_login()
    assert [field.name for field in process.start().fields] == ["name", "password"]
    with pytest.raises(UserError, match="looks like this"):
        process.check("name", "not a name!")
    with pytest.raises(CredentialsError):
        await process.submit({"name": "nymph", "password": "wrong"})
    done = await network.start_login().submit({"name": " Nymph ", "password": "sesame"})
    assert isinstance(done, LoginDone)
    assert done.remote == NYMPH
    sink = Sink()
    await network.open_session(Login(LoginId("1"), done.remote, done.credentials), sink).connect()
    assert sink.states == [SessionStatus.CONNECTED]


async def test_what_is_sent_comes_back_once_it_can_be_stored(network: Network) -> None:
    sink = Sink()
    sink.failures = 2
    session = a_session(network, sink)
    await session.connect()
    message = a_message(session)
    assert await session.send(message) == message.id
    assert await session.send(message) == message.id
    await until(lambda: len(sink.events) == 2)
    first, second = sink.events
    assert isinstance(first, RemoteMessage)
    assert (first.chat, first.sender, first.content) == (message.chat, NYMPH, message.content)
    assert first == second  # the same message again has the same id: the bridge drops it
    await session.disconnect()


async def test_echoes_keep_their_order_when_the_first_has_to_wait(network: Network) -> None:
    sink = Sink()
    sink.failures = 1
    session = a_session(network, sink)
    await session.connect()
    for number in range(3):
        await session.send(
            OutgoingMessage(session.chat_with(NYMPH), RemoteId(f"m{number}"), Text(f"{number}"))
        )
    await until(lambda: len(sink.events) == 3)
    texts = [event.content.body for event in sink.events if isinstance(event, RemoteMessage)]
    assert texts == ["0", "1", "2"]
    await session.disconnect()


async def test_before_it_is_connected_a_message_is_to_be_tried_again(network: Network) -> None:
    session = a_session(network, Sink())
    with pytest.raises(NetworkError) as caught:
        await session.send(a_message(session))
    assert caught.value.retry_after is not None


async def test_after_a_change_of_the_password_the_user_is_asked(network: Network) -> None:
    sink = Sink()
    await a_session(network, sink, password="old").connect()
    assert sink.states == [SessionStatus.BAD_CREDENTIALS]


async def test_disconnecting_ends_what_still_waits(network: Network) -> None:
    sink = Sink()
    sink.failures = 1_000_000
    session = a_session(network, sink)
    await session.connect()
    await session.send(a_message(session))
    await session.disconnect()
    assert sink.events == []


def test_spellings_of_one_contact_are_one(network: Network) -> None:
    assert network.parse_contact(" Nymph ") == network.parse_contact("NYMPH") == NYMPH
    assert network.contact_of(a_session(network, Sink()).chat_with(NYMPH)) == NYMPH


def test_it_imports_of_the_bridge_what_a_connector_may() -> None:
    tree = ast.parse((HERE / f"{MODULE}.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {str(module) for module in modules if str(module).startswith("dm_bridge")}
    assert ours <= {"dm_bridge.errors", "dm_bridge.ids"} | {
        f"dm_bridge.network.{name}" for name in ("api", "events", "login")
    }
