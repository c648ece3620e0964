"""The same histories for mautrix-python's own `update_direct_chats` and for the one of the example, on Synapse.

Each history shows what goes wrong without memory, and that it goes right with it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from direct_chats import ROUNDS, DirectChats
from mautrix.api import HTTPAPI
from mautrix.bridge import BaseUser
from mautrix.client import ClientAPI
from mautrix.errors import MatrixConnectionError, MForbidden, MNotFound
from mautrix.types import UserID

from dm_bridge.testing.synapse import Synapse

GHOST, SECOND = "@_dm_anna:example.org", "@_dm_boris:example.org"
FRIEND, OTHER = "@friend:example.org", "@other:example.org"
BOT = "@bridgebot:example.org"
_numbers = itertools.count(1)

Document = dict[str, Any]
Trouble = Callable[[], Awaitable[None]]


class Intent:
    """A puppeted user's intent; ``after_read`` and ``before_write`` happen at its next read or write."""

    def __init__(self, client: ClientAPI) -> None:
        self.client = client
        self.after_read: Trouble | None = None
        self.before_write: Trouble | None = None
        self.reads = self.writes = 0

    async def get_account_data(self, kind: Any) -> Any:
        self.reads += 1
        content = await self.client.get_account_data(kind)
        trouble, self.after_read = self.after_read, None
        if trouble is not None:
            await trouble()
        return content

    async def set_account_data(self, kind: Any, content: Any) -> None:
        trouble, self.before_write = self.before_write, None
        if trouble is not None:
            await trouble()
        self.writes += 1
        await self.client.set_account_data(kind, content)


class Theirs(BaseUser):
    """A user of a bridge, with what mautrix-python brings."""

    def __init__(self, desk: Desk) -> None:
        self.mxid = desk.mxid
        super().__init__()
        self.desk = desk
        self.az: Any = SimpleNamespace(bot_mxid=BOT)
        self.bridge: Any = SimpleNamespace(
            config={"bridge.sync_direct_chat_list": True},
            homeserver_software=SimpleNamespace(is_asmux=False),
            is_bridge_ghost=lambda user: user.startswith("@_dm_"),
            get_double_puppet=self._puppet,
        )

    async def _puppet(self, mxid: str) -> Any:
        return SimpleNamespace(is_real_user=True, intent=self.desk.intent)

    async def is_logged_in(self) -> bool:
        return True

    async def get_puppet(self) -> None:
        raise NotImplementedError

    async def get_portal_with(self, puppet: Any, create: bool = True) -> None:
        raise NotImplementedError

    async def get_direct_chats(self) -> Any:
        return self.desk.portals


class Ours(DirectChats, Theirs):
    """The same with the example's; its state is a text that the bridge keeps."""

    async def load_direct_state(self) -> str | None:
        return self.desk.state

    async def save_direct_state(self, state: str) -> None:
        self.desk.state = state


class Desk:
    """One account: the bridge's view of it, and another client's."""

    def __init__(self, make: type[Theirs], client: ClientAPI) -> None:
        self.make = make
        self.mxid = client.mxid
        self.client = client
        self.intent = Intent(client)
        self.portals: Document = {}
        self.state: str | None = None

    async def bridge(self, dms: Any = None) -> None:
        """The bridge is started, has the portals, and updates the list: all of it, or adds ``dms``."""
        await self.make(self).update_direct_chats(dms)

    async def write(self, content: Document) -> None:
        """Another client writes."""
        await self.client.set_account_data("m.direct", content)

    async def document(self) -> Document:
        try:
            return dict(await self.client.get_account_data("m.direct"))
        except MNotFound:
            return {}


MakeDesk = Callable[[type[Theirs]], Awaitable[Desk]]


@pytest_asyncio.fixture
async def make_desk(synapse: Synapse) -> AsyncIterator[MakeDesk]:
    async with contextlib.AsyncExitStack() as opened:

        async def make(user: type[Theirs]) -> Desk:
            account = await synapse.register_user(f"mautrix{next(_numbers)}", "secret")
            api = HTTPAPI(synapse.url, account.access_token)
            opened.push_async_callback(api.session.close)
            return Desk(user, ClientAPI(UserID(account.user_id), api=api))

        yield make


async def a_user_takes_a_chat_out(desk: Desk) -> Document:
    desk.portals = {GHOST: ["!a"]}
    await desk.write({FRIEND: ["!f"]})
    await desk.bridge()
    assert await desk.document() == {FRIEND: ["!f"], GHOST: ["!a"]}
    await desk.write({FRIEND: ["!f"]})
    await desk.bridge()
    return await desk.document()


async def a_user_puts_a_chat_under_the_person(desk: Desk) -> Document:
    desk.portals = {GHOST: ["!a"]}
    await desk.bridge()
    await desk.write({FRIEND: ["!a"]})
    await desk.bridge()
    return await desk.document()


async def a_client_writes_while_the_bridge_does(desk: Desk) -> Document:
    desk.portals = {GHOST: ["!a"]}
    await desk.write({FRIEND: ["!f"]})

    async def start_a_chat() -> None:
        await desk.write({FRIEND: ["!f"], OTHER: ["!o"]})

    desk.intent.after_read = start_a_chat
    await desk.bridge()
    return await desk.document()


