"""Rows of logins: one per owner and remote account, secrets only while they are needed."""

from __future__ import annotations

import asyncio

import pytest

from dm_bridge.ids import ContactId, LoginId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore

from .stored import OWNER, XMPP

JID = ContactId("juliet@example.com")


@pytest.fixture
def store(database: Database) -> LoginStore:
    return LoginStore(database)


async def test_a_login_keeps_its_id_when_its_owner_logs_in_again(store: LoginStore) -> None:
    login = await store.reserve(OWNER, XMPP, JID, "Juliet")
    await store.activate(login, b"sealed")
    assert await store.reserve(OWNER, XMPP, JID, "Juliet C.") == login
    assert await store.get(login) == LoginRow(
        login, OWNER, XMPP, JID, "Juliet C.", LoginState.ACTIVE, "", b"sealed"
    )


async def test_logging_in_twice_at_once_makes_one_login(store: LoginStore) -> None:
    logins = await asyncio.gather(*(store.reserve(OWNER, XMPP, JID, "x") for _ in range(8)))
    assert len(set(logins)) == 1
    assert len(await store.all()) == 1


async def test_another_owner_of_the_same_account_has_a_login_of_their_own(
    store: LoginStore,
) -> None:
    mine = await store.reserve(OWNER, XMPP, JID, "x")
    theirs = await store.reserve(UserId("@nurse:example.org"), XMPP, JID, "x")
    assert mine != theirs
    assert [row.id for row in await store.all()] == [mine, theirs]


async def test_a_reserved_login_is_not_to_be_connected_yet(store: LoginStore) -> None:
    row = await store.get(await store.reserve(OWNER, XMPP, JID, "x"))
    assert row is not None
    assert (row.state, row.sealed) == (LoginState.LOGGED_OUT, None)


async def test_refused_credentials_are_kept_and_forgotten_ones_are_not(store: LoginStore) -> None:
    login = await store.reserve(OWNER, XMPP, JID, "x")
    await store.activate(login, b"sealed")
    await store.set_state(login, LoginState.BAD_CREDENTIALS, "Wrong password.")
    row = await store.get(login)
    assert row is not None
    assert (row.state, row.reason, row.sealed) == (
        LoginState.BAD_CREDENTIALS, "Wrong password.", b"sealed",
    )  # fmt: skip
    await store.set_state(login, LoginState.LOGGED_OUT, "")
    row = await store.get(login)
    assert row is not None
    assert (row.state, row.reason, row.sealed) == (LoginState.LOGGED_OUT, "", None)


async def test_activating_clears_an_old_reason(store: LoginStore) -> None:
    login = await store.reserve(OWNER, XMPP, JID, "x")
    await store.set_state(login, LoginState.BAD_CREDENTIALS, "Wrong password.")
    await store.activate(login, b"new")
    row = await store.get(login)
    assert row is not None
    assert (row.state, row.reason, row.sealed) == (LoginState.ACTIVE, "", b"new")


async def test_an_unknown_login_is_none(store: LoginStore) -> None:
    assert await store.get(LoginId("nobody")) is None


def test_a_row_never_shows_its_credentials_in_a_log() -> None:
    row = LoginRow(LoginId("l"), OWNER, XMPP, JID, "x", LoginState.ACTIVE, "", b"sealed-secret")
    assert "sealed-secret" not in repr(row)


async def test_a_login_begins_at_a_position_once(store: LoginStore) -> None:
    login = await store.reserve(OWNER, XMPP, JID, "x")
    await store.activate(login, b"sealed", "first")
    await store.set_state(login, LoginState.BAD_CREDENTIALS, "Wrong password.")
    await store.activate(login, b"sealed", "second")
    assert await store.position(login) == "first"
    await store.activate(login, b"sealed")
    assert await store.position(login) == "first"


async def test_what_comes_after_logging_out_is_not_for_the_bridge(store: LoginStore) -> None:
    login = await store.reserve(OWNER, XMPP, JID, "x")
    await store.activate(login, b"sealed", "first")
    await store.set_state(login, LoginState.LOGGED_OUT, "")
    assert await store.position(login) is None
    await store.activate(login, b"sealed", "second")
    assert await store.position(login) == "second"
