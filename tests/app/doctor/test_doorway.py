"""Who is at the bridge's address: a bridge, another program, or nobody, and then us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from dm_bridge.app.doctor import doorway
from dm_bridge.app.doctor.doorway import Running, StandIn
from dm_bridge.app.doctor.findings import Answer
from dm_bridge.cli.init import Answers, Tokens, render_config
from dm_bridge.config import Config, load_config
from dm_bridge.errors import AdminError
from dm_bridge.testing.processes import free_port

HS_TOKEN = "h" * 32


def config_at(folder: Path, listen: str) -> Config:
    path = folder / "config.yaml"
    answers = Answers("http://localhost:1", "x.org", "", listen)
    path.write_text(render_config(answers, Tokens("a" * 32, HS_TOKEN, "c" * 32)))
    return load_config(path, {})


@asynccontextmanager
async def looked(
    config: Config,
) -> AsyncIterator[tuple[Answer[doorway.Door], aiohttp.ClientSession]]:
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        yield await doorway.check(config, session, stack), session


@asynccontextmanager
async def program(answer: object, status: int = 200) -> AsyncIterator[str]:
    """The address of one that gives this answer to everything."""

    async def serve(_request: web.Request) -> web.Response:
        return web.json_response(answer, status=status)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"127.0.0.1:{port}"
    await runner.cleanup()


async def test_a_bridge_tells_what_is_wrong_with_it(tmp_path: Path) -> None:
    said = {"status": "not ready", "problems": ["The database does not answer."]}
    async with program(said, 503) as address, looked(config_at(tmp_path, address)) as (answer, _):
        assert answer.value == Running(f"http://{address}", ("The database does not answer.",))
        assert "is not ready: The database does not answer." in answer.findings[0].sentence


@pytest.mark.parametrize("said", [[], {"status": "ready"}, {"status": "fine", "problems": []}])
async def test_another_program_is_told_from_a_bridge(tmp_path: Path, said: object) -> None:
    async with program(said) as address, looked(config_at(tmp_path, address)) as (answer, _):
        assert answer.value is None
        assert (
            f"Another program than the bridge answers at {address}" in answer.findings[0].sentence
        )


async def test_an_address_that_is_not_of_this_machine_is_told(tmp_path: Path) -> None:
    config = config_at(tmp_path, f"127.0.0.1:{free_port()}")
    elsewhere = config.appservice.listen.parse("192.0.2.1:29350")
    moved = config.appservice.model_copy(update={"listen": elsewhere})
    async with AsyncExitStack() as stack:
        with pytest.raises(AdminError, match=r"Change appservice\.listen"):
            await doorway._stand_in(config.model_copy(update={"appservice": moved}), stack)


async def test_where_nobody_is_we_take_what_only_our_ghosts_did(tmp_path: Path) -> None:
    config = config_at(tmp_path, f"127.0.0.1:{free_port()}")
    url = config.appservice.url
    async with looked(config) as (answer, session):
        door = answer.value
        assert isinstance(door, StandIn)
        assert answer.findings[0].verdict == "note"
        assert await doorway.leads_here(config, session, door)
        assert not await doorway.leads_here(config, session, Running(url, ()))

        async def push(sender: str, token: str = HS_TOKEN) -> int:
            event = {
                "event_id": "$1",
                "room_id": "!r",
                "sender": sender,
                "type": "m.x",
                "content": {},
            }
            async with session.put(
                f"{url}/_matrix/app/v1/transactions/1",
                json={"events": [event]},
                headers={"Authorization": f"Bearer {token}"},
            ) as response:
                return response.status

        assert await push("@_dm_xmpp_a:x.org") == 200
        assert (door.held_back, door.refused) == (False, False)
        assert await push("@alice:x.org") == 503
        assert (door.held_back, door.refused) == (True, False)
        assert await push("@_dm_xmpp_a:x.org", "wrong") == 403
        assert door.refused


async def test_figures_without_labels_are_read() -> None:
    text = (
        "# HELP dm_bridge_x y\ndm_bridge_processes 2.0\ndm_bridge_pushed_signals_total 1.5e+03\n"
        'dm_bridge_ready{part="a"} 1.0\n'
    )

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession() as session:
        found = await doorway.sample(session, Running(f"http://127.0.0.1:{port}", ()))
    await runner.cleanup()
    assert found == {"processes": 2.0, "pushed_signals_total": 1500.0}
