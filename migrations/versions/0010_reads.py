"""Which contacts show what they read.

Safe while the previous version still runs: it adds a column with a default.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE portal ADD COLUMN shows_reads boolean NOT NULL DEFAULT false")
