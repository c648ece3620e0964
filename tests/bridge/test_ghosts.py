"""Ghosts that a restored homeserver has forgotten."""

from __future__ import annotations

import asyncio

import pytest

from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix import ghosts as module

from .room_world import GHOST, NAMESPACE


class Homeserver:
    """Knows no ghost at first. ``asked``: how often somebody acted as one."""

    def __init__(self) -> None:
        self.known = False
        self.asked = 0
        self.refuses = False

    async def register(self, _homeserver: object, _user: UserId) -> bool:
        new, self.known = not self.known, True
        await asyncio.sleep(0)
        return new

    async def set_name(self, _homeserver: object, _user: UserId, _name: str) -> None:
        pass

    async def join(self) -> None:
        self.asked += 1
        allowed = self.known and not self.refuses
        await asyncio.sleep(0)
        if not allowed:
            raise HomeserverError("No.", status=403, errcode="M_FORBIDDEN")


class Store:
    async def ghost(self, *_: object) -> Store:
        return self

    async def ghost_contact(self, _user: UserId) -> None:
        return None

    name = "Romeo"
    avatar_url = None


@pytest.fixture
def homeserver(monkeypatch: pytest.MonkeyPatch) -> Homeserver:
    homeserver = Homeserver()
    monkeypatch.setattr(module, "register", homeserver.register)
    monkeypatch.setattr(module, "set_name", homeserver.set_name)
    return homeserver


def ghosts_with(store: Store) -> Ghosts:
    return Ghosts(None, store, NAMESPACE)  # type: ignore[arg-type]


async def test_two_chats_that_find_their_ghost_forgotten_at_once_both_go_on(
    homeserver: Homeserver,
) -> None:
    ghosts = ghosts_with(Store())
    await asyncio.gather(*(ghosts.act(GHOST, homeserver.join) for _ in range(2)))
    assert homeserver.asked == 4


async def test_what_is_refused_to_a_ghost_that_is_known_is_asked_once_more_and_no_oftener(
    homeserver: Homeserver,
) -> None:
    homeserver.known = homeserver.refuses = True
    with pytest.raises(HomeserverError):
        await ghosts_with(Store()).act(GHOST, homeserver.join)
    assert homeserver.asked == 2
