"""What people are told of their direct chats, and what becomes of their decisions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.bridge import direct_view as module
from dm_bridge.bridge import keeper, keeper_work
from dm_bridge.bridge.commands.direct import ChatState
from dm_bridge.bridge.direct_view import View
from dm_bridge.direct import DMState, Source
from dm_bridge.errors import HomeserverError, UserError
from dm_bridge.ids import ContactId, NetworkName, RoomId, UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.store.database import Database
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import PortalStore

from .kept import BOT, GHOST, OUTSIDER, ROOM, SECOND, THIRD, USER, Kept, busy


class Viewed(Kept):
    """A keeper, and the view of it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)

        async def contact(ghost: UserId) -> tuple[NetworkName, ContactId] | None:
            return (NetworkName("fake"), ContactId("romeo")) if ghost == GHOST else None

        self.view = View(
            self.keeper,
            self.store,
            self.journals,
            contact,
            PeopleStore(database).called,
            self.accounts.access,
            lambda account: "It is watched.",
            time.time,
        )

    async def states(self) -> dict[RoomId, ChatState]:
        return {chat.room: chat.state for chat in (await self.view.status(USER)).chats}


@pytest_asyncio.fixture
async def viewed(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Viewed]:
    monkeypatch.setattr(keeper, "GAP", 0.005)
    monkeypatch.setattr(keeper, "LONGEST_GAP", 0.05)
    monkeypatch.setattr(keeper_work, "quiet", lambda writes: 0.02)
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    viewed = Viewed(database)
    yield viewed
    await viewed.keeper.stop()


async def test_an_account_without_chats_has_an_empty_status(viewed: Viewed) -> None:
    status = await viewed.view.status(USER)
    assert (list(status.chats), status.last_seen, status.problem) == ([], None, None)
    assert (status.access, status.observed) == (Access.MASQUERADE, "It is watched.")
    assert await viewed.view.history(USER, 10) == []


async def test_each_chat_is_shown_as_it_stands(viewed: Viewed) -> None:
    pending, retired = RoomId("!pending"), RoomId("!retired")
    await viewed.manage(ROOM, SECOND, retired)
    await viewed.store.manage(USER, pending, GHOST, DMState.PENDING)
    assert (await viewed.states())[ROOM] is ChatState.PENDING
    await viewed.keep()
    await viewed.view.unmark(USER, retired)
    await viewed.store.set_state(retired, DMState.RETIRED)
    viewed.write({GHOST: [ROOM]})
    await viewed.keep()
    assert await viewed.states() == {
        ROOM: ChatState.MARKED,
        SECOND: ChatState.OPTED_OUT,
        pending: ChatState.PENDING,
        retired: ChatState.RETIRED,
    }
    status = await viewed.view.status(USER)
    assert {chat.contact for chat in status.chats} == {"romeo"}
    assert status.last_seen == pytest.approx(time.time(), abs=60)


async def test_a_chat_in_conflict_is_shown_so_until_somebody_asks_to_try_again(
    viewed: Viewed,
) -> None:
    await viewed.manage(ROOM)

    async def move(method: str, user: UserId) -> None:
        if method == "PUT":
            viewed.write({BOT: [ROOM]})

    viewed.homeserver.after = move
    await viewed.keep()
    assert await viewed.states() == {ROOM: ChatState.CONFLICT}
    viewed.homeserver.after = None
    await viewed.view.mark(USER, ROOM)
    assert await viewed.states() == {ROOM: ChatState.MARKED}
    assert viewed.document() == {GHOST: [ROOM]}


async def test_a_contact_that_is_not_known_is_named_by_its_ghost(viewed: Viewed) -> None:
    await viewed.manage(ROOM, ghost=UserId("@_ghost_unknown:example.org"))
    (chat,) = (await viewed.view.status(USER)).chats
    assert chat.contact == "@_ghost_unknown:example.org"


async def test_what_the_user_decides_is_written_before_they_are_answered(viewed: Viewed) -> None:
    await viewed.manage(ROOM, SECOND)
    await viewed.keep()
    await viewed.view.unmark(USER, ROOM)
    assert viewed.document() == {GHOST: [SECOND]}
    await viewed.keep()
    assert viewed.document() == {GHOST: [SECOND]}
    await viewed.view.mark(USER, ROOM)
    assert viewed.document() == {GHOST: [SECOND, ROOM]}


async def test_nobody_decides_about_what_is_not_theirs(viewed: Viewed) -> None:
    await viewed.store.manage(OUTSIDER, ROOM, GHOST, DMState.ACTIVE)
    for decide in (viewed.view.mark, viewed.view.unmark):
        with pytest.raises(UserError):
            await decide(USER, ROOM)
    assert not any(dm.opted_out for dm in await viewed.store.managed(OUTSIDER))


