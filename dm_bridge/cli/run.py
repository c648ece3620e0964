"""``dm-bridge run``: run the bridge until it is told to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import structlog

from dm_bridge.cli.options import config_option
from dm_bridge.config import load_config
from dm_bridge.config.checks import advice
from dm_bridge.errors import BridgeError
from dm_bridge.ops.logging import configure_logging

log = structlog.get_logger(__name__)


@click.command(
    short_help="Run the bridge.",
    epilog="Example: dm-bridge run -c /etc/dm_bridge/config.yaml",
)
@config_option("The configuration file.")
@click.option(
    "--no-migrate",
    is_flag=True,
    help="Leave the database's schema as it is; stop when it is not up to date.",
)
@click.pass_context
def run(ctx: click.Context, config_path: Path, no_migrate: bool) -> None:
    """Run the bridge until it receives SIGTERM or SIGINT (Ctrl-C).

    Logs go to standard error. See docs/configuration.md for every key, and for the environment
    variables that override them.
    """
    config = load_config(config_path, allow_example_tokens=False)
    configure_logging(config.logging.level, config.logging.format)
    for text in advice(config):
        log.warning(text)
    from dm_bridge.app import run_bridge

    try:
        code = asyncio.run(run_bridge(config, migrate=not no_migrate))
    except BridgeError:
        raise
    except Exception:
        log.exception("the bridge stopped on an internal error")
        raise
    ctx.exit(code)
