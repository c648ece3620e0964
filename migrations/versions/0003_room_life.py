"""What becomes of a portal's room: a third person in it, a room that replaces it, rooms it had before.

Safe while the previous version still runs: it adds a table, columns with defaults or NULL, and
nothing else.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    # crowded: somebody besides the user, the contact and the bridge is in the room.
    # successor: the room that the user replaced this one with, until the ghost has got into it.
    """
    ALTER TABLE portal
        ADD COLUMN crowded boolean NOT NULL DEFAULT false,
        ADD COLUMN successor text,
        ADD COLUMN successor_at timestamptz
    """,
    "CREATE INDEX portal_successor ON portal (successor) WHERE successor IS NOT NULL",
    # Rooms that a portal had before, and in which the user may still write.
    """
    CREATE TABLE former_room (
        room_id  text PRIMARY KEY,
        login_id text NOT NULL,
        chat_id  text NOT NULL,
        FOREIGN KEY (login_id, chat_id) REFERENCES portal (login_id, chat_id)
            ON UPDATE CASCADE ON DELETE CASCADE
    )
    """,
    "CREATE INDEX former_room_portal ON former_room (login_id, chat_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
