"""Which notice says in Matrix that a message was not delivered, and what users can have tried again.

Safe while the previous version still runs: it adds a column that may be NULL, and indexes.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    # verdict: the event that says so; NULL when there is none, or when the message was delivered after all.
    "ALTER TABLE outbox ADD COLUMN verdict text",
    # Looked through every few seconds, for messages that were delivered after all: as good as always empty.
    "CREATE INDEX outbox_verdict ON outbox (room_id) WHERE verdict IS NOT NULL AND state = 'delivered'",
    # What one user wrote and was not delivered.
    """
    CREATE INDEX outbox_undelivered ON outbox (sender, seq)
    WHERE state IN ('parked', 'failed', 'uncertain')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
