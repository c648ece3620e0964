"""Links to the bridge's page, and who is signed in there.

Safe while the previous version still runs: it adds tables only.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE page_link (
        hash        bytea PRIMARY KEY,
        seq         bigint GENERATED ALWAYS AS IDENTITY,
        matrix_user text NOT NULL,
        expires_at  timestamptz NOT NULL
    )
    """,
    "CREATE INDEX page_link_of ON page_link (matrix_user, seq)",
    "CREATE INDEX page_link_expired ON page_link (expires_at)",
    """
    CREATE TABLE page_session (
        hash        bytea PRIMARY KEY,
        seq         bigint GENERATED ALWAYS AS IDENTITY,
        matrix_user text NOT NULL,
        expires_at  timestamptz NOT NULL
    )
    """,
    "CREATE INDEX page_session_of ON page_session (matrix_user, seq)",
    "CREATE INDEX page_session_expired ON page_session (expires_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
