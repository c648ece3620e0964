"""A simulator: the real bridge over a fake homeserver, a fake network and stores in memory, in virtual time.

`history` plays one history, which follows from its seed alone; ``python -m dm_bridge.testing.simulator`` plays
many. docs/development.md says how.
"""
