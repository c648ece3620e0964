"""Who may log in: the bot and the API share one budget, and nobody's password is guessed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.bridge.audit_log import API, BOT, AuditLog
from dm_bridge.bridge.guard import Guard, GuardSettings
from dm_bridge.bridge.login_attempts import LoginAttempt
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import CredentialsError, NetworkError, NotAllowed, TooOften
from dm_bridge.ids import UserId
from dm_bridge.network.events import SessionStatus
from dm_bridge.ops.metrics import Metrics
from dm_bridge.provisioning.refusals import refusal_of
from dm_bridge.store.audit_log import AuditStore
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.logins import LoginLimits, LoginRow, LoginStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.sealing import SealingKey

from .fakes import FAKE, FakeNetwork

JULIET = UserId("@juliet:example.org")
NURSE = UserId("@nurse:example.org")
TYBALT = UserId("@tybalt:example.org")


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.network = FakeNetwork()
        self.now = [0.0]
        self.max_logins = LoginLimits()
        self.permitted = {JULIET, NURSE}
        self.store = SafeguardStore(database)
        self.logins = self.process()

    def process(self) -> Logins:
        async def tell(user: UserId, text: str) -> None: ...

        key = SealingKey(bytes(32))
        settings = GuardSettings(
            lambda user: user in self.permitted, lambda user: self.max_logins, 10, 2
        )
        audit = AuditLog(AuditStore(self.database))
        return Logins(
            {FAKE: self.network},
            LoginStore(self.database),
            InboxStore(self.database),
            key,
            tell,
            lambda chats: None,
            lambda login: None,
            Metrics(),
            guard=Guard(settings, self.store, key, audit, lambda: self.now[0]),
        )

    async def log_in(
        self, address: str = "juliet@example.com", user: UserId = JULIET, door: str = BOT
    ) -> LoginRow:
        attempt = await LoginAttempt.begin(self.logins, user, self.network, door)
        try:
            row = await attempt.submit({"address": address, "password": "sesame"})
        finally:
            await attempt.close()
        assert row is not None
        return row

    async def acts(self) -> list[tuple[str, str]]:
        return [(each.act, each.door) for each in await AuditStore(self.database).latest(100)]


@pytest_asyncio.fixture
async def world(database: Database) -> AsyncIterator[World]:
    world = World(database)
    yield world
    await world.logins.stop()


async def test_the_bot_and_the_api_share_one_budget(world: World) -> None:
    for n in range(10):
        attempt = await LoginAttempt.begin(world.logins, JULIET, world.network, (BOT, API)[n % 2])
        await attempt.close()
    for door in (BOT, API):
        with pytest.raises(TooOften, match="possible in 6 minutes"):
            await LoginAttempt.begin(world.logins, JULIET, world.network, door)
    await world.log_in("nurse@example.com", NURSE)
    world.now[0] += 361
    assert await world.log_in()
    assert ("login-refused", API) in await world.acts()


async def test_an_account_that_was_refused_has_to_wait_at_every_door(world: World) -> None:
    world.network.trouble = CredentialsError("The password is wrong.")
    for address in ("juliet@example.com", "JULIET@example.com"):
        with pytest.raises(CredentialsError):
            await world.log_in(address)
    asked = len(world.network.submitted)
    world.network.trouble = None
    for door in (BOT, API):
        with pytest.raises(TooOften) as caught:
            await world.log_in(door=door)
    assert len(world.network.submitted) == asked  # the network was not even asked
    assert "possible in 60 minutes" in str(caught.value)
    assert "juliet@example.com" not in str(caught.value)  # it may be a password in the wrong place
    assert refusal_of(caught.value).status == 429
    await world.log_in("other@example.com")  # another account need not wait
    acts = await world.acts()
    assert acts.count(("login-failed", BOT)) == 2
    assert ("login", BOT) in acts


async def test_a_network_that_is_away_has_refused_nobody(world: World) -> None:
    world.network.trouble = NetworkError("It is away.")
    for _ in range(4):
        with pytest.raises(NetworkError):
            await world.log_in()
    world.network.trouble = None
    assert await world.log_in()


async def test_no_more_logins_than_the_admin_allows(world: World) -> None:
    world.max_logins = LoginLimits(user=1, bridge=2)
    first = await world.log_in()
    with pytest.raises(NotAllowed, match="1 login at most"):
        await world.log_in("other@example.com", door=API)
    assert (await world.log_in()).id == first.id  # made anew
    await world.log_in("nurse@example.com", NURSE)
    world.max_logins = LoginLimits(user=5, bridge=2)
    with pytest.raises(NotAllowed, match="as many logins as it may have"):
        await world.log_in("other@example.com")
    await world.logins.logout(first.id, "@admin:example.org", BOT)
    world.max_logins = LoginLimits(user=0)
    with pytest.raises(NotAllowed, match="lets you have no logins") as caught:
        await LoginAttempt.begin(
            world.logins, JULIET, world.network
        )  # before the password is asked for
    assert refusal_of(caught.value).status == 403
    logout = (await AuditStore(world.database).latest(100, act="logout"))[0]
    assert (logout.actor, logout.subject) == ("@admin:example.org", JULIET)


async def test_who_is_stopped_is_disconnected_until_allowed(world: World) -> None:
    row = await world.log_in()
    session = world.network.sessions[-1]
    await world.store.stop(JULIET, "@admin:example.org", "Too much spam.")
    await world.logins.look_again(JULIET)
    assert session.closed
    state = world.logins.state(row.id)
    assert state.status is SessionStatus.UNKNOWN_ERROR
    assert "stopped your logins (Too much spam)" in state.reason
    assert not world.logins.may_come(row.id)
    with pytest.raises(NotAllowed, match="stopped your logins"):
        await world.log_in()
    # a process that takes the user later knows it too
    other = world.process()
    await other.take([JULIET])
    assert other.session(row.id) is None
    await world.store.allow(JULIET)
    await world.logins.look_again(JULIET)
    assert world.logins.session(row.id) is not None
    await other.stop()


async def test_who_may_not_use_the_bridge_any_more_is_not_connected(world: World) -> None:
    row = await world.log_in()
    world.permitted.clear()
    other = world.process()
    await other.take()
    assert other.session(row.id) is None
    assert "not open to you any more" in other.state(row.id).reason
    await other.stop()
