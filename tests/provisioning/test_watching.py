"""Waiting for a change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dm_bridge.provisioning import api as module
from dm_bridge.provisioning import watching

from .world import JULIET, Api, Got


async def waits(api: Api, asked: asyncio.Task[Got], many: int = 1) -> None:
    """So many wait for a change of juliet's, and ``asked`` still does after a few looks."""
    waiting = api.services.watching._waiting
    await api.bridge.until(lambda: asked.done() or waiting[JULIET] == many, "they wait")
    looks = api.stored.stamped
    await api.bridge.until(lambda: asked.done() or api.stored.stamped > looks + 2 * many, "looks")
    assert not asked.done()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(watching, "ALL_EVERY", 1_000_000)


async def watched(api: Api) -> tuple[dict[str, Any], asyncio.Task[Got]]:
    """A snapshot, and somebody who waits for the next one."""
    first = (await api.get("watch")).json
    asked = asyncio.create_task(api.get("watch", seen=first["digest"]))
    await waits(api, asked)
    return first, asked


async def test_a_snapshot_comes_at_once_and_the_next_when_a_login_changes(api: Api) -> None:
    first, asked = await watched(api)
    assert (first["logins"], first["direct"]["chats"]) == ([], [])
    await api.log_in()
    async with asyncio.timeout(20):
        second = (await asked).json
    assert second["digest"] != first["digest"]
    assert [each["name"] for each in second["logins"]] == ["juliet@example.com"]


async def test_what_changes_in_the_database_is_noticed_by_its_stamp(api: Api) -> None:
    login = await api.log_in()
    from .test_deliveries import wrote

    _, asked = await watched(api)
    api.stored.written[JULIET] = [wrote(1, login)]
    await waits(api, asked)
    api.stored.stamps += 1
    async with asyncio.timeout(20):
        assert len((await asked).json["deliveries"]["problems"]) == 1


async def test_without_a_change_the_same_comes_after_a_while(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LONGEST", 0.2)
    first = (await api.get("watch")).json
    assert (await api.get("watch", seen=first["digest"])).json["digest"] == first["digest"]


async def test_how_many_may_wait_is_bounded_and_others_are_not_kept(api: Api) -> None:
    first, asked = await watched(api)
    more = [
        asyncio.create_task(api.get("watch", seen=first["digest"]))
        for _ in range(watching.OF_ONE_USER - 1)
    ]
    await waits(api, more[-1], watching.OF_ONE_USER)
    got = await api.get("watch", seen=first["digest"])
    assert (got.status, got.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert (await api.get("watch", token="nurse's")).status == 200
    assert (await api.get("logins")).status == 200
    api.services.watching.stop()
    async with asyncio.timeout(20):
        assert {(await each).status for each in (asked, *more)} == {503}


async def test_who_goes_away_frees_the_place(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    seen = (await api.get("watch")).json["digest"]
    for _ in range(watching.OF_ONE_USER):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await api.get("watch", seen=seen)
    async with asyncio.timeout(watching.LONGEST / 2):
        while (await api.get("watch")).status == 429:  # noqa: ASYNC110 - it happens in the server
            await asyncio.sleep(0.05)


async def test_who_watches_a_user_that_another_process_gets_is_told_to_ask_again(api: Api) -> None:
    _, asked = await watched(api)
    api.stored.gone.add(JULIET)
    async with asyncio.timeout(20):
        got = await asked
    assert (got.status, got.json["retry_after_ms"]) == (503, 1000)
