"""Seals network credentials before they are stored (AES-256-GCM).

The rule that must never break: what is sealed for one login cannot be opened for another; the login
id is the associated data. The key lives in a file outside the database.

Sealed form: version byte 1, eight bytes of key id, twelve of nonce, then ciphertext and tag.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dm_bridge.errors import StorageError
from dm_bridge.texts import phrase

_VERSION = b"\x01"
_KEY_BYTES = 32
_HEADER = 1 + 8 + 12


class SealingKey:
    """The key of one installation. ``key``: 32 random bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"dm_bridge sealing key\x00" + key).digest()[:8]
        self._digests = hashlib.sha256(b"dm_bridge digests\x00" + key).digest()

    @classmethod
    def load(cls, path: Path) -> SealingKey:
        """The key in ``path``, made there (mode 600) when the file does not exist yet.

        Raises `StorageError` when the file cannot be used.
        """
        try:
            if not path.exists():
                _make_key(path)
            key = bytes.fromhex(path.read_text().strip())
        except OSError as error:
            raise StorageError(
                f"The key for stored credentials, {path}, cannot be used: {error.strerror}. Set data_dir to the "
                "right directory, or put right what is there, its owner and its mode."
            ) from error
        except ValueError as error:
            raise StorageError(
                f"The key for stored credentials, {path}, cannot be used ({error}). Restore it from your "
                "backup, or remove it and let every user log in again."
            ) from error
        if len(key) != _KEY_BYTES:
            raise StorageError(
                f"{path} does not hold a key of {_KEY_BYTES} bytes. Restore it from your backup."
            )
        return cls(key)

    def seal(self, login: str, credentials: Mapping[str, str]) -> bytes:
        """Seal ``credentials`` for ``login``."""
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(nonce, orjson.dumps(dict(credentials)), login.encode())
        return _VERSION + self._id + nonce + sealed

    def unseal(self, login: str, sealed: bytes) -> dict[str, str]:
        """Open what `seal` made for the same login. Raises `StorageError` when that is impossible."""
        if sealed[:1] != _VERSION or len(sealed) < _HEADER or sealed[1:9] != self._id:
            raise StorageError(phrase("storage-other-key"))
        try:
            plain = self._cipher.decrypt(sealed[9:_HEADER], sealed[_HEADER:], login.encode())
        except InvalidTag as error:
            raise StorageError(phrase("storage-damaged")) from error
        credentials: dict[str, str] = orjson.loads(plain)
        return credentials

    def digest(self, *words: str) -> bytes:
        """What stands for ``words`` where they are not to be read: only who has the key can tell (HMAC-SHA256)."""
        text = orjson.dumps([word.encode(errors="replace").decode() for word in words])
        return hmac.digest(self._digests, text, "sha256")


def _make_key(path: Path) -> None:
    """Put a new key into ``path``, whole or not at all; a key that somebody else made first stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".sealing-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(os.urandom(_KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
