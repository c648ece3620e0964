"""The client-server API as we call it: what is repeated, what never is, and what is said."""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import partial
from pathlib import Path as File
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from mautrix.api import Path

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix import homeserver as module
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.testing.processes import free_port

from .scripted import Script

GHOST = UserId("@xmpp_a/b+c=40d:example.org")
ROOM = RoomId("!room:example.org")
BUSY = (502, {"errcode": "M_UNKNOWN", "error": "bad gateway"})
LIMITED = (429, {"errcode": "M_LIMIT_EXCEEDED", "error": "slow down", "retry_after_ms": 300})


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats come at once; the script says how often they come."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    shim = SimpleNamespace(sleep=sleep, timeout=asyncio.timeout)
    monkeypatch.setattr(module, "asyncio", shim)


async def test_a_request_says_who_we_are_and_whom_we_act_for(script: Script) -> None:
    script.answers = [(200, {"event_id": "$sent"})]
    sent = await script.homeserver.send(
        ROOM, "m.room.message", {"body": "ü"}, "txn/1", user=GHOST, timestamp=1.5
    )
    assert sent == "$sent"
    (seen,) = script.seen
    assert seen.method == "PUT"
    assert seen.path == "/_matrix/client/v3/rooms/%21room%3Aexample.org/send/m.room.message/txn%2F1"
    assert seen.query == {"user_id": GHOST, "ts": "1500"}
    assert seen.headers["Authorization"] == "Bearer as-token"
    assert seen.body == '{"body":"ü"}'.encode()


async def test_without_a_user_we_act_for_nobody(script: Script) -> None:
    script.answers = [(200, {"user_id": "@bot:example.org"})]
    assert await script.homeserver.whoami() == "@bot:example.org"
    assert script.seen[0].query == {}
    assert script.seen[0].body == b""


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "passing",
    [
        BUSY,
        (500, {"errcode": "M_UNKNOWN"}),
        (504, {}),
        web.Response(status=503, text="<html>down for maintenance</html>"),
        web.Response(status=200, text="<html>hello from the proxy</html>"),
        web.Response(status=200, text="[]"),
        web.Response(status=200, text=""),
        LIMITED,
    ],
    ids=["502", "500", "504", "html 503", "html 200", "list", "empty", "429"],
)
async def test_a_repeatable_request_is_repeated_after_trouble_that_may_pass(
    script: Script, method: str, passing: object
) -> None:
    if isinstance(passing, web.Response):
        status, text = passing.status, passing.text

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text=text)

        script.answers = [answer, answer, (200, {"fine": True})]
    else:
        assert isinstance(passing, tuple)
        script.answers = [passing, passing, (200, {"fine": True})]
    assert await script.homeserver.request(method, Path.v3.x, body={}) == {"fine": True}
    assert len(script.seen) == 3
    assert len({seen.body for seen in script.seen}) == 1


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("answer", [BUSY, (500, {}), (200, [])], ids=["502", "500", "list"])
async def test_a_post_that_may_have_had_an_effect_is_not_repeated(
    script: Script, answer: tuple[int, object]
) -> None:
    script.answers = [answer, (200, {})]
    with pytest.raises(HomeserverError) as caught:
        await script.homeserver.request("POST", Path.v3.createRoom)
    assert not caught.value.certain
    assert len(script.seen) == 1


@pytest.mark.usefixtures("no_pauses")
async def test_a_post_that_was_not_accepted_is_repeated(script: Script) -> None:
    script.answers = [LIMITED, LIMITED, (200, {"room_id": "!new"})]
    answer = await script.homeserver.request("POST", Path.v3.createRoom)
    assert answer == {"room_id": "!new"}
    assert len(script.seen) == 3


async def test_a_post_is_repeated_when_nobody_listened(script: Script) -> None:
    port = free_port()

    async def listen_later() -> web.BaseRunner:
        await asyncio.sleep(0.3)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", script.handle)
        late = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await late.setup()
        await web.TCPSite(late, "127.0.0.1", port).start()
        return late

    late = asyncio.create_task(listen_later())
    async with aiohttp.ClientSession() as session:
        homeserver = Homeserver(f"http://127.0.0.1:{port}", "t", session)
        assert await homeserver.request("POST", Path.v3.createRoom) == {}
    assert len(script.seen) == 1
    await (await late).cleanup()


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize(
    ("status", "errcode"),
    [
        (400, "M_BAD_JSON"),
        (401, "M_UNKNOWN_TOKEN"),
        (403, "M_FORBIDDEN"),
        (404, "M_NOT_FOUND"),
        (413, "M_TOO_LARGE"),
    ],
)
async def test_a_refusal_is_final(script: Script, method: str, status: int, errcode: str) -> None:
    script.answers = [(status, {"errcode": errcode, "error": "because"}), (200, {})]
    with pytest.raises(HomeserverError, match="because") as caught:
        await script.homeserver.request(method, Path.v3.x)
    error = caught.value
    assert (error.status, error.errcode, error.certain, error.retry_after) == (
        status, errcode, True, None,
    )  # fmt: skip
    assert len(script.seen) == 1


