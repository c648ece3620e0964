"""The composition root: the one place where parts are built and wired."""

from dm_bridge.app.app import App, migrate_database, run_bridge

__all__ = ["App", "migrate_database", "run_bridge"]
