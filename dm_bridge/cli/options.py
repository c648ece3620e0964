"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

CONFIG_VARIABLE = "DM_BRIDGE_CONFIG"


def config_option(description: str) -> Callable[[_Decorated], _Decorated]:
    """``-c``/``--config PATH``, passed as ``config_path``."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        default=Path("config.yaml"),
        show_default=True,
        envvar=CONFIG_VARIABLE,
        show_envvar=True,
        help=description,
    )
