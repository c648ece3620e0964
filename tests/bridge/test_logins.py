"""Logins: one that fails stops no other, and what is stored follows what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from dm_bridge.bridge import logins as module
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.reports import BridgeStates
from dm_bridge.errors import StorageError, UserError
from dm_bridge.ids import ChatId, ContactId, LoginId, NetworkName, PortalKey, RemoteId, UserId
from dm_bridge.network.events import RemoteMessage, SessionStatus, Text
from dm_bridge.network.login import LoginDone
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore
from dm_bridge.store.sealing import SealingKey

from .fakes import FAKE, FakeNetwork, until

OWNER = UserId("@juliet:example.org")
KEY = SealingKey(bytes(32))


class Hooks:
    """``calls``: what was called, with whether the bridge could act for the owner then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.calls: list[tuple[str, LoginState | None, bool]] = []

    async def started(self, owners: object) -> None:
        self.calls.append(("started", None, False))

    async def logged_in(self, login: LoginRow) -> None:
        self._note("in", login)

    async def logged_out(self, login: LoginRow) -> None:
        self._note("out", login)

    def _note(self, what: str, login: LoginRow) -> None:
        self.calls.append((what, login.state, self._world.logins.may_act_for(login.owner)))


class World:
    """Logins over a real store and a fake network."""

    def __init__(self, database: Database) -> None:
        self.network = FakeNetwork()
        self.store = LoginStore(database)
        self.inbox = InboxStore(database)
        self.told: list[tuple[UserId, str]] = []
        self.woken: list[set[PortalKey]] = []
        self.connected: list[LoginId] = []
        self.reported: list[str] = []
        self.metrics = Metrics()
        self.hooks = Hooks(self)
        self.logins = self.start_over()

    def start_over(self) -> Logins:
        self.logins = Logins(
            {FAKE: self.network},
            self.store,
            self.inbox,
            KEY,
            self.tell,
            self.woken.append,
            self.connected.append,
            self.metrics,
            self.hooks,
            BridgeStates(lambda key, report: self.reported.append(report["state_event"])),
        )
        return self.logins

    async def tell(self, user: UserId, text: str) -> None:
        self.told.append((user, text))

    async def stored(self, remote: str, owner: UserId = OWNER) -> LoginId:
        """A login from an earlier run."""
        login = await self.store.reserve(owner, FAKE, ContactId(remote), remote)
        await self.store.activate(login, KEY.seal(login, {"password": "right"}))
        return login

    async def log_in(self, remote: str = "juliet@example.com", password: str = "right") -> LoginRow:  # noqa: S107
        done = LoginDone(ContactId(remote), remote, {"password": password})
        return await self.logins.add(OWNER, FAKE, done)

    async def state(self, login: LoginId) -> LoginState:
        row = await self.store.get(login)
        assert row is not None
        return row.state


@pytest_asyncio.fixture
async def world(database: Database) -> AsyncIterator[World]:
    world = World(database)
    yield world
    await world.logins.stop()


async def test_one_login_that_cannot_be_opened_stops_no_other(world: World) -> None:
    bad = [
        await world.stored("raises-in-open@x"),
        await world.stored("raises-in-connect@x"),
        await world.store.reserve(OWNER, FAKE, ContactId("damaged@x"), "damaged"),
        await world.store.reserve(OWNER, NetworkName("gone"), ContactId("disabled@x"), "disabled"),
        await world.store.reserve(OWNER, FAKE, ContactId("without@x"), "without"),
    ]
    await world.store.activate(bad[2], b"\x01 not sealed by anybody")
    await world.store.activate(bad[3], KEY.seal(bad[3], {}))
    good = [await world.stored(f"good{n}@x") for n in range(20)]
    async with world.inbox._database.connection() as connection:
        await connection.execute(
            "UPDATE login SET state = 'active', credentials = NULL WHERE login_id = $1", bad[4]
        )
    await world.logins.take()
    await until(lambda: "UNKNOWN_ERROR" in str(world.logins.state(bad[1]).status))
    await until(lambda: all(world.logins.state(x).status is SessionStatus.CONNECTED for x in good))
    for login in bad:
        state = world.logins.state(login)
        assert state.status is SessionStatus.UNKNOWN_ERROR
        assert state.reason
        assert "Traceback" not in state.reason


