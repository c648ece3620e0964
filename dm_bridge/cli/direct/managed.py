"""What the commands about accounts of this bridge share: USER, the configuration, and how they run.

The rule that must never break: a command that is given the wrong name or configuration says so, and has
made nothing: no database, no key, no row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dm_bridge.cli.options import config_option
from dm_bridge.config import load_config
from dm_bridge.direct.document import is_user_id
from dm_bridge.direct.journal import Source
from dm_bridge.errors import UserError
from dm_bridge.ids import UserId
from dm_bridge.ops.logging import configure_logging

if TYPE_CHECKING:
    from dm_bridge.app.offline import Offline

_NAMED = 5
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_Result = TypeVar("_Result")

HOW = {
    Source.PUSHED.value: "pushed by the homeserver's module",
    Source.WATCHED.value: "seen by a watched /sync",
    Source.ACTIVITY.value: "read after the account did something",
    Source.SWEEP.value: "read by the sweep",
    Source.READ.value: "read by the bridge, to decide or to verify",
    Source.WRITTEN.value: "written by the bridge",
}


def managed_options(command: _Decorated) -> _Decorated:
    """USER, ``-c`` and ``--json``, passed as ``user``, ``config_path`` and ``in_json``."""
    user = click.argument("user")
    in_json = click.option("--json", "in_json", is_flag=True, help="Answer in JSON.")
    return user(config_option("The configuration file of the bridge.")(in_json(command)))


def run_offline(
    config_path: Path, user: str, work: Callable[[Offline, UserId], Awaitable[_Result]]
) -> _Result:
    """Run ``work`` for USER beside the bridge, or without it. Raises `UserError` for one not known here."""
    config = load_config(config_path)
    account = account_of(user, config.homeserver.domain)
    configure_logging("warning", config.logging.format)
    from dm_bridge.app.offline import offline

    async def run() -> _Result:
        async with offline(config, account) as parts:
            await _check_known(parts, account)
            return await work(parts, account)

    return asyncio.run(run())


def account_of(user: str, domain: str) -> UserId:
    """The user id that a person means: whole, or a local name of our homeserver."""
    text = user if user.startswith("@") else f"@{user}"
    if ":" not in text:
        text = f"{text}:{domain}"
    if not is_user_id(text):
        raise click.BadParameter(
            f"{user!r} is no user id. One looks like @alice:{domain}; alice alone means that one.",
            param_hint="'USER'",
        )
    return UserId(text)


async def _check_known(parts: Offline, account: UserId) -> None:
    if parts.has_login(account) or await parts.store.managed(account):
        return
    if (await parts.journals.seen(account)).at is not None:
        return
    known = sorted(
        name for name in await parts.store.accounts() if not parts.config.ghosts.owns(name)
    )
    if not known:
        raise UserError(f"Nothing is known of {account}: this bridge has no direct chats.")
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    raise UserError(
        f"Nothing is known of {account}: they have no login here and no chats. There are chats of "
        f"{', '.join(known[:_NAMED])}{more}."
    )


def moment(at: float) -> str:
    """A time, in seconds since the epoch, for a person."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
