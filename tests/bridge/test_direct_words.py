"""What the bridge says of reasons is what the engine says of them, and to users it speaks of themselves."""

from __future__ import annotations

import pytest

from dm_bridge.bridge.direct_words import left_as_it_is, said_of
from dm_bridge.direct import DirectDocument, Malformed, Refuse
from dm_bridge.direct.document import MAX_DEPTH, MalformedReason
from dm_bridge.direct.ledger import Ledger
from dm_bridge.direct.reasons import Reason, ReasonKind
from dm_bridge.direct.reconcile import reconcile
from dm_bridge.ids import UserId

USER = UserId("@juliet:example.org")
ROOM, GHOST = "!room:example.org", "@_xmpp_romeo:example.org"
COUNTED = (ReasonKind.OLD_COPY, ReasonKind.JUMPED_BACK, ReasonKind.REBUILT)


@pytest.mark.parametrize("count", [0, 1, 12])
@pytest.mark.parametrize("kind", ReasonKind)
def test_a_reason_is_said_as_the_engine_says_it(kind: ReasonKind, count: int) -> None:
    reason = Reason(kind, GHOST, ROOM, count if kind in COUNTED else 0)
    assert said_of(reason) == reason.sentence


@pytest.mark.parametrize("kind", ReasonKind)
def test_to_its_user_nothing_is_said_of_a_user(kind: ReasonKind) -> None:
    said = said_of(Reason(kind, GHOST, ROOM, 1), lambda _: "romeo", reader="you")
    assert "user" not in said
    assert not {ROOM, GHOST} & {*said.split()}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"no", MalformedReason.NOT_JSON),
        (b"[]", MalformedReason.NOT_AN_OBJECT),
        (b'{"a": [], "a": []}', MalformedReason.DUPLICATE_KEY),
        (b'{"a": 1e999}', MalformedReason.NUMBER_OUT_OF_RANGE),
        (b'{"a": %s}' % (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH), MalformedReason.TOO_DEEP),
    ],
)
def test_what_is_not_touched_is_said_as_the_engine_says_it(
    raw: bytes, reason: MalformedReason
) -> None:
    malformed = DirectDocument.parse(raw)
    assert malformed == Malformed(reason)
    decision = reconcile(Ledger.of(USER, (), frozenset()), malformed)
    assert isinstance(decision, Refuse)
    assert left_as_it_is(USER, reason) == decision.sentence
