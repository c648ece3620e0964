"""The bridge's own files: room on the disk, the key, and what the embedded PostgreSQL complains of.

The rule that must never break: nothing is made and nothing is changed, a key least of all.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dm_bridge.app.doctor.findings import Finding, mend, note, ok, unknown
from dm_bridge.errors import StorageError
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.sealing import SealingKey

DISK, KEY, LOG, SECRETS = "disk", "key", "PostgreSQL's log", "configuration"
NEEDED_EMBEDDED = 1_000_000_000
NEEDED = 50_000_000
"""Bytes that should be free in data_dir."""
LOG_TAIL = 64 * 1024

_BAD = re.compile(
    r"((?:FATAL|ERROR):.*(?:No space left|could not (?:write|extend|fsync)|invalid page|checksum|corrupt).*"
    r"|PANIC:.*)"
)
_BEGINS = "database system is ready to accept connections"


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """``place``: data_dir, or the directory in which it will be made. ``free``: bytes."""

    place: Path
    writable: bool
    free: int


def disk_facts(data_dir: Path) -> DiskFacts:
    """Raises `StorageError`."""
    place = data_dir
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        return DiskFacts(place, os.access(place, os.W_OK | os.X_OK), shutil.disk_usage(place).free)
    except OSError as error:
        raise StorageError(
            f"{place} cannot be looked at ({error.strerror}). Run the doctor as the user that the bridge runs as."
        ) from error


def judge_disk(facts: DiskFacts, *, embedded: bool) -> Finding:
    """``embedded``: whether the database is there, too."""
    free = f"{facts.free / 1_000_000:,.0f} MB"
    if not facts.writable:
        return mend(
            DISK,
            f"{facts.place} may not be written by this user. Run the doctor as the user that the bridge runs "
            "as; if "
            "that is so, correct the owner of the directory, or set data_dir to another.",
        )
    if facts.free < (NEEDED_EMBEDDED if embedded else NEEDED):
        what = "The database" if embedded else "The bridge"
        return mend(
            DISK,
            f"Only {free} are free in {facts.place}. {what} stops when nothing is left: make room, or move "
            "data_dir.",
        )
    return ok(DISK, f"{free} are free in {facts.place}.")


def check_secrets(config: Path) -> list[Finding]:
    """Whether others may read the configuration, which holds tokens."""
    try:
        mode = stat.S_IMODE(config.stat().st_mode)
    except OSError:
        return []
    if not mode & stat.S_IROTH:
        return []
    return [
        note(
            SECRETS,
            f"Everybody on this machine may read {config}, which holds tokens: chmod o-rwx {config}",
        )
    ]


def check_key(data_dir: Path, logins: Sequence[LoginRow] | None) -> list[Finding]:
    """Whether the key is there, and opens what is stored. ``logins``: None when they are not known."""
    path = data_dir / "sealing.key"
    sealed = next((row for row in logins or () if row.sealed is not None), None)
    try:
        if not path.exists():
            if logins is None:
                return [
                    unknown(
                        KEY,
                        f"There is no {path}, and no database to tell whether one is needed. Mend the database "
                        "first.",
                    )
                ]
            if sealed is None:
                return [ok(KEY, "There is no key yet; the first start makes it.")]
            return [
                mend(
                    KEY,
                    f"The key to the stored passwords, {path}, is missing. Restore it from your backup; without "
                    "it "
                    "every user has to log in again.",
                )
            ]
        key = SealingKey.load(path)
        if sealed is not None and sealed.sealed is not None:
            key.unseal(sealed.id, sealed.sealed)
        open_to_others = stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    except StorageError as error:
        return [mend(KEY, error.message)]
    except OSError as error:
        return [
            mend(
                KEY,
                f"{path} cannot be looked at ({error.strerror}). Run the doctor as the user of the bridge.",
            )
        ]
    if open_to_others:
        return [mend(KEY, f"Others may read the key to the stored passwords: chmod 600 {path}")]
    opens = " and opens what is stored" if sealed is not None else ""
    return [ok(KEY, f"The key is there{opens}. Back it up together with the database.")]


def check_log(data_dir: Path) -> list[Finding]:
    """What the embedded PostgreSQL has complained of since it last started, if it matters."""
    path = data_dir / "postgres" / "log"
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    complaint = judge_log(text)
    if complaint is None:
        return []
    return [
        mend(
            LOG,
            f"The embedded PostgreSQL complains: {complaint} Check the disk; all of it is in {path}.",
        )
    ]


def judge_log(text: str) -> str | None:
    """The last complaint about disk or data, if there was one since the last start."""
    complaints = _BAD.findall(text.rpartition(_BEGINS)[2])
    if not complaints:
        return None
    last = " ".join(str(complaints[-1]).split())[:200]
    return last if last.endswith(".") else last + "."
