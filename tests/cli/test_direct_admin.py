"""``dm-bridge direct show``, ``history`` and ``repair``: beside a bridge that runs, and without one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import click
import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from click.testing import CliRunner
from structlog.testing import capture_logs

from dm_bridge.app import offline
from dm_bridge.bridge.observation import AFTER
from dm_bridge.cli.direct import managed
from dm_bridge.cli.direct.managed import account_of
from dm_bridge.cli.main import cli
from dm_bridge.errors import StorageError
from dm_bridge.ids import UserId
from dm_bridge.store.database import Database
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.store.journals import JournalStore
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.processes import free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.pairs import Pair, as_appservice, ghost_direct, pair
from tests.e2e.test_less_access import marked

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """Its output with lines joined."""
        return " ".join(self.out.split())


async def run(*arguments: str, text: str = "") -> Ran:
    """``dm-bridge direct`` with ``arguments``, in this process: to start one takes a second."""
    with patch.object(managed, "configure_logging"), capture_logs():
        call = asyncio.to_thread(CliRunner().invoke, cli, ["direct", *arguments], text)
        result = await asyncio.wait_for(call, 100)
    return Ran(result.exit_code, result.stdout, result.stderr)


async def run_process(*arguments: str) -> Ran:
    """``dm-bridge direct`` with ``arguments``, with all that it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "dm_bridge",
        "direct",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(100):
            out, err = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


@pytest_asyncio.fixture(scope="module")
async def stack(prosody: Prosody) -> AsyncIterator[Stack]:
    """A bridge that does not notice by itself that a list was changed."""
    directory = Path(tempfile.mkdtemp(prefix="dm_bridge_admin_"))
    stack = await Stack.start(
        directory / "stack",
        prosody=prosody,
        domain="admin.localhost",
        config={"direct": {"watch_accounts": 0}},
    )
    yield stack
    await stack.stop()
    shutil.rmtree(directory, ignore_errors=True)


@dataclass
class Kept:
    """Alice with one chat that is marked, and the commands about her."""

    stack: Stack
    p: Pair
    room: str

    @property
    def alice(self) -> MatrixUser:
        return self.p.alice

    @property
    def entry(self) -> list[str]:
        return [self.p.ghost, self.room]

    async def run(self, command: str, *options: str, user: str | None = None) -> Ran:
        config = str(self.stack.bridge.config_path)
        return await run(command, user or self.alice.user_id, "-c", config, *options)

    async def apart(self, command: str, *options: str) -> Ran:
        """The same as a process of its own."""
        config = str(self.stack.bridge.config_path)
        return await run_process(command, self.alice.user_id, "-c", config, *options)

    async def document(self) -> dict[str, Any]:
        return await self.alice.m_direct() or {}

    async def damage(self) -> dict[str, Any]:
        """Let another client put the chat under the bot as well; the list as it was."""
        whole = await self.document()
        await self.alice.set_m_direct({**whole, self.stack.bot: [self.room, "!other:x"]})
        return whole

    async def config_with(self, change: Change, name: str) -> Path:
        """A copy of the configuration with a change, beside it."""
        config = self.stack.bridge.config()
        change(config)
        path = self.stack.bridge.config_path.with_name(name)
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """The running bridge's own database."""
        postgres = await EmbeddedPostgres.start(self.stack.bridge.directory / "data")
        database = await Database.open(postgres.url, size=2)
        try:
            yield database
        finally:
            await database.close()
            await postgres.stop()

    def postgres_runs(self) -> bool:
        return (self.stack.bridge.directory / "data/postgres/postmaster.pid").exists()


@pytest_asyncio.fixture(scope="module")
async def ready(request: pytest.FixtureRequest, stack: Stack) -> AsyncIterator[list[Kept]]:
    """One for each test that changes something, and one for all who only look."""
    changing = [
        item
        for item in request.session.items
        if item.path == request.path and "kept" in getattr(item, "fixturenames", ())
    ]
    async with contextlib.AsyncExitStack() as users:

        async def one() -> Kept:
            p = await users.enter_async_context(pair(stack))
            room = await p.first_chat()
            await marked(p.alice, p.ghost, room)
            return Kept(stack, p, room)

        found = await asyncio.gather(*(one() for _ in range(len(changing) + 1)))
        # By then all is verified, and the bridge has looked because they did something: not again in a minute, nor
        # before they do something.
        await asyncio.sleep(AFTER + 1.5)
        yield list(found)


