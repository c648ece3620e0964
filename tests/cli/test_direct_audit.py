"""``dm-bridge direct audit`` and ``restore``, on a real homeserver."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from click.testing import Result
from yarl import URL

from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.synapse import MatrixAccount, Synapse

_numbers = itertools.count(1)


class Person:
    """An account, its client, and the command run with its token."""

    def __init__(
        self, synapse: Synapse, account: MatrixAccount, client: MatrixUser, command: Any
    ) -> None:
        self.id = account.user_id
        self.token = account.access_token
        self.client = client
        self.url = synapse.url
        self.token_file = Path(f"token-{account.user_id[1:].partition(':')[0]}")
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token + "\n")
        self._command = command

    async def run(self, *arguments: str, text: str | None = None, url: str = "") -> Result:
        """``dm-bridge direct …`` for this account, in a thread."""
        where = ("--homeserver", url or self.url, "--token-file", str(self.token_file))
        result: Result = await asyncio.to_thread(
            self._command, "direct", *arguments, *where, text=text
        )
        assert self.token not in result.output
        return result

    async def audit(self, *arguments: str) -> dict[str, Any]:
        """The findings, as a program reads them."""
        result = await self.run("audit", "--json", *arguments)
        assert result.exit_code in (0, 3), result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        if "--fix" not in arguments:
            assert (result.exit_code == 3) == bool(answer["findings"])
        return answer

    async def fix(self, *arguments: str) -> Any:
        """What m.direct says after everything sure, or what ``arguments`` choose, was mended."""
        result = await self.run("audit", "--fix", "--yes", *arguments)
        assert result.exit_code in (0, 3), result.output
        return await self.client.m_direct()

    async def join_all(self, other: Person, number: int, **more: Any) -> list[str]:
        """Direct chats that ``other`` made with this person, who joined."""
        rooms = []
        for _ in range(number):
            rooms.append(
                await other.client.create_room(
                    invite=[self.id], is_direct=True, **{"preset": "private_chat", **more}
                )
            )
            await self.client.join(rooms[-1])
        return rooms


Make = Callable[[], Awaitable[Person]]


@pytest_asyncio.fixture
async def person(synapse: Synapse, command: Any) -> AsyncIterator[Make]:
    """Makes people."""
    async with contextlib.AsyncExitStack() as stack:

        async def make() -> Person:
            account = await synapse.register_user(f"audited{next(_numbers)}", "p")
            client = MatrixUser(synapse.url, account.user_id, account.access_token)
            await stack.enter_async_context(client)
            return Person(synapse, account, client, command)

        yield make


def kinds(answer: dict[str, Any]) -> dict[str, list[str]]:
    """Per kind, the rooms that findings of it name."""
    found: dict[str, list[str]] = {}
    for finding in answer["findings"]:
        found.setdefault(finding["kind"], []).extend(finding["rooms"])
    return found


def backups() -> list[Path]:
    return sorted(Path().glob("m.direct-*.json"))


async def test_an_account_without_direct_chats_is_in_order(person: Make) -> None:
    me = await person()
    result = await me.run("audit")
    assert result.exit_code == 0
    assert "Nothing is wrong" in result.stdout
    assert await me.client.m_direct() is None
    assert (await me.run("audit", "--fix", "--yes")).exit_code == 0
    assert await me.client.m_direct() is None
    assert backups() == []


@pytest.mark.parametrize("version", ["11", "12"])
async def test_rooms_that_were_left_in_any_way_lose_their_marks_and_nothing_else_does(
    person: Make, version: str
) -> None:
    me, bob = await person(), await person()
    kept, left, forgotten, kicked, banned, declined = await me.join_all(
        bob, 6, room_version=version
    )
    pending = await bob.client.create_room(invite=[me.id], is_direct=True, room_version=version)
    for room in (left, forgotten, declined):
        await me.client.leave(room)
    await me.client.request("POST", f"v3/rooms/{forgotten}/forget", {})
    for room, what in ((kicked, "kick"), (banned, "ban")):
        await bob.client.request("POST", f"v3/rooms/{room}/{what}", {"user_id": me.id})
    never, dead = "!never:" + me.id.partition(":")[2], "!room:dead.example"
    every = [kept, left, forgotten, kicked, banned, declined, pending, never, dead]
    await me.client.set_m_direct({bob.id: every, "org.example.note": {"mine": 1.5}})
    answer = await me.audit()
    assert kinds(answer) == {
        "left": [left, declined], "gone": [forgotten, never, dead], "removed": [kicked, banned],
        "value_not_a_list": [],
    }  # fmt: skip
    assert answer["user"] == me.id
    for finding in answer["findings"]:
        assert finding["sure"] is (finding["kind"] != "value_not_a_list")
    result = await me.run("audit", "--fix", "--yes", "--backup", "mine.json")
    assert result.exit_code == 0, result.output
    assert await me.client.m_direct() == {
        bob.id: [kept, pending],
        "org.example.note": {"mine": 1.5},
    }
    assert Path("mine.json").exists()


@pytest.mark.parametrize("version", ["11", "12"])
async def test_marks_follow_rooms_that_were_upgraded_twice(person: Make, version: str) -> None:
    me, bob = await person(), await person()
    await me.client.set_m_direct({})
    (first,) = await me.join_all(bob, 1, room_version=version, preset="trusted_private_chat")
    await me.client.set_m_direct({bob.id: [first]})
    rooms = [first]
    for _ in range(2):
        answer = await bob.client.request(
            "POST", f"v3/rooms/{rooms[-1]}/upgrade", {"new_version": version}
        )
        rooms.append(answer["replacement_room"])
        await bob.client.invite(rooms[-1], me.id)
        await me.client.join(rooms[-1])
    for before in ({bob.id: [first]}, {bob.id: rooms}, {bob.id: [first, rooms[2]]}):
        await me.client.set_m_direct(before)
        assert set(kinds(await me.audit())) == {"upgraded"}
        assert await me.fix() == {bob.id: [rooms[2]]}
    assert (await me.audit())["findings"] == []


async def test_a_tombstone_that_the_new_room_does_not_confirm_moves_nothing(person: Make) -> None:
    me, bob = await person(), await person()
    chat, trap = await me.join_all(bob, 2)
    await bob.client.send_state(chat, "m.room.tombstone", {"replacement_room": trap, "body": "x"})
    await me.client.set_m_direct({bob.id: [chat]})
    found = kinds(await me.audit())
    assert "upgraded" not in found
    assert await me.fix() == {bob.id: [chat]}


async def test_marks_under_the_bot_oneself_and_strangers_go_to_the_contact(person: Make) -> None:
    me, ghost, bot, stranger = [await person() for _ in range(4)]
    rooms = await me.join_all(ghost, 4)
    for room in rooms[:2]:
        await ghost.client.invite(room, bot.id)
        await bot.client.join(room)
        await ghost.client.send_state(
            room, "m.bridge", {"bridgebot": bot.id, "creator": ghost.id}, "key"
        )
    await me.client.set_m_direct(
        {bot.id: rooms[:2], ghost.id: [rooms[1]], me.id: [rooms[2]], stranger.id: [rooms[3]]}
    )
    found = kinds(await me.audit())
    assert found == {"bot_key": rooms[:2], "own_key": [rooms[2]], "not_a_member": [rooms[3]]}
    after = await me.fix()
    assert {user: set(entries) for user, entries in after.items()} == {ghost.id: set(rooms)}
    assert (await me.audit())["findings"] == []


async def test_somebody_who_left_and_several_people_are_left_to_the_user(person: Make) -> None:
    me, bob, carol = [await person() for _ in range(3)]
    alone, group = await me.join_all(bob, 2)
    await bob.client.invite(group, carol.id)
    await carol.client.join(group)
    await bob.client.leave(alone)
    before = {bob.id: [alone, group], carol.id: [group]}
    await me.client.set_m_direct(before)
    answer = await me.audit()
    assert kinds(answer) == {"not_a_member": [alone], "several_targets": [group]}
    assert not any(finding["sure"] for finding in answer["findings"])
    result = await me.run("audit", "--fix", "--yes")
    assert result.exit_code == 3
    assert "yours to decide" in result.stdout
    assert await me.client.m_direct() == before
    assert backups() == []
    assert (
        await me.run("audit", "--fix", "--yes", "--only", "not_a_member,several_targets")
    ).exit_code == 0
    assert await me.client.m_direct() == {bob.id: [group]}


async def test_chats_that_are_not_marked_are_proposed_and_rooms_and_spaces_are_not(
    person: Make,
) -> None:
    me, bob, carol = [await person() for _ in range(3)]
    direct, named, encrypted = (
        (await me.join_all(bob, 1))[0],
        (await me.join_all(bob, 1, name="Bob via WhatsApp"))[0],
        (await me.join_all(bob, 1, initial_state=[
            {"type": "m.room.encryption", "state_key": "",
             "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]))[0],
    )  # fmt: skip
    by_me = await me.client.create_room(invite=[bob.id])
    await bob.client.join(by_me)
    plain = await bob.client.create_room(invite=[me.id], name="A topic")
    await me.client.join(plain)
    space = await me.client.create_room(
        invite=[bob.id], creation_content={"type": "m.space"}, is_direct=True
    )
    await bob.client.join(space)
    await bob.client.create_room(invite=[me.id], is_direct=True)
    (group,) = await me.join_all(bob, 1)
    await bob.client.invite(group, carol.id)
    answer = await me.audit()
    assert set(kinds(answer)["unmarked"]) == {direct, named, encrypted, by_me}
    assert len(answer["findings"]) == 4
    said = {finding["rooms"][0]: finding["sentence"] for finding in answer["findings"]}
    assert "“Bob via WhatsApp”" in said[named]
    assert all("invitation said" in said[room] for room in (direct, named, encrypted))
    assert "invitation said" not in said[by_me]
    assert (await me.run("audit", "--fix", "--yes")).exit_code == 3
    assert await me.client.m_direct() is None
    await me.run("audit", "--fix", "--yes", "--only", "unmarked")
    after = await me.client.m_direct()
    assert after is not None
    assert set(after.pop(bob.id)) == {direct, named, encrypted, by_me}
    assert after == {}
    assert json.loads(backups()[0].read_text())["before"] is None


async def test_a_space_is_no_chat(person: Make) -> None:
    me, bob = await person(), await person()
    space = await me.client.create_room(creation_content={"type": "m.space"}, invite=[bob.id])
    (chat,) = await me.join_all(bob, 1)
    await me.client.set_m_direct({bob.id: [space, chat]})
    assert kinds(await me.audit()) == {"space": [space]}
    assert await me.fix() == {bob.id: [chat]}


async def test_malformed_documents_are_mended_and_what_is_odd_but_right_stays(
    person: Make,
) -> None:
    me, bob = await person(), await person()
    chat, other = await me.join_all(bob, 2)
    odd_room = "!we/ird?x=#y%2e&z:dead.example"
    await me.client.set_m_direct(
        {
            bob.id: [chat, 5, None, chat, odd_room, "#alias:x", {"deep": [[[[]]]]}],
            "@a/b c?#%:x.example": [odd_room],
            "@nothing:x": [],
            "@text:x": "junk",
            "@number:x": 1e300,
            "@object:x": {"a": {"b": [None]}},
            "\ud800": [other],
            "": "",
            "\u202e\u001b[31m": False,
        }
    )
    found = kinds(await me.audit())
    assert set(found) == {
        "value_not_a_list", "not_room_ids", "duplicates", "empty_list", "key_not_a_user", "gone",
    }  # fmt: skip
    result = await me.run("audit")
    assert "\u202e" not in result.output
    assert "\x1b[31m" not in result.output
    assert max(map(len, result.stdout.splitlines())) <= 100
    unknown = {"": "", "\u202e\u001b[31m": False}
    assert await me.fix() == {bob.id: [chat, other], **unknown}
    assert kinds(await me.audit()).keys() == {"value_not_a_list"}
    assert await me.fix("--only", "value_not_a_list") == {bob.id: [chat, other]}
    assert (await me.audit())["findings"] == []


async def test_a_document_nested_too_deeply_is_refused_and_told_what_to_do(person: Make) -> None:
    me = await person()
    deep: Any = []
    for _ in range(300):
        deep = {"x": deep}
    await me.client.set_m_direct(deep)
    for arguments in ((), ("--fix", "--yes")):
        result = await me.run("audit", *arguments)
        assert result.exit_code == 1
        assert "nested" in result.stderr
        assert "set m.direct to {}" in result.stderr
    assert await me.client.m_direct() == deep


async def test_500_marks_of_rooms_that_do_not_exist_are_told_and_mended(person: Make) -> None:
    me, bob = await person(), await person()
    (chat,) = await me.join_all(bob, 1)
    content = {f"@u{n}:dead.example": [f"!r{n}:dead.example", chat] for n in range(500)}
    await me.client.set_m_direct(content)
    assert set(kinds(await me.audit())) == {"gone", "not_a_member"}
    assert await me.fix() == {bob.id: [chat]}


# -- writing


async def test_a_backup_is_written_first_and_restores_exactly(person: Make) -> None:
    me, bob = await person(), await person()
    (chat,) = await me.join_all(bob, 1)
    before = {"@gone:x": ["!a:x"], bob.id: [chat, chat, 1.5, 10**30], "\ud800": "x"}
    await me.client.set_m_direct(before)
    result = await me.run("audit", "--fix", "--yes")
    assert result.exit_code == 0, result.output
    after = {bob.id: [chat], "\ud800": "x"}
    assert await me.client.m_direct() == after
    (backup,) = backups()
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    saved = json.loads(backup.read_text())
    assert json.loads(saved["before"]) == before
    assert json.loads(saved["after"]) == after
    assert (saved["user_id"], saved["homeserver"]) == (me.id, me.url)
    assert str(backup) in result.stdout
    result = await me.run("restore", str(backup), text="n\n")
    assert (result.exit_code, len(backups())) == (3, 1)
    result = await me.run("restore", str(backup), "--yes")
    assert result.exit_code == 0, result.output
    restored = await me.client.m_direct()
    assert json.dumps(restored) == json.dumps(before)
    assert len(backups()) == 2
    result = await me.run("restore", str(backup), "--yes")
    assert "already" in result.stdout
    assert len(backups()) == 2


async def test_a_backup_of_somebody_else_is_not_restored(person: Make) -> None:
    me, bob = await person(), await person()
    await me.client.set_m_direct({"@x:y": []})
    await me.fix()
    result = await bob.run("restore", str(backups()[0]), "--yes")
    assert result.exit_code == 1
    assert "is of " + me.id in result.stderr
    assert await bob.client.m_direct() is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"format": "other"}', "\x00", '{"format":"dm-bridge m.direct backup 1"}',
     '{"format":"dm-bridge m.direct backup 1","user_id":"@a:b","before":"[]","after":"{}"}',
     '{"format":"dm-bridge m.direct backup 1","user_id":5,"before":"{}","after":"{}"}'],
)  # fmt: skip
async def test_a_file_that_is_no_backup_is_refused(person: Make, text: str) -> None:
    me = await person()
    Path("bad.json").write_text(text)
    result = await me.run("restore", "bad.json", "--yes")
    assert result.exit_code == 1
    assert "bad.json" in result.stderr
    assert (await me.run("restore", "none.json", "--yes")).exit_code == 1


async def test_nothing_is_written_without_a_yes(person: Make) -> None:
    me = await person()
    await me.client.set_m_direct({"@x:y": []})
    for text in ("n\n", "\n", ""):
        result = await me.run("audit", "--fix", text=text)
        assert result.exit_code == (3 if text else 1)
    assert await me.client.m_direct() == {"@x:y": []}
    assert backups() == []
    assert (await me.run("audit", "--fix", text="y\n")).exit_code == 0
    assert await me.client.m_direct() == {}


async def test_matters_of_judgement_are_asked_about_one_by_one(person: Make) -> None:
    me, bob = await person(), await person()
    rooms = await me.join_all(bob, 3)
    await me.client.set_m_direct({})
    result = await me.run("audit", "--fix", text="e\ny\nn\ny\ny\n")
    assert result.exit_code == 0, result.output
    after = await me.client.m_direct()
    assert after is not None
    assert len(set(after[bob.id]) & set(rooms)) == 2


async def test_an_existing_file_is_never_overwritten(person: Make) -> None:
    me = await person()
    await me.client.set_m_direct({"@x:y": []})
    Path("mine.json").write_text("precious")
    result = await me.run("audit", "--fix", "--yes", "--backup", "mine.json")
    assert result.exit_code == 1
    assert Path("mine.json").read_text() == "precious"
    assert await me.client.m_direct() == {"@x:y": []}


async def test_a_backup_that_cannot_be_written_stops_everything(person: Make) -> None:
    me = await person()
    await me.client.set_m_direct({"@x:y": []})
    result = await me.run("audit", "--fix", "--yes", "--backup", "no/such/folder/x.json")
    assert result.exit_code == 1
    assert await me.client.m_direct() == {"@x:y": []}


# -- a homeserver that misbehaves


class Proxy:
    """Passes everything on to Synapse, unless ``intercept`` answers."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.puts = 0
        self.reads = 0
        self.intercept: Callable[[web.Request], Awaitable[web.Response | None]] = self.nothing

    async def nothing(self, request: web.Request) -> web.Response | None:
        return None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/m.direct"):
            self.puts += request.method == "PUT"
            self.reads += request.method == "GET"
        if (answer := await self.intercept(request)) is not None:
            return answer
        token = request.headers.get("Authorization")
        headers = {} if token is None else {"Authorization": token}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                URL(self.target + request.raw_path, encoded=True),
                data=await request.read(),
                headers=headers,
            ) as response,
        ):
            return web.Response(
                status=response.status,
                body=await response.read(),
                content_type="application/json",
            )


