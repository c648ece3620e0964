"""Three looks at one m.direct, and what the engine says to each. It needs neither a homeserver nor a bridge."""

from __future__ import annotations

from dm_bridge.direct import (
    DirectDocument,
    Ledger,
    Malformed,
    Mind,
    NotSet,
    Put,
    activate,
    manage,
    observe,
)
from dm_bridge.ids import RoomId, UserId

ALICE, BOT = UserId("@alice:example.org"), UserId("@bot:example.org")
GHOST, ROOM = UserId("@_x_bob:example.org"), RoomId("!bob:example.org")


def look(mind: Mind, stood: DirectDocument | Malformed | NotSet, at: float) -> Mind:
    """Show what is decided about what stood there."""
    outcome = observe(mind, stood, at=at)
    if isinstance(outcome.decision, Put):
        print("write", outcome.decision.document.to_json())
    else:
        print("leave it")
    for reason in getattr(outcome.decision, "reasons", ()):
        print("   ", reason.sentence)
    return outcome.mind


def main() -> None:
    """The bridge has a chat; then it sees its own write; then the user takes the chat out of the list."""
    ledger = Ledger.of(ALICE, never_keys=[BOT])
    ledger = activate(manage(ledger, ROOM, GHOST), ROOM)
    friend = '{"@friend:example.org":["!f"]}'
    both = '{"@friend:example.org":["!f"],"@_x_bob:example.org":["!bob:example.org"]}'

    mind = look(Mind(ledger), DirectDocument.parse(friend), at=1.0)
    mind = look(mind, DirectDocument.parse(both), at=2.0)
    mind = look(mind, DirectDocument.parse(friend), at=900.0)
    print("opted out:", mind.ledger.managed[ROOM].opted_out)


if __name__ == "__main__":
    main()
