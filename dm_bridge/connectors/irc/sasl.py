"""Logging in to an account while connecting (IRCv3 SASL): EXTERNAL, SCRAM-SHA-256 (RFC 7677), PLAIN.

SCRAM is here, in the few lines that the client's side takes, because it needs nothing but the standard library.

The rule that must never break: where SCRAM is offered the password itself is not sent; and what the server asks
costs at most a bounded moment of CPU.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Iterable
from typing import Protocol

from dm_bridge.texts import phrase

MAX_ROUNDS = 500_000
CHUNK = 400
_PREFERRED = ("SCRAM-SHA-256", "PLAIN")


class SaslError(Exception):
    """The server did not keep to the mechanism, or does not know the password."""


class Mechanism(Protocol):
    """One attempt."""

    name: str

    def respond(self, challenge: bytes) -> bytes:
        """The answer to the server's next challenge. Raises `SaslError`."""
        ...


class External:
    """The certificate of the connection says who it is."""

    name = "EXTERNAL"

    def respond(self, challenge: bytes) -> bytes:
        return b""


class Plain:
    """RFC 4616."""

    name = "PLAIN"

    def __init__(self, account: str, password: str) -> None:
        self._message = f"\0{account}\0{password}".encode()

    def respond(self, challenge: bytes) -> bytes:
        return self._message


class Scram:
    """RFC 5802 with SHA-256, without channel binding."""

    name = "SCRAM-SHA-256"

    def __init__(self, account: str, password: str, nonce: str | None = None) -> None:
        self._password = unicodedata.normalize("NFKC", password).encode()
        self._nonce = nonce or secrets.token_urlsafe(24)
        name = unicodedata.normalize("NFKC", account).replace("=", "=3D").replace(",", "=2C")
        self._first = f"n={name},r={self._nonce}"
        self._signature: bytes | None = None
        self._step = 0

    def respond(self, challenge: bytes) -> bytes:
        self._step += 1
        match self._step:
            case 1:
                return f"n,,{self._first}".encode()
            case 2:
                return self._final(challenge)
            case 3:
                self._verify(challenge)
                return b""
            case _:
                raise SaslError(phrase("irc-sasl-too-much"))

    def _final(self, challenge: bytes) -> bytes:
        fields = _fields(challenge)
        try:
            nonce, rounds = fields["r"], int(fields["i"])
            salt = base64.b64decode(fields["s"], validate=True)
        except (KeyError, ValueError, binascii.Error):
            raise SaslError(phrase("irc-sasl-malformed")) from None
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise SaslError(phrase("irc-sasl-for-somebody-else"))
        if not 1 <= rounds <= MAX_ROUNDS:
            raise SaslError(phrase("irc-sasl-rounds"))
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        bare = f"c=biws,r={nonce}"
        signed = f"{self._first},{challenge.decode()},{bare}".encode()
        client_key = _hmac(salted, b"Client Key")
        proof = _hmac(hashlib.sha256(client_key).digest(), signed)
        self._signature = _hmac(_hmac(salted, b"Server Key"), signed)
        mixed = bytes(a ^ b for a, b in zip(client_key, proof, strict=True))
        return f"{bare},p={base64.b64encode(mixed).decode()}".encode()

    def _verify(self, challenge: bytes) -> None:
        try:
            given = base64.b64decode(_fields(challenge).get("v", ""), validate=True)
        except binascii.Error:
            given = b""
        if self._signature is None or not hmac.compare_digest(given, self._signature):
            raise SaslError(phrase("irc-sasl-no-proof"))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _fields(challenge: bytes) -> dict[str, str]:
    try:
        text = challenge.decode()
    except UnicodeDecodeError:
        raise SaslError(phrase("irc-sasl-malformed")) from None
    return {part[:1]: part[2:] for part in text.split(",") if part[1:2] == "="}


def choose(offered: Iterable[str], account: str, password: str) -> Mechanism | None:
    """The best mechanism for a password that is among ``offered``; when nothing is listed, PLAIN."""
    names = {name.upper() for name in offered if name}
    for name in _PREFERRED:
        if name in names or (name == "PLAIN" and not names):
            return Scram(account, password) if name == Scram.name else Plain(account, password)
    return None


def chunks(response: bytes) -> list[str]:
    """What AUTHENTICATE sends for a response, line by line."""
    text = base64.b64encode(response).decode()
    pieces = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    return pieces if pieces and len(pieces[-1]) < CHUNK else [*pieces, "+"]
