"""What one user was not shown of what a network brought.

Safe while the previous version still runs: it adds an index, and nothing else.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

STATEMENTS = (
    # Rows get into it only when something went wrong.
    "CREATE INDEX inbox_undelivered ON inbox (login_id, seq) WHERE state = 'parked'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
