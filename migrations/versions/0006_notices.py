"""Which notice says in Matrix that a message is not delivered yet.

Safe while the previous version still runs: it adds a column that may be NULL, and an index.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    # notice: the event that says so; NULL when there is none, or when it has been dealt with.
    "ALTER TABLE outbox ADD COLUMN notice text",
    # Looked through at start, for the notices whose message has been dealt with: as good as always empty.
    "CREATE INDEX outbox_notice ON outbox (room_id) WHERE notice IS NOT NULL AND state <> 'waiting'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
