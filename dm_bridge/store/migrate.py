"""Brings the schema up to date.

What changes it is loaded only where there is something to change: that takes longer than all else a start needs.
"""

from __future__ import annotations

from dm_bridge.store.schema import latest_revision, revision


async def migrate(url: str) -> tuple[str | None, str]:
    """Upgrade the schema at ``url``. Returns the revision before (None: empty database) and after.

    Raises `StorageError` when the database cannot be reached or its schema is newer than ours.
    """
    if await revision(url) == latest_revision():
        return latest_revision(), latest_revision()
    from dm_bridge.store.upgrade import upgrade  # see above

    return await upgrade(url), latest_revision()
