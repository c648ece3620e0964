"""Rows of tokens: one a user, gone when it is taken back."""

from __future__ import annotations

import pytest

from dm_bridge.ids import UserId
from dm_bridge.store.database import Database
from dm_bridge.store.tokens import TokenRow, TokenStore

JULIET, ROMEO = UserId("@juliet:example.org"), UserId("@romeo:other.example")
URL = "https://matrix.other.example"


@pytest.fixture
def store(database: Database) -> TokenStore:
    return TokenStore(database)


async def test_a_new_token_takes_the_place_of_the_old_one_and_of_nobody_elses(
    store: TokenStore,
) -> None:
    await store.keep(ROMEO, URL, b"old")
    await store.keep(JULIET, "http://localhost", b"hers")
    await store.keep(ROMEO, URL + "/new", b"new")
    assert await store.all() == [
        TokenRow(JULIET, "http://localhost", b"hers"),
        TokenRow(ROMEO, URL + "/new", b"new"),
    ]


async def test_a_token_is_forgotten_once(store: TokenStore) -> None:
    await store.keep(ROMEO, URL, b"his")
    await store.keep(JULIET, URL, b"hers")
    assert await store.forget(ROMEO)
    assert not await store.forget(ROMEO)
    assert [row.user for row in await store.all()] == [JULIET]


async def test_a_token_that_was_replaced_is_not_forgotten_in_place_of_the_old_one(
    store: TokenStore,
) -> None:
    await store.keep(ROMEO, URL, b"new")
    assert not await store.forget(ROMEO, b"old")
    assert await store.forget(ROMEO, b"new")


def test_a_row_never_shows_its_token_in_a_log() -> None:
    assert "sealed-secret" not in repr(TokenRow(ROMEO, URL, b"sealed-secret"))
