"""Tokens that users give: whose they are, how they are kept, and how they end. On a real homeserver."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from dm_bridge.bridge import access as module
from dm_bridge.bridge.access import MatrixTokens
from dm_bridge.errors import HomeserverError, UserError
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Access, Accounts, TokenHomeserver
from dm_bridge.matrix.discovery import Discovery, public_session
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.store.database import Database
from dm_bridge.store.sealing import SealingKey
from dm_bridge.store.tokens import TokenStore
from dm_bridge.testing.synapse import MatrixAccount, Synapse
from dm_bridge.texts import phrase

from .fakes import until

_numbers = itertools.count(1)


class World:
    """The part that keeps tokens, on a database and a homeserver that are real."""

    def __init__(self, database: Database, synapse: Synapse, sessions: Any) -> None:
        self.synapse = synapse
        self.store = TokenStore(database)
        self.told: list[tuple[UserId, str]] = []
        self.touched: list[UserId] = []
        self.trouble: HomeserverError | None = None
        self._sessions = sessions
        self.homeservers = {synapse.domain: synapse.url}
        self.start_anew()

    def start_anew(self, key: bytes = bytes(32)) -> None:
        """As after a restart: nothing is in memory."""
        named, public = self._sessions
        homeserver = Homeserver("http://127.0.0.1:9", "accounts-token", named)
        self.accounts = Accounts(homeserver, "example.org", lambda user: True)
        self.tokens = MatrixTokens(
            self.accounts,
            Discovery("example.org", homeserver.url, self.homeservers, named=named, public=public),
            self.store,
            SealingKey(key),
            self.tell,
            self.touched.append,
        )

    async def tell(self, user: UserId, text: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.told.append((user, text))

    async def user(self) -> tuple[UserId, MatrixAccount]:
        account = await self.synapse.register_user(f"token-{next(_numbers)}", "pw")
        return UserId(account.user_id), account

    async def sign_out(self, account: MatrixAccount) -> None:
        headers = {"Authorization": f"Bearer {account.access_token}"}
        async with self._sessions[0].post(
            f"{self.synapse.url}/_matrix/client/v3/logout", headers=headers, json={}
        ) as response:
            assert response.status == 200


@pytest_asyncio.fixture
async def world(database: Database, synapse: Synapse) -> AsyncIterator[World]:
    async with aiohttp.ClientSession() as named, public_session() as public:
        world = World(database, synapse, (named, public))
        yield world
        await world.tokens.stop()


async def test_a_token_gives_access_to_its_owners_account(world: World) -> None:
    user, account = await world.user()
    assert world.tokens.access(user) is Access.NONE
    assert await world.tokens.give(user, account.access_token) == world.synapse.url
    assert world.tokens.access(user) is Access.TOKEN
    assert world.touched == [user]
    assert await world.accounts.direct(user) is None
    await world.accounts.put_direct(user, '{"@a:b": ["!x"]}')
    assert await world.accounts.direct(user) == b'{"@a:b":["!x"]}'


async def test_a_token_of_somebody_else_is_not_taken(world: World) -> None:
    user, _ = await world.user()
    other, theirs = await world.user()
    with pytest.raises(UserError, match="another account") as caught:
        await world.tokens.give(user, theirs.access_token)
    assert other not in str(caught.value)
    assert world.tokens.access(user) is Access.NONE
    assert await world.store.all() == []
    assert world.touched == []


async def test_a_token_of_the_same_name_elsewhere_is_not_taken(world: World) -> None:
    user, account = await world.user()
    world.homeservers["other.example"] = world.synapse.url
    world.start_anew()
    namesake = UserId(user.replace(world.synapse.domain, "other.example"))
    with pytest.raises(UserError, match="another account"):
        await world.tokens.give(namesake, account.access_token)
    assert await world.store.all() == []


@pytest.mark.parametrize("token", ["syt_nobody_knows_this", "x" * 4096])
async def test_a_token_that_the_homeserver_does_not_know_is_not_taken(
    world: World, token: str
) -> None:
    user, _ = await world.user()
    with pytest.raises(UserError, match="does not know this token"):
        await world.tokens.give(user, token)
    assert await world.store.all() == []


@pytest.mark.parametrize(
    "token", ["", "short", "two words here", "line\nbreak-in-it", "ümlaut-token", "x" * 5000]
)
async def test_what_is_no_token_is_sent_to_nobody(world: World, token: str) -> None:
    world.homeservers[world.synapse.domain] = "http://127.0.0.1:9"
    world.start_anew()
    with pytest.raises(UserError, match="no access token"):
        await world.tokens.give(UserId(f"@x:{world.synapse.domain}"), token)


async def test_a_homeserver_that_is_away_is_said_so_and_nothing_is_kept(world: World) -> None:
    user, account = await world.user()
    world.homeservers[world.synapse.domain] = "http://127.0.0.1:9"
    world.start_anew()
    with pytest.raises(HomeserverError, match="Try again later"):
        await asyncio.wait_for(world.tokens.give(user, account.access_token), 30)
    assert await world.store.all() == []


async def test_a_token_is_stored_sealed_for_its_owner_and_used_again_after_a_restart(
    world: World,
) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    (row,) = await world.store.all()
    assert (row.user, row.url) == (user, world.synapse.url)
    assert account.access_token.encode() not in row.sealed
    world.start_anew()
    assert world.tokens.access(user) is Access.NONE
    await world.tokens.take()
    assert world.tokens.access(user) is Access.TOKEN
    assert await world.accounts.direct(user) is None


async def test_a_row_that_was_moved_to_another_user_opens_nothing_and_stops_nobody(
    world: World,
) -> None:
    user, account = await world.user()
    thief, _ = await world.user()
    await world.tokens.give(user, account.access_token)
    (row,) = await world.store.all()
    await world.store.keep(thief, row.url, row.sealed)
    world.start_anew()
    await world.tokens.take()
    assert world.tokens.access(thief) is Access.NONE
    assert world.tokens.access(user) is Access.TOKEN


async def test_with_another_key_the_start_goes_on_and_the_row_stays(world: World) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    world.start_anew(b"k" * 32)
    await world.tokens.take()
    assert world.tokens.access(user) is Access.NONE
    assert len(await world.store.all()) == 1
    assert await world.tokens.forget(user)


async def test_where_the_token_is_sent_is_sealed_with_it(world: World) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    (row,) = await world.store.all()
    await world.store.keep(user, "https://evil.example", row.sealed)
    world.start_anew()
    await world.tokens.take()
    assert await world.accounts.direct(user) is None


async def test_a_token_that_is_taken_back_is_forgotten_and_still_works_for_its_owner(
    world: World,
) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    assert await world.tokens.forget(user)
    assert not await world.tokens.forget(user)
    assert world.tokens.access(user) is Access.NONE
    assert await world.store.all() == []
    await world.tokens.give(user, account.access_token)
    assert world.tokens.access(user) is Access.TOKEN


@pytest.mark.parametrize("masquerading", [False, True])
async def test_a_token_that_ends_is_forgotten_and_its_owner_is_told_once(
    world: World, masquerading: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    still_works = module._still_works

    async def and_meanwhile(homeserver: TokenHomeserver) -> bool:
        works = await still_works(homeserver)
        assert world.tokens.access(user) is Access.NONE
        if masquerading:
            world.accounts._domain = world.synapse.domain
            world.accounts.available = True
        return works

    monkeypatch.setattr(module, "_still_works", and_meanwhile)
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    await world.sign_out(account)
    calls = [world.accounts.direct(user) for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, HomeserverError) for result in results)
    await until(lambda: world.told != [])
    await asyncio.sleep(0.1)
    ((whom, text),) = world.told
    assert whom == user
    assert phrase("access-not-needed" if masquerading else "access-way-back") in text
    assert await world.store.all() == []
    world.start_anew()
    await world.tokens.take()
    assert world.tokens.access(user) is Access.NONE


async def test_an_owner_who_cannot_be_told_is_told_after_the_next_start(world: World) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    await world.sign_out(account)
    world.trouble = HomeserverError("busy", retry_after=1)
    with capture_logs() as logs:
        with pytest.raises(HomeserverError):
            await world.accounts.direct(user)
        await until(lambda: any("could not be told" in str(line) for line in logs))
    world.trouble = None
    world.start_anew()
    await world.tokens.take()
    with pytest.raises(HomeserverError):
        await world.accounts.direct(user)
    await until(lambda: world.told != [])
    assert [whom for whom, _ in world.told] == [user]


async def test_a_homeserver_that_was_mistaken_for_a_moment_costs_no_token(world: World) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    homeserver = world.accounts._tokens[user]
    world.touched.clear()
    world.tokens._refused(homeserver)
    assert world.tokens.access(user) is Access.NONE
    await until(lambda: world.touched == [user])
    assert world.tokens.access(user) is Access.TOKEN
    assert world.told == []
    assert len(await world.store.all()) == 1


async def test_a_token_that_ends_does_not_take_its_successor_along(world: World) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    old = world.accounts._tokens[user]
    await world.tokens.give(user, account.access_token)
    world.tokens._refused(old)
    assert world.tokens.access(user) is Access.TOKEN
    world.tokens._refused(world.accounts._tokens[user])
    await world.tokens.give(user, account.access_token)
    await asyncio.sleep(0.2)
    assert world.tokens.access(user) is Access.TOKEN
    assert world.told == []


async def test_a_token_taken_back_while_it_is_asked_about_does_not_come_back(world: World) -> None:
    user, account = await world.user()
    await world.tokens.give(user, account.access_token)
    world.tokens._refused(world.accounts._tokens[user])
    await world.tokens.forget(user)
    await asyncio.sleep(0.3)
    assert world.tokens.access(user) is Access.NONE
    assert world.told == []


async def test_no_token_is_logged(world: World) -> None:
    user, account = await world.user()
    with capture_logs() as logs:
        await world.tokens.give(user, account.access_token)
        await world.sign_out(account)
        with pytest.raises(HomeserverError) as caught:
            await world.accounts.direct(user)
        await until(lambda: world.told != [])
    assert len(logs) >= 2
    assert account.access_token not in str(logs) + str(caught.value) + str(world.told)