@pytest_asyncio.fixture
async def kept(stack: Stack, ready: list[Kept]) -> Kept:
    if not stack.bridge.running:
        await stack.bridge.run()
    return ready.pop(0)


@pytest.fixture(scope="module")
def still(ready: list[Kept]) -> Kept:
    """One for all who only look."""
    return ready.pop()


# -- show


async def test_show_tells_each_chat_the_access_and_when_the_list_was_seen(still: Kept) -> None:
    shown = await still.apart("show")
    assert shown.code == 0, shown.err + shown.out
    assert shown.err == ""
    assert still.alice.user_id in shown.out
    assert "Access: by the second registration (masquerade)." in shown.out
    assert "UTC, read " in shown.out
    assert "1 chat: 1 marked." in shown.out
    assert f"marked     {still.p.juliet.bare_jid}" in shown.out
    assert f"room {still.room}" in shown.out
    assert f"ghost {still.p.ghost}" in shown.out
    assert "The list, as it was last seen" not in shown.out


async def test_show_answers_in_json_with_the_list_itself_when_asked(still: Kept) -> None:
    shown = (await still.run("show", "--json", "--content")).json
    assert shown.pop("content") == await still.document()
    assert time.time() - shown.pop("seen_at") < 100
    assert shown.pop("seen_by") in ("read", "activity")
    assert shown == {
        "user": still.alice.user_id,
        "access": "masquerade",
        "in_doubt": False,
        "problems": [],
        "chats": [
            {
                "room": still.room,
                "ghost": still.p.ghost,
                "contact": still.p.juliet.bare_jid,
                "state": "marked",
                "life": "active",
                "opted_out": False,
                "earlier_ghosts": [],
                "stands_under": [still.p.ghost],
            }
        ],
    }
    in_words = await still.run("show", "--content")
    assert json.loads(in_words.out.partition("last seen:\n")[2]) == await still.document()


async def test_a_local_name_means_a_user_of_our_homeserver(still: Kept) -> None:
    local = still.alice.user_id.partition(":")[0]
    for user in (local, local.removeprefix("@"), still.alice.user_id.removeprefix("@")):
        assert (await still.run("show", "--json", user=user)).json["user"] == still.alice.user_id


async def test_a_ghost_is_shown_and_repaired_too(kept: Kept) -> None:
    shown = (await kept.run("show", "--json", user=kept.p.ghost)).json
    assert shown["access"] == "ghost"
    assert [(chat["ghost"], chat["state"]) for chat in shown["chats"]] == [
        (kept.alice.user_id, "marked")
    ]
    done = await kept.run("repair", user=kept.p.ghost)
    assert done.code == 0, done.err
    assert "nothing was written" in done.out
    assert (await ghost_direct(kept.stack, kept.p.ghost))[kept.alice.user_id] == [kept.room]


async def test_somebody_unknown_is_an_error_that_names_those_who_are_known(still: Kept) -> None:
    for command in ("show", "history", "repair"):
        ran = await still.run(command, user="nobody")
        assert ran.code == 1
        assert ran.out == ""
        assert "Nothing is known of @nobody:admin.localhost" in ran.err
        assert "There are chats of @alice" in ran.err


@pytest.mark.parametrize("command", ["show", "history", "repair"])
async def test_what_is_no_user_id_is_wrong_usage(stack: Stack, command: str) -> None:
    ran = await run(command, "@:", "-c", str(stack.bridge.config_path))
    assert ran.code == 2
    assert "'@:' is no user id" in ran.err


async def test_a_homeserver_that_is_down_hides_nothing_but_the_access(still: Kept) -> None:
    def down(config: dict[str, Any]) -> None:
        config["homeserver"]["url"] = f"http://127.0.0.1:{free_port()}"

    path = str(await still.config_with(down, "down.yaml"))
    shown = await run("show", still.alice.user_id, "-c", path, "--json")
    assert shown.code == 3
    assert shown.json["access"] == "unknown"
    assert [chat["state"] for chat in shown.json["chats"]] == ["marked"]
    assert "cannot be reached" in shown.json["problems"][0] or "has not answered" in str(shown.json)


