"""What admins see, and nobody else."""

from __future__ import annotations

import pytest

from .world import JULIET, NURSE, Api

PATHS = ("overview", "logins", "accounts", "parked")


@pytest.mark.parametrize("path", PATHS)
async def test_only_admins_are_answered(api: Api, path: str) -> None:
    got = await api.get(f"admin/{path}")
    assert (got.status, got.errcode) == (403, "M_FORBIDDEN")
    assert (await api.get(f"admin/{path}", token="nurse's")).status == 200


async def test_the_bridge_is_shown_with_its_troubles(api: Api) -> None:
    await api.log_in()
    api.stored.homeserver_problem = "The homeserver cannot be reached."
    got = (await api.get("admin/overview", token="nurse's")).json
    assert got["homeserver"] == {"ok": False, "problem": "The homeserver cannot be reached."}
    assert got["database"] == {"ok": True}
    assert got["logins_here"] == [{"network": "fake", "state": "CONNECTED", "logins": 1}]
    assert [(each["mode"], each["accounts"]) for each in got["observed_here"]] == [("watched", 2)]
    assert [each["this_one"] for each in got["processes"]] == [True, False]
    assert got["queues"][0]["oldest_seconds"] == 60.0


async def test_of_other_processes_logins_only_what_is_stored_is_told(api: Api) -> None:
    login = await api.log_in()
    got = (await api.get("admin/logins", token="nurse's")).json
    ours, other = got["logins"]
    assert (ours["id"], ours["user_id"], ours["here"]) == (login, JULIET, True)
    assert ours["state_event"] == "CONNECTED"
    assert (other["here"], other["process"], other.get("state_event")) == (False, "another", None)
    page = (await api.get("admin/logins", token="nurse's", limit="1")).json
    await api.post(f"logout/{login}")
    more = (await api.get("admin/logins", token="nurse's", after=page["next"])).json
    assert [each["id"] for each in more["logins"]] == ["zz"]
    for wrong in ("zz", "WzFd", "e30="):
        refused = await api.get("admin/logins", token="nurse's", after=wrong)
        assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_accounts_are_told_with_how_they_are_observed(api: Api) -> None:
    got = (await api.get("admin/accounts", token="nurse's")).json["accounts"]
    assert [(each["user_id"], each.get("mode")) for each in got] == [
        (JULIET, "watched"),
        ("@paris:example.org", None),
    ]
    assert NURSE not in str(got)


async def test_what_is_parked_is_told_without_its_text(api: Api) -> None:
    got = (await api.get("admin/parked", token="nurse's")).json
    assert [each["id"] for each in got["rows"]] == ["out:7"]
    assert "secret" not in str(got)
