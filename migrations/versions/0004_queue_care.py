"""What was put aside can be found, and put back.

Safe while the previous version still runs: it adds columns that are NULL, indexes, and nothing else. The previous
version does not notice what was put back until it starts again.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    # requeued_at: when an admin put the row back last; its age counts from then.
    "ALTER TABLE inbox ADD COLUMN requeued_at timestamptz",
    "ALTER TABLE outbox ADD COLUMN requeued_at timestamptz",
    # What a running bridge looks through every few seconds: as good as always empty.
    """
    CREATE INDEX inbox_requeued ON inbox (login_id, chat_id, requeued_at)
    WHERE state = 'waiting' AND requeued_at IS NOT NULL
    """,
    """
    CREATE INDEX outbox_requeued ON outbox (room_id, requeued_at)
    WHERE state = 'waiting' AND requeued_at IS NOT NULL
    """,
    # Rows get into these only when something went wrong.
    "CREATE INDEX inbox_aside ON inbox (state, seq) WHERE state = 'parked'",
    """
    CREATE INDEX outbox_aside ON outbox (state, seq)
    WHERE state IN ('parked', 'failed', 'uncertain')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