@pytest_asyncio.fixture
async def proxy(synapse: Synapse) -> AsyncIterator[Proxy]:
    proxy = Proxy(synapse.url)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield proxy
    await runner.cleanup()


async def test_somebody_who_writes_meanwhile_is_not_overwritten(person: Make, proxy: Proxy) -> None:
    me, bob = await person(), await person()
    (chat,) = await me.join_all(bob, 1)
    await me.client.set_m_direct({bob.id: [chat], "@x:y": []})

    async def interfere(request: web.Request) -> web.Response | None:
        if request.path.endswith("/m.direct") and request.method == "GET" and proxy.reads == 2:
            await me.client.set_m_direct({bob.id: [chat], "@x:y": [], "@new:x": [], "n": 5})
        return None

    proxy.intercept = interfere
    result = await me.run("audit", "--fix", "--yes", "--only", "empty_list", url=proxy.url)
    assert result.exit_code == 0, result.output
    assert "Somebody else has just changed" in result.stdout
    assert await me.client.m_direct() == {bob.id: [chat], "n": 5}
    (backup,) = backups()
    assert json.loads(json.loads(backup.read_text())["before"])["n"] == 5
    assert proxy.puts == 1


async def test_after_a_read_that_failed_nothing_is_written(person: Make, proxy: Proxy) -> None:
    me = await person()
    await me.client.set_m_direct({"@x:y": []})
    for failing in (1, 2):
        for answer in (
            lambda: web.json_response({"errcode": "M_FORBIDDEN"}, status=403),
            lambda: web.Response(status=404, text="<html>no upstream</html>"),
        ):
            proxy.reads = 0

            async def fail(
                request: web.Request, failing: int = failing, answer: Any = answer
            ) -> web.Response | None:
                mine = request.path.endswith("/m.direct") and request.method == "GET"
                return answer() if mine and proxy.reads == failing else None

            proxy.intercept = fail
            result = await me.run("audit", "--fix", "--yes", url=proxy.url)
            assert result.exit_code == 1, result.output
            assert proxy.reads == failing
    assert proxy.puts == 0
    assert backups() == []
    assert await me.client.m_direct() == {"@x:y": []}


