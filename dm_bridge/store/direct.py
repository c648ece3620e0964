"""Rows of `direct_dm`: the ledger of each account, in the database.

The rule that must never break: what is managed is recorded before it is written to the homeserver,
so that a crash in between leaves work to do, never a mark without an owner. A row is ``settled``
once the homeserver was seen to hold what the row asks for. The user's decision (``opted_out``) is
kept for as long as the room can become a chat of theirs again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Connection, Database


class DirectStore:
    """Reads and writes ledgers. Every function that changes something commits before it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def managed(self, account: UserId) -> list[ManagedDM]:
        """Everything that is managed for an account."""
        return (await self.load(account))[0]

    async def load(self, account: UserId) -> tuple[list[ManagedDM], bool]:
        """Everything that is managed for an account, and whether all of it is settled."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT room_id, ghost, state, opted_out, aliases, settled FROM direct_dm
                WHERE account = $1 ORDER BY room_id
                """,
                account,
            )
        managed = [
            ManagedDM(
                RoomId(room),
                UserId(ghost),
                DMState(state),
                opted_out,
                frozenset(map(UserId, aliases)),
            )
            for room, ghost, state, opted_out, aliases, _ in rows
        ]
        return managed, all(row["settled"] for row in rows)

    async def manage(self, account: UserId, room: RoomId, ghost: UserId, state: DMState) -> None:
        """Become responsible for a room, or take it up again; a decision of the user stays.

        What is active does not become pending again: the user has been there, whoever says it late.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO direct_dm (account, room_id, ghost, state) VALUES ($1, $2, $3, $4)
                ON CONFLICT (account, room_id)
                DO UPDATE SET ghost = EXCLUDED.ghost, settled = false,
                    state = CASE WHEN (direct_dm.state, EXCLUDED.state) = ('active', 'pending')
                        THEN 'active' ELSE EXCLUDED.state END,
                    aliases = CASE WHEN direct_dm.ghost = EXCLUDED.ghost THEN direct_dm.aliases
                        ELSE array_append(array_remove(direct_dm.aliases, EXCLUDED.ghost), direct_dm.ghost)
                        END
                WHERE direct_dm.ghost <> EXCLUDED.ghost OR (direct_dm.state <> EXCLUDED.state
                    AND (direct_dm.state, EXCLUDED.state) <> ('active', 'pending'))
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
        return await self._update(
            """
            UPDATE direct_dm SET state = $2, settled = false
            WHERE room_id = $1 AND state <> $2 AND ($3::text IS NULL OR account = $3)
            RETURNING account
            """,
            room,
            state.value,
            account,
        )

    async def replace_room(self, old: RoomId, new: RoomId) -> list[UserId]:
        """``old`` was upgraded to ``new``, which takes over ghost, state, decision and aliases."""
        return await self._update(
            """
            WITH before AS (
                SELECT * FROM direct_dm WHERE room_id = $1 AND (state <> 'retired' OR opted_out)
                FOR UPDATE
            ), retired AS (
                UPDATE direct_dm AS d SET state = 'retired', opted_out = false, settled = false
                FROM before AS b WHERE d.account = b.account AND d.room_id = b.room_id
            )
            INSERT INTO direct_dm (account, room_id, ghost, state, opted_out, aliases)
            SELECT account, $2, ghost, state, opted_out, aliases FROM before
            ON CONFLICT (account, room_id) DO UPDATE SET ghost = EXCLUDED.ghost,
                state = CASE WHEN EXCLUDED.state = 'retired' THEN direct_dm.state ELSE EXCLUDED.state END,
                opted_out = EXCLUDED.opted_out OR direct_dm.opted_out, settled = false,
                aliases = ARRAY(
                    SELECT unnest(direct_dm.aliases || EXCLUDED.aliases || direct_dm.ghost)
                    EXCEPT SELECT EXCLUDED.ghost
                )
            RETURNING account
            """,
            old,
            new,
        )

    async def rename_ghost(self, room: RoomId, old: UserId, new: UserId) -> list[UserId]:
        """The contact in ``room`` has a new ghost, which has an ``m.direct`` of its own."""
        return await self._update(
            """
            WITH moved AS (
                UPDATE direct_dm SET ghost = $3, settled = false,
                    aliases = array_append(array_remove(array_remove(aliases, $3), $2), $2)
                WHERE room_id = $1 AND ghost = $2 AND $2 <> $3
                RETURNING account
            ), left_behind AS (
                UPDATE direct_dm SET state = 'retired', settled = false
                WHERE room_id = $1 AND account = $2 AND state <> 'retired' AND $2 <> $3
                RETURNING ghost
            ), taken_up AS (
                INSERT INTO direct_dm (account, room_id, ghost, state)
                SELECT $3, $1, ghost, 'active' FROM left_behind
                ON CONFLICT (account, room_id)
                DO UPDATE SET ghost = EXCLUDED.ghost, state = 'active', settled = false
                RETURNING account
            )
            SELECT account FROM moved UNION SELECT account FROM taken_up
            UNION SELECT $2 FROM left_behind
            """,
            room,
            old,
            new,
        )

    async def opt(self, account: UserId, room: RoomId, out: bool) -> bool:
        """Record the user's decision about a room; False when it is not managed for them."""
        changed = await self._update(
            """
            UPDATE direct_dm SET opted_out = $3, settled = false
            WHERE account = $1 AND room_id = $2 AND state <> 'retired' RETURNING account
            """,
            account,
            room,
            out,
        )
        return bool(changed)

    async def forget(self, room: RoomId) -> list[UserId]:
        """The chat is deleted: retire the room, and forget what was decided about it."""
        return await self._update(
            """
            UPDATE direct_dm SET state = 'retired', opted_out = false, settled = false
            WHERE room_id = $1 RETURNING account
            """,
            room,
        )

    async def accounts(self, users: Collection[UserId] | None = None) -> list[UserId]:
        """Every account with something managed; or those of ``users``, and of the ghosts in their rooms."""
        if users is None:
            return await self._update("SELECT DISTINCT account FROM direct_dm")
        return await self._update(
            """
            SELECT DISTINCT account FROM direct_dm WHERE account = ANY($1::text[]) OR room_id IN (
                SELECT room_id FROM direct_dm WHERE account = ANY($1)
            )
            """,
            list(users),
        )

    async def unsettled(self, users: Collection[UserId] | None = None) -> list[UserId]:
        """The same, but only those with something still to be written."""
        if users is None:
            return await self._update("SELECT DISTINCT account FROM direct_dm WHERE NOT settled")
        return await self._update(
            """
            SELECT DISTINCT account FROM direct_dm WHERE NOT settled AND (account = ANY($1::text[]) OR room_id IN (
                SELECT room_id FROM direct_dm WHERE account = ANY($1)
            ))
            """,
            list(users),
        )

    async def decide(self, connection: Connection, before: Ledger, after: Ledger) -> None:
        """Record, within a transaction, the decisions of the user by which ``after`` differs."""
        changed = [
            dm
            for room, dm in after.managed.items()
            if dm.opted_out != before.managed[room].opted_out
        ]
        if changed:
            await connection.execute(
                """
                UPDATE direct_dm AS d SET opted_out = c.opted_out, settled = false
                FROM unnest($2::text[], $3::bool[]) AS c (room_id, opted_out)
                WHERE d.account = $1 AND d.room_id = c.room_id
                """,
                after.account,
                [dm.room for dm in changed],
                [dm.opted_out for dm in changed],
            )

    async def settle(
        self, account: UserId, seen: Iterable[ManagedDM], connection: Connection | None = None
    ) -> None:
        """Record that the homeserver holds what ``seen`` asks for; forget what is retired."""
        if connection is None:
            async with self._database.connection() as own:
                await self.settle(account, seen, own)
            return
        seen = list(seen)
        await connection.execute(
            """
            WITH seen AS (
                SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::bool[])
                    AS s (room_id, ghost, state, opted_out)
            ), gone AS (
                DELETE FROM direct_dm AS d USING seen AS s
                WHERE d.account = $1 AND d.room_id = s.room_id
                    AND d.state = 'retired' AND s.state = 'retired' AND NOT d.opted_out
            )
            UPDATE direct_dm AS d SET settled = true FROM seen AS s
            WHERE d.account = $1 AND d.room_id = s.room_id AND NOT settled
                AND (d.ghost, d.state, d.opted_out) = (s.ghost, s.state, s.opted_out)
                AND (d.state <> 'retired' OR d.opted_out)
            """,
            account,
            [dm.room for dm in seen],
            [dm.ghost for dm in seen],
            [dm.state.value for dm in seen],
            [dm.opted_out for dm in seen],
        )

    async def _update(self, statement: str, *values: object) -> list[UserId]:
        """Run a statement that returns accounts."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement, *values)
        return [UserId(account) for (account,) in rows]
