"""dm_bridge: a Matrix application service for private chats that stay direct messages."""

__version__ = "0.1.0"
