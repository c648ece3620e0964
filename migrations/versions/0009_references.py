"""By which ids messages are spoken of, and who reacted with what.

Safe while the previous version still runs: it adds a column that may be NULL, indexes, and a table.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    # reference: by which id later events speak of the message, where that is not remote_id.
    "ALTER TABLE inbox ADD COLUMN reference text",
    """
    CREATE INDEX inbox_reference ON inbox (login_id, chat_id, reference)
    WHERE reference IS NOT NULL
    """,
    # other_id: the id under which a copy of the message may still come. Most of the time there is none.
    "ALTER TABLE inbox ADD COLUMN other_id text",
    """
    CREATE INDEX inbox_other ON inbox (login_id, chat_id, other_id)
    WHERE other_id IS NOT NULL
    """,
    # Which message of a network an event in Matrix is.
    "CREATE INDEX inbox_event ON inbox (event_id) WHERE event_id IS NOT NULL",
    # One emoji of one side of a chat to one message. target, event_id: events in Matrix.
    """
    CREATE TABLE reaction (
        login_id  text NOT NULL REFERENCES login,
        chat_id   text NOT NULL,
        target    text NOT NULL,
        from_self boolean NOT NULL,
        emoji     text NOT NULL,
        event_id  text NOT NULL,
        seq       bigint GENERATED ALWAYS AS IDENTITY,
        PRIMARY KEY (login_id, chat_id, target, from_self, emoji)
    )
    """,
    "CREATE INDEX reaction_event ON reaction (event_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
