"""The command ``dm-bridge``: its commands, and what becomes of their errors.

The rule that must never break: an error is one sentence on standard error and an exit code; a
traceback appears only when asked for with --debug.
"""

from __future__ import annotations

import traceback
from typing import Any

import click

from dm_bridge import __version__
from dm_bridge.cli.audit import audit
from dm_bridge.cli.completion import completion
from dm_bridge.cli.demo import demo
from dm_bridge.cli.direct import direct
from dm_bridge.cli.doctor import doctor
from dm_bridge.cli.init import init
from dm_bridge.cli.migrate import migrate
from dm_bridge.cli.openapi import openapi
from dm_bridge.cli.queue import queue
from dm_bridge.cli.registration import registration
from dm_bridge.cli.run import run
from dm_bridge.cli.user import user
from dm_bridge.errors import BridgeError, ConfigError

EXIT_FAILED = 1
EXIT_CONFIG = 78
"""``EX_CONFIG`` of sysexits.h."""


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except BridgeError as error:
            _complain(ctx, error.message)
            ctx.exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED)
        except Exception as error:
            kind = type(error).__name__
            hint = "" if ctx.params.get("debug") else " Run `dm-bridge --debug …` for the details."
            _complain(ctx, f"stopped by an internal error, {kind}. This is a bug.{hint}")
            ctx.exit(EXIT_FAILED)


def _complain(ctx: click.Context, message: str) -> None:
    if ctx.params.get("debug"):
        click.echo(traceback.format_exc().rstrip(), err=True)
    click.echo(f"dm-bridge: {message}", err=True)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.",
)
@click.version_option(__version__, prog_name="dm-bridge")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """A Matrix application service for private chats that stay direct messages.

    \b
    To set it up:
      dm-bridge init             write config.yaml
      dm-bridge registration     write the files that the homeserver needs
      dm-bridge run              run the bridge
      dm-bridge doctor           check that all is well
    """


for _command in (
    init,
    registration,
    migrate,
    run,
    doctor,
    demo,
    direct,
    queue,
    user,
    audit,
    openapi,
    completion,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the console script; exits the process."""
    cli(prog_name="dm-bridge")
