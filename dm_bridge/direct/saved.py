"""A mind as JSON and back, for whoever embeds the engine and keeps its state in a place of their own.

The rule that must never break: what `load` makes of what `dump` gave decides exactly as the mind that was
dumped. What is not understood is refused, never read as an empty mind: that would forget decisions.

The bridge itself keeps its minds in database tables, and uses the form of a version only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from dm_bridge.direct.change import Change
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.engine import Mind
from dm_bridge.direct.journal import Journal, Source, Struggle, Version
from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.direct.reasons import Reason
from dm_bridge.ids import RoomId, UserId

FORMAT = 1
"""Raised when an older `load` would misunderstand what `dump` writes."""


def dump(mind: Mind) -> dict[str, Any]:
    """``mind`` as plain values that any JSON encoder writes. Its size is that of what changed of late."""
    ledger, journal = mind.ledger, mind.journal
    return {
        "format": FORMAT,
        "account": ledger.account,
        "never_keys": sorted(ledger.never_keys),
        "managed": [
            {
                "room": dm.room,
                "ghost": dm.ghost,
                "state": dm.state.value,
                "opted_out": dm.opted_out,
                "aliases": sorted(dm.aliases),
            }
            for dm in ledger.managed.values()
        ],
        "head": _text(journal.head),
        "doubt": _text(journal.doubt),
        "versions": [
            {"seq": v.seq, "at": v.at, "source": v.source.value, **version_detail(v)}
            for v in journal.versions
        ],
        "echoes": journal.echoes,
        "attempted": journal.attempted,
        "struggles": {what: [s.times, s.at] for what, s in journal.struggles.items()},
    }


def load(saved: Mapping[str, Any]) -> Mind:
    """The mind that `dump` made ``saved`` from. Raises `ValueError` for anything else."""
    try:
        if saved.get("format") != FORMAT:
            raise ValueError(
                f"What is saved of m.direct has the format {saved.get('format')!r}; this version of dm_bridge "
                f"reads {FORMAT}. Use the version that wrote it, or a newer one."
            )
        return Mind(
            Ledger.of(
                UserId(saved["account"]),
                [_managed(dm) for dm in saved["managed"]],
                map(UserId, saved["never_keys"]),
            ),
            Journal(
                _document(saved["head"]),
                tuple(
                    version_of(v["seq"], v["at"], v["source"], detail=v) for v in saved["versions"]
                ),
                _document(saved["doubt"]),
                echoes=saved["echoes"],
                attempted=saved["attempted"],
                struggles=MappingProxyType(
                    {what: Struggle(times, at) for what, (times, at) in saved["struggles"].items()}
                ),
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"What is saved of m.direct is incomplete: {error!r}.") from error


def version_detail(version: Version) -> dict[str, Any]:
    """What a version changed and why, as plain values."""
    return {
        "added": [list(atom) for atom in sorted(version.change.added)],
        "removed": [list(atom) for atom in sorted(version.change.removed)],
        "reasons": [reason.to_json() for reason in version.reasons],
    }


def version_of(seq: int, at: float, source: str, detail: Mapping[str, Any]) -> Version:
    """The version of which ``detail`` is the `version_detail`."""
    change = Change(_atoms(detail["added"]), _atoms(detail["removed"]))
    reasons = tuple(Reason.from_json(reason) for reason in detail["reasons"])
    return Version(seq, at, Source(source), change, reasons)


def _atoms(pairs: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset((key, item) for key, item in pairs)


def _managed(saved: Mapping[str, Any]) -> ManagedDM:
    return ManagedDM(
        RoomId(saved["room"]),
        UserId(saved["ghost"]),
        DMState(saved["state"]),
        saved["opted_out"],
        frozenset(map(UserId, saved["aliases"])),
    )


def _text(document: DirectDocument | None) -> str | None:
    return None if document is None else document.to_json()


def _document(text: str | None) -> DirectDocument | None:
    document = None if text is None else DirectDocument.parse(text)
    if document is None or isinstance(document, DirectDocument):
        return document
    raise ValueError(f"What is saved of m.direct cannot be read: {document.reason.sentence}.")
