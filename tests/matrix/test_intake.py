"""The application service endpoint, over a real socket."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from dm_bridge.errors import StorageError
from dm_bridge.ids import UserId
from dm_bridge.matrix import intake as intake_module
from dm_bridge.matrix.intake import MAX_BODY, Intake, matrix_errors
from dm_bridge.matrix.transactions import PushedEvent
from dm_bridge.ops.logging import configure_logging
from tests.logs import logging_put_back

TOKEN = "hs-tökén"  # not ASCII, as nothing forbids
PATH = "/_matrix/app/v1/transactions/1"
EVENT = {
    "event_id": "$event",
    "room_id": "!room",
    "sender": "@juliet:example.org",
    "type": "m.room.message",
    "content": {},
}


class Endpoint:
    """A running endpoint, and what reached it."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.asked_for: list[str] = []
        self.trouble: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.pings: list[str] = []
        self.intake = Intake(TOKEN, self.accept, self.user_exists, {"xmpp": "XMPP"}, self.pinged)
        self.url = ""
        self.session: aiohttp.ClientSession

    async def accept(self, events: Sequence[PushedEvent]) -> None:
        self.arrived.set()
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        self.accepted += [event.id for event in events]

    async def pinged(self, transaction: str) -> None:
        self.pings.append(transaction)

    async def user_exists(self, user: UserId) -> bool:
        self.asked_for.append(user)
        if self.trouble is not None:
            raise self.trouble
        return user.startswith("@xmpp_")

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, object] | list[object]]:
        """A request with the token in the header; the status, and the answer's JSON."""
        sent = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.session.request(
            method, self.url + path, data=body and io.BytesIO(body), headers=sent | (headers or {})
        ) as answer:
            assert answer.content_type == "application/json"
            content: dict[str, object] | list[object] = await answer.json()
            return answer.status, content

    async def put(self, *events: object, path: str = PATH) -> tuple[int, object]:
        return await self.request("PUT", path, json.dumps({"events": events}).encode())


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """What a bridge would log, at the level debug."""
    stream = io.StringIO()
    with logging_put_back():
        configure_logging("debug", "text", stream=stream)
        yield stream


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application(client_max_size=MAX_BODY, middlewares=[matrix_errors])
    endpoint.intake.add_routes(app)

    async def broken(request: web.Request) -> web.Response:
        raise RuntimeError("a bug, with details")

    app.router.add_get("/broken", broken)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        endpoint.session = session
        yield endpoint
    await runner.cleanup()


# -- who is let in


@pytest.mark.parametrize(
    ("token", "query", "status", "errcode"),
    [
        (None, "", 401, "M_UNAUTHORIZED"),
        ("wrong", "", 403, "M_FORBIDDEN"),
        ("", "", 403, "M_FORBIDDEN"),
        (TOKEN + "x", "", 403, "M_FORBIDDEN"),
        (TOKEN[:-1], "", 403, "M_FORBIDDEN"),
        ("hs-t\u00f6k\u00e9m", "", 403, "M_FORBIDDEN"),
        (None, f"?access_token={quote(TOKEN)}", 403, "M_FORBIDDEN"),
        (None, "?access_token=", 403, "M_FORBIDDEN"),
        (TOKEN, "?access_token=wrong", 403, "M_FORBIDDEN"),
        (TOKEN, "?access_token=%ed%a0%80%ff", 403, "M_FORBIDDEN"),
        (TOKEN, f"?access_token={quote(TOKEN)}&access_token=wrong", 403, "M_FORBIDDEN"),
        ("wrong", f"?access_token={quote(TOKEN)}", 403, "M_FORBIDDEN"),
    ],
)
async def test_without_the_right_token_nobody_gets_in(
    endpoint: Endpoint, token: str | None, query: str, status: int, errcode: str
) -> None:
    body = json.dumps({"events": [EVENT]}).encode()
    answer = await endpoint.request("PUT", PATH + query, body, token=token)
    assert answer[0] == status
    assert isinstance(answer[1], dict)
    assert answer[1]["errcode"] == errcode
    assert endpoint.accepted == []


