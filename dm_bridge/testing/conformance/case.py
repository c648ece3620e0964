"""One check under way: accounts, people and sessions of its own, and how to wait for what should happen.

The rule that must never break: whatever a check opened is closed when it ends, however it ends; and nothing is
waited for without a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, ContactId, LoginId, RemoteId, digest_id
from dm_bridge.network.abilities import (
    Edits,
    OutgoingEdit,
    OutgoingReactions,
    OutgoingRetraction,
    Reacts,
    Retracts,
)
from dm_bridge.network.api import (
    Capabilities,
    Login,
    Network,
    Outgoing,
    OutgoingMessage,
    Session,
    capabilities_of,
)
from dm_bridge.network.events import SessionStatus, Text
from dm_bridge.network.login import AskStep, LoginDone, LoginStep
from dm_bridge.testing.conformance.adapter import Account, Adapter, Line, NotOffered, Person
from dm_bridge.testing.conformance.sinks import Inbox, Sink

CLOSE_SECONDS = 5.0
"""Within which `Session.disconnect` returns."""
_MARGIN = 0.5
_TURN = 0.005


class Failed(AssertionError):
    """The connector does not do what it promises; the text says what its author has to change."""


def require(condition: object, sentence: str) -> None:
    """Raise `Failed` unless ``condition`` holds."""
    if not condition:
        raise Failed(sentence)


@dataclass
class Live:
    """A session that a check has opened, and what stands in for the bridge."""

    case: Case
    account: Account
    login: Login
    session: Session
    sink: Sink

    @property
    def inbox(self) -> Inbox:
        return self.sink.inbox

    @property
    def capabilities(self) -> Capabilities:
        return capabilities_of(self.session)

    def needs(self, capability: str) -> None:
        """Raise `NotOffered` when a capability is not declared."""
        if not getattr(self.capabilities, capability):
            raise NotOffered(f"`Capabilities.{capability}` is not declared")

    def chat(self, person: Person) -> ChatId:
        """The chat with somebody."""
        return self.session.chat_with(self.case.contact(person))

    async def connect(self) -> None:
        """Connect, and wait until it is."""
        await self.begin()
        await self.reach(SessionStatus.CONNECTED)

    async def begin(self) -> None:
        """Call `Session.connect`."""
        await self.case.promptly(
            self.session.connect(),
            "`Session.connect` begins to connect and returns; it does not wait for the network.",
        )

    async def reach(self, status: SessionStatus, after: int = 0) -> None:
        """Wait until a status has been reported, not counting the first ``after`` reports."""
        await self.case.until(
            lambda: status in self.sink.statuses[after:],
            f"The session should have reported {status.name}; it reported"
            f" {[one.name for one in self.sink.statuses[after:]]}.",
        )

    async def close(self) -> None:
        """Call `Session.disconnect`, as the bridge does."""
        await self.case.promptly(
            self.session.disconnect(),
            "`Session.disconnect` returns, within five seconds, whatever the network or `EventSink.deliver` does.",
        )
        self.sink.closed = True

    def message(self, person: Person, content: str | Text) -> OutgoingMessage:
        """A new message to somebody."""
        content = Text(content) if isinstance(content, str) else content
        return OutgoingMessage(self.chat(person), self.new_id(), content)

    def new_id(self) -> RemoteId:
        """An id for something to send."""
        return RemoteId(digest_id("kit", str(self.case.number())))

    async def send(self, what: Outgoing) -> RemoteId:
        """Send a message, or what is done to one, once; it ends in time, one way or the other."""
        name, able = _method(self.session, what)
        try:
            async with asyncio.timeout(self.case.send_seconds):
                sent = await able(what)
        except TimeoutError:
            raise Failed(
                f"`{name}` returns or raises within {self.case.send_seconds:.0f} seconds, with the short"
                " pauses that the adapter configures."
            ) from None
        except NetworkError as error:
            self.case.is_plain(error)
            raise
        require(sent, f"`{name}` returns the id under which the network knows what was sent.")
        self.inbox.sent.add((what.chat, sent))
        return sent

    async def send_until_taken(self, what: Outgoing) -> RemoteId | None:
        """Send as the bridge does: again when it may help. None when the network may have it, and cannot tell."""
        attempted = time.time()
        deadline = time.monotonic() + 2 * self.case.adapter.patience
        while True:
            try:
                return await self.send(what)
            except NetworkError as error:
                if not error.certain:
                    what = replace(what, attempted=attempted)
                if error.retry_after is None:
                    require(
                        not error.certain,
                        "While the connection is broken for a moment, `Session.send` raises with"
                        f" `retry_after`, so that the message waits. This error has none: {error}",
                    )
                    return None
                require(time.monotonic() < deadline, f"A message was never taken: {error}")
                await asyncio.sleep(min(error.retry_after, 0.2))

    async def hears(self, person: Person, text: str) -> None:
        """Wait until somebody has heard ``text`` from this login."""
        await self.case.until(
            lambda: text in [heard.text for heard in person.heard],
            f"The contact should have got {text!r}; they got {[h.text for h in person.heard][-5:]!r}.",
        )

    async def arrives(self, text: str) -> None:
        """Wait until ``text`` is committed."""
        await self.case.until(
            lambda: text in self.inbox.texts(),
            f"{text!r} should have been delivered; what was is {self.inbox.texts()[-5:]!r}.",
        )


class Case:
    """Everything that one check needs. ``numbers``: shared by all checks on one server, so that names are new."""

    def __init__(
        self, adapter: Adapter, network: Network, line: Line, numbers: itertools.count[int]
    ) -> None:
        self.adapter = adapter
        self.network = network
        self.line = line
        self._numbers = numbers
        self._people: list[Person] = []
        self._sessions: list[Live] = []
        self._logins: dict[str, LoginDone] = {}
        self._ids: dict[str, int] = {}

    def number(self) -> int:
        """A number that was not there before."""
        return next(self._numbers)

    @property
    def send_seconds(self) -> float:
        """Within which `Session.send` ends."""
        return 2 * self.adapter.patience

    # -- who there is

    async def account(self) -> Account:
        """A new account."""
        return await self.adapter.account(f"me{self.number()}")

    async def person(self, name: str | None = None) -> Person:
        """Somebody new."""
        person = await self.adapter.person(name or f"other{self.number()}")
        self._people.append(person)
        return person

    async def meet(self) -> tuple[Live, Person]:
        """A session that is connected, and somebody; both come at the same time."""
        arriving = asyncio.create_task(self.person())
        try:
            return await self.connected(), await arriving
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)

    async def device(self, account: Account) -> Person:
        """Another client of an account."""
        person = await self.adapter.device(account)
        self._people.append(person)
        return person

    def contact(self, person: Person) -> ContactId:
        """Who somebody is for the bridge."""
        return self.network.parse_contact(person.address)

    async def log_in(self, account: Account) -> LoginDone:
        """Go through the login as its user would. Raises like `LoginProcess.submit`."""
        return await self.answer(account.answers)

    async def answer(self, answers: tuple[Mapping[str, str], ...]) -> LoginDone:
        """Go through a login with these answers."""
        process = self.network.start_login()
        step: LoginStep = process.start()
        for values in answers:
            assert not isinstance(step, LoginDone)
            asked = [each.name for each in step.fields] if isinstance(step, AskStep) else []
            require(
                set(asked) == set(values),
                f"The login asks for {asked}, and the adapter answers {sorted(values)}.",
            )
            for name in asked:
                process.check(name, values[name])
            async with asyncio.timeout(3 * self.adapter.patience):
                step = await process.submit(dict(values))
        require(isinstance(step, LoginDone), "The login asks for more than the adapter answers.")
        assert isinstance(step, LoginDone)
        return step

    async def opened(self, account: Account, inbox: Inbox | None = None) -> Live:
        """A session that is not connected yet; ``inbox``: what earlier ones of the login brought."""
        if inbox is None:
            done = await self.log_in(account)
            inbox = Inbox(done.position)
            self._logins[account.address] = done
        return self.again(account, inbox)

    def again(self, account: Account, inbox: Inbox) -> Live:
        """Another session of an account that was logged in, which goes on where ``inbox`` is."""
        done = self._logins[account.address]
        login = Login(
            LoginId(f"login{self._ids.setdefault(account.address, self.number())}"),
            done.remote,
            dict(done.credentials),
            inbox.position,
        )
        sink = Sink(inbox)
        live = Live(self, account, login, self.network.open_session(login, sink), sink)
        self._sessions.append(live)
        return live

    async def connected(self, account: Account | None = None, inbox: Inbox | None = None) -> Live:
        """A session that is connected, of a new account unless one is given."""
        live = await self.opened(account or await self.account(), inbox)
        await live.connect()
        return live

    # -- waiting

    async def promptly(self, work: Awaitable[None], sentence: str) -> None:
        """Do what must neither take long nor raise; raise `Failed` with ``sentence`` when it does."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS + _MARGIN):
                await work
        except TimeoutError:
            raise Failed(
                f"{sentence} This has not ended after {CLOSE_SECONDS:.0f} seconds."
            ) from None
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Failed(f"{sentence} This raised {error!r}.") from error

    async def until(
        self, condition: Callable[[], object], sentence: str, seconds: float | None = None
    ) -> None:
        """Return once ``condition`` holds; raise `Failed` when it does not in time."""
        deadline = time.monotonic() + (seconds or self.adapter.patience)
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(sentence)
            await asyncio.sleep(_TURN)

    def is_plain(self, error: NetworkError) -> None:
        """Raise `Failed` unless an error reads as a sentence."""
        text = str(error)
        require(
            text and "\n" not in text and not text.startswith(("{", "<", "(")),
            f"The text of a `NetworkError` is shown to the user: one plain sentence, not {text!r}.",
        )

    # -- the end

    async def end(self) -> None:
        """Close what is open. Raises `Failed` for what no session should do."""
        await self.line.mend()
        async with contextlib.AsyncExitStack() as stack:
            for person in self._people:
                stack.push_async_callback(person.leave)
            for live in self._sessions:
                if not live.sink.closed:
                    stack.push_async_callback(live.close)
        for live in self._sessions:
            require(not live.sink.complaints, " ".join(dict.fromkeys(live.sink.complaints)))


def _method(session: Session, what: Outgoing) -> tuple[str, Callable[[Any], Awaitable[RemoteId]]]:
    """How a session sends this. Raises `Failed` when it has no method for it."""
    match what:
        case OutgoingMessage():
            return "Session.send", session.send
        case OutgoingEdit() if isinstance(session, Edits):
            return "Session.edit", session.edit
        case OutgoingRetraction() if isinstance(session, Retracts):
            return "Session.retract", session.retract
        case OutgoingReactions() if isinstance(session, Reacts):
            return "Session.react", session.react
    raise Failed(
        "The session declares a capability, and does not have the method that belongs to it:"
        " `dm_bridge.network.abilities` says which one."
    )


def network_of(adapter: Adapter, host: str, port: int) -> Network:
    """The connector's network, configured as the adapter says."""
    section: dict[str, Any] = dict(adapter.config(host, port))
    try:
        config = adapter.connector.config_model.model_validate(section)
    except ValidationError as error:
        raise Failed(f"The adapter's `config` does not fit the connector: {error}") from None
    return adapter.connector.build(config)
