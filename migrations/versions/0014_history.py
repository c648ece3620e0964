"""What was written before a login: how far it has been brought over, and where it stands among the rest.

Safe while the previous version still runs: it adds tables, a column that may be empty, and a sequence. Logins that
are there already are not asked for what was before them.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE history_import (
        login_id    text PRIMARY KEY REFERENCES login,
        state       text NOT NULL DEFAULT 'searching' CHECK (state IN ('searching', 'found', 'ended')),
        until       text,
        further     text,
        entries     bigint NOT NULL DEFAULT 0
    )
    """,
    "INSERT INTO history_import (login_id, state) SELECT login_id, 'ended' FROM login",
    """
    CREATE TABLE history_chat (
        login_id    text NOT NULL REFERENCES login,
        chat_id     text NOT NULL,
        seq         bigint GENERATED ALWAYS AS IDENTITY,
        state       text NOT NULL CHECK (state IN ('found', 'taken', 'shown', 'passed', 'failed')),
        place       text,
        displayed   text,
        mark        bigint,
        messages    bigint NOT NULL DEFAULT 0,
        reason      text NOT NULL DEFAULT '',
        PRIMARY KEY (login_id, chat_id)
    )
    """,
    # What is older than all that came comes before it: in an order of its own, downwards.
    "CREATE SEQUENCE inbox_older INCREMENT BY -1 MAXVALUE -1 START WITH -1",
    "ALTER TABLE inbox ADD COLUMN thread text",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
