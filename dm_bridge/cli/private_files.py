"""Writes files that hold secrets.

The rule that must never break: nobody but the owner can read such a file, from its first byte on,
and a file that is there is never half overwritten. Nothing but a file is ever replaced: no device, no
pipe, no folder; and a link stays a link, with what it points to written.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from dm_bridge.errors import AdminError


def check_replaceable(path: Path) -> None:
    """Make sure that what is at ``path``, or where it links to, is a file, or nothing yet.

    Raises `AdminError`.
    """
    try:
        odd = path.exists() and not path.is_file()
    except OSError as error:
        raise _unwritable(path, error) from error
    if odd:
        raise AdminError(
            f"{path} is there and is no ordinary file; it was left as it is. Choose another place."
        )


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write ``text`` to ``path``, mode 600, whole or not at all. A link is followed, and kept.

    Raises ``FileExistsError`` when the file is there and ``replace`` is False, `AdminError` when it
    cannot be written, or what is there is no file.
    """
    if replace:
        check_replaceable(path)
    place = Path(os.path.realpath(path))
    target = place.with_name(f".{place.name}.{secrets.token_hex(4)}") if replace else place
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            target.replace(place)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            raise
    except FileExistsError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> AdminError:
    return AdminError(
        f"{path} cannot be written: {error.strerror}. Choose another place, or check its owner and mode."
    )
