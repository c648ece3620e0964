"""A space for each login that wants one, in which its chats are.

Safe while the previous version still runs: it adds a table that only the new version uses.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

STATEMENTS = (
    # mode: off and left are decisions of the user, and stay when they log in again.
    # creating: a room may exist, unrecorded. invited: the user has been invited to room_id, since they wanted it.
    """
    CREATE TABLE space (
        login_id text PRIMARY KEY REFERENCES login ON DELETE CASCADE,
        mode     text NOT NULL CHECK (mode IN ('on', 'off', 'left')),
        creating boolean NOT NULL DEFAULT false,
        room_id  text UNIQUE,
        invited  boolean NOT NULL DEFAULT false,
        CHECK (room_id IS NULL OR NOT creating)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