async def test_a_write_whose_answer_is_lost_is_verified_by_reading(
    person: Make, proxy: Proxy
) -> None:
    me = await person()
    await me.client.set_m_direct({"@x:y": []})

    async def lose(request: web.Request) -> web.Response | None:
        if request.method != "PUT":
            return None
        await me.client.set_m_direct(json.loads(await request.read()))
        return web.Response(status=502)

    proxy.intercept = lose
    result = await me.run("audit", "--fix", "--yes", url=proxy.url)
    assert result.exit_code == 0, result.output
    assert await me.client.m_direct() == {}


async def test_a_write_that_was_not_taken_is_an_error(person: Make, proxy: Proxy) -> None:
    me = await person()
    await me.client.set_m_direct({"@x:y": []})
    for answer in (
        lambda: web.json_response({"errcode": "M_TOO_LARGE", "error": "no"}, status=413),
        lambda: web.Response(status=502),
        lambda: web.json_response({}),
    ):

        async def refuse(request: web.Request, answer: Any = answer) -> web.Response | None:
            return answer() if request.method == "PUT" else None

        proxy.intercept = refuse
        result = await me.run("audit", "--fix", "--yes", url=proxy.url)
        assert result.exit_code == 1, result.output
        assert "as it was" in result.stderr or "Nothing was changed" in result.stderr


