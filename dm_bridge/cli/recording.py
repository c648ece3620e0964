"""Records in the audit log what is done at the command line.

The rule that must never break: what cannot be recorded is not done.
"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from dm_bridge.ids import UserId
from dm_bridge.store.audit_log import Act, AuditEntry, AuditStore

if TYPE_CHECKING:
    from dm_bridge.store.database import Database


def actor() -> str:
    """What the audit log calls whoever runs a command."""
    try:
        return f"admin {getpass.getuser()}"
    except (KeyError, OSError, ImportError):
        return "admin"


async def record(
    database: Database,
    act: Act,
    subject: UserId | None = None,
    details: dict[str, str | int | bool] | None = None,
) -> None:
    """Record what is about to be done at the command line. Raises `StorageError`: then it must not be done."""
    entry = AuditEntry(actor(), act.value, subject, "cli", details or {})
    await AuditStore(database).add(entry)
