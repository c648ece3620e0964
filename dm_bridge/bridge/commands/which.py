"""Which of their logins a person means.

The rule that must never break: only a login of the user who asks is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from dm_bridge.errors import UserError
from dm_bridge.matrix.formatting import code
from dm_bridge.store.logins import LoginRow
from dm_bridge.texts import phrase


def which_login(rows: Sequence[LoginRow], words: Sequence[str], command: str) -> LoginRow:
    """The login among ``rows`` that the first of ``words`` names, or the only one. Raises `UserError`."""
    if not rows:
        raise UserError(phrase("logout-nothing"))
    if words:
        for row in rows:
            if words[0].lower() in (row.id, row.name.lower(), row.remote.lower()):
                return row
        raise UserError(phrase("login-no-such"))
    if len(rows) > 1:
        commands = ", ".join(f"`{command} {row.id}` ({code(row.name)})" for row in rows)
        raise UserError(phrase("login-which-one", commands=commands))
    return rows[0]
