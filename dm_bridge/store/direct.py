"""Rows of `direct_dm`: the ledger of each account, in the database.

The rule that must never break: what is managed is recorded before it is written to the homeserver,
so that a crash in between leaves work to do, never a mark without an owner. A row is ``settled``
once the homeserver was seen to hold what the row asks for.
"""

from __future__ import annotations

from dm_bridge.direct.ledger import DMState, ManagedDM
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Database


class DirectStore:
    """Reads and writes ledgers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def managed(self, account: UserId) -> list[ManagedDM]:
        """Everything that is managed for an account."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT room_id, ghost, state, opted_out, aliases FROM direct_dm
                WHERE account = $1 ORDER BY room_id
                """,
                account,
            )
        return [
            ManagedDM(
                RoomId(room),
                UserId(ghost),
                DMState(state),
                opted_out,
                frozenset(map(UserId, aliases)),
            )
            for room, ghost, state, opted_out, aliases in rows
        ]

    async def manage(self, account: UserId, room: RoomId, ghost: UserId, state: DMState) -> None:
        """Become responsible for a room, or take it up again."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO direct_dm (account, room_id, ghost, state) VALUES ($1, $2, $3, $4)
                ON CONFLICT (account, room_id)
                DO UPDATE SET ghost = EXCLUDED.ghost, state = EXCLUDED.state, settled = false
                WHERE (direct_dm.ghost, direct_dm.state) <> (EXCLUDED.ghost, EXCLUDED.state)
                """,
                account,
                room,
                ghost,
                state.value,
            )

    async def set_state(
        self, room: RoomId, state: DMState, account: UserId | None = None
    ) -> list[UserId]:
        """Change the state of a room, for one account or for all that have it. Returns those changed."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                UPDATE direct_dm SET state = $2, settled = false
                WHERE room_id = $1 AND state <> $2 AND ($3::text IS NULL OR account = $3)
                RETURNING account
                """,
                room,
                state.value,
                account,
            )
        return [UserId(row) for (row,) in rows]

    async def settle(self, account: UserId, seen: list[ManagedDM]) -> None:
        """Record that the homeserver holds what ``seen`` asks for; forget what is retired."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                WITH seen AS (
                    SELECT * FROM unnest($2::text[], $3::text[]) AS s (room_id, state)
                ), gone AS (
                    DELETE FROM direct_dm AS d USING seen AS s
                    WHERE d.account = $1 AND d.room_id = s.room_id
                        AND d.state = 'retired' AND s.state = 'retired'
                )
                UPDATE direct_dm AS d SET settled = true FROM seen AS s
                WHERE d.account = $1 AND d.room_id = s.room_id AND d.state = s.state
                    AND d.state <> 'retired' AND NOT settled
                """,
                account,
                [dm.room for dm in seen],
                [dm.state.value for dm in seen],
            )

    async def unsettled(self) -> list[UserId]:
        """Accounts with something still to be written."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT account FROM direct_dm WHERE NOT settled"
            )
        return [UserId(row) for (row,) in rows]