async def test_only_active_logins_are_opened_at_start(world: World) -> None:
    active, refused, out = [await world.stored(f"{n}@x") for n in range(3)]
    await world.store.set_state(refused, LoginState.BAD_CREDENTIALS, "Wrong password.")
    await world.store.set_state(out, LoginState.LOGGED_OUT, "")
    await world.logins.take()
    assert [session.login.id for session in world.network.sessions] == [active]
    assert world.logins.state(refused).reason == "Wrong password."
    assert world.logins.state(out).status is SessionStatus.LOGGED_OUT
    assert {row.id for row in world.logins.of(OWNER)} == {active, refused}


async def test_a_session_gets_its_credentials_unsealed(world: World) -> None:
    await world.stored("juliet@x")
    await world.logins.take()
    assert world.network.sessions[0].login.credentials == {"password": "right"}
    assert "right" not in repr(world.network.sessions[0].login)


async def test_a_login_is_connected_when_it_is_added_and_survives_a_restart(world: World) -> None:
    row = await world.log_in()
    assert world.network.sessions[0].connected
    assert world.connected == [row.id]
    await world.logins.stop()
    await world.start_over().take()
    assert [session.login.id for session in world.network.sessions] == [row.id, row.id]


async def test_logging_in_again_replaces_the_session(world: World) -> None:
    first = await world.log_in(password="old")
    second = await world.log_in(password="new")
    assert first.id == second.id
    old, new = world.network.sessions
    assert (old.closed, new.closed) == (True, False)
    assert new.login.credentials == {"password": "new"}
    assert world.logins.session(first.id) is new


async def test_a_session_that_was_replaced_is_not_listened_to_any_more(world: World) -> None:
    row = await world.log_in()
    await world.log_in()
    world.network.sessions[0].report(SessionStatus.BAD_CREDENTIALS, "The old password.")
    await asyncio.sleep(0.05)
    assert world.logins.state(row.id).status is SessionStatus.CONNECTED
    assert await world.state(row.id) is LoginState.ACTIVE
    assert world.told == []
    assert not world.network.sessions[1].closed


async def test_refused_credentials_close_the_session_are_kept_in_mind_and_told(
    world: World,
) -> None:
    row = await world.log_in("*juliet*@example.com")
    world.network.sessions[0].report(
        SessionStatus.BAD_CREDENTIALS, "Wrong. [Click](https://evil.example)"
    )
    await until(lambda: len(world.told) == 1)
    assert world.network.sessions[0].closed
    assert world.logins.session(row.id) is None
    assert await world.state(row.id) is LoginState.BAD_CREDENTIALS
    user, text = world.told[0]
    assert user == OWNER
    assert "`login fake`" in text
    assert "](" not in text
    assert r"\*juliet\*" in text
    await until(lambda: world.connected == [row.id, row.id])
    await world.logins.stop()
    await world.start_over().take()
    assert len(world.network.sessions) == 1
    assert world.logins.state(row.id).status is SessionStatus.BAD_CREDENTIALS


async def test_a_refusal_is_told_once_however_often_it_is_reported(world: World) -> None:
    await world.log_in()
    for _ in range(3):
        world.network.sessions[0].report(SessionStatus.BAD_CREDENTIALS, "Wrong.")
    await until(lambda: world.told != [])
    await asyncio.sleep(0.1)
    assert len(world.told) == 1


async def test_logging_in_while_a_refusal_is_being_dealt_with_wins(world: World) -> None:
    row = await world.log_in()
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    world.network.sessions[0].closing = wait
    world.network.sessions[0].report(SessionStatus.BAD_CREDENTIALS, "Wrong.")
    await asyncio.sleep(0.02)
    await world.log_in(password="new")
    gate.set()
    await asyncio.sleep(0.1)
    assert await world.state(row.id) is LoginState.ACTIVE
    assert world.logins.session(row.id) is world.network.sessions[1]


async def test_logging_out_while_a_refusal_is_being_dealt_with_wins(world: World) -> None:
    row = await world.log_in()
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    world.network.sessions[0].closing = wait
    world.network.sessions[0].report(SessionStatus.BAD_CREDENTIALS, "Wrong.")
    await asyncio.sleep(0.02)
    await world.logins.logout(row.id)
    gate.set()
    await asyncio.sleep(0.1)
    assert await world.state(row.id) is LoginState.LOGGED_OUT
    assert world.logins.of(OWNER) == []


async def test_logging_out_closes_and_forgets(world: World) -> None:
    row = await world.log_in()
    await world.logins.logout(row.id)
    assert world.network.sessions[0].closed
    stored = await world.store.get(row.id)
    assert stored is not None
    assert (stored.state, stored.sealed) == (LoginState.LOGGED_OUT, None)
    assert world.logins.of(OWNER) == []
    assert not world.logins.may_act_for(OWNER)
    assert world.logins.session(row.id) is None
    remembered = await world.logins.row(row.id)
    assert remembered is not None
    assert remembered.sealed is None


