"""Replaces an account's ``m.direct`` without losing anything: backup first, then write, then verify.

The rule that must never break: nothing is written that does not rest on a read made right before, and
nothing before what stood there is safe on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from dm_bridge.cli.private_files import write_private
from dm_bridge.direct.document import DirectDocument, Malformed, is_user_id
from dm_bridge.errors import AdminError, HomeserverError, UserError
from dm_bridge.ids import UserId

FORMAT = "dm-bridge m.direct backup 1"
MAX_BACKUP = 256 * 1024 * 1024


class Client(Protocol):
    """What is needed of `AccountClient`."""

    @property
    def user(self) -> UserId: ...
    @property
    def url(self) -> str: ...
    async def read(self) -> bytes | None: ...
    async def write(self, content: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Backup:
    """``before``: the exact text that stood there, None when there was none; ``after``: what replaced it."""

    user: UserId
    homeserver: str
    time: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Written:
    """It stands there now, as a fresh read says."""

    backup: Path


@dataclass(frozen=True, slots=True)
class ChangedMeanwhile:
    """Somebody else wrote first, so nothing was written; ``now``: what stands there."""

    now: str | None


async def read_text(client: Client) -> str | None:
    """The account's m.direct as exact text, None when it was never set."""
    raw = await client.read()
    return None if raw is None else raw.decode("utf-8", "surrogatepass")


async def replace(
    client: Client, before: str | None, after: str, backup: Path | None
) -> Written | ChangedMeanwhile:
    """Write ``after`` in place of ``before``. ``backup``: a file that is not there; None: named by time.

    Raises `HomeserverError` when the outcome is not as intended, and says what it is.
    """
    path = _save(Backup(client.user, client.url, _now(), before, after), backup)
    try:
        now = await read_text(client)
    except HomeserverError:
        path.unlink()
        raise
    if not same(now, before):
        path.unlink()
        return ChangedMeanwhile(now)
    try:
        await client.write(after)
    except HomeserverError as error:
        if error.certain:
            raise HomeserverError(
                f"Nothing was changed. {error.message}", status=error.status, errcode=error.errcode
            ) from error
    await _verify(client, before, after, path)
    return Written(path)


async def _verify(client: Client, before: str | None, after: str, backup: Path) -> None:
    try:
        now = await read_text(client)
    except HomeserverError as error:
        raise HomeserverError(
            f"Whether the change arrived is not known: {error.message} What stood there is in {backup}; run "
            "the command again to see.",
            certain=False,
        ) from error
    if same(now, after):
        return
    if same(now, before):
        raise HomeserverError("The homeserver did not take the change; all is as it was.")
    raise HomeserverError(
        "Right after the change somebody else, a client perhaps, wrote something different. What stood "
        f"there before is in {backup}. Run the command again to see what is left to do.",
        certain=False,
    )


def same(one: str | None, other: str | None, *, in_order: bool = False) -> bool:
    """Whether two texts are the same JSON; None: there is no document.

    ``in_order``: the order of keys counts too.
    """
    if one is None or other is None:
        return one is other
    return one == other or _canonical(one, in_order) == _canonical(other, in_order)


def _canonical(text: str, in_order: bool) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=not in_order)
    except (ValueError, RecursionError):
        return text


def understood(text: str | None) -> DirectDocument:
    """The document in ``text``. Raises `UserError` for what could not be written back unchanged."""
    document = DirectDocument() if text is None else DirectDocument.parse(text)
    if isinstance(document, Malformed):
        raise UserError(
            f"The direct chats (m.direct) of this account were left alone: {document.reason.sentence}. "
            "To begin anew, set m.direct to {} (Element: /devtools, Explore account data), then run "
            "`dm-bridge direct audit` again: it finds the rooms that look like direct chats. Or write back an "
            "earlier state with `dm-bridge direct restore`."
        )
    return document


def check_free(path: Path | None) -> None:
    """Raise `UserError` when a backup to be written is there already."""
    if path is not None and (path.exists() or path.is_symlink()):
        raise _taken(path)


def load_backup(path: Path) -> Backup:
    """A backup as `replace` wrote it. Raises `UserError`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BACKUP)
        data: Any = json.loads(raw)
    except OSError as error:
        raise UserError(f"The backup {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT or "before" not in data:
        raise UserError(f"{path} is no backup that `dm-bridge direct audit --fix` wrote.")
    before, after, user = data["before"], data.get("after"), data.get("user_id")
    if (
        not (before is None or (isinstance(before, str) and _is_object(before)))
        or not isinstance(after, str)
        or not (isinstance(user, str) and is_user_id(user))
    ):
        raise UserError(
            f"The backup {path} is damaged: what it holds is no m.direct of an account."
        )
    return Backup(
        UserId(user), str(data.get("homeserver", "")), str(data.get("time", "")), before, after
    )


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def sendable(text: str) -> str:
    """``text``, or the same JSON in ASCII where the text itself cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), separators=(",", ":"))
    return text


def _save(backup: Backup, path: Path | None) -> Path:
    text = json.dumps(
        {
            "format": FORMAT,
            "user_id": backup.user,
            "homeserver": backup.homeserver,
            "time": backup.time,
            "before": backup.before,
            "after": backup.after,
        },
        indent=1,
    )
    candidates = _default_names(backup) if path is None else [path]
    for candidate in candidates:
        try:
            write_private(candidate, text + "\n", replace=False)
        except FileExistsError:
            continue
        _flush_folder(candidate.parent)
        return candidate
    raise _taken(candidates[-1])


def _default_names(backup: Backup) -> list[Path]:
    localpart = re.sub(r"[^0-9A-Za-z._=-]", "_", backup.user[1:].partition(":")[0])[:100]
    stamp = re.sub(r"[^0-9TZ]", "", backup.time)
    stem = f"m.direct-{localpart}-{stamp}"
    return [Path(f"{stem}.json"), *(Path(f"{stem}-{number}.json") for number in range(2, 100))]


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _taken(path: Path) -> AdminError:
    return AdminError(
        f"{path} is already there, and was left as it is. Choose another --backup file."
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
