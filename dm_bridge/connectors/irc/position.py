"""What a login's position holds: whom its user talks with, and how far a server's record was read.

The rule that must never break: text of another version, or none, is read as far as it is known, never as an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MARKS = re.compile(r"([0-9a-f]{8})*\Z")


@dataclass(frozen=True, slots=True)
class Position:
    """``people``: as `People.store` gives it, in JSON. ``time``: up to which a record was read, in seconds.

    ``known``, ``unsettled``: as `Known.store` gives them.
    """

    people: str = ""
    time: float | None = None
    known: str = ""
    unsettled: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Position:
        try:
            fields = json.loads(text or "{}")
            time, known = fields.get("time"), fields.get("known")
            return cls(
                json.dumps(fields.get("people", {})),
                float(time) if _is_time(time) else None,
                known if isinstance(known, str) and _MARKS.match(known) else "",
                _unsettled(fields.get("unsettled")),
            )
        except (ValueError, AttributeError):
            return cls()

    @staticmethod
    def text(
        people: Mapping[str, str],
        time: float | None,
        known: str = "",
        unsettled: Sequence[tuple[str, float]] = (),
    ) -> str:
        fields: dict[str, object] = {"people": dict(people)}
        if time is not None:
            fields["time"] = time
        if known:
            fields["known"] = known
        if unsettled:
            fields["unsettled"] = unsettled
        return json.dumps(fields, separators=(",", ":"))


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _unsettled(value: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(value, list):
        return ()
    pairs = [item for item in value if isinstance(item, list) and len(item) == 2]
    return tuple((str(mark), float(at)) for mark, at in pairs if _is_time(at))
