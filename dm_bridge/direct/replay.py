"""Plays a trace, one operation after the other, through the engine.

A trace is how a user's trouble is reproduced: the bridge writes one from its journal, and anybody can
write one by hand. Each operation is a JSON object:

    {"op": "manage", "room": R, "ghost": G}     the bridge keeps R marked under G, from now on
    {"op": "retire", "room": R}                 R is no longer bridged
    {"op": "rename", "ghost": OLD, "to": NEW}   the contact behind OLD is now behind NEW
    {"op": "replace", "room": OLD, "to": NEW}   OLD was upgraded to NEW
    {"op": "opt_out", "room": R}                the user wants R not to be a direct chat
    {"op": "opt_in", "room": R}                 the user has taken that back
    {"op": "observe", "content": {...}, "at": T}    this stood there, T seconds since the epoch

Only ``observe`` has an answer. Its ``put`` counts as written, unless the next ``observe`` shows otherwise.
An operation about a room or ghost that is not managed changes nothing. ``at`` may be left out: then a
second has passed. ``content`` may be null: the homeserver said that there is no such document.

The rule that must never break: the same trace always gives the same answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dm_bridge.direct import ledger as transitions
from dm_bridge.direct.document import DirectDocument, Malformed, NotSet
from dm_bridge.direct.engine import Mind, observe
from dm_bridge.direct.journal import DEFAULT_BOUNDS, Bounds, Source
from dm_bridge.direct.ledger import DMState, Ledger
from dm_bridge.direct.reconcile import Keep, Put, Refuse
from dm_bridge.errors import UserError
from dm_bridge.ids import RoomId, UserId

ACCOUNT = UserId("@account:replay.invalid")


class Replay:
    """One account whose trace is played. ``never_keys``: users under whom no managed room may stand."""

    def __init__(
        self,
        account: UserId = ACCOUNT,
        never_keys: frozenset[UserId] = frozenset(),
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self.mind = Mind(Ledger.of(account, never_keys=never_keys))
        self._bounds = bounds
        self._now = 0.0

    def play(self, operation: Any) -> dict[str, Any] | None:
        """Carry out one operation; the answer of an ``observe``. Raises `UserError` for one that is malformed."""
        if not isinstance(operation, dict):
            raise UserError('An operation is a JSON object, such as {"op": "observe", …}.')
        op = operation.get("op")
        if op == "observe":
            return self._observe(operation)
        change = _CHANGES.get(op) if isinstance(op, str) else None
        if change is None:
            raise UserError(
                f"There is no such operation: {op!r}. There are: {', '.join(_CHANGES)}, observe."
            )
        fields, apply = change
        values = [operation.get(name) for name in fields]
        for name, value in zip(fields, values, strict=True):
            if not isinstance(value, str):
                raise UserError(f'The operation {op} needs "{name}", a string.')
        try:
            ledger = apply(self.mind.ledger, *values)
        except transitions.LedgerError as error:
            raise UserError(f"The operation {op} is not possible: {error}.") from error
        self.mind = replace(self.mind, ledger=ledger)
        return None

    def _observe(self, operation: dict[str, Any]) -> dict[str, Any]:
        if "content" not in operation:
            raise UserError('The operation observe needs "content", what stood in m.direct.')
        at = operation.get("at", self._now + 1)
        if isinstance(at, bool) or not isinstance(at, int | float) or not abs(at) < 1e18:
            raise UserError('"at" is a number of seconds.')
        self._now = float(at)
        content = operation["content"]
        observed: DirectDocument | Malformed | NotSet
        observed = NotSet() if content is None else DirectDocument.parse(_text(content))
        outcome = observe(
            self.mind, observed, at=self._now, source=_source(operation), bounds=self._bounds
        )
        self.mind = outcome.mind
        answer: dict[str, Any] = {"action": "keep"}
        match outcome.decision:
            case Put(document, reasons):
                answer = {"action": "put", "content": document.content()}
            case Keep(reasons):
                pass
            case Refuse(reason, sentence):
                kind = {"kind": reason.value, "sentence": sentence}
                return {"action": "refuse", "opted_out": self.opted_out(), "reasons": [kind]}
        answer["opted_out"] = self.opted_out()
        answer["reasons"] = [reason.to_json() for reason in reasons]
        return answer

    def opted_out(self) -> list[str]:
        """The rooms that the user does not want as direct chats, sorted."""
        managed = self.mind.ledger.managed
        return sorted(
            room for room in managed if managed[room].opted_out and _lives(self.mind.ledger, room)
        )


def _text(content: Any) -> Any:
    """What to parse: an object, or JSON text as bytes. Nothing else can be a document."""
    return content if isinstance(content, dict | bytes) else "[]"


def _source(operation: dict[str, Any]) -> Source:
    try:
        return Source(operation.get("source", Source.READ.value))
    except ValueError:
        return Source.READ


def _manage(ledger: Ledger, room: str, ghost: str) -> Ledger:
    known = ledger.managed.get(RoomId(room))
    if known is None or known.state is DMState.RETIRED:
        ledger = transitions.manage(ledger, RoomId(room), UserId(ghost))
    elif known.ghost != ghost:
        aliases = (known.aliases | {known.ghost}) - {UserId(ghost)}
        moved = replace(known, ghost=UserId(ghost), aliases=aliases)
        others = (dm for dm in ledger.managed.values() if dm is not known)
        ledger = Ledger.of(ledger.account, (*others, moved), ledger.never_keys)
    return transitions.activate(ledger, RoomId(room))


def _retire(ledger: Ledger, room: str) -> Ledger:
    return transitions.retire(ledger, RoomId(room)) if room in ledger.managed else ledger


def _rename(ledger: Ledger, old: str, new: str) -> Ledger:
    known = any(dm.ghost == old for dm in ledger.managed.values())
    if not known or old == new:
        return ledger
    return transitions.rename_ghost(ledger, UserId(old), UserId(new))


def _replace(ledger: Ledger, old: str, new: str) -> Ledger:
    dm = ledger.managed.get(RoomId(old))
    if dm is None or old == new or not (_lives(ledger, old) or dm.opted_out):
        return ledger
    return transitions.replace_room(ledger, RoomId(old), RoomId(new))


def _opt_out(ledger: Ledger, room: str) -> Ledger:
    return transitions.opt_out(ledger, RoomId(room)) if _lives(ledger, room) else ledger


def _opt_in(ledger: Ledger, room: str) -> Ledger:
    return transitions.opt_in(ledger, RoomId(room)) if _lives(ledger, room) else ledger


def _lives(ledger: Ledger, room: str) -> bool:
    dm = ledger.managed.get(RoomId(room))
    return dm is not None and dm.state is not DMState.RETIRED


_CHANGES: dict[str, tuple[tuple[str, ...], Callable[..., Ledger]]] = {
    "manage": (("room", "ghost"), _manage),
    "retire": (("room",), _retire),
    "rename": (("ghost", "to"), _rename),
    "replace": (("room", "to"), _replace),
    "opt_out": (("room",), _opt_out),
    "opt_in": (("room",), _opt_in),
}
