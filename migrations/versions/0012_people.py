"""How contacts look, what their users call them, and who asks to be one.

Safe while the previous version still runs: it adds columns that may be NULL, an index, and a table.
"""

from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    # avatar: what the network calls the picture that is shown; avatar_url: where the homeserver has it.
    # source: the login that tells what the contact is called and looks like.
    """
    ALTER TABLE ghost
        ADD COLUMN avatar text,
        ADD COLUMN avatar_url text,
        ADD COLUMN source text REFERENCES login
    """,
    # What the ghost is called in this room only.
    "ALTER TABLE portal ADD COLUMN private_name text",
    "CREATE INDEX portal_private ON portal (ghost) WHERE private_name IS NOT NULL",
    # Who asks to be a contact of a user, and waits for an answer. name: what they call themselves.
    """
    CREATE TABLE contact_request (
        login_id text NOT NULL REFERENCES login,
        contact  text NOT NULL,
        name     text,
        told     boolean NOT NULL DEFAULT false,
        at       timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (login_id, contact)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
