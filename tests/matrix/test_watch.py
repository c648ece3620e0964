"""Watching an account's m.direct, on a real Synapse and on a homeserver with moods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from mautrix.api import Path as ApiPath

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix import watch as watch_module
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.watch import DirectWatch, watch_session
from tests.matrix.scripted import Script
from tests.observed import AS_TOKEN, Observed, observed_synapse, until

USER = UserId("@juliet:example.org")


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    """Shared: make users with names of your own."""
    async with observed_synapse(tmp_path_factory.mktemp("watched")) as observed:
        yield observed


class Watching:
    """A watch that runs: ``seen`` is what it brought."""

    def __init__(self, watch: DirectWatch) -> None:
        self.watch = watch
        self.seen: list[bytes] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for content in self.watch:
            self.seen.append(content)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def watching(homeserver: Homeserver, user: UserId = USER) -> Watching:
    return Watching(DirectWatch(homeserver, user, lambda _: True))


# -- on a real Synapse


async def test_it_brings_what_stands_there_and_then_every_change(server: Observed) -> None:
    user = await server.user("watched")
    await server.put(user, '{"@a:b": ["!first"], "odd": 5}')
    run = watching(server.homeserver, user)
    await until(lambda: run.seen)
    assert json.loads(run.seen[0]) == {"@a:b": ["!first"], "odd": 5}
    loop = asyncio.get_running_loop()
    delays = []
    for number in range(10):
        await server.put(user, json.dumps({"@a:b": [f"!{number}"]}))
        begin = loop.time()
        await until(lambda: len(run.seen) == number + 2)  # noqa: B023 - called in this turn
        delays.append(loop.time() - begin)
    await run.stop()
    assert json.loads(run.seen[-1]) == {"@a:b": ["!9"]}
    assert sorted(delays)[5] < 0.25


async def test_a_new_watch_brings_what_stands_there_now_not_what_an_earlier_one_saw(
    server: Observed,
) -> None:
    user = await server.user("again")
    await server.put(user, '{"@a:b": ["!old"]}')
    run = watching(server.homeserver, user)
    await until(lambda: run.seen)
    await run.stop()
    await server.put(user, '{"@a:b": ["!new"]}')
    run = watching(server.homeserver, user)
    await until(lambda: run.seen)
    await run.stop()
    assert json.loads(run.seen[0]) == {"@a:b": ["!new"]}


async def test_an_account_that_never_set_it_is_watched_from_the_start(server: Observed) -> None:
    user = await server.user("blank")
    run = watching(server.homeserver, user)
    await until(lambda: run.watch.live)
    assert run.seen == []
    await server.put(user, "{}")
    await until(lambda: run.seen == [b"{}"])
    await run.stop()


async def test_what_else_happens_to_the_account_does_not_come(server: Observed) -> None:
    user = await server.user("busy")
    run = watching(server.homeserver, user)
    await until(lambda: run.watch.live)
    ignored = ApiPath.v3.user[user].account_data["m.ignored_user_list"]
    await server.homeserver.request("PUT", ignored, user=user, body={"ignored_users": {}})
    await server.homeserver.request("POST", ApiPath.v3.createRoom, user=user, body={"name": "x"})
    await server.put(user, '{"last": []}')
    await until(lambda: run.seen)
    await run.stop()
    assert [json.loads(content) for content in run.seen] == [{"last": []}]


async def test_lone_surrogates_and_long_numbers_come_through(server: Observed) -> None:
    user = await server.user("surrogate")
    text = '{"\\ud800": ["\\udfff"], "n": 123456789012345678901234}'
    await server.put(user, text)
    run = watching(server.homeserver, user)
    await until(lambda: run.seen)
    await run.stop()
    assert json.loads(run.seen[0]) == json.loads(text)


async def test_a_watch_outlives_a_restart_of_the_homeserver(server: Observed) -> None:
    user = await server.user("survivor")
    await server.put(user, '{"n": [1]}')
    run = watching(server.homeserver, user)
    await until(lambda: len(run.seen) == 1)
    await server.synapse.restart()
    await server.put(user, '{"n": [2]}')
    await until(lambda: len(run.seen) == 2, 30)
    assert run.watch.live
    await run.stop()
    assert json.loads(run.seen[1]) == {"n": [2]}


async def test_many_watches_fit_into_their_session(server: Observed) -> None:
    users = [await server.user(f"many{number}") for number in range(30)]
    async with watch_session(30) as session:
        homeserver = Homeserver(server.synapse.url, AS_TOKEN, session)
        runs = [watching(homeserver, user) for user in users]
        await until(lambda: all(run.watch.live for run in runs), 30)
        for user in users:
            await server.put(user, json.dumps({user: []}))
        await until(lambda: all(run.seen for run in runs), 30)
        for run in runs:
            await run.stop()
    assert [json.loads(run.seen[0]) for run in runs] == [{user: []} for user in users]


# -- on a homeserver with moods


def answer(token: str, *contents: object) -> tuple[int, object]:
    events = [{"type": "m.direct", "content": content} for content in contents]
    return 200, {"next_batch": token, "account_data": {"events": events}}


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.json_response({})


async def test_it_asks_for_m_direct_alone_without_showing_the_user_online(script: Script) -> None:
    script.answers = [answer("s1", {}), hang]
    run = watching(script.homeserver)
    await until(lambda: len(script.seen) == 2)
    await run.stop()
    first, second = (seen.query for seen in script.seen)
    assert (first["user_id"], first["timeout"], "since" in first) == (USER, "0", False)
    assert (second["since"], second["timeout"]) == ("s1", str(int(watch_module.POLL * 1000)))
    assert first["filter"] != second["filter"]
    for query in (first, second):
        assert query["set_presence"] == "offline"
        wanted = json.loads(query["filter"])
        assert wanted["account_data"]["types"][0] == "m.direct"
        assert wanted["room"]["rooms"] == []
        assert wanted["presence"] == {"types": []}


async def test_while_much_happens_it_looks_now_and_then_and_does_not_wait(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "GLANCE", 0.05)
    patience = 0.0
    documents = [(200, {"n": [2]}), (404, {"errcode": "M_NOT_FOUND"}), (200, {"n": [3]})]

    async def reply(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/sync"):
            return await hang(request)
        status, document = documents.pop(0) if len(documents) > 1 else documents[0]
        return web.json_response(document, status=status)

    script.answers = [answer("s1", {"n": [1]}), reply]
    loop = asyncio.get_running_loop()
    run = Watching(DirectWatch(script.homeserver, USER, lambda _: True, lambda: patience))
    begin = loop.time()
    await until(lambda: len(run.seen) >= 3)
    patience = watch_module.SHORT_POLL
    assert loop.time() - begin >= 3 * 0.05
    assert run.watch.live
    assert [json.loads(content) for content in run.seen[:3]] == [{"n": [n]} for n in (1, 2, 3)]
    await until(lambda: script.seen[-1].path.endswith("/sync"))
    await run.stop()
    assert {seen.path.rpartition("/")[2] for seen in script.seen[1:-1]} == {"m.direct"}
    last = script.seen[-1].query
    assert (last["since"], last["timeout"]) == ("s1", str(int(watch_module.SHORT_POLL * 1000)))


async def test_failures_are_waited_out_without_losing_the_place(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "FIRST_PAUSE", 0.01)
    script.answers = [
        answer("s1", {"n": [1]}),
        (502, {}),
        (200, {"no": "next_batch"}),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 10}),
        answer("s2", {"n": [2]}),
        hang,
    ]
    monkeypatch.setattr(watch_module, "LONGEST_PAUSE", 0.02)
    run = watching(script.homeserver)
    await until(lambda: len(run.seen) == 2)
    await until(lambda: len(script.seen) == 6)
    await run.stop()
    assert [seen.query.get("since") for seen in script.seen] == [None, *["s1"] * 4, "s2"]


def test_pauses_grow_with_failures_up_to_a_bound_and_heed_the_homeserver() -> None:
    error = HomeserverError("x", retry_after=1.0)
    pauses = [watch_module.pause(failures, error) for failures in range(1, 60)]
    assert 1 <= pauses[0] <= 1.5
    assert 16 <= pauses[4] <= 24
    assert all(watch_module.LONGEST_PAUSE <= pause <= 180 for pause in pauses[10:])
    assert len(set(pauses)) > 50, "everybody at their own time"
    assert watch_module.pause(1, HomeserverError("x", retry_after=500.0)) >= 500


async def test_a_watch_that_fails_is_not_live(script: Script) -> None:
    script.answers = [answer("s1"), (502, {})]
    run = watching(script.homeserver)
    await until(lambda: len(script.seen) == 2)
    await until(lambda: not run.watch.live)
    await run.stop()


async def test_a_place_that_the_homeserver_no_longer_knows_is_given_up(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "FIRST_PAUSE", 0.01)
    script.answers = [
        answer("s1"),
        (400, {"errcode": "M_UNKNOWN_POS"}),
        answer("s9", {"now": []}),
        hang,
    ]
    run = watching(script.homeserver)
    await until(lambda: run.seen == [b'{"now":[]}'])
    await run.stop()
    assert "since" not in script.seen[2].query


async def test_a_refusal_ends_the_watch(script: Script) -> None:
    script.answers = [(403, {"errcode": "M_FORBIDDEN", "error": "Not yours"})]
    run = watching(script.homeserver)
    with pytest.raises(HomeserverError, match="403"):
        await run.task
    assert len(script.seen) == 1


async def test_nothing_is_sent_for_users_who_may_not_be_watched(script: Script) -> None:
    run = Watching(DirectWatch(script.homeserver, USER, lambda _: False))
    with pytest.raises(HomeserverError, match="may not watch"):
        await run.task
    assert script.seen == []


@pytest.mark.parametrize(
    "section", [None, [], {}, {"events": {}}, {"events": [5, {}, {"type": "m.direct"}]}]
)
async def test_odd_answers_bring_nothing(script: Script, section: object) -> None:
    script.answers = [(200, {"next_batch": "s1", "account_data": section}), hang]
    run = watching(script.homeserver)
    await until(lambda: len(script.seen) == 2)
    await run.stop()
    assert run.seen == []
