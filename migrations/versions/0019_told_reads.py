"""Up to which event a chat's network knows that the user has read it.

Safe while the previous version still runs: it adds a column that only the new version uses.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL: nothing has been read yet. Empty: nobody kept what was.
    op.execute("ALTER TABLE portal ADD COLUMN read_event text")
    op.execute("UPDATE portal SET read_event = '' WHERE room_id IS NOT NULL")
