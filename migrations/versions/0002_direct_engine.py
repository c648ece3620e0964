"""What the m.direct engine remembers of each account, and tokens that users gave for theirs.

Safe while the previous version still runs: it adds tables, columns with defaults, and nothing else.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    # head: the newest version of the document, as JSON text; NULL before anything was seen.
    # doubt: what stood there when the head was decided on, while the head was not seen since.
    # revision: raised with every change; a decision made from an older one is not recorded.
    # writer, lease_until: the process that may write the document, and until when.
    # JSON is kept as text: jsonb refuses NUL and lone surrogates, which other clients may have written.
    """
    CREATE TABLE direct_account (
        account     text PRIMARY KEY,
        head        bytea,
        doubt       bytea,
        struggles   bytea NOT NULL DEFAULT '{}',
        refused     text NOT NULL DEFAULT '',
        observed_at timestamptz,
        observed_by text NOT NULL DEFAULT '',
        revision    bigint NOT NULL DEFAULT 0,
        writer      text NOT NULL DEFAULT '',
        lease_until timestamptz NOT NULL DEFAULT '-infinity'
    )
    """,
    # One row per version that is remembered. detail: what it added and removed, and why, as JSON text.
    """
    CREATE TABLE direct_version (
        account text NOT NULL REFERENCES direct_account ON DELETE CASCADE,
        seq     bigint NOT NULL,
        at      double precision NOT NULL,
        source  text NOT NULL,
        detail  bytea NOT NULL,
        PRIMARY KEY (account, seq)
    )
    """,
    """
    CREATE TABLE matrix_token (
        user_id        text PRIMARY KEY,
        homeserver_url text NOT NULL,
        sealed         bytea NOT NULL,
        given_at       timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