async def test_a_decision_without_access_waits(viewed: Viewed) -> None:
    await viewed.store.manage(OUTSIDER, ROOM, GHOST, DMState.ACTIVE)
    await viewed.view.unmark(OUTSIDER, ROOM)
    (dm,) = await viewed.store.managed(OUTSIDER)
    assert dm.opted_out
    assert viewed.homeserver.calls == []
    assert (await viewed.view.status(OUTSIDER)).access is Access.NONE
    with pytest.raises(UserError, match="login-matrix"):
        await viewed.view.repair(OUTSIDER)


async def test_a_repair_says_what_it_has_put_right(viewed: Viewed) -> None:
    await viewed.manage(ROOM, SECOND)
    assert (await viewed.view.repair(USER)).sentence == (
        "I have put 2 things right. `direct history` says what."
    )
    assert (
        await viewed.view.repair(USER)
    ).sentence == "I have looked, and everything is as it should be."
    viewed.write({BOT: [ROOM], GHOST: [SECOND]})
    assert "1 thing right" in (await viewed.view.repair(USER)).sentence


async def test_a_repair_of_what_is_not_ours_is_counted_too(viewed: Viewed) -> None:
    old = {"@friend:x": ["!a"]}
    viewed.write(old)
    await viewed.manage(ROOM)
    await viewed.keep()
    now = viewed.document()
    viewed.write({**now, "@friend:x": ["!a", "!b"]})
    await viewed.keep()
    viewed.write({**now, "@new:x": ["!new"]})
    assert "1 thing right" in (await viewed.view.repair(USER)).sentence


async def test_a_repair_that_is_refused_says_why(viewed: Viewed) -> None:
    viewed.homeserver.documents[USER] = b"[]"
    await viewed.manage(ROOM)
    assert "it is not a JSON object" in (await viewed.view.repair(USER)).sentence
    status = await viewed.view.status(USER)
    assert status.problem is not None
    assert "it is not a JSON object" in status.problem
    viewed.write({})
    assert "1 thing right" in (await viewed.view.repair(USER)).sentence
    assert (await viewed.view.status(USER)).problem is None


@pytest.mark.parametrize("verb", ["GET", "PUT"])
async def test_a_repair_that_fails_says_why_and_a_later_one_does_not_wait_for_the_trouble_to_pass(
    viewed: Viewed, verb: str
) -> None:
    viewed.homeserver.refuses[verb] = busy()
    await viewed.manage(ROOM)
    assert (await viewed.view.repair(USER)).sentence == "The homeserver answered 502."
    assert (await viewed.view.status(USER)).problem == "The homeserver answered 502."
    del viewed.homeserver.refuses[verb]
    assert "right" in (await viewed.view.repair(USER)).sentence
    assert viewed.document() == {GHOST: [ROOM]}
    assert (await viewed.view.status(USER)).problem is None


async def test_a_problem_of_an_account_without_access_is_the_access(viewed: Viewed) -> None:
    viewed.homeserver.refuses["GET"] = HomeserverError("no", status=403, errcode="M_FORBIDDEN")
    await viewed.manage(ROOM)
    await viewed.view.repair(USER)
    viewed.allowed.clear()
    assert (await viewed.view.status(USER)).problem is None


async def test_history_says_in_words_who_did_what(viewed: Viewed) -> None:
    viewed.write({"@friend:x": ["!a"]})
    await viewed.manage(ROOM, SECOND, THIRD)
    await viewed.keep()
    viewed.keeper.saw(
        USER, viewed.write({"@friend:x": ["!a", "!b"], GHOST: [SECOND, THIRD]}), Source.PUSHED
    )
    await viewed.settled()
    viewed.write({**viewed.document(), "@new:x": ["!c"]})
    await viewed.keep()
    lines = await viewed.view.history(USER, 10)
    assert [line.sentence for line in lines] == [
        "The list of direct chats was seen for the first time.",
        "I wrote the list.",
        "Your chat with romeo was unmarked by you, and stays so until you mark it again.",
        "Another client had written the list.",
    ]
    assert len(lines[1].details) == 3
    assert lines[2].details == (
        "Added: !b under @friend:x",
        "Removed: your chat with romeo under romeo",
    )
    assert lines[3].details == ("Added: !c under @new:x",)
    assert lines[2].before == {"@friend:x": ["!a"], GHOST: sorted([ROOM, SECOND, THIRD])}
    assert lines[2].after == {"@friend:x": ["!a", "!b"], GHOST: sorted([SECOND, THIRD])}
    assert (lines[3].before, lines[3].after) == ({"@new:x": []}, {"@new:x": ["!c"]})
    assert await viewed.view.history(USER, 1) == lines[-1:]
    portals = PortalStore(viewed.database)
    await portals.ghost(NetworkName("fake"), ContactId("romeo"), GHOST)
    await portals.set_ghost(GHOST, "Romeo")
    removed = (await viewed.view.history(USER, 2))[0].details[1]
    assert removed == "Removed: your chat with Romeo under Romeo (romeo)"
