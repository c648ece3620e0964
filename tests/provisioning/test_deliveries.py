"""What has not arrived, over HTTP."""

from __future__ import annotations

from dataclasses import replace

from dm_bridge.ids import ContactId, LoginId, RoomId
from dm_bridge.store.undelivered import Stuck, Undelivered

from .world import JULIET, ROMEO, Api

SECRET = "wherefore art thou"


def wrote(
    seq: int, login: str, *, type: str = "m.room.message", uncertain: bool = False
) -> Undelivered:
    event = {
        "type": type,
        "sender": JULIET,
        "event_id": f"${seq}",
        "content": {"msgtype": "m.text", "body": SECRET},
    }
    whose = LoginId(login), ROMEO
    return Undelivered(seq, RoomId("!r"), event, 1.5 + seq, uncertain, *whose, "too late")


def brought(seq: int, login: str, *, waits: bool = False) -> Stuck:
    whose = LoginId(login), ContactId("paris@example.net")
    return Stuck(seq, waits, waits, RoomId("!s"), *whose, 100.0 + seq, "", behind=2 * waits)


async def test_what_has_not_arrived_is_told_without_its_text(api: Api) -> None:
    login = await api.log_in()
    api.stored.written[JULIET] = [
        wrote(1, login),
        wrote(2, login, uncertain=True),
        wrote(3, login, type="m.room.encrypted"),
    ]
    api.stored.brought[JULIET] = [brought(4, login)]
    api.stored.long[JULIET] = [brought(5, login, waits=True)]
    got = (await api.get("deliveries")).json
    problems = got["problems"]
    assert [(each["id"], each["state"], each["can_retry"]) for each in problems] == [
        ("out:1", "not_delivered", True),
        ("out:2", "perhaps_delivered", True),
        ("out:3", "not_delivered", False),
        ("in:4", "not_shown", True),
        ("out:5", "waiting", False),
    ]
    assert problems[0]["reason"] == "Too late."
    assert problems[0]["ts"] == 2500
    assert "twice" in problems[1]["advice"]
    assert problems[4]["behind"] == 2
    assert SECRET not in str(got)
    assert (await api.get("deliveries", token="nurse's")).json == {"problems": []}


async def test_a_contact_with_a_name_is_called_by_it(api: Api) -> None:
    login = await api.log_in()
    room = (await api.post(f"create_dm/{ROMEO}")).json["dm_room_mxid"]
    api.stored.written[JULIET] = [wrote(1, login), replace(wrote(2, login), room=room)]
    problems = (await api.get("deliveries")).json["problems"]
    assert [each.get("contact_name") for each in problems] == [None, "My Romeo"]
    assert [each["contact"] for each in problems] == [ROMEO, ROMEO]


async def test_one_is_tried_again_and_then_all(api: Api) -> None:
    login = await api.log_in()
    api.stored.written[JULIET] = [wrote(1, login), wrote(2, login)]
    api.stored.brought[JULIET] = [brought(4, login), brought(5, login)]
    got = (await api.post("deliveries/out:1/retry")).json
    assert got["message"] == "1 message will be sent again."
    assert [each["id"] for each in got["deliveries"]["problems"]] == ["out:2", "in:4", "in:5"]
    assert api.stored.woken == [{"!r"}]
    assert "will be shown" in (await api.post("deliveries/in:4/retry")).json["message"]
    got = (await api.post("deliveries/retry")).json
    assert got["message"] == (
        "1 message will be sent again. 1 message from the network will be shown where it belongs."
    )
    assert got["deliveries"]["problems"] == []
    nothing = (await api.post("deliveries/retry")).json["message"]
    assert nothing == "There is nothing to try again."


async def test_nothing_is_tried_that_cannot_be_or_is_not_the_users(api: Api) -> None:
    login = await api.log_in()
    api.stored.written[JULIET] = [wrote(1, login), wrote(3, login, type="m.room.encrypted")]
    for which in ("out:3", "out:9", "in:1", "nonsense", "out:", "out:-1", "in:" + "9" * 40):
        got = await api.post(f"deliveries/{which}/retry")
        assert (got.status, got.errcode) == (404, "M_NOT_FOUND"), which
    assert (await api.post("deliveries/out:1/retry", token="nurse's")).status == 404
    assert len(api.stored.written[JULIET]) == 2


async def test_what_was_written_by_a_login_that_is_not_connected_stays_where_it_is(
    api: Api,
) -> None:
    login = await api.log_in()
    await api.post(f"logout/{login}")
    api.stored.written[JULIET] = [wrote(1, login)]
    [shown] = (await api.get("deliveries")).json["problems"]
    assert (shown["can_retry"], shown["advice"]) == (
        False,
        "Log in again first: this login is not connected.",
    )
    got = await api.post("deliveries/out:1/retry")
    assert (got.status, got.errcode) == (400, "FI.MAU.NOT_LOGGED_IN")
    assert len(api.stored.written[JULIET]) == 1
