"""The endpoint for pushes of m.direct: who may push, what is read, and what is answered."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.matrix.direct_push import (
    MAX_BODY,
    MAX_NAMES,
    PATH,
    BadPush,
    DirectPush,
    DirectPushEndpoint,
    PushAnswer,
    PushedDirect,
    parse_push,
)
from dm_bridge.matrix.intake import MAX_BODY as INTAKE_BODY
from dm_bridge.matrix.intake import matrix_errors

PUSH = {
    "instance": "master",
    "run": "r1",
    "epoch": "e",
    "gap": True,
    "missed": ["@m:example.org"],
    "dropped": 2,
    "updates": [{"seq": 7, "account": "@a:example.org", "age": 0.5, "content": '{"@b:c":["!é"]}'}],
}


class Endpoint:
    """A running endpoint. ``answer``: what `DirectPushEndpoint` is told to answer."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.url = ""
        self.pushes: list[DirectPush] = []
        self.answer: PushAnswer | None = PushAnswer("e2", ())

    def receive(self, push: DirectPush) -> PushAnswer | None:
        self.pushes.append(push)
        return self.answer

    async def post(
        self, body: bytes | str, authorization: str | None = "Bearer right"
    ) -> tuple[int, Any]:
        data = body.encode() if isinstance(body, str) else body
        headers = {} if authorization is None else {"Authorization": authorization}
        async with self.session.post(self.url, data=io.BytesIO(data), headers=headers) as response:
            return response.status, await response.json()


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with aiohttp.ClientSession() as session:
        endpoint = Endpoint(session)
        app = web.Application(client_max_size=INTAKE_BODY, middlewares=[matrix_errors])
        DirectPushEndpoint("right", endpoint.receive).add_routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
        yield endpoint
        await runner.cleanup()


async def test_a_push_is_handed_over_and_the_answer_names_those_who_are_not_kept(
    endpoint: Endpoint,
) -> None:
    push = parse_push(json.dumps(PUSH).encode())
    assert push.updates == (
        PushedDirect(7, push.updates[0].account, 0.5, '{"@b:c":["!é"]}'.encode()),
    )
    account = push.updates[0].account
    endpoint.answer = PushAnswer("e2", (account,), (account,))
    answer = await endpoint.post(json.dumps(PUSH))
    assert answer == (200, {"epoch": "e2", "not_kept": [account], "kept": [account]})
    assert endpoint.pushes == [push]
    assert (push.gap, push.missed, push.dropped) == (True, ("@m:example.org",), 2)


@pytest.mark.parametrize(
    ("authorization", "status", "errcode"),
    [
        (None, 401, "M_UNAUTHORIZED"),
        ("", 401, "M_UNAUTHORIZED"),
        ("Basic right", 401, "M_UNAUTHORIZED"),
        ("Bearer ", 401, "M_UNAUTHORIZED"),
        ("Bearer wrong", 403, "M_FORBIDDEN"),
        ("Bearer right ", 200, None),  # HTTP strips it
        ("Bearer rightx", 403, "M_FORBIDDEN"),
        ("Bearer r\u00efght", 403, "M_FORBIDDEN"),
        ("bearer right", 200, None),
    ],
)
async def test_only_the_homeserver_may_push(
    endpoint: Endpoint, authorization: str | None, status: int, errcode: str | None
) -> None:
    answer = await endpoint.post(json.dumps(PUSH), authorization)
    assert (answer[0], answer[1].get("errcode")) == (status, errcode)
    assert len(endpoint.pushes) == (1 if status == 200 else 0)


async def test_a_push_before_the_bridge_has_begun_is_to_be_repeated(endpoint: Endpoint) -> None:
    endpoint.answer = None
    status, answer = await endpoint.post(json.dumps(PUSH))
    assert (status, answer["errcode"]) == (503, "M_UNKNOWN")


async def test_a_body_that_is_too_large_is_refused(endpoint: Endpoint) -> None:
    status, answer = await endpoint.post(
        json.dumps({**PUSH, "more": ["x" * 1000] * (MAX_BODY // 1000)})
    )
    assert (status, answer["errcode"]) == (413, "M_TOO_LARGE")
    assert endpoint.pushes == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"updates": None}, "must be lists"),
        ({"updates": {}}, "must be lists"),
        ({"missed": "x"}, "must be lists"),
        ({"missed": ["@a:b"] * (MAX_NAMES + 1)}, "at most"),
        ({"missed": [5]}, "user id"),
        ({"missed": ["@" + "é" * 128]}, "user id"),
        ({"missed": ["@a\0:b"]}, "user id"),
        ({"instance": ""}, "short text"),
        ({"run": 5}, "short text"),
        ({"epoch": "x" * 256}, "short text"),
        ({"dropped": -1}, "whole numbers"),
        ({"dropped": True}, "whole numbers"),
        ({"updates": [5]}, "an object"),
        ({"updates": [{"seq": 1.5, "account": "@a:b", "content": "{}"}]}, "whole numbers"),
        ({"updates": [{"seq": 1, "account": "a:b", "content": "{}"}]}, "user id"),
        ({"updates": [{"seq": 1, "account": "@a:b", "content": {}}]}, "JSON text"),
        ({"updates": [{"seq": 1, "account": "@a:b", "content": "{}", "age": -1}]}, "seconds"),
        ({"updates": [{"seq": 1, "account": "@a:b", "content": "{}", "age": "1"}]}, "seconds"),
    ],
)
async def test_a_body_that_is_no_push_is_refused_with_the_reason(
    endpoint: Endpoint, change: dict[str, Any], complaint: str
) -> None:
    status, answer = await endpoint.post(json.dumps({**PUSH, **change}))
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")
    assert complaint in answer["error"]
    assert endpoint.pushes == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b'"\\ud800"', b"[" * 100_000, b"9" * 10_000],
)
async def test_what_is_not_json_is_refused(endpoint: Endpoint, body: bytes) -> None:
    status, answer = await endpoint.post(body)
    assert status == 400
    assert answer["errcode"] in ("M_NOT_JSON", "M_BAD_JSON")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries({}, optional={key: st.just(value) | JSON for key, value in PUSH.items()})
    | JSON
)
def test_any_json_is_a_push_or_is_refused(value: Any) -> None:
    body = json.dumps(value).encode()
    with contextlib.suppress(BadPush):
        assert isinstance(parse_push(body), DirectPush)
