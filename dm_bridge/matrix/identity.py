"""Who a token of the homeserver belongs to.

The rule that must never break: a token is shown to the configured homeserver and to nobody else, and what that
says counts only for its own users.
"""

from __future__ import annotations

import re

import aiohttp
from mautrix.api import Path, PathBuilder

from dm_bridge.direct.document import is_user_id
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId, server_name
from dm_bridge.matrix.budget import Budget
from dm_bridge.matrix.homeserver import Homeserver

DEADLINE = 10.0
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}\Z")
_USERINFO = PathBuilder("_matrix/federation").v1.openid.userinfo


class Identities:
    """Asks the homeserver at ``url``, whose users are those of ``domain``."""

    def __init__(
        self, url: str, domain: str, session: aiohttp.ClientSession, budget: Budget | None = None
    ) -> None:
        self._url = url
        self._domain = domain
        self._session = session
        self._budget = budget

    async def by_access_token(self, token: str) -> UserId | None:
        """The user who is logged in with an access token (``GET /account/whoami``); None for no user, and guests.

        Raises `HomeserverError` when the homeserver cannot tell.
        """
        return await self._ask(token, Path.v3.account.whoami, token, {}, "user_id")

    async def by_openid(self, token: str) -> UserId | None:
        """The user who asked for an OpenID token (server-server API, "OpenID"); None for nobody.

        The homeserver's URL must serve ``/_matrix/federation/v1/openid/userinfo``. Raises `HomeserverError`.
        """
        # without the header: Synapse would look there for the signature of another homeserver
        return await self._ask(token, _USERINFO, "", {"access_token": token}, "sub")

    async def _ask(
        self, token: str, path: PathBuilder, header: str, query: dict[str, str], field: str
    ) -> UserId | None:
        if _TOKEN.match(token) is None:
            return None
        homeserver = Homeserver(self._url, header, self._session, budget=self._budget)
        try:
            answer = await homeserver.request("GET", path, query=query, deadline=DEADLINE)
        except HomeserverError as error:
            if error.status in (401, 403):
                return None
            raise
        user = answer.get(field)
        if not isinstance(user, str) or not is_user_id(user) or answer.get("is_guest") is True:
            return None
        return UserId(user) if server_name(user) == self._domain else None
