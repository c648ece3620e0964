"""Who gets in, and as whom."""

from __future__ import annotations

import pytest

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.provisioning import authentication

from .world import JULIET, SECRET, Api, provisioned


@pytest.mark.parametrize("token", ["juliet's", "openid:juliet's"])
async def test_a_token_of_the_homeserver_stands_for_its_user(api: Api, token: str) -> None:
    login = await api.log_in()
    got = await api.get("logins", token=token)
    assert (got.status, got.json) == (200, {"login_ids": [login]})
    assert (await api.get("logins", token=token, user_id=JULIET)).status == 200


async def test_the_shared_secret_stands_for_whom_it_names(api: Api) -> None:
    login = await api.log_in()
    got = await api.get("logins", token=SECRET, user_id=JULIET)
    assert got.json == {"login_ids": [login]}
    assert (await api.get("logins", token=SECRET)).errcode == "M_MISSING_PARAM"
    assert (await api.get("logins", token=SECRET, user_id="juliet")).errcode == "M_INVALID_PARAM"
    assert api.tokens.asked == 1  # for the login


@pytest.mark.parametrize(
    ("token", "status", "errcode"),
    [
        (None, 401, "M_MISSING_TOKEN"),
        ("", 401, "M_MISSING_TOKEN"),
        ("somebody's", 401, "M_UNKNOWN_TOKEN"),
        (SECRET[:-1], 401, "M_UNKNOWN_TOKEN"),
        (SECRET + "s", 401, "M_UNKNOWN_TOKEN"),
        ("openid:nurse's", 401, "M_UNKNOWN_TOKEN"),
        ("openid:", 401, "M_UNKNOWN_TOKEN"),
        ("tybalt's", 403, "M_FORBIDDEN"),
    ],
)
async def test_nobody_else_gets_in(api: Api, token: str | None, status: int, errcode: str) -> None:
    for method, path in (("GET", "whoami"), ("POST", "login/start/fake")):
        got = await api.ask(method, path, token=token)
        assert (got.status, got.errcode) == (status, errcode)


async def test_a_token_is_not_another_users(api: Api) -> None:
    for token in ("juliet's", "openid:juliet's"):
        for _ in range(2):  # also when it is known already
            got = await api.get("whoami", token=token, user_id="@nurse:example.org")
            assert (got.status, got.errcode) == (401, "M_UNKNOWN_TOKEN")
            assert (await api.get("whoami", token=token)).status == 200


async def test_an_access_token_is_no_openid_token(api: Api) -> None:
    api.tokens.openid.clear()
    assert (await api.get("whoami")).status == 200
    assert (await api.get("whoami", token="openid:juliet's")).status == 401


async def test_users_of_other_homeservers_come_by_the_shared_secret_only(api: Api) -> None:
    stranger = UserId("@romeo:elsewhere.example")
    api.tokens.access["romeo's"] = api.tokens.openid["romeo's"] = stranger
    for token in ("romeo's", "openid:romeo's"):
        assert (await api.get("whoami", token=token)).errcode == "M_UNKNOWN_TOKEN"
    assert (await api.get("whoami", token=SECRET, user_id=stranger)).status == 200


async def test_nobody_acts_for_the_bridges_own_users(api: Api) -> None:
    for user in (api.bridge.bot, "@_dm_fake_romeo:example.org", "@_dm_:example.org"):
        assert (await api.get("whoami", token=SECRET, user_id=user)).errcode == "M_FORBIDDEN"
        api.tokens.access[f"{user}'s"] = UserId(user)
        assert (await api.get("whoami", token=f"{user}'s")).errcode == "M_FORBIDDEN"


async def test_without_a_shared_secret_none_is_accepted() -> None:
    async with provisioned(secret=None) as api:
        for token in ("", "None", SECRET):
            assert (await api.get("whoami", token=token, user_id=JULIET)).status == 401
        assert (await api.get("whoami")).status == 200


async def test_tokens_can_be_switched_off() -> None:
    async with provisioned(matrix_auth=False) as api:
        for token in ("juliet's", "openid:juliet's"):
            assert (await api.get("whoami", token=token)).errcode == "M_UNKNOWN_TOKEN"
        assert api.tokens.asked == 0
        assert (await api.get("whoami", token=SECRET, user_id=JULIET)).status == 200


async def test_a_token_is_asked_about_once_a_minute(api: Api) -> None:
    for _ in range(3):
        assert (await api.get("whoami")).status == 200
    assert api.tokens.asked == 1
    del api.tokens.access["juliet's"]
    assert (await api.get("whoami")).status == 200
    api.ahead[0] += authentication.REMEMBERED
    assert (await api.get("whoami")).status == 401


async def test_what_is_remembered_of_tokens_is_bounded(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_REMEMBERED", 2)
    api.tokens.access |= {f"token {n}": JULIET for n in range(4)}
    for n in range(4):
        assert (await api.get("whoami", token=f"token {n}")).status == 200
    assert (await api.get("whoami", token="token 3")).status == 200
    assert api.tokens.asked == 4
    assert (await api.get("whoami", token="token 0")).status == 200
    assert api.tokens.asked == 5


async def test_guessing_tokens_is_slowed_down_and_who_is_known_does_not_notice(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await api.get("whoami")).status == 200
    for n in range(authentication.UNKNOWN_A_MINUTE - 1):
        assert (await api.get("whoami", token=f"guess-{n}")).status == 401
    got = await api.get("whoami", token="another guess")
    assert (got.status, got.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert got.json["retry_after_ms"] >= 1000
    assert int(got.headers["Retry-After"]) >= 1
    assert (await api.get("whoami")).status == 200
    assert (await api.get("whoami", token="nurse's")).status == 429
    api.ahead[0] += 2.0
    assert (await api.get("whoami", token="nurse's")).status == 200


async def test_a_homeserver_that_cannot_tell_is_no_refusal_of_the_token(api: Api) -> None:
    api.tokens.trouble = HomeserverError("away", retry_after=1.0)
    got = await api.get("whoami")
    assert (got.status, got.errcode) == (502, "M_UNKNOWN")
    api.tokens.trouble = HomeserverError("patience", status=429, retry_after=7.0)
    got = await api.get("whoami")
    assert (got.status, got.json["retry_after_ms"]) == (429, 7000)
    api.tokens.trouble = None
    assert (await api.get("whoami")).status == 200