@pytest.mark.parametrize("query", ["", f"?access_token={quote(TOKEN)}"])
async def test_with_the_right_token_events_get_in(endpoint: Endpoint, query: str) -> None:
    assert await endpoint.put(EVENT, path=PATH + query) == (200, {})
    assert endpoint.accepted == ["$event"]


@pytest.mark.parametrize("scheme", ["Basic", "", "Token"])
async def test_another_scheme_is_refused(endpoint: Endpoint, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}".strip()}
    status, _ = await endpoint.request("PUT", PATH, b"{}", token=None, headers=headers)
    assert status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/transactions/1"),
        ("GET", "/_matrix/app/v1/users/@a:b"),
        ("GET", "/users/@a:b"),
        ("GET", "/_matrix/app/v1/rooms/%23a:b"),
        ("GET", "/rooms/%23a:b"),
        ("POST", "/_matrix/app/v1/ping"),
        ("GET", "/_matrix/app/v1/thirdparty/protocol/xmpp"),
        ("GET", "/_matrix/app/v1/thirdparty/user"),
        ("GET", "/_matrix/app/unstable/thirdparty/location/xmpp"),
    ],
)
async def test_every_path_asks_for_the_token(endpoint: Endpoint, method: str, path: str) -> None:
    assert (await endpoint.request(method, path, token=None))[0] == 401
    assert (await endpoint.request(method, path, token="wrong"))[0] == 403
    assert endpoint.asked_for == []


async def test_a_body_is_not_even_read_for_a_stranger(endpoint: Endpoint) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(endpoint.url.rpartition(":")[2])
    )
    writer.write(
        f"PUT {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\nContent-Length: 9\r\n\r\n".encode()
    )
    status = await asyncio.wait_for(reader.readline(), 60)
    assert b" 403 " in status
    writer.close()


# -- transactions


async def test_the_answer_waits_until_the_events_are_accepted(endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    answer = asyncio.create_task(endpoint.put(EVENT))
    await asyncio.wait_for(endpoint.arrived.wait(), 60)
    done, _ = await asyncio.wait([answer], timeout=0.2)
    assert not done
    endpoint.gate.set()
    assert await answer == (200, {})


async def test_events_that_cannot_be_stored_are_to_be_sent_again(endpoint: Endpoint) -> None:
    endpoint.trouble = StorageError("The password of the database is hunter2.")
    status, content = await endpoint.put(EVENT)
    assert status == 503
    assert "hunter2" not in str(content)
    endpoint.trouble = None
    assert (await endpoint.put(EVENT))[0] == 200


async def test_a_bug_of_ours_is_never_answered_with_200_nor_with_a_traceback(
    endpoint: Endpoint,
) -> None:
    endpoint.trouble = KeyError("some detail")
    status, content = await endpoint.put(EVENT)
    assert status == 500
    assert "detail" not in str(content)
    status, content = await endpoint.request("GET", "/broken")
    assert (status, "details" in str(content)) == (500, False)


@pytest.mark.parametrize(
    ("body", "errcode"),
    [(b"[]", "M_BAD_JSON"), (b"{}", "M_BAD_JSON"), (b"", "M_NOT_JSON"), (b"\xff", "M_NOT_JSON")],
)
async def test_what_is_no_transaction_is_refused(
    endpoint: Endpoint, body: bytes, errcode: str
) -> None:
    status, content = await endpoint.request("PUT", PATH, body)
    assert status == 400
    assert isinstance(content, dict)
    assert content["errcode"] == errcode


async def test_a_body_that_is_not_encoded_as_it_says_is_no_json(
    endpoint: Endpoint, heard: io.StringIO
) -> None:
    for path in (PATH, "/transactions/1"):
        status, content = await endpoint.request(
            "PUT", path, b'{"events": []}', headers={"Content-Encoding": "gzip"}
        )
        assert status == 400
        assert isinstance(content, dict)
        assert content["errcode"] == "M_NOT_JSON"
    body = gzip.compress(json.dumps({"events": [EVENT]}).encode())
    answer = await endpoint.request("PUT", PATH, body, headers={"Content-Encoding": "gzip"})
    assert answer[0] == 200
    assert " debug " in heard.getvalue()
    assert not re.search("warning|error|Traceback", heard.getvalue())


@pytest.mark.parametrize("let_in", [True, False])
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: -5\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        b"no header\r\n\r\n",
        b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_line_for_who_looks_closely(
    endpoint: Endpoint, heard: io.StringIO, rest: bytes, let_in: bool
) -> None:
    token = TOKEN.encode() if let_in else b"no"
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(endpoint.url.rpartition(":")[2])
    )
    writer.write(f"PUT {PATH} HTTP/1.1\r\nHost: x\r\n".encode())
    writer.write(b"Authorization: Bearer " + token + b"\r\n" + rest)
    status = await asyncio.wait_for(reader.readline(), 60)
    writer.close()
    assert b" 400 " in status or (not let_in and b" 403 " in status)
    assert (await endpoint.put(EVENT))[0] == 200
    lines = [line for line in heard.getvalue().splitlines() if "wrong hs_token" not in line]
    assert len(lines) <= 1
    assert all("debug" in line and len(line) < 150 for line in lines)


