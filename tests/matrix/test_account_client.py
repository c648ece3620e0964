"""An account through its own token: what is asked, and what is made of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_asyncio
from aiohttp import web

from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.facts import Membership, RoomFacts
from dm_bridge.direct.room_state import facts_of_state, facts_of_sync, state_of_events
from dm_bridge.errors import HomeserverError, UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix import account_client as module
from dm_bridge.matrix.account_client import AccountClient, open_account
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.synapse import Synapse

from .scripted import Script

ME, BOB, CAROL = UserId("@me:here"), UserId("@bob:here"), UserId("@carol:here")
GONE = (403, {"errcode": "M_FORBIDDEN", "error": "not in room"})
MISSING = (404, {"errcode": "M_NOT_FOUND", "error": "no such event"})

Answers = Mapping[str, Any]


def answering(script: Script, answers: Answers) -> None:
    """Answers by the longest matching end of the path; ``(status, body)``, a body, or text."""
    standard: dict[str, Any] = {
        "/versions": {"versions": ["v1.11"]},
        "/account/whoami": {"user_id": ME},
        "/joined_rooms": {"joined_rooms": []},
        "/sync": {"next_batch": "s"},
    }

    async def handle(request: web.Request) -> web.StreamResponse:
        path = unquote(request.raw_path.partition("?")[0])
        known = {**standard, **answers}
        for end in sorted(known, key=len, reverse=True):
            if path.endswith(end):
                answer = known[end]
                break
        else:
            answer = GONE
        if isinstance(answer, str):
            return web.Response(text=answer)
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return web.json_response(body, status=status)

    script.answers = [handle]


@pytest_asyncio.fixture
async def account(script: Script) -> AsyncIterator[AccountClient]:
    answering(script, {})
    async with open_account(script.url, "secret-token") as client:
        yield client


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are not waited for."""
    monkeypatch.setattr(module, "LOOKUP_DEADLINE", 0.2)


def member(user: str, membership: str, **more: Any) -> dict[str, Any]:
    unsigned = more.pop("unsigned", {})
    content = {"membership": membership, **more}
    return {
        "type": "m.room.member", "state_key": user, "sender": user,
        "content": content, "unsigned": unsigned,
    }  # fmt: skip


def state(event_type: str, content: object, key: str = "", sender: str = BOB) -> dict[str, Any]:
    return {"type": event_type, "state_key": key, "sender": sender, "content": content}


def synced(*events: Any, joined: int = 2) -> dict[str, Any]:
    """A room in the section ``join``."""
    return {
        "state": {"events": list(events)},
        "summary": {"m.joined_member_count": joined, "m.invited_member_count": 0},
    }


def sync(**joined: Any) -> dict[str, Any]:
    rooms = {f"!{name}": data for name, data in joined.items()}
    return {"/sync": {"rooms": {"join": rooms}}, "/joined_rooms": {"joined_rooms": list(rooms)}}


def document(content: object) -> DirectDocument:
    parsed = DirectDocument.parse(json.dumps(content))
    assert isinstance(parsed, DirectDocument)
    return parsed


async def facts(client: AccountClient, content: object) -> dict[RoomId, RoomFacts]:
    return await client.facts(await client.rooms(), document(content))


# -- who, and where


async def test_the_account_is_the_one_the_token_belongs_to(
    script: Script, account: AccountClient
) -> None:
    assert account.user == ME
    assert script.seen[-1].headers["Authorization"] == "Bearer secret-token"
    assert "Authorization" not in script.seen[0].headers


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_not_accepted_is_the_users_to_mend(
    script: Script, status: int
) -> None:
    answering(script, {"/account/whoami": (status, {"errcode": "M_UNKNOWN_TOKEN"})})
    with pytest.raises(UserError) as caught:
        async with open_account(script.url, "secret-token"):
            pass
    assert "secret-token" not in caught.value.message


@pytest.mark.parametrize("user", [None, 5, "", "bob", ["@a:b"]])
async def test_a_homeserver_that_does_not_say_whose_token_it_is_gets_no_further(
    script: Script, user: object
) -> None:
    answering(script, {"/account/whoami": {"user_id": user}})
    with pytest.raises(HomeserverError):
        async with open_account(script.url, "secret-token"):
            pass


@pytest.mark.parametrize("versions", [(404, {}), {"hello": 1}, (200, []), "hi"])
async def test_what_is_no_homeserver_never_sees_the_token(script: Script, versions: object) -> None:
    answering(script, {"/versions": versions})
    with pytest.raises(HomeserverError, match="no Matrix homeserver"):
        async with open_account(script.url, "secret-token"):
            pass
    assert all("Authorization" not in seen.headers for seen in script.seen)


