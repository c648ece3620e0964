"""``dm-bridge completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(dm-bridge completion bash)"    in ~/.bashrc',
    "zsh": 'eval "$(dm-bridge completion zsh)"     in ~/.zshrc',
    "fish": "dm-bridge completion fish | source    in ~/.config/fish/config.fish",
}


@click.command(
    short_help="Let your shell complete commands and options.",
    epilog="\b\n" + "\n".join(_HOW.values()),
)
@click.argument("shell", type=click.Choice(sorted(_HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script for SHELL, after which it completes what follows `dm-bridge`."""
    found = get_completion_class(shell)
    assert found is not None, shell
    click.echo(found(ctx.find_root().command, {}, "dm-bridge", "_DM_BRIDGE_COMPLETE").source())