async def test_a_registration_that_is_unknown_is_named_and_nothing_is_written(kept: Kept) -> None:
    def unknown(config: dict[str, Any]) -> None:
        config["appservice"]["accounts_token"] = "a-token-that-the-homeserver-does-not-know"

    damaged = await kept.damage()
    path = str(await kept.config_with(unknown, "unknown.yaml"))
    shown = await run("show", kept.alice.user_id, "-c", path)
    assert shown.code == 3
    assert "Access: none." in shown.out
    assert "does not know appservice.accounts_token" in shown.words
    done = await run("repair", kept.alice.user_id, "-c", path)
    assert done.code == 1
    assert "Nothing was written. The homeserver does not know appservice.accounts_token" in done.err
    assert await kept.document() != damaged


async def test_without_the_registration_a_token_of_the_user_is_used(kept: Kept) -> None:
    def unknown(config: dict[str, Any]) -> None:
        config["appservice"]["accounts_token"] = "a-token-that-the-homeserver-does-not-know"

    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": kept.alice.user_id},
        "password": "secret",
    }
    token = (await kept.alice.request("POST", "v3/login", body))["access_token"]
    await kept.p.ask("login-matrix", "Please send me an access token")
    await kept.p.ask(token, "The token works")
    await asyncio.sleep(1)
    whole = await kept.damage()
    path = str(await kept.config_with(unknown, "token.yaml"))
    shown = await run_process("show", kept.alice.user_id, "-c", path, "--json")
    assert shown.json["access"] == "token"
    done = await run_process("repair", kept.alice.user_id, "-c", path)
    assert done.code == 0, done.err
    assert await kept.document() == {**whole, kept.stack.bot: ["!other:x"]}
    assert token not in shown.out + shown.err + done.out + done.err

    key = kept.stack.bridge.directory / "data/sealing.key"
    hidden = key.with_name("hidden.key")
    key.rename(hidden)
    try:
        keyless = await run("repair", kept.alice.user_id, "-c", path)
        assert keyless.code == 1
        assert "sealing.key, or that file is missing" in keyless.err
        assert not key.exists()
    finally:
        hidden.rename(key)

    async with MatrixUser(kept.alice.url, kept.alice.user_id, token) as session:
        await session.request("POST", "v3/logout", {})
    ended = await run("repair", kept.alice.user_id, "-c", path)
    assert ended.code == 1
    assert "token" in ended.err
    again = await run("show", kept.alice.user_id, "-c", path, "--json")
    assert again.json["access"] == "token", "only the bridge forgets it, when it has told its owner"


# -- repair


async def test_repair_beside_a_running_bridge_writes_and_verifies(kept: Kept) -> None:
    whole = await kept.damage()
    done = await kept.run("repair")
    assert done.code == 0, done.err
    assert f"- {kept.stack.bot}  {kept.room}" in done.out
    assert "Read back: the direct chats of" in done.out
    assert await kept.document() == {**whole, kept.stack.bot: ["!other:x"]}
    assert kept.stack.bridge.running
    again = await kept.run("repair", "--json")
    assert again.code == 0
    assert again.json == {
        "user": kept.alice.user_id,
        "dry_run": False,
        "writes": [],
        "reasons": [],
        "waiting": [],
    }
    shown = await kept.run("show")
    assert shown.code == 0


async def test_a_dry_run_shows_the_exact_change_and_records_nothing(kept: Kept) -> None:
    await kept.damage()
    damaged = await kept.document()
    before = (await kept.run("show", "--json", "--content")).out
    planned = await kept.run("repair", "--dry-run")
    assert planned.code == 3
    assert f"- {kept.stack.bot}  {kept.room}" in planned.out
    assert "Nothing was written" in planned.out
    as_json = await kept.run("repair", "--dry-run", "--json")
    assert as_json.code == 3
    assert as_json.json["dry_run"] is True
    assert as_json.json["writes"] == [{"add": [], "remove": [[kept.stack.bot, kept.room]]}]
    assert await kept.document() == damaged
    assert (await kept.run("show", "--json", "--content")).out == before
    done = await kept.run("repair", "--json")
    assert done.json["writes"] == as_json.json["writes"]
    assert (await kept.run("repair", "--dry-run")).code == 0


async def test_what_the_user_took_away_is_recognised_and_stays_away(kept: Kept) -> None:
    whole = await kept.document()
    del whole[kept.p.ghost]
    await kept.alice.set_m_direct(whole)
    done = await kept.run("repair")
    assert done.code == 0, done.err
    assert "was unmarked by the user" in done.words
    assert await kept.document() == whole
    shown = (await kept.run("show", "--json")).json
    assert [chat["state"] for chat in shown["chats"]] == ["opted out"]


