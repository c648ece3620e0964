"""What is special about MQTT, and so no part of the conformance kit."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import pytest_asyncio
from dm_bridge_mqtt import MqttNetwork, MqttSession, connector, mqtt, texts
from mosquitto import PASSWORD, Mosquitto, Somebody

from dm_bridge.errors import ConfigError, NetworkError
from dm_bridge.ids import ContactId, LoginId
from dm_bridge.network.api import Login
from dm_bridge.network.events import RemoteEvent, RemoteMessage, SessionState, SessionStatus
from dm_bridge.network.signals import Signal
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.testing.processes import LOOPBACK
from dm_bridge.texts import be_strict

be_strict()
_names = (f"me{number}" for number in itertools.count())


class Sink:
    def __init__(self) -> None:
        self.events: list[RemoteEvent] = []
        self.signals: list[Signal] = []
        self.states: list[SessionStatus] = []

    async def deliver(self, events: Sequence[RemoteEvent], position: str | None = None) -> None:
        self.events += events

    def signal(self, signal: Signal) -> None:
        self.signals.append(signal)

    def report(self, state: SessionState) -> None:
        self.states.append(state.status)

    def texts(self) -> list[str]:
        return [event.content.body for event in self.events if isinstance(event, RemoteMessage)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what other processes do
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mosquitto]:
    directory = tmp_path_factory.mktemp("mosquitto")
    broker = Mosquitto(directory, certificate=write_certificate(directory, ["localhost"]))
    await broker.start()
    yield broker
    await broker.stop()


def network(broker: Mosquitto, *, tls: bool = False) -> MqttNetwork:
    port = broker.tls_port if tls else broker.port
    return connector.build(mqtt.Broker(host="localhost", port=port, tls=tls, quiet=5.0))


@pytest_asyncio.fixture
async def me(broker: Mosquitto) -> Somebody:
    """A user of the bridge, seen from their own phone."""
    name = next(_names)
    await broker.add(name)
    return Somebody(broker, name)


@pytest_asyncio.fixture
async def connected(broker: Mosquitto, me: Somebody) -> AsyncIterator[tuple[MqttSession, Sink]]:
    sink = Sink()
    login = Login(LoginId("1"), ContactId(me.address), {"password": PASSWORD})
    session = network(broker).open_session(login, sink)
    await session.connect()
    await until(lambda: SessionStatus.CONNECTED in sink.states)
    yield session, sink
    await session.disconnect()


async def test_what_is_no_message_is_left_out_and_does_not_come_again(
    me: Somebody, connected: tuple[MqttSession, Sink]
) -> None:
    _, sink = connected
    for junk in (
        "hello",
        "[]",
        '{"id": "1"}',
        '{"id": "", "text": "x", "sent": 1}',
        '{"id": "\\u0000", "text": "x", "sent": 1}',
        '{"id": "1", "text": "x", "sent": -1}',
        '{"id": "1", "text": "x", "sent": 1e999}',
        '{"id": "1", "text": "\\ud800", "sent": 1}',
    ):
        await me.publish("juliet", junk)
    await me.say("juliet", "a message")
    await until(lambda: bool(sink.events))
    assert sink.texts() == ["a message"]
    assert sink.states == [SessionStatus.CONNECTING, SessionStatus.CONNECTED]


async def test_nobody_can_write_as_somebody_else(broker: Mosquitto, me: Somebody) -> None:
    name = next(_names)
    await broker.add(name)
    listening = Somebody(broker, name)
    await listening.listen()
    await me.publish(f"{name}/juliet", "{}")
    await me.say(name, "honestly")
    await until(lambda: bool(listening.heard))
    assert [heard.sender for heard in listening.heard] == [me.address]
    await listening.leave()


async def test_a_broker_with_a_certificate_is_believed_if_that_is_trusted(
    broker: Mosquitto, me: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"name": me.address, "password": PASSWORD}
    encrypted = network(broker, tls=True)
    with pytest.raises(NetworkError):
        await encrypted.start_login().submit(answers)
    assert broker.certificate is not None
    monkeypatch.setenv("SSL_CERT_FILE", str(broker.certificate.authority))
    await encrypted.start_login().submit(answers)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"\x20\2\0\0\x90\4\0\1\1\x80", "does not let this user read"),
        (b"\x20\2\0\3", "takes no connections"),
        (b"\x20\xff\xff\xff\x7f", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
    ids=["no rights", "too many connections", "too large", "nothing"],
)
async def test_a_broker_that_does_not_play_along_is_told_of_at_the_login(
    answer: bytes, sentence: str
) -> None:
    async def play(stream: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        await stream.read(1)
        out.write(answer)
        await out.drain()
        out.close()

    server = await asyncio.start_server(play, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    process = MqttNetwork(mqtt.Broker(host=LOOPBACK, port=port, tls=False, quiet=5.0)).start_login()
    with pytest.raises(NetworkError, match=sentence):
        await process.submit({"name": "romeo", "password": PASSWORD})
    server.close()


@pytest.mark.parametrize("host", ["broker.example.org", "192.0.2.1"])
def test_passwords_do_not_go_over_the_network_as_they_are(host: str) -> None:
    with pytest.raises(ConfigError, match="tls"):
        connector.build(mqtt.Broker(host=host, tls=False))
    connector.build(mqtt.Broker(host=host))


def test_every_message_is_there_and_is_said() -> None:
    folder = texts.phrase.folder
    names = re.findall(r"^([a-z-]+) =", (folder / "en/mqtt.ftl").read_text(), re.MULTILINE)
    code = "".join(path.read_text() for path in folder.parent.glob("*.py"))
    assert set(re.findall(r'phrase\("([a-z-]+)"', code)) == set(names)