async def test_a_session_that_does_not_close_is_left_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_DEADLINE", 0.05)
    row = await world.log_in()

    async def hang() -> None:
        await asyncio.Event().wait()

    world.network.sessions[0].closing = hang
    await asyncio.wait_for(world.logins.logout(row.id), 30)
    assert await world.state(row.id) is LoginState.LOGGED_OUT


async def test_a_passing_disconnect_changes_nothing_that_is_stored(world: World) -> None:
    row = await world.log_in()
    world.network.sessions[0].report(SessionStatus.TRANSIENT_DISCONNECT, "The network is away.")
    assert world.logins.state(row.id).reason == "The network is away."
    assert world.logins.session(row.id) is world.network.sessions[0]
    assert await world.state(row.id) is LoginState.ACTIVE
    world.network.sessions[0].report(SessionStatus.CONNECTED)
    assert world.connected == [row.id, row.id]


async def test_what_a_session_brings_is_committed_before_it_is_acknowledged(world: World) -> None:
    row = await world.log_in()
    message = RemoteMessage(
        ChatId("romeo@x"), RemoteId("1"), ContactId("romeo@x"), False, Text("But soft")
    )
    await world.network.sessions[0].sink.deliver([message])
    key = PortalKey(row.id, ChatId("romeo@x"))
    assert [waiting.event for waiting in await world.inbox.waiting(key, 10)] == [message]
    assert world.woken == [{key}]


async def test_a_session_begins_where_the_last_one_committed(world: World) -> None:
    done = LoginDone(ContactId("juliet@x"), "juliet", {"password": "right"}, position="begin")
    row = await world.logins.add(OWNER, FAKE, done)
    first = world.network.sessions[0]
    assert first.login.position == "begin"
    message = RemoteMessage(ChatId("c"), RemoteId("1"), ContactId("c"), False, Text("x"))
    await first.sink.deliver([message], "one")
    await first.sink.deliver([], "two")
    await world.logins.stop()
    await world.start_over().take()
    assert world.network.sessions[1].login.position == "two"
    key = PortalKey(row.id, ChatId("c"))
    assert [waiting.event for waiting in await world.inbox.waiting(key, 10)] == [message]


async def test_a_session_that_was_replaced_never_moves_the_position_back(world: World) -> None:
    row = await world.stored("juliet@x")
    await world.logins.take()
    old = world.network.sessions[0]
    await old.sink.deliver([], "one")
    await world.logins.stop()
    await world.start_over().take()
    await world.network.sessions[1].sink.deliver([], "two")
    message = RemoteMessage(ChatId("c"), RemoteId("1"), ContactId("c"), False, Text("x"))
    await old.sink.deliver([message], "late")
    await old.sink.deliver([], "two")
    await old.sink.deliver([], "later")
    assert await world.store.position(row) == "two"
    assert len(await world.inbox.waiting(PortalKey(row, ChatId("c")), 10)) == 1


async def test_no_session_follows_while_a_write_of_the_last_one_is_under_way(world: World) -> None:
    row = await world.log_in()
    copy = RemoteMessage(ChatId("c"), RemoteId("copy"), ContactId("c"), True, Text("x"))
    archived = replace(copy, id=RemoteId("archived"), other_id=RemoteId("copy"))
    async with world.inbox._database.transaction() as other:
        await other.execute("LOCK TABLE inbox IN EXCLUSIVE MODE")
        delivery = asyncio.create_task(world.network.sessions[0].sink.deliver([copy]))
        await asyncio.sleep(0.05)
        delivery.cancel()
        await asyncio.wait([delivery])
        again = asyncio.create_task(world.log_in())
        await until(lambda: world.network.sessions[0].closed)
        await asyncio.sleep(0.05)
        assert len(world.network.sessions) == 1
    await again
    await world.network.sessions[1].sink.deliver([archived], "one")
    waiting = await world.inbox.waiting(PortalKey(row.id, ChatId("c")), 10)
    assert [one.event for one in waiting] == [copy]


async def test_what_cannot_be_committed_is_not_acknowledged(world: World) -> None:
    await world.log_in()
    message = RemoteMessage(ChatId("c"), RemoteId("1"), ContactId("c"), False, Text("x"))
    await world.inbox._database.close()
    with pytest.raises(StorageError):
        await world.network.sessions[0].sink.deliver([message])
    assert world.woken == []


