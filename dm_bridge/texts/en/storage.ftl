# What the database does not do; a command that needs it then fails with these words.

# $why: what PostgreSQL or the system says.
storage-refused = PostgreSQL refuses our user or password ({ $why }). Check database.url.
storage-none = PostgreSQL has no such database ({ $why }). Create it, or check database.url.
storage-empty = The database has no dm_bridge schema (or only a part of it). Run `dm-bridge migrate`.
storage-away = PostgreSQL cannot be used right now ({ $why }). Check that it runs and that database.url is right.
storage-taken-over = This process was silent for longer than its lease, and another process has taken over its users.
# $account: a user id.
storage-busy = Another process of the bridge is writing the direct chats of { $account }; waiting for it.
storage-other-key = The stored credentials were sealed with another key. Restore the key file that belongs to this database, or log in again.
storage-damaged = The stored credentials are damaged. Log in again.
