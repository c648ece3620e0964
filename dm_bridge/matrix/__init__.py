"""Everything that talks to the homeserver, and everything the homeserver talks to."""