async def test_one_limited_request_delays_every_other(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.answers = [LIMITED, (200, {})]
    budget, limited_ = script.homeserver.budget, asyncio.Event()
    limit = budget.limited

    def is_limited(seconds: float) -> None:
        limit(seconds)
        limited_.set()

    monkeypatch.setattr(budget, "limited", is_limited)
    first = asyncio.create_task(script.homeserver.request("GET", Path.v3.first))
    await limited_.wait()
    await script.homeserver.request("GET", Path.v3.second)
    await first
    limited, *others = script.seen
    assert len(others) == 2
    assert all(later.at - limited.at >= 0.29 for later in others)


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"retry_after_ms": 1500}, {}, 1.5),
        ({}, {"Retry-After": "7"}, 7),
        ({"retry_after_ms": 2000}, {"Retry-After": "7"}, 2),
        ({"retry_after_ms": "soon"}, {"Retry-After": "tomorrow"}, 1),
        ({"retry_after_ms": -5}, {"Retry-After": "-5"}, 0),
        ({"retry_after_ms": None}, {}, 1),
        ({"retry_after_ms": 10**12}, {}, 3600),
        ({}, {"Retry-After": "99999999"}, 3600),
        ([], {"Retry-After": "2"}, 2),
    ],
)
async def test_the_pause_that_is_asked_for_is_understood(
    script: Script, body: object, headers: dict[str, str], seconds: float
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=429, headers=headers)

    script.answers = [answer]
    with pytest.raises(HomeserverError) as caught:
        await script.homeserver.request("POST", Path.v3.x, deadline=0.1)
    assert caught.value.retry_after == seconds


async def test_trouble_that_does_not_pass_ends_at_the_deadline(script: Script) -> None:
    script.answers = [BUSY]
    started = time.monotonic()
    with pytest.raises(HomeserverError, match="502") as caught:
        await script.homeserver.request("GET", Path.v3.x, deadline=2)
    assert time.monotonic() - started < 20
    assert len(script.seen) >= 2
    assert caught.value.retry_after is not None


async def test_an_answer_that_never_comes_ends_at_the_deadline(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        running[-1].reschedule(asyncio.get_running_loop().time())  # it is over once this is here
        await asyncio.sleep(10)
        raise AssertionError

    running: list[asyncio.Timeout] = []

    def timeout(seconds: float) -> asyncio.Timeout:
        assert seconds == 0.2
        running.append(asyncio.timeout(60))
        return running[-1]

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=asyncio.sleep, timeout=timeout))
    script.answers = [never]
    for method, attempts in (("POST", 1), ("PUT", 2)):
        script.seen.clear()
        with pytest.raises(HomeserverError, match="did not answer") as caught:
            await script.homeserver.request(method, Path.v3.x, deadline=2.5, attempt_deadline=0.2)
        assert not caught.value.certain
        assert caught.value.retry_after is not None
        assert len(script.seen) >= attempts
        if method == "POST":
            assert len(script.seen) == 1


async def test_a_connection_that_breaks_off_is_uncertain(script: Script) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    script.answers = [cut]
    with pytest.raises(HomeserverError, match="did not answer") as caught:
        await script.homeserver.request("POST", Path.v3.x)
    assert (caught.value.status, caught.value.certain) == (0, False)


async def test_nothing_is_sent_twice_behind_our_back(script: Script) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.json_response({})

    script.answers = [(200, {"event_id": "$first"}), hang_up, (200, {"event_id": "$again"})]
    send = partial(script.homeserver.send, ROOM, "m.room.message", {}, user=GHOST)
    assert await send("one") == "$first"  # and its connection is used again
    with pytest.raises(HomeserverError) as caught:
        await send("two", repeat_unsure=False)
    assert not caught.value.certain
    assert [seen.path[-3:] for seen in script.seen] == ["one", "two"]


async def test_who_wants_to_know_is_told_that_the_homeserver_is_gone() -> None:
    told: list[int] = []
    async with homeserver_session() as session:
        gone = Homeserver(f"http://127.0.0.1:{free_port()}", "t", session, lambda: told.append(1))
        with pytest.raises(HomeserverError):
            await gone.request("GET", Path.v3.sync, deadline=0)
    assert told == [1]


async def test_a_homeserver_that_is_not_there_is_named(script: Script) -> None:
    async with aiohttp.ClientSession() as session:
        homeserver = Homeserver(f"http://127.0.0.1:{free_port()}", "secret-token", session)
        with pytest.raises(HomeserverError, match=r"127\.0\.0\.1.*homeserver\.url") as caught:
            await homeserver.request("GET", Path.v3.x, deadline=0.5)
    assert (caught.value.status, caught.value.certain) == (0, True)
    assert "secret-token" not in str(caught.value)


