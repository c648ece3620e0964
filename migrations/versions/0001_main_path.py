"""Logins, ghosts, portals, the two queues, and what is managed in m.direct.

The first schema; nothing older can be running.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE login (
        login_id    text PRIMARY KEY,
        owner       text NOT NULL,
        network     text NOT NULL,
        remote      text NOT NULL,
        name        text NOT NULL,
        credentials bytea,
        state       text NOT NULL CHECK (state IN ('active', 'bad_credentials', 'logged_out')),
        reason      text NOT NULL DEFAULT '',
        created_at  timestamptz NOT NULL DEFAULT now(),
        UNIQUE (owner, network, remote)
    )
    """,
    """
    CREATE TABLE ghost (
        network    text NOT NULL,
        contact    text NOT NULL,
        user_id    text NOT NULL UNIQUE,
        name       text,
        registered boolean NOT NULL DEFAULT false,
        PRIMARY KEY (network, contact)
    )
    """,
    """
    CREATE TABLE portal (
        login_id    text NOT NULL REFERENCES login,
        chat_id     text NOT NULL,
        contact     text NOT NULL,
        ghost       text NOT NULL,
        room_id     text UNIQUE,
        state       text NOT NULL CHECK (state IN ('reserved', 'creating', 'open')),
        membership  text NOT NULL DEFAULT 'none'
                    CHECK (membership IN ('none', 'invite', 'join', 'leave')),
        bot_joined  boolean NOT NULL DEFAULT false,
        own_ghost   text,
        created_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (login_id, chat_id),
        CHECK ((state = 'open') = (room_id IS NOT NULL))
    )
    """,
    """
    CREATE TABLE inbox (
        login_id    text NOT NULL REFERENCES login,
        chat_id     text NOT NULL,
        remote_id   text NOT NULL,
        seq         bigint GENERATED ALWAYS AS IDENTITY,
        event       bytea NOT NULL,
        state       text NOT NULL DEFAULT 'waiting'
                    CHECK (state IN ('waiting', 'delivered', 'dropped', 'parked')),
        event_id    text,
        reason      text NOT NULL DEFAULT '',
        received_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (login_id, chat_id, remote_id)
    )
    """,
    "CREATE INDEX inbox_waiting ON inbox (login_id, chat_id, seq) WHERE state = 'waiting'",
    """
    CREATE TABLE outbox (
        event_id    text PRIMARY KEY,
        room_id     text NOT NULL,
        sender      text NOT NULL,
        seq         bigint GENERATED ALWAYS AS IDENTITY,
        event       bytea NOT NULL,
        state       text NOT NULL DEFAULT 'waiting'
                    CHECK (state IN ('waiting', 'delivered', 'failed', 'uncertain', 'handled',
                                     'dropped', 'parked')),
        login_id    text,
        chat_id     text,
        remote_id   text,
        reason      text NOT NULL DEFAULT '',
        received_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX outbox_waiting ON outbox (room_id, seq) WHERE state = 'waiting'",
    """
    CREATE INDEX outbox_remote ON outbox (login_id, chat_id, remote_id)
    WHERE remote_id IS NOT NULL
    """,
    """
    CREATE TABLE direct_dm (
        account   text NOT NULL,
        room_id   text NOT NULL,
        ghost     text NOT NULL,
        state     text NOT NULL CHECK (state IN ('pending', 'active', 'retired')),
        opted_out boolean NOT NULL DEFAULT false,
        aliases   text[] NOT NULL DEFAULT '{}',
        settled   boolean NOT NULL DEFAULT false,
        PRIMARY KEY (account, room_id)
    )
    """,
    "CREATE INDEX direct_dm_room ON direct_dm (room_id)",
    "CREATE INDEX direct_dm_unsettled ON direct_dm (account) WHERE NOT settled",
    """
    CREATE TABLE management_room (
        room_id      text PRIMARY KEY,
        user_id      text NOT NULL,
        secret_asked boolean NOT NULL DEFAULT false
    )
    """,
    "CREATE INDEX management_room_user ON management_room (user_id)",
    """
    CREATE TABLE refused_stranger (
        user_id    text PRIMARY KEY,
        refused_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