async def test_rooms_about_which_there_is_no_answer_are_unknown_and_keep_their_marks(
    person: Make, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dm_bridge.matrix.account_client.LOOKUP_DEADLINE", 0.3)
    me, bob = await person(), await person()
    left, forgotten = await me.join_all(bob, 2)
    for room in (left, forgotten):
        await me.client.leave(room)
    await me.client.request("POST", f"v3/rooms/{forgotten}/forget", {})
    before = {bob.id: [left, forgotten, "!none:x"]}
    await me.client.set_m_direct(before)

    async def fail(request: web.Request) -> web.Response | None:
        return web.Response(status=502) if "/rooms/" in request.path else None

    proxy.intercept = fail
    result = await me.run("audit", "--json", url=proxy.url)
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer == {"user": me.id, "findings": [], "unknown": sorted(before[bob.id])}
    assert "no clear answer" in (await me.run("audit", url=proxy.url)).stdout
    assert (await me.run("audit", "--fix", "--yes", url=proxy.url)).exit_code == 0
    assert await me.client.m_direct() == before


async def test_a_key_that_appears_twice_is_refused(person: Make, proxy: Proxy) -> None:
    me = await person()

    async def twice(request: web.Request) -> web.Response | None:
        if request.path.endswith("/m.direct") and request.method == "GET":
            return web.Response(text='{"@a:b": [], "@a:b": ["!x"]}')
        return None

    proxy.intercept = twice
    result = await me.run("audit", "--fix", "--yes", url=proxy.url)
    assert result.exit_code == 1
    assert "appears twice" in result.stderr
    assert proxy.puts == 0


# -- token and options


async def test_the_token_can_come_from_the_environment_or_standard_input(
    person: Make, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = await person()
    arguments = ("direct", "audit", "--homeserver", me.url)
    result = await asyncio.to_thread(command, *arguments)
    assert result.exit_code == 2
    assert "DM_BRIDGE_MATRIX_TOKEN" in result.stderr
    result = await asyncio.to_thread(
        lambda: command(*arguments, "--token-file", "-", text=me.token)
    )
    assert result.exit_code == 0, result.output
    monkeypatch.setenv("DM_BRIDGE_MATRIX_TOKEN", me.token)
    assert (await asyncio.to_thread(command, *arguments)).exit_code == 0


async def test_a_token_file_that_others_can_read_is_warned_about(person: Make) -> None:
    me = await person()
    assert (await me.run("audit")).stderr == ""
    me.token_file.chmod(0o644)
    assert "chmod 600" in (await me.run("audit")).stderr


@pytest.mark.parametrize("text", ["", "two words", "tök", "a\nb", "\x00"])
def test_what_is_no_token_is_said_and_not_shown(command: Any, text: str) -> None:
    Path("token").touch(mode=0o600)
    Path("token").write_text(text)
    result = command(
        "direct", "audit", "--homeserver", "http://127.0.0.1:1", "--token-file", "token"
    )
    assert result.exit_code == 1
    assert "two words" not in result.output


async def test_a_wrong_token_is_one_sentence(person: Make) -> None:
    me = await person()
    me.token_file.write_text("syt_wrong_token")
    result = await me.run("audit")
    assert result.exit_code == 1
    assert "does not accept this access token" in result.stderr
    assert "syt_wrong" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--only", "nonsense"),
        ("--only", ""),
        ("--json", "--fix"),
        ("--backup", "x.json"),
        ("--fix", "--token-file", "-"),
    ],
)
def test_wrong_usage_is_exit_code_2(command: Any, arguments: tuple[str, ...]) -> None:
    result = command("direct", "audit", "--homeserver", "http://127.0.0.1:1", *arguments)
    assert result.exit_code == 2


def test_the_lines_fit_and_the_help_names_every_option(command: Any) -> None:
    for name in ("audit", "restore"):
        result = command("direct", name, "--help")
        assert result.exit_code == 0
        assert "--token-file" in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 100
