"""A client of the provisioning API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.stack import Bridge


class Api:
    """The API of one process, with one token."""

    def __init__(self, bridge: Bridge, token: str, user: str = "") -> None:
        self._base = f"{bridge.url}/_matrix/provision/v3"
        self._token = token
        self._query = {"user_id": user} if user else {}

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        timeout = aiohttp.ClientTimeout(total=90)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(
                method,
                f"{self._base}/{path}",
                json=body,
                params=self._query,
                headers={"Authorization": f"Bearer {self._token}"},
            ) as response,
        ):
            return response.status, await response.json()

    async def get(self, path: str) -> Any:
        """The JSON of an answer that is no error."""
        status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return answer

    async def post(self, path: str, body: Any = None) -> Any:
        status, answer = await self.ask("POST", path, body)
        assert status in (200, 201), answer
        return answer


def step_path(step: Mapping[str, Any]) -> str:
    return f"login/step/{step['login_id']}/{step['step_id']}/{step['type']}"


async def openid(user: MatrixUser) -> str:
    """A Matrix OpenID token of the user, as clients ask for one."""
    path = f"v3/user/{quote(user.user_id)}/openid/request_token"
    answer = await user.request("POST", path, {})
    return f"openid:{answer['access_token']}"
