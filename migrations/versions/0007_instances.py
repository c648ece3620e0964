"""Several processes on one database: who is there, who has which users, and what one leaves for another.

A process of the previous version knows nothing of shares: stop all of them before the first process of this
version starts. For the database itself it is safe while they run: it adds tables, and nothing else.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    # beat: raised by the living; who does not see it rise for long enough takes the process for dead.
    # place: where its process id means something, so that others there can see whether it lives.
    """
    CREATE TABLE instance (
        instance_id text PRIMARY KEY,
        identity    text NOT NULL,
        lease       double precision NOT NULL,
        place       text NOT NULL,
        process     text NOT NULL,
        version     text NOT NULL,
        joined      bigint GENERATED ALWAYS AS IDENTITY,
        beat        bigint NOT NULL DEFAULT 0,
        started_at  timestamptz NOT NULL DEFAULT now()
    )
    """,
    # One row for each Matrix user with whom the bridge has to do. epoch: raised with every new holder.
    """
    CREATE TABLE share (
        user_id text PRIMARY KEY,
        holder  text REFERENCES instance ON DELETE SET NULL,
        epoch   bigint NOT NULL DEFAULT 0,
        since   timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX share_holder ON share (holder)",
    # What a process took in that is for another one: as good as always empty.
    """
    CREATE TABLE errand (
        seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        for_whom text NOT NULL,
        kind    text NOT NULL,
        subject text NOT NULL
    )
    """,
    """
    INSERT INTO share (user_id)
    SELECT owner FROM login UNION SELECT user_id FROM management_room UNION SELECT user_id FROM matrix_token
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
