"""What an admin can have done to a user, wherever the user is (`dm_bridge.bridge.steward` does it)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from dm_bridge.ids import UserId

DESCRIBE, LOGOUT, LOOK_AGAIN = "deed.describe", "deed.logout", "deed.look-again"
DEEDS = (DESCRIBE, LOGOUT, LOOK_AGAIN)

Ask = Callable[[UserId, str, Mapping[str, str]], Awaitable[dict[str, Any]]]
"""Has a deed done to a user; what came of it. Raises `BridgeError`."""
