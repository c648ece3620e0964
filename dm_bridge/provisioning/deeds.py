"""What admins have done to users, carried to the process that has them, as calls are (`Relay`).

The rule that must never break: no request over HTTP becomes a deed; they are no operations of the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from dm_bridge.errors import UserError
from dm_bridge.ids import UserId
from dm_bridge.provisioning.calls import Call, Run
from dm_bridge.texts import phrase


class Deeds:
    """``answer``: answers a call wherever its user is."""

    def __init__(self, answer: Run) -> None:
        self._answer = answer

    async def ask(self, user: UserId, deed: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """Have a deed done to a user; what came of it. Raises `UserError`."""
        answer = await self._answer(Call(deed, user, {}, dict(fields)))
        outcome: dict[str, Any] = orjson.loads(answer.body)
        if answer.status != 200:
            raise UserError(str(outcome.get("error") or phrase("provisioning-deed-failed")))
        return outcome
