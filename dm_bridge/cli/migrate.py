"""``dm-bridge migrate``: bring the database's schema up to date."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from dm_bridge.cli.options import config_option
from dm_bridge.config import load_config
from dm_bridge.ops.logging import configure_logging


@click.command(
    short_help="Bring the database up to date.",
    epilog="Example: dm-bridge migrate -c /etc/dm_bridge/config.yaml",
)
@config_option("The configuration file.")
def migrate(config_path: Path) -> None:
    """Bring the database's schema up to date.

    `run` does this by itself unless told not to. It is safe while the bridge of the version before
    is still running, and does nothing when there is nothing to do.
    """
    config = load_config(config_path)
    configure_logging(config.logging.level, config.logging.format)
    from dm_bridge.app import migrate_database

    before, after = asyncio.run(migrate_database(config))
    if before == after:
        click.echo(f"The database is up to date (schema {after}).")
    else:
        click.echo(f"The database was brought from schema {before or 'none'} to {after}.")
