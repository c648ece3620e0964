"""Where m.direct is read and written: an answer that is not surely the document is an error."""

from __future__ import annotations

import asyncio

import pytest

from dm_bridge.bridge import documents as module
from dm_bridge.bridge.documents import WRITE_WITHIN, Documents
from dm_bridge.direct import DirectDocument, Malformed, NotSet
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Access, Accounts
from dm_bridge.store.journals import LEASE

from .fakes import FakeHomeserver
from .kept import GHOST, OUTSIDER, USER


class World:
    """``ghosts`` answers for ghosts, ``users`` for users."""

    def __init__(self) -> None:
        self.ghosts = FakeHomeserver()
        self.users = FakeHomeserver()
        self.accounts = Accounts(self.users, "example.org", lambda user: user == USER)  # type: ignore[arg-type]
        self.accounts.available = True
        self.documents = Documents(
            self.ghosts,  # type: ignore[arg-type]
            self.accounts,
            lambda user: user.startswith("@_ghost_"),
            self.revived,
        )
        self.forgotten: set[UserId] = set()
        self.asked_about: list[UserId] = []

    async def revived(self, ghost: UserId) -> bool:
        self.asked_about.append(ghost)
        self.ghosts.refuses.clear()
        return ghost in self.forgotten


@pytest.fixture
def world() -> World:
    return World()


def document(text: str) -> DirectDocument:
    parsed = DirectDocument.parse(text)
    assert isinstance(parsed, DirectDocument)
    return parsed


@pytest.mark.parametrize("account", [USER, GHOST])
async def test_a_document_is_read_and_written_as_its_owner(world: World, account: UserId) -> None:
    ours, theirs = (world.ghosts, world.users) if account == GHOST else (world.users, world.ghosts)
    await world.documents.write(account, document('{"@a:b": ["!1"]}'))
    assert ours.documents == {account: b'{"@a:b":["!1"]}'}
    found = await world.documents.read(account)
    assert isinstance(found, DirectDocument)
    assert found.content() == {"@a:b": ["!1"]}
    assert {user for _, _, user in ours.calls} == {account}
    assert theirs.calls == []


def test_a_ghost_needs_no_journal_and_a_user_needs_access(world: World) -> None:
    documents = world.documents
    assert (documents.has_access(GHOST), documents.has_journal(GHOST)) == (True, False)
    assert (documents.has_access(USER), documents.has_journal(USER)) == (True, True)
    assert (documents.has_access(OUTSIDER), documents.has_journal(OUTSIDER)) == (False, True)
    world.accounts.available = False
    assert world.accounts.access(USER) is Access.NONE
    assert not documents.has_access(USER)
    assert documents.has_access(GHOST)


@pytest.mark.parametrize("account", [USER, GHOST])
async def test_only_a_real_not_found_is_a_document_that_was_never_set(
    world: World, account: UserId
) -> None:
    assert isinstance(await world.documents.read(account), NotSet)
    for homeserver in (world.users, world.ghosts):
        homeserver.refuses["GET"] = HomeserverError("a proxy's page", status=404)
    with pytest.raises(HomeserverError):
        await world.documents.read(account)


async def test_a_ghost_that_the_homeserver_forgot_is_revived_and_read(world: World) -> None:
    world.forgotten.add(GHOST)
    world.ghosts.refuses["GET"] = HomeserverError("not registered", status=403)
    assert isinstance(await world.documents.read(GHOST), NotSet)
    assert world.asked_about == [GHOST]


async def test_a_ghost_that_is_refused_for_another_reason_is_not_read(world: World) -> None:
    world.ghosts.refuses["GET"] = HomeserverError("forbidden", status=403)
    with pytest.raises(HomeserverError, match="forbidden"):
        await world.documents.read(GHOST)
    assert world.asked_about == [GHOST]


async def test_a_homeserver_in_trouble_is_no_reason_to_revive_a_ghost(world: World) -> None:
    for homeserver in (world.ghosts, world.users):
        homeserver.refuses["GET"] = HomeserverError("trouble", status=502)
    for account in (GHOST, USER):
        with pytest.raises(HomeserverError, match="trouble"):
            await world.documents.read(account)
    assert world.asked_about == []


async def test_what_is_no_document_is_told_apart(world: World) -> None:
    world.users.documents[USER] = b'{"a": 1, "a": 2}'
    assert isinstance(await world.documents.read(USER), Malformed)


async def test_without_access_nothing_is_asked(world: World) -> None:
    for call in (
        world.documents.read(OUTSIDER),
        world.documents.write(OUTSIDER, DirectDocument()),
    ):
        with pytest.raises(HomeserverError):
            await call
    assert world.users.calls == world.ghosts.calls == []


async def test_a_document_that_is_too_large_is_explained(world: World) -> None:
    world.users.refuses["PUT"] = HomeserverError("no", status=413, errcode="M_TOO_LARGE")
    with pytest.raises(HomeserverError, match="has grown to 15 bytes") as caught:
        await world.documents.write(USER, document('{"@a:b": ["!1"]}'))
    assert (caught.value.status, caught.value.certain) == (413, True)


async def test_a_write_ends_before_another_process_may_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WRITE_WITHIN < LEASE
    monkeypatch.setattr(module, "WRITE_WITHIN", 0.05)

    async def hang(method: str, user: UserId) -> None:
        await asyncio.Event().wait()

    world.users.before = hang
    with pytest.raises(HomeserverError) as caught:
        await world.documents.write(USER, DirectDocument())
    assert not caught.value.certain
    assert caught.value.retry_after