async def test_the_bridge_may_act_for_those_who_have_a_login_or_are_logging_in(
    world: World,
) -> None:
    assert not world.logins.may_act_for(OWNER)
    world.logins.begin(OWNER)
    world.logins.begin(OWNER)
    world.logins.end(OWNER)
    assert world.logins.may_act_for(OWNER)
    assert not world.logins.may_act_for(UserId("@nurse:example.org"))
    world.logins.end(OWNER)
    assert not world.logins.may_act_for(OWNER)
    await world.log_in()
    assert world.logins.may_act_for(OWNER)


def test_a_network_that_is_not_there_is_named_with_those_that_are(database: Database) -> None:
    with pytest.raises(UserError, match=r"no network called irc.*fake"):
        World(database).logins.network(NetworkName("irc"))


async def test_logins_are_counted_by_state(world: World) -> None:
    await world.log_in("a@x")
    await world.log_in("b@x")
    row = await world.log_in("c@x")
    world.network.sessions[0].report(SessionStatus.TRANSIENT_DISCONNECT)
    await world.logins.logout(row.id)
    lines = world.metrics.exposition().decode().splitlines()
    assert 'dm_bridge_logins{network="fake",state="CONNECTED"} 1.0' in lines
    assert 'dm_bridge_logins{network="fake",state="TRANSIENT_DISCONNECT"} 1.0' in lines
    assert not any('state="LOGGED_OUT"' in line for line in lines)


async def test_logging_out_is_told_while_the_bridge_may_still_act_for_the_user(
    world: World,
) -> None:
    row = await world.log_in()
    await world.logins.logout(row.id)
    assert world.hooks.calls == [
        ("in", LoginState.ACTIVE, True),
        ("out", LoginState.LOGGED_OUT, True),
    ]
    assert not world.logins.may_act_for(OWNER)
    assert await world.state(row.id) is LoginState.LOGGED_OUT
    await world.log_in()
    await world.log_in(password="another")
    assert [name for name, _, _ in world.hooks.calls] == ["in", "out", "in"]


async def test_a_start_is_told_before_any_session_is_open(world: World) -> None:
    await world.stored("juliet@example.com")
    opened: list[int] = []

    async def started(owners: object) -> None:
        opened.append(len(world.network.sessions))

    world.hooks.started = started  # type: ignore[method-assign]
    await world.logins.take()
    assert opened == [0]
    assert len(world.network.sessions) == 1


async def test_whoever_waits_for_a_session_that_is_about_to_be_made_may_go_on_waiting(
    world: World,
) -> None:
    login = await world.stored("juliet@example.com")
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        seen.append((world.logins.session(login) is None, world.logins.may_come(login)))

    async def started(owners: object) -> None:
        look()

    world.hooks.started = started  # type: ignore[method-assign]
    await world.logins.take()
    look()
    await world.logins.stop()
    look()
    assert seen == [(True, True), (False, False), (True, True)]


async def test_nobody_waits_for_a_session_of_a_login_that_needs_its_user(world: World) -> None:
    refused, ended = await world.stored("refused@x"), await world.stored("ended@x")
    await world.store.set_state(refused, LoginState.BAD_CREDENTIALS, "changed")
    broken = await world.stored("raises-in-open@x")
    await world.logins.take()
    await world.logins.logout(ended)
    assert [world.logins.may_come(each) for each in (refused, ended, broken)] == [False] * 3


async def test_when_telling_of_a_logout_fails_the_user_is_logged_out_all_the_same(
    world: World,
) -> None:
    row = await world.log_in()

    async def fails(login: LoginRow) -> None:
        raise StorageError("no database")

    world.hooks.logged_out = fails  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await world.logins.logout(row.id)
    assert await world.state(row.id) is LoginState.LOGGED_OUT
    assert not world.logins.may_act_for(OWNER)


async def test_how_a_login_is_is_reported_from_its_opening_to_its_logout(world: World) -> None:
    login = await world.stored("good@x")
    await world.logins.take()
    await until(lambda: world.reported == ["CONNECTING", "CONNECTED"])
    (session,) = world.network.sessions
    session.report(SessionStatus.TRANSIENT_DISCONNECT, "The line was cut.")
    session.report(SessionStatus.CONNECTED)
    await world.logins.logout(login)
    assert world.reported[2:] == ["TRANSIENT_DISCONNECT", "CONNECTED", "LOGGED_OUT"]
    world.start_over()
    world.reported.clear()
    await world.logins.take()
    assert world.reported == [], "nobody tracks what was logged out"


async def test_a_login_that_cannot_be_opened_is_reported(world: World) -> None:
    await world.stored("raises-in-open@x")
    await world.logins.take()
    assert world.reported == ["CONNECTING", "UNKNOWN_ERROR"]
