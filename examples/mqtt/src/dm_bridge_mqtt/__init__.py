"""Chats over an MQTT broker: what A writes to B is published under ``chat/B/A``, as JSON.

The rule that must never break: a message is acknowledged when the bridge has committed it, and not before.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from urllib.parse import quote

import structlog
from pydantic import BaseModel, Field

from dm_bridge.errors import ConfigError, CredentialsError, NetworkError, UserError
from dm_bridge.ids import ChatId, ContactId, NetworkName, RemoteId
from dm_bridge.network.api import (
    API_VERSION,
    Capabilities,
    Contact,
    EventSink,
    Login,
    OutgoingMessage,
)
from dm_bridge.network.events import RemoteMessage, SessionState, SessionStatus, Text
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField
from dm_bridge_mqtt import mqtt
from dm_bridge_mqtt.texts import phrase

log = structlog.get_logger("dm_bridge.connectors.mqtt")
DEVICE = "dm-bridge"
LONGEST_PAUSE = 60.0  # seconds


class Message(BaseModel):
    """What is published. Who has read an ``id`` skips it; ``sent``: seconds since the epoch."""

    id: str = Field(pattern=r"^[^\x00]+$")
    text: str
    sent: float = Field(ge=0, lt=1e11)
    device: str = ""


class MqttLogin:
    """Asks for a name and a password, and tries them."""

    def __init__(self, network: MqttNetwork) -> None:
        self._network = network

    def start(self) -> AskStep:
        secret = LoginField("password", phrase("mqtt-password"), FieldKind.SECRET)
        return AskStep((LoginField("name", phrase("mqtt-name")), secret))

    def check(self, field: str, value: str) -> None:
        if field == "name":
            self._network.parse_contact(value)
        elif not value.isprintable() or len(value) > 1000:
            raise UserError(phrase("mqtt-odd-password"))

    async def submit(self, values: Mapping[str, str]) -> LoginDone:
        name, password = self._network.parse_contact(values["name"]), values["password"]
        try:
            async with self._network.connected(name, password):
                return LoginDone(name, name, {"password": password})
        except OSError as error:
            raise NetworkError(phrase("mqtt-unreachable")) from error

    async def cancel(self) -> None: ...


class MqttSession:
    """One login: connects again and again, and takes what the broker has for it."""

    capabilities = Capabilities(catches_up=True, own_messages=True, sends_once=True, lines=True)

    def __init__(self, network: MqttNetwork, login: Login, sink: EventSink) -> None:
        self._network, self._login, self._sink = network, login, sink
        self._numbers = itertools.cycle(range(2, 65536))
        self._sending: dict[bytes, asyncio.Event] = {}
        self._link: mqtt.Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._refused: CredentialsError | None = None

    async def connect(self) -> None:
        self._task = asyncio.create_task(self._stay_connected(), name=f"mqtt {self._login.id}")

    async def disconnect(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact, name=contact)

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        retry = self._network.broker.retry
        if self._link is None:
            why = phrase("mqtt-not-connected")
            raise self._refused or NetworkError(why, retry_after=retry)
        body = f"/me {message.content.body}" if message.content.emote else message.content.body
        text = body.encode(errors="replace").decode()
        said = Message(id=message.id, text=text, sent=time.time(), device=DEVICE)
        topic = mqtt.text(f"chat/{message.chat}/{self._login.remote}")
        number = next(self._numbers).to_bytes(2, "big")
        confirmed = self._sending[number] = asyncio.Event()
        try:
            packet = topic + number + said.model_dump_json().encode()
            self._link.write(mqtt.PUBLISH | mqtt.CONFIRMED, packet)
            async with asyncio.timeout(2 * self._network.broker.quiet):
                await confirmed.wait()
            if number in self._sending:
                raise ConnectionError("it broke before the broker confirmed")
        except OSError as error:
            why = phrase("mqtt-not-confirmed")
            raise NetworkError(why, retry_after=retry, certain=False) from error
        finally:
            self._sending.pop(number, None)
        return message.id

    async def _stay_connected(self) -> None:
        pause = self._network.broker.retry
        while True:
            began = time.monotonic()
            self._sink.report(SessionState(SessionStatus.CONNECTING))
            try:
                await self._listen()
            except CredentialsError as error:
                self._refused = error
                return self._sink.report(SessionState(SessionStatus.BAD_CREDENTIALS, str(error)))
            except Exception as error:  # whatever it is: what is not acknowledged comes again
                log.warning("the connection broke", login=self._login.id, reason=repr(error))
            why = phrase("mqtt-broke")
            self._sink.report(SessionState(SessionStatus.TRANSIENT_DISCONNECT, why))
            held = time.monotonic() - began > LONGEST_PAUSE
            pause = self._network.broker.retry if held else min(LONGEST_PAUSE, 2 * pause)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311

    async def _listen(self) -> None:
        try:
            me, password = self._login.remote, self._login.credentials["password"]
            async with self._network.connected(me, password) as link:
                self._link = link
                self._sink.report(SessionState(SessionStatus.CONNECTED))
                while True:
                    first, body = await link.read()
                    if first == mqtt.PUBACK and body in self._sending:
                        self._sending.pop(body).set()
                    elif first & 0xF0 == mqtt.PUBLISH:
                        await self._take(link, first, body)
        finally:
            self._link = None
            for confirmed in self._sending.values():
                confirmed.set()

    async def _take(self, link: mqtt.Link, first: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        number = body[end : end + 2] if first & 0x06 else b""
        _, to, sender = body[2:end].decode().split("/")
        message = self._message(to, sender, body[end + len(number) :])
        if message is not None:
            await self._sink.deliver([message])
        if number:
            link.write(mqtt.PUBACK, number)

    def _message(self, to: str, sender: str, payload: bytes) -> RemoteMessage | None:
        own = sender == self._login.remote
        contact = to if own else sender
        try:
            said = Message.model_validate_json(payload)
            if self._network.parse_contact(contact) != contact:
                raise UserError("A name has blanks around it.")
        except (UserError, ValueError):
            log.warning("what was published is no message", login=self._login.id)
            return None
        if own and said.device == DEVICE:
            return None  # we sent it
        content = Text(said.text.removeprefix("/me "), emote=said.text.startswith("/me "))
        chat, who = ChatId(contact), ContactId(sender)
        return RemoteMessage(chat, RemoteId(said.id), who, own, content, said.sent)


class MqttNetwork:
    """A broker. It has to see to it that ``chat/B/A`` is written by A alone, and read by A and B."""

    name = NetworkName("mqtt")
    title = "MQTT"

    def __init__(self, broker: mqtt.Broker) -> None:
        self.broker = broker

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def start_login(self) -> MqttLogin:
        return MqttLogin(self)

    def open_session(self, login: Login, sink: EventSink) -> MqttSession:
        return MqttSession(self, login, sink)

    def parse_contact(self, text: str) -> ContactId:
        name = text.strip()
        if not name.isprintable() or set("/+#") & set(name) or not 0 < len(name.encode()) <= 200:
            raise UserError(phrase("mqtt-odd-name"))
        return ContactId(name)

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return f"mqtt://{self.broker.host}/chat/{quote(contact, safe='')}"

    def connected(self, name: str, password: str) -> AbstractAsyncContextManager[mqtt.Link]:
        topics = (f"chat/{name}/+", f"chat/+/{name}")
        return mqtt.connected(self.broker, f"{DEVICE}-{name}", name, password, topics)


class MqttConnector:
    """What the entry point names."""

    name = MqttNetwork.name
    title = MqttNetwork.title
    api_version = API_VERSION
    config_model: type[BaseModel] = mqtt.Broker

    def build(self, config: BaseModel) -> MqttNetwork:
        assert isinstance(config, mqtt.Broker)
        if not config.tls and config.host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigError(
                "networks.mqtt: passwords would be readable on the way. Set `tls: true`."
            )
        return MqttNetwork(config)


connector = MqttConnector()
