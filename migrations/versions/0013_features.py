"""What a chat's room says about what can be done there.

Safe while the previous version still runs: it adds a column that may be empty.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE portal ADD COLUMN features text")
