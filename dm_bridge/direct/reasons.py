"""Why something is done, or left: for machines as a kind, for people as a sentence.

The rule that must never break: every `ReasonKind` has a sentence that a person without knowledge of
Matrix can act upon or shrug at.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never


class ReasonKind(enum.Enum):
    """The kinds of reasons, by what they are about."""

    # what an entry should be
    MARKED = "marked"
    MERGED_FROM_ALIAS = "merged_from_alias"
    REMOVED_FROM_BRIDGE_USER = "removed_from_bridge_user"
    REMOVED_FROM_OTHER = "removed_from_other"
    UNMARKED_RETIRED = "unmarked_retired"
    UNMARKED_OPTED_OUT = "unmarked_opted_out"
    REPAIRED_KEY = "repaired_key"
    PENDING = "pending"
    OPTED_OUT = "opted_out"

    # what another writer did
    ADOPTED = "adopted"
    OLD_COPY = "old_copy"
    JUMPED_BACK = "jumped_back"
    NOT_WRITTEN = "not_written"
    REBUILT = "rebuilt"
    USER_UNMARKED = "user_unmarked"
    USER_MARKED = "user_marked"
    REKEYED = "rekeyed"
    CONFLICT = "conflict"


LEFT_ALONE = frozenset({ReasonKind.PENDING, ReasonKind.OPTED_OUT})
"""Why nothing was done about a room: no part of the history of what was written."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. ``key``: the user id it is about; ``room``: the room; ``count``: how many chats."""

    kind: ReasonKind
    key: str | None = None
    room: str | None = None
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """The reason as JSON: ``kind``, what it is about, and the sentence."""
        about = {"key": self.key, "room": self.room, "count": self.count or None}
        known = {name: value for name, value in about.items() if value is not None}
        return {"kind": self.kind.value, **known, "sentence": self.sentence}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Reason:
        """What `to_json` wrote. Raises `ValueError` for a kind that is not known."""
        kind = ReasonKind(value["kind"])
        return Reason(kind, value.get("key"), value.get("room"), value.get("count", 0))

    @property
    def sentence(self) -> str:
        """The reason, for a person."""
        match self.kind:
            case ReasonKind.MARKED:
                return f"{self.room} is marked as a direct chat with {self.key}."
            case ReasonKind.MERGED_FROM_ALIAS:
                return f"{self.room} moves away from {self.key}, an earlier id of the contact."
            case ReasonKind.REMOVED_FROM_BRIDGE_USER:
                return f"{self.room} is no longer marked under {self.key}, who is not the contact."
            case ReasonKind.REMOVED_FROM_OTHER:
                return (
                    f"{self.room} is no longer marked under {self.key} too: many clients show a chat as direct "
                    "only when it stands under one person."
                )
            case ReasonKind.UNMARKED_RETIRED:
                return f"{self.room} is no longer bridged, so its mark under {self.key} goes."
            case ReasonKind.UNMARKED_OPTED_OUT:
                return f"{self.room} loses its mark under {self.key}, as the user has decided."
            case ReasonKind.REPAIRED_KEY:
                return f"What stood under {self.key} was not a list of rooms, and is one again."
            case ReasonKind.PENDING:
                return f"{self.room} waits to be marked until the user has joined it."
            case ReasonKind.OPTED_OUT:
                return f"{self.room} is left alone: the user does not want it as a direct chat."
            case ReasonKind.ADOPTED:
                return "The list of direct chats was seen for the first time."
            case ReasonKind.OLD_COPY:
                return f"A client wrote back an old copy of the list; {_put_back(self.count)}."
            case ReasonKind.JUMPED_BACK:
                return (
                    "The list is again exactly what it was some time ago, as after a restored backup; "
                    f"{_put_back(self.count)}."
                )
            case ReasonKind.NOT_WRITTEN:
                return "The last change seems not to have reached the homeserver; it is made again."
            case ReasonKind.REBUILT:
                return (
                    f"A client rewrote the list without {_chats(self.count)} of the bridge; no one decides that "
                    "about most chats at once, so they are put back."
                )
            case ReasonKind.USER_UNMARKED:
                return (
                    f"{self.room} was unmarked by the user, and stays so until they mark it again."
                )
            case ReasonKind.USER_MARKED:
                return f"{self.room} was marked again by the user."
            case ReasonKind.REKEYED:
                return f"{self.room} was put under {self.key} by the user, and is left there."
            case ReasonKind.CONFLICT:
                return (
                    f"{self.room} keeps being changed by another client or bridge; it is left alone for now. "
                    "Close that client, then ask for a repair."
                )
            case _:
                assert_never(self.kind)


def _chats(count: int) -> str:
    return "1 chat" if count == 1 else f"{count} chats"


def _put_back(count: int) -> str:
    if count == 0:
        return "nothing was lost by it"
    return f"{_chats(count)} {'was' if count == 1 else 'were'} put right again"
