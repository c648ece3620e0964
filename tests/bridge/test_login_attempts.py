"""One attempt to log in, whoever walks a user through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from dm_bridge.bridge import login_attempts
from dm_bridge.bridge.login_attempts import LoginAttempt
from dm_bridge.errors import NetworkError, UserError
from dm_bridge.network.login import Display, LoginStep, WaitStep

from .people_world import USER, World, world

VALUES = {"address": "juliet@example.com", "password": "x"}


@pytest_asyncio.fixture
async def w() -> AsyncIterator[World]:
    async with world() as w:
        yield w


async def test_an_attempt_counts_as_logging_in_until_it_is_closed(w: World) -> None:
    attempts = [LoginAttempt(w.logins, USER, w.network) for _ in range(2)]
    await attempts[0].close()
    await attempts[0].close()
    assert w.logins.logging_in(USER)
    await attempts[1].close()
    assert not w.logins.logging_in(USER)
    assert w.network.log == ["cancelled", "cancelled"]


async def test_an_attempt_that_succeeds_is_a_login_and_is_not_cancelled(w: World) -> None:
    w.network.shows = [WaitStep(Display.CODE, "1234")]
    attempt = LoginAttempt(w.logins, USER, w.network)
    assert await attempt.submit(VALUES) is None
    assert attempt.step == WaitStep(Display.CODE, "1234")
    row = await attempt.submit({})
    assert row is not None
    assert [each.id for each in w.logins.of(USER)] == [row.id]
    await attempt.close()
    assert "cancelled" not in w.network.log


async def test_what_is_given_up_while_the_network_answers_becomes_no_login(w: World) -> None:
    attempt = LoginAttempt(w.logins, USER, w.network)
    process, gate = attempt._process, asyncio.Event()
    submit = process.submit

    async def slowly(values: Mapping[str, str]) -> LoginStep:
        await gate.wait()
        return await submit(values)

    process.submit = slowly  # type: ignore[method-assign]
    submitting = asyncio.create_task(attempt.submit(VALUES))
    await asyncio.sleep(0)
    await attempt.close()
    gate.set()
    with pytest.raises(UserError):
        await submitting
    assert w.logins.of(USER) == []


async def test_what_the_network_refuses_is_raised_and_the_attempt_can_be_closed(w: World) -> None:
    w.network.trouble = NetworkError("It is away.")
    attempt = LoginAttempt(w.logins, USER, w.network)
    with pytest.raises(NetworkError):
        await attempt.submit(VALUES)
    await attempt.close()
    assert not w.logins.logging_in(USER)


async def test_a_step_waits_for_so_long_and_from_anew_each_time(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = LoginAttempt(w.logins, USER, w.network)
    expired = asyncio.Event()

    async def give_up() -> None:
        await attempt.close()
        expired.set()

    attempt.wait(give_up)
    monkeypatch.setattr(login_attempts, "PATIENCE", 0.05)
    attempt.wait(give_up)
    async with asyncio.timeout(30):
        await expired.wait()
    assert not w.logins.logging_in(USER)
