"""Which login of the user a request is about.

The rule that must never break: only the user's own; another one's does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence

from dm_bridge.bridge.commands.resolving import By
from dm_bridge.bridge.logins import Logins
from dm_bridge.ids import UserId
from dm_bridge.network.events import SessionStatus
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.refusals import Refusal, not_found, not_logged_in
from dm_bridge.store.logins import LoginRow
from dm_bridge.texts import phrase


class Choosing:
    """Chooses."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    def named(self, user: UserId, login: str) -> LoginRow:
        """One of the user's logins. Raises `Refusal`."""
        row = next((row for row in self._logins.of(user) if row.id == login), None)
        if row is None:
            raise not_found(phrase("provisioning-no-login"))
        return row

    def asked(self, call: Call) -> LoginRow | None:
        """The one that ``login_id`` names, if the request has it. Raises `Refusal`."""
        login = call.query.get("login_id", "")
        return self.named(call.user, login) if login else None

    def by(self, call: Call) -> By:
        """The one that is meant, with its session: by default the oldest that has one. Raises `Refusal`."""
        asked = self.asked(call)
        rows = [asked] if asked is not None else self._logins.of(call.user)
        if not rows:
            raise not_logged_in(phrase("provisioning-not-logged-in"))
        return next(iter(self.usable(rows)), None) or self._unusable(rows[0])

    def usable(self, rows: Sequence[LoginRow]) -> list[By]:
        """Those that have a session."""
        found = []
        for row in rows:
            session, network = self._logins.session(row.id), self._logins.network_of(row)
            if session is not None and network is not None:
                found.append(By(row, session, network))
        return found

    def _unusable(self, row: LoginRow) -> By:
        if self._logins.may_come(row.id):
            raise Refusal(503, "M_UNKNOWN", phrase("provisioning-login-opening"), 2.0)
        state = self._logins.state(row.id)
        said = [phrase("provisioning-not-connected"), state.reason]
        if state.status is SessionStatus.BAD_CREDENTIALS:
            said.append(phrase("provisioning-log-in-again"))
        raise not_logged_in(" ".join(filter(None, said)))
