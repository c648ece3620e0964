"""SCRAM at the speed of C.

slixmpp derives the key of SCRAM (RFC 5802) in Python, on the event loop, for as many rounds as the
server asks: tens of milliseconds for each login, and for ever when the server is hostile.

The rule that must never break: what the server asks costs at most a bounded moment of CPU.
"""

# slixmpp annotates only part of what it is called with.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib

from slixmpp.util.sasl.client import MECHANISMS, SASLCancelled, sasl_mech
from slixmpp.util.sasl.mechanisms import SCRAM

MAX_ROUNDS = 500_000
"""About a quarter of a second; servers ask for 4,096 to 100,000."""

MECHANISM_NAMES = frozenset(
    {
        f"SCRAM-{name}{suffix}"
        for name in ("SHA-1", "SHA-256", "SHA-512")
        for suffix in ("", "-PLUS")
    }
    | {"PLAIN"}
)
"""What is used at all, strongest first; PLAIN only inside TLS or on loopback (see the client)."""


class BoundedScram(SCRAM):
    """slixmpp's SCRAM with a native, bounded key derivation."""

    def Hi(self, text: str | bytes, salt: bytes, iterations: int) -> bytes:
        if not 1 <= iterations <= MAX_ROUNDS:
            raise SASLCancelled("the server asks for an unreasonable number of rounds")
        password = text.encode() if isinstance(text, str) else bytes(text)
        name = self.hash_name.replace("-", "").lower()
        return hashlib.pbkdf2_hmac(name, password, salt, iterations)


def use_bounded_scram() -> None:
    """Make slixmpp use `BoundedScram`; idempotent, for the whole process."""
    if MECHANISMS.get("SCRAM-SHA-1") is not BoundedScram:
        sasl_mech(60)(BoundedScram)
