"""Which of their logins a person means.

The rule that must never break: only a login of the user who asks is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from dm_bridge.errors import UserError
from dm_bridge.matrix.formatting import code
from dm_bridge.store.logins import LoginRow


def which_login(rows: Sequence[LoginRow], words: Sequence[str], command: str) -> LoginRow:
    """The login among ``rows`` that the first of ``words`` names, or the only one. Raises `UserError`."""
    if not rows:
        raise UserError("You have no logins.")
    if words:
        for row in rows:
            if words[0].lower() in (row.id, row.name.lower(), row.remote.lower()):
                return row
        raise UserError("You have no such login. Write `logins` to see those you have.")
    if len(rows) > 1:
        choice = ", ".join(f"`{command} {row.id}` ({code(row.name)})" for row in rows)
        raise UserError(f"You have several logins. Which one? {choice}")
    return rows[0]
