"""A complete connector, to copy and to change: a network on which everybody says again what they are told.

The rule that must never break: an echo is given to the bridge until the bridge has committed it, and has
the same id each time. docs/connectors.md explains the parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from pydantic import BaseModel, ConfigDict

from dm_bridge.errors import CredentialsError, NetworkError, StorageError, UserError
from dm_bridge.ids import ChatId, ContactId, NetworkName, RemoteId
from dm_bridge.network.api import API_VERSION, Contact, EventSink, Login, OutgoingMessage
from dm_bridge.network.events import RemoteMessage, SessionState, SessionStatus
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField

log = structlog.get_logger("dm_bridge.connectors.echo")


class EchoConfig(BaseModel):
    """The section ``networks.echo``."""

    model_config = ConfigDict(extra="forbid")
    password: str = "sesame"
    retry: float = 1.0


class EchoLogin:
    """Asks for a name and a password, both at once."""

    def __init__(self, network: EchoNetwork) -> None:
        self._network = network

    def start(self) -> AskStep:
        secret = LoginField("password", "password", FieldKind.SECRET)
        return AskStep((LoginField("name", "name on Echo"), secret))

    def check(self, field: str, value: str) -> None:
        if field == "name":
            self._network.parse_contact(value)

    async def submit(self, values: Mapping[str, str]) -> LoginDone:
        if values["password"] != self._network.config.password:
            raise CredentialsError("Echo does not know this name and password.")
        name = self._network.parse_contact(values["name"])
        return LoginDone(name, name, {"password": values["password"]})

    async def cancel(self) -> None: ...  # nothing was opened


class EchoSession:
    """One login. A real one holds a connection here, and opens it again when it breaks."""

    def __init__(self, login: Login, sink: EventSink, config: EchoConfig) -> None:
        self._login = login
        self._sink = sink
        self._config = config
        self._connected = False
        self._echoes: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()  # one delivery at a time: they stay in their order

    async def connect(self) -> None:
        if self._login.credentials["password"] != self._config.password:
            self._sink.report(SessionState(SessionStatus.BAD_CREDENTIALS, "The password changed."))
            return
        self._connected = True
        self._sink.report(SessionState(SessionStatus.CONNECTED))
        log.info("an echo listens", login=self._login.id)

    async def disconnect(self) -> None:
        self._connected = False
        for echo in self._echoes:
            echo.cancel()
        await asyncio.gather(*self._echoes, return_exceptions=True)

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact, name=contact.title())

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        if not self._connected:
            raise NetworkError("Echo is not connected.", retry_after=self._config.retry)
        echo = asyncio.create_task(self._answer(message))
        self._echoes.add(echo)
        echo.add_done_callback(self._echoes.discard)
        return message.id

    async def _answer(self, message: OutgoingMessage) -> None:
        sender, again = ContactId(message.chat), RemoteId(f"echo-{message.id}")
        event = RemoteMessage(message.chat, again, sender, from_self=False, content=message.content)
        async with self._turn:
            while True:
                try:
                    await self._sink.deliver([event])
                    return  # only now may the network be told that the bridge has it
                except StorageError as error:
                    log.warning("an echo has to wait", reason=str(error))
                    await asyncio.sleep(self._config.retry)


class EchoNetwork:
    """Everybody with a name of letters and digits."""

    name = NetworkName("echo")
    title = "Echo"

    def __init__(self, config: EchoConfig) -> None:
        self.config = config

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def start_login(self) -> EchoLogin:
        return EchoLogin(self)

    def open_session(self, login: Login, sink: EventSink) -> EchoSession:
        return EchoSession(login, sink, self.config)

    def parse_contact(self, text: str) -> ContactId:
        name = text.strip().lower()
        if not name.isalnum():
            raise UserError("That is no name on Echo. One looks like this: nymph")
        return ContactId(name)

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return f"echo:{contact}"


class EchoConnector:
    """What the entry point names."""

    name = EchoNetwork.name
    title = EchoNetwork.title
    api_version = API_VERSION
    config_model = EchoConfig

    def build(self, config: BaseModel) -> EchoNetwork:
        assert isinstance(config, EchoConfig)
        return EchoNetwork(config)


connector = EchoConnector()