async def test_an_odd_event_does_not_hold_up_the_others(endpoint: Endpoint) -> None:
    assert (await endpoint.put({**EVENT, "event_id": None}, EVENT, {}))[0] == 200
    assert endpoint.accepted == ["$event"]


async def test_the_same_transaction_twice_at_once_reaches_the_store_twice(
    endpoint: Endpoint,
) -> None:
    endpoint.gate.clear()
    answers = [asyncio.create_task(endpoint.put(EVENT)) for _ in range(2)]
    await asyncio.sleep(0.1)
    endpoint.gate.set()
    assert await asyncio.gather(*answers) == [(200, {})] * 2
    assert endpoint.accepted == ["$event"] * 2


async def test_a_reused_transaction_id_with_new_events_is_no_repetition(endpoint: Endpoint) -> None:
    await endpoint.put(EVENT)
    await endpoint.put({**EVENT, "event_id": "$new"})
    assert endpoint.accepted == ["$event", "$new"]


async def test_nothing_to_store_is_no_work(endpoint: Endpoint) -> None:
    endpoint.trouble = StorageError("The database is away.")
    assert await endpoint.put() == (200, {})


def padded(size: int) -> bytes:
    body = json.dumps({"events": [EVENT], "padding": ""}).encode()
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


async def test_sixteen_mebibytes_are_taken_and_one_byte_more_is_not(endpoint: Endpoint) -> None:
    assert (await endpoint.request("PUT", PATH, padded(MAX_BODY)))[0] == 200
    status, content = await endpoint.request("PUT", PATH, padded(MAX_BODY + 1))
    assert status == 413
    assert isinstance(content, dict)
    assert content["errcode"] == "M_TOO_LARGE"
    assert endpoint.accepted == ["$event"]


async def test_a_body_that_trickles_in_has_a_deadline(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "BODY_DEADLINE", 0.2)

    async def trickle() -> AsyncIterator[bytes]:
        yield b'{"events": ['
        await asyncio.sleep(60)
        yield b"]}"

    started = asyncio.get_running_loop().time()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with endpoint.session.put(endpoint.url + PATH, data=trickle(), headers=headers) as answer:
        assert answer.status == 408
        assert (await answer.json())["errcode"] == "M_UNKNOWN"
    assert asyncio.get_running_loop().time() - started < 20
    assert endpoint.accepted == []


async def test_a_client_that_goes_away_mid_body_harms_nobody(
    endpoint: Endpoint, heard: io.StringIO
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(endpoint.url.rpartition(":")[2]))
    authorization = f"Authorization: Bearer {TOKEN}\r\n".encode()
    writer.write(f"PUT {PATH} HTTP/1.1\r\nHost: x\r\n".encode() + authorization)
    writer.write(b'Content-Length: 1000\r\n\r\n{"events": [')
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()
    assert (await endpoint.put(EVENT))[0] == 200
    assert heard.getvalue() == ""


