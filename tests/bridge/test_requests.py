"""Who asks to be a contact: what users are told of it, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dm_bridge.bridge import requests as module
from dm_bridge.bridge.requests import LISTED, Requests
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ContactId, UserId
from dm_bridge.network.signals import RemoteRequest

from .fakes import until
from .people_world import ROMEO, USER, World, world

SOON = 0.02


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER", SOON)
    monkeypatch.setattr(module, "PAUSE", 10 * SOON)


@asynccontextmanager
async def running(w: World, trouble: list[Exception] | None = None) -> AsyncIterator[Requests]:
    async def tell(user: UserId, text: str) -> None:
        if trouble:
            raise trouble.pop()
        w.told.append((user, text))

    requests = Requests(w.people, w.logins, tell)
    task = asyncio.create_task(requests.run())
    yield requests
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_request_is_told_once_whoever_says_it_again_and_after_a_restart() -> None:
    async with world() as w:
        login = await w.log_in("juliet@example.com")
        for _ in range(2):
            async with running(w) as requests:
                for _ in range(2):
                    requests.note(login.id, RemoteRequest(ROMEO, "Ro*meo*", "It's [me](x)"))
                    await until(lambda: bool(w.told))
                    await asyncio.sleep(15 * SOON)
        ((user, text),) = w.told
        assert user == USER
        for words in (r"Ro\*meo\*, `romeo@example.net`", r"It\'s \[me\]", "accept romeo@"):
            assert words in text


async def test_many_requests_are_one_notice_and_the_next_ones_wait() -> None:
    async with world() as w, running(w) as requests:
        login = await w.log_in("juliet@example.com")
        for number in range(LISTED + 5):
            requests.note(login.id, RemoteRequest(ContactId(f"{number:02}@x.example")))
        await until(lambda: len(w.told) == 1)
        assert "15 people ask" in w.told[0][1]
        assert "5 more" in w.told[0][1]
        began = asyncio.get_running_loop().time()
        requests.note(login.id, RemoteRequest(ROMEO))
        await until(lambda: len(w.told) == 2)
        assert asyncio.get_running_loop().time() - began > 5 * SOON


async def test_a_request_that_is_withdrawn_in_time_is_not_told() -> None:
    async with world() as w, running(w) as requests:
        login = await w.log_in("juliet@example.com")
        requests.note(login.id, RemoteRequest(ROMEO))
        requests.note(login.id, RemoteRequest(ROMEO, withdrawn=True))
        await asyncio.sleep(5 * SOON)
        assert w.told == []
        requests.note(login.id, RemoteRequest(ROMEO))
        await until(lambda: len(w.told) == 1)
        requests.note(login.id, RemoteRequest(ROMEO, withdrawn=True))
        await until(lambda: not w.database.tables.requests)


async def test_a_user_who_could_not_be_told_is_told_later() -> None:
    trouble: list[Exception] = [HomeserverError("Away.", status=502, retry_after=1.0)]
    async with world() as w, running(w, trouble) as requests:
        login = await w.log_in("juliet@example.com")
        requests.note(login.id, RemoteRequest(ROMEO))
        await until(lambda: len(w.told) == 1)
        assert trouble == []


async def test_with_several_logins_it_is_said_who_was_asked() -> None:
    async with world() as w, running(w) as requests:
        login = await w.log_in("juliet@example.com")
        await w.log_in("j@example.org")
        requests.note(login.id, RemoteRequest(ROMEO))
        await until(lambda: len(w.told) == 1)
        assert "on `juliet@example.com`" in w.told[0][1]
