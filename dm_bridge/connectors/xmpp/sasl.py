"""SCRAM at the speed of C.

slixmpp derives the key of SCRAM (RFC 5802) in Python, on the event loop, for as many rounds as the
server asks: tens of milliseconds for each login, and for ever when the server is hostile.

The rule that must never break: what the server asks costs at most a bounded moment of CPU, and none of the loop's.
"""

# slixmpp annotates only part of what it is called with.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from base64 import b64decode

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
    """slixmpp's SCRAM with a native, bounded key derivation, which a thread can do in advance."""

    _derived: tuple[bytes, int, bytes] | None = None
    _asked = False

    async def derive(self, challenge: bytes) -> None:
        """Derive the key for the server's first challenge, in a thread; what it asks for is judged by `Hi`.

        Raises `ValueError` and `KeyError` when it is no SCRAM message (RFC 5802, section 7).
        """
        if self.step != 1 or self._asked:
            return
        self._asked = True
        said = self.parse(challenge)
        salt, rounds = b64decode(said[b"s"]), int(said[b"i"])
        with contextlib.suppress(SASLCancelled):
            key = await asyncio.to_thread(self._key, self.credentials["password"], salt, rounds)
            self._derived = salt, rounds, key

    def Hi(self, text: str | bytes, salt: bytes, iterations: int) -> bytes:
        if self._derived is not None and self._derived[:2] == (salt, iterations):
            return self._derived[2]
        return self._key(text, salt, iterations)

    def _key(self, text: str | bytes, salt: bytes, iterations: int) -> bytes:
        if not 1 <= iterations <= MAX_ROUNDS:
            raise SASLCancelled("the server asks for an unreasonable number of rounds")
        password = text.encode() if isinstance(text, str) else bytes(text)
        name = self.hash_name.replace("-", "").lower()
        return hashlib.pbkdf2_hmac(name, password, salt, iterations)


def use_bounded_scram() -> None:
    """Make slixmpp use `BoundedScram`; idempotent, for the whole process."""
    if MECHANISMS.get("SCRAM-SHA-1") is not BoundedScram:
        sasl_mech(60)(BoundedScram)
