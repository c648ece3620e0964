"""Calls of admins: all logins, the queues, and how the bridge and its accounts are.

One process answers. What is in the database it knows of all; how a session is, and how an account is observed,
only of its own users: of the others it says whose business they are.

The rule that must never break: nobody but an admin is answered, and nothing of what people wrote is told.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import orjson

from dm_bridge import __version__
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.observation import ObservationMode
from dm_bridge.ids import UserId
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.refusals import Refusal
from dm_bridge.provisioning.wire_admin import (
    AdminAccount,
    AdminAccounts,
    AdminLogin,
    AdminLogins,
    AdminOverview,
    AdminParked,
    AdminStuck,
    LoginCount,
    ObservedCount,
    PartHealth,
    ProcessInfo,
    QueueDepth,
)
from dm_bridge.store.overview import OverviewStore, StoredAccount, StoredLogin
from dm_bridge.store.queue import Depth, Direction, QueueRow
from dm_bridge.texts import phrase

PAGE, MOST = 50, 200
PARKED = 100
_DIRECTION = {Direction.TO_MATRIX: "to_matrix", Direction.TO_REMOTE: "to_network"}


class Queues(Protocol):
    """`dm_bridge.store.queue.QueueStore`."""

    async def depths(self) -> list[Depth]: ...
    async def rows(
        self, direction: Direction, state: str, limit: int, *, latest_first: bool = False
    ) -> list[QueueRow]: ...


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the answering process knows of itself. Problems are sentences.

    ``held``: the users that it has; ``holds``: whether it has one. ``how``: how their accounts are observed.
    """

    name: str
    homeserver_problem: Callable[[], str | None]
    intake_problem: Callable[[], str | None]
    database_ok: Callable[[], Awaitable[bool]]
    holds: Callable[[UserId], bool]
    held: Callable[[], Collection[UserId]]
    how: Callable[[UserId], ObservationMode]
    pushed_since: Callable[[], float | None]
    pausing: Callable[[], int]


class AdminCalls:
    """Answers them."""

    def __init__(
        self,
        administers: Callable[[UserId], bool],
        logins: Logins,
        store: OverviewStore,
        queues: Queues,
        vitals: Vitals,
    ) -> None:
        self._administers = administers
        self._logins = logins
        self._store = store
        self._queues = queues
        self._vitals = vitals

    async def overview(self, call: Call) -> AdminOverview:
        self._admit(call)
        vitals = self._vitals
        database = await vitals.database_ok()
        depths = await self._queues.depths()
        processes = await self._store.processes()
        since = vitals.pushed_since()
        return AdminOverview(
            version=__version__,
            homeserver=_health(vitals.homeserver_problem()),
            intake=_health(vitals.intake_problem()),
            database=_health(None if database else phrase("provisioning-database-slow")),
            queues=[
                QueueDepth.model_validate(
                    {
                        "direction": _DIRECTION[depth.direction],
                        "state": depth.state,
                        "rows": depth.rows,
                        "oldest_seconds": depth.oldest,
                    }
                )
                for depth in depths
            ],
            processes=[
                ProcessInfo(
                    id=each.id,
                    version=each.version,
                    started_ts=_milliseconds(each.started),
                    users=each.users,
                    logins=each.logins,
                    this_one=each.id == vitals.name,
                )
                for each in processes
            ],
            logins_here=self._logins_here(),
            observed_here=self._observed_here(),
            pushed_since_ts=None if since is None else _milliseconds(since),
            pausing=vitals.pausing(),
        )

    async def logins(self, call: Call) -> AdminLogins:
        self._admit(call)
        limit = call.limit(PAGE, MOST)
        found = await self._store.logins(
            limit + 1,
            _place(call.query.get("after", "")),
            call.query.get("search", ""),
            broken=call.query.get("broken") == "true",
        )
        page = found[:limit]
        following = _cursor(page[-1]) if len(found) > limit else None
        return AdminLogins(logins=[self._login(row) for row in page], next=following)

    async def accounts(self, call: Call) -> AdminAccounts:
        self._admit(call)
        limit = call.limit(PAGE, MOST)
        found = await self._store.accounts(limit + 1, call.query.get("after", ""))
        page = found[:limit]
        following = page[-1].user if len(found) > limit else None
        return AdminAccounts(accounts=[self._account(row) for row in page], next=following)

    async def parked(self, call: Call) -> AdminParked:
        self._admit(call)
        rows: list[AdminStuck] = []
        for direction in Direction:
            for row in await self._queues.rows(direction, "parked", PARKED, latest_first=True):
                stuck = {
                    "id": row.id,
                    "direction": _DIRECTION[direction],
                    "user_id": row.sender,
                    "login_id": row.login,
                    "room_id": row.room,
                    "reason": row.reason,
                    "ts": _milliseconds(row.received_at),
                }
                rows.append(AdminStuck.model_validate(stuck))
        return AdminParked(rows=rows)

    def _admit(self, call: Call) -> None:
        if not self._administers(call.user):
            raise Refusal(403, "M_FORBIDDEN", phrase("provisioning-only-admins"))

    def _login(self, row: StoredLogin) -> AdminLogin:
        ours = self._logins.owner(row.id) is not None
        state = self._logins.state(row.id)
        message = state.reason if ours else row.reason
        return AdminLogin.model_validate(
            {
                "id": row.id,
                "user_id": row.owner,
                "network": row.network,
                "name": row.name,
                "stored_state": row.state,
                "state_event": state.status if ours else None,
                "message": message or None,
                "since_ts": _milliseconds(self._logins.since(row.id)) if ours else None,
                "process": row.holder,
                "here": ours,
            }
        )

    def _account(self, row: StoredAccount) -> AdminAccount:
        here = row.holder == self._vitals.name
        how = self._vitals.how(row.user) if here else None
        return AdminAccount.model_validate(
            {
                "user_id": row.user,
                "process": row.holder,
                "here": here,
                "mode": None if how is None else how.value,
                "observed": None if how is None else how.sentence,
                "last_seen_ts": None if row.seen is None else _milliseconds(row.seen),
                "last_seen_by": row.by or None,
                "problem": row.problem or None,
            }
        )

    def _logins_here(self) -> list[LoginCount]:
        counts = Counter(
            (row.network, self._logins.state(row.id).status)
            for user in self._vitals.held()
            for row in self._logins.of(user)
        )
        return [
            LoginCount(network=network, state=state, logins=number)
            for (network, state), number in sorted(counts.items(), key=str)
        ]

    def _observed_here(self) -> list[ObservedCount]:
        counts = Counter(map(self._vitals.how, self._vitals.held()))
        return [
            ObservedCount.model_validate(
                {"mode": mode.value, "sentence": mode.sentence, "accounts": counts[mode]}
            )
            for mode in ObservationMode
            if counts[mode]
        ]


def _health(problem: str | None) -> PartHealth:
    return PartHealth(ok=problem is None, problem=problem)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _cursor(row: StoredLogin) -> str:
    """Where the next page begins: it holds also when the login is gone by then."""
    return base64.urlsafe_b64encode(orjson.dumps(row.place)).decode()


def _place(cursor: str) -> tuple[str, str, str]:
    if not cursor:
        return "", "", ""
    try:
        owner, network, remote = orjson.loads(base64.urlsafe_b64decode(cursor))
        return str(owner), str(network), str(remote)
    except (ValueError, TypeError):
        raise Refusal(400, "M_INVALID_PARAM", phrase("provisioning-odd-place")) from None