async def test_a_well_known_that_names_plain_http_is_not_followed(script: Script) -> None:
    other = {"m.homeserver": {"base_url": "http://127.0.0.1:1"}}
    answering(script, {"/versions": (404, {}), "/.well-known/matrix/client": other})
    with pytest.raises(HomeserverError, match="no Matrix homeserver"):
        async with open_account(script.url, "secret-token"):
            pass


@pytest.mark.parametrize("named", ["", "ftp://x", "https://", "a/b", "http://u:p@x", "http://x:y"])
async def test_what_names_no_homeserver_is_said_so(named: str) -> None:
    with pytest.raises(UserError, match="is no homeserver"):
        async with open_account(named, "secret-token"):
            pass


async def test_an_unreachable_homeserver_is_one_sentence() -> None:
    with pytest.raises(HomeserverError, match="cannot be reached"):
        async with open_account("http://127.0.0.1:1", "secret-token"):
            pass


# -- the document


async def test_the_document_is_read_as_it_came_and_never_set_is_none(
    script: Script, account: AccountClient
) -> None:
    answering(script, {"/m.direct": '{"a" : 1.50, "a": 2}'})
    assert await account.read() == b'{"a" : 1.50, "a": 2}'
    answering(script, {"/m.direct": MISSING})
    assert await account.read() is None


@pytest.mark.parametrize("answer", [(404, {}), (403, {"errcode": "M_FORBIDDEN"}), GONE])
async def test_no_other_failure_to_read_means_never_set(
    script: Script, account: AccountClient, answer: object
) -> None:
    answering(script, {"/m.direct": answer})
    with pytest.raises(HomeserverError):
        await account.read()


async def test_a_write_is_tried_once(script: Script, account: AccountClient) -> None:
    answering(script, {"/m.direct": (502, {})})
    script.seen.clear()
    with pytest.raises(HomeserverError):
        await account.write('{"a":[]}')
    assert [(seen.method, seen.body) for seen in script.seen] == [("PUT", b'{"a":[]}')]


# -- the rooms


async def test_one_sync_tells_about_joined_rooms_and_asks_for_no_messages(
    script: Script, account: AccountClient
) -> None:
    room = synced(
        member(ME, "join", unsigned={"prev_content": {"membership": "invite", "is_direct": True}}),
        member(BOB, "join", displayname="Bob"),
        state("m.room.create", {"type": "x", "predecessor": {"room_id": "!old"}}),
        state("m.room.tombstone", {"replacement_room": "!new"}),
        state("m.bridge", {"bridgebot": "@bot:here", "creator": BOB}, "k"),
        state("io.element.functional_members", {"service_members": ["@bot:here", 5]}),
    )
    answering(script, sync(a=room))
    script.seen.clear()
    found = await facts(account, {BOB: ["!a"]})
    assert found == {
        "!a": RoomFacts(
            Membership.JOIN,
            by=ME, title="Bob", room_type="x", creator=BOB, successor="!new", predecessor="!old",
            members={ME: Membership.JOIN, BOB: Membership.JOIN}, complete=True, counted=2,
            bridged=True, bots=frozenset({"@bot:here"}), bridge_creators=frozenset({BOB}),
            functional=frozenset({"@bot:here"}), direct=True,
        ),
        "!new": RoomFacts(Membership.NONE),
    }  # fmt: skip
    (asked,) = [seen for seen in script.seen if seen.path.endswith("/sync")]
    selection = json.loads(asked.query["filter"])
    assert selection["room"]["timeline"] == {"limit": 0, "not_types": ["*"]}
    assert selection["room"]["state"]["lazy_load_members"] is True
    assert asked.query["set_presence"] == "offline"


async def test_no_sync_is_answered_from_an_earlier_one(
    script: Script, account: AccountClient
) -> None:
    await account.rooms()
    await account.rooms()
    filters = [seen.query["filter"] for seen in script.seen if seen.path.endswith("/sync")]
    assert len(set(filters)) == 2


