"""What a login's position holds: whom its user talks with, and how far a bouncer's record was read.

The rule that must never break: text of another version, or none, is read as an empty position, never as an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """``people``: as `People.store` gives it, in JSON. ``time``: of the newest message, in seconds, if known."""

    people: str = ""
    time: float | None = None

    @classmethod
    def parse(cls, text: str | None) -> Position:
        try:
            fields = json.loads(text or "{}")
            time = fields.get("time")
            known = isinstance(time, int | float) and math.isfinite(time)
            return cls(json.dumps(fields.get("people", {})), float(time) if known else None)
        except (ValueError, AttributeError):
            return cls()

    @staticmethod
    def text(people: Mapping[str, str], time: float | None) -> str:
        fields: dict[str, object] = {"people": dict(people)}
        if time is not None:
            fields["time"] = time
        return json.dumps(fields, separators=(",", ":"))