async def test_repair_waits_while_another_process_has_the_account(kept: Kept) -> None:
    whole = await kept.damage()
    async with kept.database() as database:
        other = JournalStore(database, "another process")
        user = UserId(kept.alice.user_id)
        await other.claim(user)
        started = time.monotonic()
        repair = asyncio.create_task(kept.run("repair"))
        await asyncio.sleep(4)
        assert not repair.done()
        assert await kept.document() != {**whole, kept.stack.bot: ["!other:x"]}
        await other.release(user)
        done = await repair
    assert done.code == 0, done.err
    assert time.monotonic() - started > 4
    assert await kept.document() == {**whole, kept.stack.bot: ["!other:x"]}


async def test_repair_lets_the_account_go_for_the_bridge_that_runs(kept: Kept) -> None:
    await kept.damage()
    assert (await kept.run("repair")).code == 0
    async with kept.database() as database:
        await JournalStore(database, "another process").claim(UserId(kept.alice.user_id))


async def test_a_list_that_cannot_be_written_back_is_left_alone(kept: Kept) -> None:
    path = f"v3/user/{kept.alice.user_id}/account_data/m.direct"
    await kept.alice.request("PUT", path, {"deep": _nested(150)})
    for options in ((), ("--dry-run",)):
        done = await kept.run("repair", *options)
        assert done.code == 1
        assert "nested more than 100 levels deep" in done.err
    shown = await kept.run("show")
    assert shown.code == 3
    assert "nested more than 100 levels deep" in shown.words
    await kept.alice.set_m_direct({})