@pytest.mark.parametrize(
    ("answer", "membership"),
    [
        (member(ME, "leave"), Membership.LEAVE),
        (member(ME, "ban"), Membership.BAN),
        ({"membership": "leave"}, Membership.LEAVE),
        (member(ME, "dance"), Membership.UNKNOWN),
        ({"content": 5}, Membership.UNKNOWN),
        (GONE, Membership.NONE),
        (MISSING, Membership.NONE),
        ((404, {}), Membership.UNKNOWN),
        ((404, {"errcode": "M_UNRECOGNIZED"}), Membership.UNKNOWN),
        ((403, {"error": "the proxy forbids it"}), Membership.UNKNOWN),
        ((400, {"errcode": "M_INVALID_PARAM"}), Membership.UNKNOWN),
        ((500, {"errcode": "M_UNKNOWN"}), Membership.UNKNOWN),
        ((502, {}), Membership.UNKNOWN),
        ("<html>", Membership.UNKNOWN),
    ],
)
@pytest.mark.usefixtures("hurry")
async def test_only_a_clear_answer_says_that_the_account_is_not_in_a_room(
    script: Script, account: AccountClient, answer: object, membership: Membership
) -> None:
    answering(script, {f"!a/state/m.room.member/{ME}": answer})
    assert (await facts(account, {BOB: ["!a"]}))[RoomId("!a")].membership is membership


@pytest.mark.usefixtures("hurry")
async def test_a_room_that_hangs_is_unknown_and_the_others_are_not(
    script: Script, account: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(script, {})
    (inner,) = script.answers
    assert callable(inner)

    async def handle(request: web.Request) -> web.StreamResponse:
        if "hangs" in request.path:
            await asyncio.sleep(5)
        return await inner(request)

    script.answers = [handle]
    found = await facts(account, {BOB: ["!hangs", "!b"]})
    assert found[RoomId("!hangs")].membership is Membership.UNKNOWN
    assert found[RoomId("!b")].membership is Membership.NONE


async def test_a_token_that_ends_meanwhile_is_an_error_and_no_finding(
    script: Script, account: AccountClient
) -> None:
    answering(script, {f"!a/state/m.room.member/{ME}": (401, {"errcode": "M_UNKNOWN_TOKEN"})})
    with pytest.raises(HomeserverError):
        await facts(account, {BOB: ["!a"]})


@pytest.mark.usefixtures("hurry")
async def test_a_joined_room_that_the_sync_left_out_is_never_gone(
    script: Script, account: AccountClient
) -> None:
    answering(script, {"/joined_rooms": {"joined_rooms": ["!a", "!b"]},
                       f"!b/state/m.room.member/{ME}": member(ME, "join"),
                       "!b/members": {"chunk": [member(ME, "join"), member(BOB, "join")]}})  # fmt: skip
    found = await facts(account, {BOB: ["!a", "!b"]})
    assert found[RoomId("!a")].membership is Membership.UNKNOWN
    assert found[RoomId("!b")].partner(ME) == BOB


async def test_somebody_who_left_is_told_from_somebody_who_never_was_there(
    script: Script, account: AccountClient
) -> None:
    room = synced(member(ME, "join"), member("@d:here", "join"))
    answers = {**sync(a=room), f"!a/state/m.room.member/{BOB}": member(BOB, "leave"),
               f"!a/state/m.room.member/{CAROL}": MISSING}  # fmt: skip
    answering(script, answers)
    found = await facts(account, {BOB: ["!a"], CAROL: ["!a"]})
    assert found[RoomId("!a")].members[BOB] is Membership.LEAVE
    assert found[RoomId("!a")].members[CAROL] is Membership.NONE


async def test_large_rooms_are_not_listed_only_the_people_in_question_are_asked_about(
    script: Script, account: AccountClient
) -> None:
    answering(
        script,
        {
            **sync(a=synced(member(ME, "join"), joined=5000)),
            f"!a/state/m.room.member/{BOB}": member(BOB, "join"),
        },
    )
    found = await facts(account, {BOB: ["!a"]})
    assert found[RoomId("!a")].members[BOB] is Membership.JOIN
    assert not found[RoomId("!a")].complete
    assert not [seen for seen in script.seen if seen.path.endswith("/members")]


async def test_whether_the_invite_was_direct_is_followed_through_the_changes_of_names(
    script: Script, account: AccountClient
) -> None:
    room = synced(member(ME, "join", unsigned={"replaces_state": "$2"}), member(BOB, "join"))
    answers = {
        **sync(a=room),
        "/event/$2": member(ME, "join", unsigned={"replaces_state": "$1"}),
        "/event/$1": member(ME, "invite", is_direct=True),
    }
    answering(script, answers)
    found = await facts(account, {})
    assert found[RoomId("!a")].direct is True
    assert not found[RoomId("!a")].invited_by_us


@pytest.mark.parametrize("joined", [None, 5, {"!a": 1}, "!a"])
async def test_a_list_of_rooms_that_makes_no_sense_is_an_error(
    script: Script, account: AccountClient, joined: object
) -> None:
    answering(script, {"/joined_rooms": {"joined_rooms": joined}})
    with pytest.raises(HomeserverError):
        await account.rooms()


JUNK: list[Any] = [None, 5, "x", [], {}, [None, 5, {}, {"type": 5, "state_key": []}]]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    "place",
    [
        lambda junk: {"rooms": junk},
        lambda junk: {"rooms": {"join": junk, "invite": junk, "knock": junk}},
        lambda junk: {"rooms": {"join": {"!a": junk, "bad": junk}, "invite": {"!b": junk}}},
        lambda junk: {"rooms": {"join": {"!a": {"state": junk, "summary": junk}}}},
        lambda junk: {"rooms": {"join": {"!a": {"state": {"events": junk}, "timeline": junk}}}},
        lambda junk: {"rooms": {"invite": {"!a": {"invite_state": {"events": junk}}}}},
    ],
)
def test_any_shape_of_a_sync_can_be_read(place: Callable[[Any], Any], junk: Any) -> None:
    for found in facts_of_sync(place(junk), ME).values():
        assert found.membership in (Membership.JOIN, Membership.INVITE)


