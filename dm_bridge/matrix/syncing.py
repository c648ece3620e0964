"""The query of a single ``/sync`` that brings one thing of all rooms. Pure.

The rule that must never break: nothing is marked as seen by it, and no presence changes.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

NOTHING = {"not_types": ["*"]}
"""A filter that lets nothing through (Client-server API, "Filtering")."""


def single_sync(room: Mapping[str, Any]) -> dict[str, str]:
    """What to ask for what ``room``, a room filter, lets through, and for nothing else; answered at once.

    Synapse answers an equal request from a cache for minutes; an unequal filter is answered anew.
    """
    nonce = f"org.dm_bridge.{secrets.token_hex(8)}"
    selection = {"room": room, "presence": NOTHING, "account_data": {"types": [nonce]}}
    return {"filter": json.dumps(selection), "timeout": "0", "set_presence": "offline"}