@dataclass
class Proxy:
    """A homeserver in front of the homeserver. ``answers``: what the next PUTs get, with or without effect."""

    target: str
    answers: list[tuple[int, bool]]
    puts: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        status, effect = (
            self.answers.pop(0) if request.method == "PUT" and self.answers else (0, True)
        )
        self.puts += request.method == "PUT"
        if not effect:
            return web.json_response({"errcode": "M_TOO_LARGE", "error": "no"}, status=status)
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                f"{self.target}{request.rel_url}",
                data=body,
                headers={"Authorization": request.headers["Authorization"]},
            ) as response,
        ):
            return web.Response(status=status or response.status, body=await response.read())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its URL."""
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


async def test_a_write_that_is_refused_is_told_and_one_that_is_uncertain_is_looked_after(
    kept: Kept,
) -> None:
    whole = await kept.damage()
    damaged = await kept.document()
    refusing = Proxy(kept.stack.synapse.url, [(413, False)] * 9)
    async with refusing.running() as url:
        path = await kept.config_with(lambda c: c["homeserver"].update(url=url), "proxy.yaml")
        refused = await run("repair", kept.alice.user_id, "-c", str(path))
    assert refused.code == 1
    assert "more than the homeserver accepts" in refused.err.splitlines()[-1]
    assert refusing.puts == 1
    assert await kept.document() == damaged

    failing = Proxy(kept.stack.synapse.url, [(502, True)])
    async with failing.running() as url:
        path = await kept.config_with(lambda c: c["homeserver"].update(url=url), "proxy.yaml")
        done = await run("repair", kept.alice.user_id, "-c", str(path))
    assert done.code == 0, done.err
    assert failing.puts == 1
    assert await kept.document() == {**whole, kept.stack.bot: ["!other:x"]}
    shown = (await kept.run("show", "--json")).json
    assert shown["in_doubt"] is False
    assert [chat["opted_out"] for chat in shown["chats"]] == [False]


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else []


# -- history


async def test_history_tells_who_changed_what_and_its_trace_replays_the_decisions(
    kept: Kept,
) -> None:
    other = await kept.alice.create_room()
    first = await kept.document()
    await kept.alice.set_m_direct({**first, "@nurse:x": [other]})
    assert (await kept.run("repair")).code == 0
    old_copy = {**first, "@friar:x": ["!cell:x"]}
    await kept.alice.set_m_direct(old_copy)
    assert "old copy" in (await kept.run("repair")).words
    unmarked = await kept.document()
    assert unmarked["@nurse:x"] == [other]
    del unmarked[kept.p.ghost]
    await kept.alice.set_m_direct(unmarked)
    assert (await kept.run("repair")).code == 0

    told = await kept.run("history")
    assert told.code == 0
    assert told.err == ""
    assert "The bridge wrote the list." in told.out
    assert "A client wrote back an old copy of the list; 1 chat was put right again." in told.words
    assert f"{kept.room} was unmarked by the user" in told.words
    assert f"+ {kept.p.ghost}  {kept.room}" in told.out
    assert told.out.index("old copy") < told.out.index("was unmarked")
    assert "old copy" not in (await kept.run("history", "-n", "1")).out

    traced = await kept.run("history", "--json")
    assert traced.code == 0
    assert "dm-bridge direct replay" in traced.err
    operations = [json.loads(line) for line in traced.out.splitlines()]
    managed = [operation for operation in operations if operation["op"] == "manage"]
    assert managed == [{"op": "manage", "room": kept.room, "ghost": kept.p.ghost}]
    replayed = await run("replay", text=traced.out)
    assert replayed.code == 0, replayed.err
    answers = [json.loads(line) for line in replayed.out.splitlines()]
    observed = [o for o in operations if o["op"] == "observe"]
    assert len(answers) == len(observed)
    puts = [answer["content"] for answer in answers if answer["action"] == "put"]
    assert puts == [o["content"] for o in observed if o["source"] == "written"]
    assert len(puts) == 2
    assert answers[-1]["opted_out"] == [kept.room]
    assert {o["op"] for o in operations} == {"manage", "observe"}


async def test_the_trace_is_whole_or_usage_is_wrong(kept: Kept) -> None:
    ran = await kept.run("history", "--json", "-n", "1")
    assert ran.code == 2
    assert "--limit has no place there" in ran.err


# -- without the bridge


async def test_everything_works_without_the_bridge_and_leaves_no_database_running(
    kept: Kept,
) -> None:
    whole = await kept.damage()
    await kept.stack.bridge.stop()
    assert not kept.postgres_runs()
    assert (await kept.apart("show")).code == 0
    assert not kept.postgres_runs()
    assert (await kept.apart("repair", "--dry-run")).code == 3
    done = await kept.apart("repair")
    assert done.code == 0, done.err
    assert await kept.document() == {**whole, kept.stack.bot: ["!other:x"]}
    assert "The bridge wrote the list." in (await kept.apart("history")).out
    assert not kept.postgres_runs()
    await kept.stack.bridge.run()
    assert (await kept.apart("repair")).code == 0
    assert kept.postgres_runs()
    who = await as_appservice(kept.stack, kept.stack.bot, "v3/account/whoami")
    assert who["user_id"] == kept.stack.bot
    assert await kept.p.ask("direct", "1 marked")


async def test_a_user_who_logged_out_has_no_access_any_more(kept: Kept) -> None:
    await kept.p.ask("logout", "ogged out")
    await asyncio.sleep(1)
    shown = await kept.run("show", "--json")
    assert shown.json["access"] == "none"
    ran = await kept.run("repair")
    assert ran.code == 1
    assert "no login on this bridge" in ran.err
    assert "login-matrix" in ran.err


# -- wrong configurations


async def test_a_configuration_that_never_ran_makes_no_database(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dm_bridge", "init", "--homeserver", "http://127.0.0.1:1",
        "--domain", "example.org", "--yes", "-c", str(path), stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await made.wait() == 0
    for command in ("show", "history", "repair"):
        ran = await run(command, "alice", "-c", str(path))
        assert ran.code == 1
        assert "There is no database in" in ran.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]
    missing = await run("show", "alice", "-c", str(tmp_path / "missing.yaml"))
    assert missing.code == 78


async def test_a_database_without_our_schema_is_left_as_it_is(
    tmp_path: Path, empty_database_url: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "homeserver": {"url": "http://127.0.0.1:1", "domain": "example.org"},
                "appservice": {
                    name: f"{name}-of-forty-characters-at-least-0123456789"
                    for name in ("as_token", "hs_token", "accounts_token")
                },
                "database": {"url": empty_database_url},
            }
        )
    )
    ran = await run("show", "alice", "-c", str(path))
    assert ran.code == 1
    assert "Run `dm-bridge migrate`" in ran.err


def test_the_database_of_another_system_user_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StorageError, match=r"belongs to the system user \w+. Run this command as"):
        offline.check_embedded(tmp_path)


def test_names_are_completed_and_nonsense_is_not() -> None:
    assert account_of("alice", "example.org") == "@alice:example.org"
    assert account_of("@alice", "example.org") == "@alice:example.org"
    assert account_of("@alice:b.example", "example.org") == "@alice:b.example"
    for nonsense in ("", "@", "a:b c", "@alice:"):
        with pytest.raises(click.BadParameter, match="is no user id"):
            account_of(nonsense, "example.org")
