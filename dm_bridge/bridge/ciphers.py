"""Files that are encrypted or have a known hash, read in pieces.

The rule that must never break: the last piece is given out only after the whole was proved to be right, so who
receives a file of a known size in full has received the right one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from dm_bridge.errors import NetworkError
from dm_bridge.texts import phrase

TAG = 16
"""Bytes of a GCM tag, which stands at the end of a file."""


async def exactly(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """``chunks``, which must be ``size`` bytes in all."""
    left = size
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise NetworkError(phrase("file-other-size"), retry_after=10.0)


async def hashed(chunks: AsyncIterator[bytes], sha256: bytes) -> AsyncIterator[bytes]:
    """``chunks``, which must have this hash in all."""
    digest, held = hashlib.sha256(), b""
    async for chunk in chunks:
        digest.update(chunk)
        if held:
            yield held
        held = chunk
    if not hmac.compare_digest(digest.digest(), sha256):
        raise NetworkError(phrase("file-damaged"))
    if held:
        yield held


async def opened_gcm(chunks: AsyncIterator[bytes], key: bytes, iv: bytes) -> AsyncIterator[bytes]:
    """What ``chunks`` hold, encrypted with AES in Galois/Counter Mode, with the tag at the end."""
    cipher = Cipher(AES(key), modes.GCM(iv)).decryptor()
    rest, held = b"", b""
    async for chunk in chunks:
        rest += chunk
        if len(rest) <= TAG:
            continue
        if held:
            yield held
        held, rest = cipher.update(rest[:-TAG]), rest[-TAG:]
    try:
        cipher.finalize_with_tag(rest)
    except (InvalidTag, ValueError) as error:
        raise NetworkError(phrase("file-damaged")) from error
    if held:
        yield held


async def opened_ctr(
    chunks: AsyncIterator[bytes], key: bytes, iv: bytes, sha256: bytes
) -> AsyncIterator[bytes]:
    """What ``chunks`` hold, encrypted with AES in counter mode, if what they are has this hash."""
    cipher = Cipher(AES(key), modes.CTR(iv)).decryptor()
    async for chunk in hashed(chunks, sha256):
        yield cipher.update(chunk)
