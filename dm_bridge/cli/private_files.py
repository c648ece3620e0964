"""Writes files that hold secrets.

The rule that must never break: nobody but the owner can read such a file, from its first byte on,
and a file that is there is never half overwritten.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from dm_bridge.errors import AdminError


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write ``text`` to ``path``, mode 600, whole or not at all.

    Raises ``FileExistsError`` when the file is there and ``replace`` is False, `AdminError` when it
    cannot be written.
    """
    target = path.with_name(f".{path.name}.{secrets.token_hex(4)}") if replace else path
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            target.replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            raise
    except FileExistsError:
        raise
    except OSError as error:
        raise AdminError(
            f"{path} cannot be written: {error.strerror}. Choose another place, or check its owner and mode."
        ) from error
