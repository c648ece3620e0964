"""How far a login has read what its network keeps, and when a message was first handed to its network.

Safe while the previous version still runs: it adds columns that may be NULL, and nothing else.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    # position: opaque, the connector's own; NULL until the first one is known.
    "ALTER TABLE login ADD COLUMN position text",
    # attempted_at: NULL while the network cannot have the message.
    "ALTER TABLE outbox ADD COLUMN attempted_at timestamptz",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