@pytest.mark.parametrize("junk", [*JUNK, True, 1.5, {"room_id": 5}, {"membership": ["join"]}])
def test_any_shape_of_state_can_be_read(junk: Any) -> None:
    types = (
        "m.room.create", "m.room.tombstone", "m.room.name", "m.room.canonical_alias", "m.bridge",
        "m.room.join_rules", "io.element.functional_members", "m.room.member",
    )  # fmt: skip
    fields = ("predecessor", "replacement_room", "name", "alias", "bridgebot", "service_members")
    for content in (junk, dict.fromkeys(fields, junk)):
        events = [state(kind, content) for kind in types] + [state("m.room.member", content, ME)]
        events[0]["unsigned"] = junk
        events[-1]["unsigned"] = {"prev_content": junk, "replaces_state": junk}
        events[-1]["sender"] = junk
        assert facts_of_state(state_of_events(events), ME).successor == ""


# -- a real homeserver


@pytest.mark.parametrize("version", ["11", "12"])
async def test_synapse_tells_all_that_is_needed(synapse: Synapse, version: str) -> None:
    me = await synapse.register_user(f"client_me_{version}", "p")
    bob = await synapse.register_user(f"client_bob_{version}", "p")
    async with (
        MatrixUser(synapse.url, me.user_id, me.access_token) as mine,
        MatrixUser(synapse.url, bob.user_id, bob.access_token) as bobs,
    ):

        async def invited(**more: Any) -> str:
            extra = {"room_version": version, "preset": "private_chat", **more}
            return await bobs.create_room(invite=[me.user_id], is_direct=True, **extra)

        async def joined(**more: Any) -> str:
            room = await invited(**more)
            await mine.join(room)
            return room

        direct, named, left, forgotten, kicked, banned, alone = [
            await joined(**more) for more in ({}, {"name": "A name"}, {}, {}, {}, {}, {})
        ]
        pending = await invited()
        await mine.request("PUT", f"v3/profile/{me.user_id}/displayname", {"displayname": "New"})
        await mine.leave(left)
        await mine.leave(forgotten)
        await mine.request("POST", f"v3/rooms/{forgotten}/forget", {})
        await bobs.request("POST", f"v3/rooms/{kicked}/kick", {"user_id": me.user_id})
        await bobs.request("POST", f"v3/rooms/{banned}/ban", {"user_id": me.user_id})
        await bobs.leave(alone)
        never = "!never:dead.example"
        every = [direct, named, left, forgotten, kicked, banned, alone, pending, never]
        async with open_account(synapse.url, me.access_token) as client:
            rooms = await client.rooms()
            unmarked = await client.facts(rooms, DirectDocument())
            marked = await client.facts(rooms, document({bob.user_id: every}))
    user = UserId(me.user_id)
    assert {room: marked[RoomId(room)].membership.value for room in every} == {
        direct: "join", named: "join", left: "leave", forgotten: "none", kicked: "leave",
        banned: "ban", alone: "join", pending: "invite", never: "none",
    }  # fmt: skip
    assert marked[RoomId(left)].by == me.user_id
    assert marked[RoomId(kicked)].by == bob.user_id
    for room in (direct, named):
        assert unmarked[RoomId(room)].direct is True
        assert unmarked[RoomId(room)].partner(user) == bob.user_id
    assert unmarked[RoomId(alone)].partner(user) is None
    assert marked[RoomId(alone)].members[bob.user_id] is Membership.LEAVE
    assert unmarked[RoomId(named)].title == "A name"