async def test_a_homeserver_whose_name_does_not_exist_is_named() -> None:
    async with aiohttp.ClientSession() as session:
        homeserver = Homeserver("http://nowhere.invalid", "t", session)
        with pytest.raises(HomeserverError, match=r"nowhere\.invalid"):
            await homeserver.request("GET", Path.v3.x, deadline=0.5)


async def test_a_certificate_that_is_not_trusted_is_said_so(
    tmp_path: File, certificate: tuple[File, File]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    runner = web.AppRunner(web.Application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    async with aiohttp.ClientSession() as session:
        homeserver = Homeserver(f"https://127.0.0.1:{runner.addresses[0][1]}", "t", session)
        with pytest.raises(HomeserverError, match="certificate"):
            await homeserver.request("GET", Path.v3.x, deadline=0.5)
    await runner.cleanup()


@pytest.fixture
def certificate(tmp_path: File) -> tuple[File, File]:
    """A self-signed certificate and its key."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


async def test_an_answer_with_lone_surrogates_or_endless_numbers_is_still_an_answer(
    script: Script,
) -> None:
    raw = b'{"@a:b": ["\\ud800"], "n": ' + b"9" * 400 + b"}"

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=raw, content_type="application/json")

    script.answers = [answer]
    assert await script.homeserver.request_raw("GET", Path.v3.x, deadline=1) == raw
    assert (await script.homeserver.request("GET", Path.v3.x, deadline=1))["n"] == int("9" * 400)


async def test_members_are_those_who_are_in_the_room_or_invited(script: Script) -> None:
    def member(user: str, **content: object) -> dict[str, object]:
        return {"type": "m.room.member", "state_key": user, "content": content}

    chunk = [
        member("@in:x", membership="join"),
        member("@asked:x", membership="invite", is_direct=True),
        member("@gone:x", membership="leave"),
        member("@banned:x", membership="ban"),
        member("@odd:x"),
        member("@odder:x", membership=7),
    ]
    script.answers = [(200, {"chunk": chunk})]
    members = await script.homeserver.members(ROOM, user=GHOST)
    assert members == {"@in:x": "join", "@asked:x": "invite"}


async def test_what_is_used_often_asks_as_the_specification_says(script: Script) -> None:
    script.answers = [(200, {"event_id": "$e"})]
    homeserver = script.homeserver
    await homeserver.set_state(ROOM, "m.room.member", "@a/b:x", {"membership": "join"}, user=GHOST)
    await homeserver.redact(ROOM, EventId("$r/1"), "txn", "why", user=GHOST)
    await homeserver.join(ROOM, user=GHOST)
    await homeserver.leave(ROOM, user=GHOST, reason="bye")
    await homeserver.leave(ROOM, user=GHOST)
    room = "/_matrix/client/v3/rooms/%21room%3Aexample.org"
    assert [(seen.method, seen.path, seen.body) for seen in script.seen] == [
        ("PUT", f"{room}/state/m.room.member/%40a%2Fb%3Ax", b'{"membership":"join"}'),
        ("PUT", f"{room}/redact/%24r%2F1/txn", b'{"reason":"why"}'),
        ("POST", f"{room}/join", b"{}"),
        ("POST", f"{room}/leave", b'{"reason":"bye"}'),
        ("POST", f"{room}/leave", b"{}"),
    ]
    assert {seen.query["user_id"] for seen in script.seen} == {GHOST}


async def test_the_state_of_a_room_is_an_array(script: Script) -> None:
    script.answers = [(200, [{"type": "m.room.create"}])]
    assert await script.homeserver.room_state(ROOM, user=GHOST) == [{"type": "m.room.create"}]
    assert script.seen[0].query == {"user_id": GHOST}


async def test_a_state_that_does_not_come_in_time_may_come_later(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    monkeypatch.setattr(module, "ATTEMPT_DEADLINE", 0.05)
    script.answers = [never]
    with pytest.raises(HomeserverError) as caught:
        await script.homeserver.room_state(ROOM, user=GHOST)
    assert caught.value.retry_after is not None


@pytest.mark.parametrize(
    ("answer", "status", "passes"),
    [
        ((403, {"errcode": "M_FORBIDDEN", "error": "not in the room"}), 403, False),
        ((200, {}), 0, True),
        (BUSY, 502, True),
    ],
    ids=["refused", "no array", "busy"],
)
async def test_a_state_that_cannot_be_had_says_whether_that_may_pass(
    script: Script, answer: tuple[int, object], status: int, passes: bool
) -> None:
    script.answers = [answer]
    with pytest.raises(HomeserverError) as caught:
        await script.homeserver.room_state(ROOM, user=GHOST)
    assert caught.value.status == status
    assert (caught.value.retry_after is not None) is passes
