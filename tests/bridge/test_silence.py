"""Two push rules of ours, and no others, for as long as what is old is sent."""

from __future__ import annotations

from typing import Any

import pytest
from mautrix.api import PathBuilder

from dm_bridge.bridge.silence import HISTORY, INVITES, Silence
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import GhostNamespace, UserId
from dm_bridge.matrix.accounts import Accounts

USER = UserId("@juliet:example.org")


class Homeserver:
    """``rules``: what stands in the account. ``refuses``: raised instead."""

    def __init__(self) -> None:
        self.rules: dict[str, Any] = {"theirs": {}}
        self.refuses: HomeserverError | None = None

    async def request(
        self, method: str, path: PathBuilder, *, user: UserId, body: Any = None, deadline: float
    ) -> dict[str, Any]:
        if self.refuses is not None:
            raise self.refuses
        *where, name = str(path).split("/")
        assert where[-3:] == ["pushrules", "global", "override"]
        if method == "PUT":
            self.rules[name] = body
        elif self.rules.pop(name, None) is None:
            raise HomeserverError("There is none.", status=404, errcode="M_NOT_FOUND")
        return {}


def silence(homeserver: Homeserver, *, access: bool = True) -> Silence:
    accounts = Accounts(homeserver, "example.org", lambda user: access)  # type: ignore[arg-type]
    accounts.available = True
    return Silence(accounts, GhostNamespace("_dm_", "example.org"))


async def test_what_is_marked_and_invitations_by_ghosts_do_nothing() -> None:
    homeserver = Homeserver()
    quiet = silence(homeserver)
    await quiet.begin(USER)
    assert all(rule == {} or rule["actions"] == [] for rule in homeserver.rules.values())
    marked, by_ghosts = homeserver.rules[HISTORY]["conditions"]
    assert by_ghosts["pattern"] == "@_dm_*:example.org"
    assert marked == {
        "kind": "event_match",
        "key": "content.org\\.dm_bridge\\.history",
        "pattern": "old",
    }
    invited = {each["key"]: each["pattern"] for each in homeserver.rules[INVITES]["conditions"]}
    assert (invited["state_key"], invited["sender"]) == (USER, "@_dm_*:example.org")
    await quiet.end(USER)
    assert homeserver.rules == {"theirs": {}}


async def test_invitations_can_be_left_as_they_are() -> None:
    homeserver = Homeserver()
    quiet = silence(homeserver)
    await quiet.begin(USER, invites=False)
    assert INVITES not in homeserver.rules
    await quiet.end(USER)
    assert homeserver.rules == {"theirs": {}}


async def test_without_access_nothing_is_asked() -> None:
    homeserver = Homeserver()
    homeserver.refuses = HomeserverError("no access", status=403)
    quiet = silence(homeserver, access=False)
    await quiet.begin(USER)
    await quiet.end(USER)


async def test_a_refusal_for_good_stops_nothing_and_one_that_may_pass_is_raised() -> None:
    homeserver = Homeserver()
    quiet = silence(homeserver)
    homeserver.refuses = HomeserverError("no", status=403)
    await quiet.begin(USER)
    await quiet.end(USER)
    homeserver.refuses = HomeserverError("busy", status=502, retry_after=1.0)
    for work in (quiet.begin, quiet.end):
        with pytest.raises(HomeserverError):
            await work(USER)