# -- the other endpoints


@pytest.mark.parametrize("prefix", ["/_matrix/app/v1", ""])
async def test_current_and_legacy_paths_do_the_same(endpoint: Endpoint, prefix: str) -> None:
    assert (await endpoint.put(EVENT, path=f"{prefix}/transactions/abc"))[0] == 200
    assert await endpoint.request("GET", f"{prefix}/users/@xmpp_a:b") == (200, {})
    status, content = await endpoint.request("GET", f"{prefix}/users/@other:b")
    assert isinstance(content, dict)
    assert (status, content["errcode"]) == (404, "M_NOT_FOUND")
    status, content = await endpoint.request("GET", f"{prefix}/rooms/%23alias:b")
    assert isinstance(content, dict)
    assert (status, content["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    "user",
    [
        "@xmpp_romeo=40example.net:example.org",
        "@xmpp_a/b+c%d:example.org",
        "@xmpp_ü:x",
        "@xmpp_\0:x",
    ],
)
async def test_a_user_id_arrives_as_it_was_before_it_was_quoted(
    endpoint: Endpoint, user: str
) -> None:
    assert (await endpoint.request("GET", f"/_matrix/app/v1/users/{quote(user, safe='')}"))[
        0
    ] == 200
    assert endpoint.asked_for == [user]


async def test_a_user_who_cannot_be_looked_up_now_is_neither_there_nor_absent(
    endpoint: Endpoint,
) -> None:
    endpoint.trouble = StorageError("The database is away.")
    assert (await endpoint.request("GET", "/users/@xmpp_a:b"))[0] == 503


async def test_a_ping_is_answered(endpoint: Endpoint) -> None:
    answer = await endpoint.request("POST", "/_matrix/app/v1/ping", b'{"transaction_id": "x"}')
    assert answer == (200, {})


async def test_whoever_waits_for_a_ping_is_told_of_it(endpoint: Endpoint) -> None:
    ping = "/_matrix/app/v1/ping"
    await endpoint.request("POST", ping, b'{"transaction_id": "stranger"}', token="wrong")
    await endpoint.request("POST", ping, b'{"transaction_id": "first"}')
    assert endpoint.pings == ["first"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"transaction_id": 1}', b"[" * 10_000, b"\xff"]
)
async def test_a_ping_without_an_id_is_answered_too(endpoint: Endpoint, body: bytes) -> None:
    assert await endpoint.request("POST", "/_matrix/app/v1/ping", body) == (200, {})


@pytest.mark.parametrize("version", ["v1", "unstable"])
async def test_third_party_lookups_answer_honestly(endpoint: Endpoint, version: str) -> None:
    prefix = f"/_matrix/app/{version}/thirdparty"
    status, protocol = await endpoint.request("GET", f"{prefix}/protocol/xmpp")
    assert status == 200
    assert isinstance(protocol, dict)
    assert set(protocol) == {"user_fields", "location_fields", "icon", "field_types", "instances"}
    for kind in ("user", "location"):
        assert await endpoint.request("GET", f"{prefix}/{kind}/xmpp") == (200, [])
        assert await endpoint.request("GET", f"{prefix}/{kind}?userid=@a:b") == (200, [])
        assert (await endpoint.request("GET", f"{prefix}/{kind}/irc"))[0] == 404
    assert (await endpoint.request("GET", f"{prefix}/protocol/irc"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/_matrix/app/v1/nothing", 404),
        ("PUT", "/_matrix/app/v1/transactions/", 404),
        ("PUT", "/_matrix/app/v1/transactions/a/b", 404),
        ("POST", PATH, 405),
        ("GET", PATH, 405),
        ("GET", "/_matrix/app/v1/ping", 405),
    ],
)
async def test_unknown_paths_and_methods_are_answered_in_matrix_form(
    endpoint: Endpoint, method: str, path: str, status: int
) -> None:
    answer = await endpoint.request(method, path)
    assert answer[0] == status
    assert isinstance(answer[1], dict)
    assert answer[1]["errcode"] == "M_UNRECOGNIZED"
