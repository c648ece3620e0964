"""Who did what, whose logins are stopped, whose data are being erased, and failed attempts to log in.

Safe while the previous version still runs: it adds tables, and a function that only they use.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STATEMENTS = (
    # actor: a user id, or "admin NAME" at the command line. subject: the user whom it is about, if one.
    # details: a JSON object, without secrets and without what people wrote.
    """
    CREATE TABLE audit_log (
        seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at      timestamptz NOT NULL DEFAULT now(),
        actor   text NOT NULL,
        act     text NOT NULL,
        subject text,
        door    text NOT NULL,
        details text NOT NULL DEFAULT '{}'
    )
    """,
    "CREATE INDEX audit_log_at ON audit_log (at)",
    "CREATE INDEX audit_log_subject ON audit_log (subject, seq)",
    "CREATE INDEX audit_log_actor ON audit_log (actor, seq)",
    # What is written stays as it was written; it can be removed, when it is old or its user has left.
    """
    CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit log is append-only';
    END
    $$
    """,
    """
    CREATE TRIGGER audit_log_append_only BEFORE UPDATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()
    """,
    # account, by: digests that only the holder of sealing.key can make.
    """
    CREATE TABLE login_failure (
        seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account bytea NOT NULL,
        by      bytea NOT NULL,
        at      timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX login_failure_account ON login_failure (account, at)",
    "CREATE INDEX login_failure_at ON login_failure (at)",
    """
    CREATE TABLE stopped_user (
        user_id text PRIMARY KEY,
        by      text NOT NULL,
        reason  text NOT NULL,
        at      timestamptz NOT NULL DEFAULT now()
    )
    """,
    # rooms, ghosts: of the user, collected before the rows that tell them are gone.
    """
    CREATE TABLE erasure (
        user_id  text PRIMARY KEY,
        asked_by text NOT NULL,
        door     text NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT now(),
        rooms    text[] NOT NULL DEFAULT '{}',
        ghosts   text[] NOT NULL DEFAULT '{}'
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
