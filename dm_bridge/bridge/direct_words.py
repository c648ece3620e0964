"""What has happened to an account's direct chats, in words: for its user, or for an admin.

The engine's reasons (`dm_bridge.direct.reasons`) are kinds with what they are about, and know English only; here
they are said in the language of the bridge.
"""

from __future__ import annotations

from collections.abc import Callable

from dm_bridge.direct import Source, Version
from dm_bridge.direct.document import MAX_DEPTH, MalformedReason
from dm_bridge.direct.reasons import Reason, ReasonKind
from dm_bridge.ids import UserId
from dm_bridge.texts import phrase

Called = Callable[[str], str]
"""What a room or a user id is called."""

_BY = {
    Source.PUSHED: "direct-written-by-another",
    Source.WATCHED: "direct-written-by-another",
    Source.ACTIVITY: "direct-was-written-by-another",
    Source.SWEEP: "direct-was-written-by-another",
    Source.READ: "direct-was-written-by-another",
    Source.WRITTEN: "direct-written-by-us",
}
_WHY = {
    ReasonKind.MARKED: "direct-marked",
    ReasonKind.MERGED_FROM_ALIAS: "direct-merged-from-alias",
    ReasonKind.REMOVED_FROM_BRIDGE_USER: "direct-removed-from-bridge-user",
    ReasonKind.REMOVED_FROM_OTHER: "direct-removed-from-other",
    ReasonKind.UNMARKED_RETIRED: "direct-unmarked-retired",
    ReasonKind.UNMARKED_OPTED_OUT: "direct-unmarked-opted-out",
    ReasonKind.REPAIRED_KEY: "direct-repaired-key",
    ReasonKind.PENDING: "direct-pending",
    ReasonKind.OPTED_OUT: "direct-opted-out",
    ReasonKind.ADOPTED: "direct-adopted",
    ReasonKind.OLD_COPY: "direct-old-copy",
    ReasonKind.JUMPED_BACK: "direct-jumped-back",
    ReasonKind.NOT_WRITTEN: "direct-not-written",
    ReasonKind.REBUILT: "direct-rebuilt",
    ReasonKind.USER_UNMARKED: "direct-user-unmarked",
    ReasonKind.USER_MARKED: "direct-user-marked",
    ReasonKind.REKEYED: "direct-rekeyed",
    ReasonKind.CONFLICT: "direct-conflict",
}


def words_of(
    version: Version, called: Called = str, *, reader: str = "admin"
) -> tuple[str, list[str]]:
    """A version, in words: who did what, and of each chat that it concerns, what.

    ``reader``: ``you``, whose direct chats they are, or ``admin``.
    """
    said = [said_of(reason, called, reader=reader) for reason in version.reasons]
    by = phrase(_BY[version.source], reader=reader)
    changes = _changes(version, called)
    if version.source is Source.WRITTEN:
        return by, said or changes
    return said[0] if said else by, [*said[1:], *changes]


def said_of(reason: Reason, called: Called = str, *, reader: str = "admin") -> str:
    """Why something was done, or left."""
    return phrase(
        _WHY[reason.kind],
        reader=reader,
        room=called(reason.room or ""),
        contact=called(reason.key or ""),
        chats=reason.count,
    )


def left_as_it_is(account: UserId, reason: MalformedReason) -> str:
    """Why the account's m.direct is not touched, and what to do about it."""
    why = reason.value.replace("_", "-")
    return phrase("direct-left-as-it-is", account=account, why=why, levels=MAX_DEPTH)


def _changes(version: Version, called: Called) -> list[str]:
    return [
        *(
            phrase("direct-added", what=called(item), contact=called(key))
            for key, item in sorted(version.change.added)
        ),
        *(
            phrase("direct-removed", what=called(item), contact=called(key))
            for key, item in sorted(version.change.removed)
        ),
    ]
