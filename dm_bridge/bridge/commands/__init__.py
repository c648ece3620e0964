"""What people can ask the bot for."""

from dm_bridge.bridge.commands.commands import Answer, Commands, Reply

__all__ = ["Answer", "Commands", "Reply"]
