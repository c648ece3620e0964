"""Nobody is notified of what is old: two push rules in the account of a user while their history is brought over.

Homeservers decide about a notification when they take an event in, by the rules of its reader, and look at no time
that the event may have. So a rule of the user's own comes before all others, for the events that we mark as old,
and for the invitations to their chats. It is taken away at the end, and with it nothing of what it has kept quiet
comes back.

The rule that must never break: only our own two rules are ever written or taken away.
"""

from __future__ import annotations

import structlog

from dm_bridge.errors import BridgeError, HomeserverError, may_pass
from dm_bridge.ids import GhostNamespace, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.homeserver import Json

log = structlog.get_logger(__name__)

HISTORY = "org.dm_bridge.history"
"""Content key of events that were written long before they are sent; its value is `OLD`."""
OLD = "old"
INVITES = "org.dm_bridge.history.invites"


class Silence:
    """Where the bridge cannot act for a user, there is none: what is old then comes before they join its room."""

    def __init__(self, accounts: Accounts, namespace: GhostNamespace) -> None:
        self._accounts = accounts
        self._namespace = namespace

    async def begin(self, user: UserId, *, invites: bool = True) -> None:
        """From now on nothing old notifies, nor do ``invites``. Raises `BridgeError` to be tried later."""
        if not self._accounts.can_act_for(user):
            return
        try:
            for name, conditions in self._rules(user).items():
                if name == INVITES and not invites:
                    continue
                rule: Json = {"conditions": conditions, "actions": []}
                await self._accounts.set_push_rule(user, name, rule)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.warning("a user may be notified of what is old", user=user, reason=str(error))

    async def end(self, user: UserId) -> None:
        """Take the rules away again. Raises `BridgeError` when that may succeed later."""
        if not self._accounts.can_act_for(user):
            return
        for name in self._rules(user):
            try:
                await self._accounts.set_push_rule(user, name, None)
            except HomeserverError as error:
                if error.status != 404:
                    if may_pass(error):
                        raise
                    log.warning("a push rule could not be taken away", user=user, reason=str(error))

    def _rules(self, user: UserId) -> dict[str, list[Json]]:
        ghosts = f"@{self._namespace.prefix}*:{self._namespace.domain}"
        invited = {
            "type": "m.room.member",
            "content.membership": "invite",
            "state_key": user,
            "sender": ghosts,
        }
        return {
            HISTORY: [
                _match(f"content.{HISTORY.replace('.', chr(92) + '.')}", OLD),
                _match("sender", ghosts),
            ],
            INVITES: [_match(key, pattern) for key, pattern in invited.items()],
        }


def _match(key: str, pattern: str) -> Json:
    return {"kind": "event_match", "key": key, "pattern": pattern}