async def a_second_chat_with_the_contact_is_added(desk: Desk) -> Document:
    await desk.bridge({GHOST: ["!a"]})
    await desk.bridge({GHOST: ["!b"]})
    return await desk.document()


async def a_client_writes_its_old_copy_back(desk: Desk) -> Document:
    desk.portals = {GHOST: ["!a"]}
    await desk.bridge()
    old = await desk.document()
    await desk.write({**old, FRIEND: ["!f"]})
    desk.portals = {GHOST: ["!a"], SECOND: ["!b"]}
    await desk.bridge()
    await desk.write({**old, OTHER: ["!o"]})
    await desk.bridge()
    return await desk.document()


History = Callable[[Desk], Awaitable[Document]]


@pytest.mark.parametrize(
    ("history", "wrong", "right"),
    [
        (
            a_user_takes_a_chat_out,
            {FRIEND: ["!f"], GHOST: ["!a"]},
            {FRIEND: ["!f"]},
        ),
        (
            a_user_puts_a_chat_under_the_person,
            {FRIEND: ["!a"], GHOST: ["!a"]},
            {FRIEND: ["!a"]},
        ),
        (
            a_client_writes_while_the_bridge_does,
            {FRIEND: ["!f"], GHOST: ["!a"]},
            {FRIEND: ["!f"], OTHER: ["!o"], GHOST: ["!a"]},
        ),
        (
            a_second_chat_with_the_contact_is_added,
            {GHOST: ["!b"]},
            {GHOST: ["!a", "!b"]},
        ),
        (
            a_client_writes_its_old_copy_back,
            {GHOST: ["!a"], SECOND: ["!b"], OTHER: ["!o"]},
            {GHOST: ["!a"], SECOND: ["!b"], OTHER: ["!o"], FRIEND: ["!f"]},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_is_lost_or_undone_without_memory_and_not_with_it(
    make_desk: MakeDesk, history: History, wrong: Document, right: Document
) -> None:
    assert await history(await make_desk(Theirs)) == wrong
    assert await history(await make_desk(Ours)) == right


async def test_a_list_at_rest_is_read_once_and_not_written(make_desk: MakeDesk) -> None:
    desk = await make_desk(Ours)
    desk.portals = {GHOST: ["!a"]}
    await desk.bridge()
    desk.intent.reads = desk.intent.writes = 0
    await desk.bridge()
    assert (desk.intent.reads, desk.intent.writes) == (1, 0)


async def test_a_chat_that_is_no_longer_bridged_loses_its_mark_and_no_other(
    make_desk: MakeDesk,
) -> None:
    desk = await make_desk(Ours)
    desk.portals = {GHOST: ["!a"], SECOND: ["!b"]}
    await desk.write({FRIEND: ["!f"]})
    await desk.bridge()
    desk.portals = {SECOND: ["!b"]}
    await desk.bridge()
    assert await desk.document() == {FRIEND: ["!f"], SECOND: ["!b"]}


async def test_a_contact_with_another_ghost_takes_the_chat_along(make_desk: MakeDesk) -> None:
    desk = await make_desk(Ours)
    desk.portals = {GHOST: ["!a"]}
    await desk.bridge()
    desk.portals = {SECOND: ["!a"]}
    await desk.bridge()
    assert await desk.document() == {SECOND: ["!a"]}


@pytest.mark.parametrize(
    "error", [MForbidden(403, "no"), MatrixConnectionError("away"), RuntimeError("killed")]
)
async def test_a_write_that_was_not_made_is_made_the_next_time(
    make_desk: MakeDesk, error: Exception
) -> None:
    """And nobody is thought to have taken the chat out."""
    desk = await make_desk(Ours)
    desk.portals = {GHOST: ["!a"]}
    await desk.write({FRIEND: ["!f"]})

    async def fail() -> None:
        raise error

    desk.intent.before_write = fail
    with pytest.raises(type(error)):
        await desk.bridge()
    assert await desk.document() == {FRIEND: ["!f"]}
    await desk.bridge()
    assert await desk.document() == {FRIEND: ["!f"], GHOST: ["!a"]}


async def test_a_list_that_never_rests_is_left_for_the_next_time(make_desk: MakeDesk) -> None:
    desk = await make_desk(Ours)
    desk.portals = {GHOST: ["!a"]}
    await desk.write({FRIEND: ["!f"]})
    numbers = itertools.count()

    async def write_again() -> None:
        await desk.write({FRIEND: [f"!{next(numbers)}"]})
        desk.intent.after_read = write_again

    desk.intent.after_read = write_again
    await desk.bridge()
    assert desk.intent.writes == 0
    assert desk.intent.reads == ROUNDS + 1
    desk.intent.after_read = None
    await desk.bridge()
    assert await desk.document() == {FRIEND: [f"!{next(numbers) - 1}"], GHOST: ["!a"]}


async def test_a_list_that_could_not_be_written_back_is_left_and_said(
    make_desk: MakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    desk = await make_desk(Ours)
    desk.portals = {GHOST: ["!a"]}
    deep: Any = "junk"
    for _ in range(120):
        deep = [deep]
    await desk.write({FRIEND: deep})
    await desk.bridge()
    assert desk.intent.writes == 0
    assert "nested more than" in caplog.text
