"""Which account, and by which token: the options of commands that act for any Matrix account.

The rule that must never break: the token is read from a file, standard input or the environment, never
from an option's value, and is never printed.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from dm_bridge.cli.direct.shown import warn
from dm_bridge.errors import UserError

TOKEN_VARIABLE = "DM_BRIDGE_MATRIX_TOKEN"  # noqa: S105  # the variable's name
_MAX_TOKEN = 64 * 1024

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def account_options(command: _Decorated) -> _Decorated:
    """``--homeserver`` and ``--token-file``."""
    homeserver = click.option(
        "--homeserver",
        required=True,
        metavar="URL",
        help="The account's homeserver: the URL of its client API, or its server name.",
    )
    token_file = click.option(
        "--token-file",
        metavar="FILE",
        help="The file that holds the account's access token; - for standard input.  "
        f"[default: the environment variable {TOKEN_VARIABLE}]",
    )
    return homeserver(token_file(command))


def read_token(token_file: str | None, *, asks: bool) -> str:
    """The access token. ``asks``: the command will read answers from standard input.

    Raises `click.UsageError` when there is no token, `UserError` when it cannot be one.
    """
    if token_file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token.strip():
            raise click.UsageError(
                f"There is no access token. Give a file with --token-file, or set {TOKEN_VARIABLE}."
            )
        return _checked(token, f"in {TOKEN_VARIABLE}")
    if token_file == "-":  # noqa: S105
        if asks:
            raise click.UsageError(
                "Standard input cannot give both the token and answers. Use a file, or add --yes."
            )
        return _checked(sys.stdin.read(_MAX_TOKEN), "on standard input")
    path = Path(token_file)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(_MAX_TOKEN)
    except OSError as error:
        raise UserError(f"The token file {path} cannot be read: {error.strerror}.") from error
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"Others on this machine can read {path}. Run: chmod 600 {path}")
    return _checked(token, f"in {path}")


def warn_of_plain_http(homeserver: str) -> None:
    """Say so when the token will travel in the clear."""
    try:
        url = urlsplit(homeserver)
        host = url.hostname or ""
    except ValueError:
        return
    if url.scheme == "http" and not _is_this_machine(host):
        warn(f"The access token goes to {host} without encryption. Use https where you can.")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token:
        raise UserError(f"There is no access token {where}.")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"What is {where} is no access token: one word in one line is expected.")
    return token
