"""``dm-bridge registration``: write the files through which the homeserver knows the bridge.

The rule that must never break: the same configuration always gives the same files.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from dm_bridge.cli import local_synapse
from dm_bridge.cli.local_synapse import LocalSynapse
from dm_bridge.cli.options import config_option
from dm_bridge.cli.private_files import check_replaceable, write_private
from dm_bridge.config import Config, load_config
from dm_bridge.config.checks import ACCOUNTS_SUFFIX
from dm_bridge.errors import AdminError

MAIN_FILE = "registration.yaml"
ACCOUNTS_FILE = "registration-accounts.yaml"

_MAIN_HEADER = """\
# Registration of the bridge, written by `dm-bridge registration`. Keep it secret: it holds tokens.
# It gives the bridge its bot and its ghosts, and tells the homeserver where to send events.
"""
_ACCOUNTS_HEADER = """\
# Second registration of the bridge, written by `dm-bridge registration`. Keep it secret: its token
# can act for every local user. With it the bridge keeps the direct chats of its users right and
# joins them; it acts only for users who have logged in to the bridge. The homeserver sends no
# events here (url: null).
"""


def main_registration(config: Config) -> str:
    """The registration file for the bot and the ghosts."""
    appservice = config.appservice
    return _render(
        _MAIN_HEADER,
        {
            "id": appservice.id,
            "url": appservice.url,
            "as_token": appservice.as_token.get_secret_value(),
            "hs_token": appservice.hs_token.get_secret_value(),
            "sender_localpart": appservice.bot,
            "rate_limited": False,
            "receive_ephemeral": True,
            "de.sorunome.msc2409.push_ephemeral": True,  # its name before it was in the specification
            "protocols": [section.name for section in config.enabled_networks],
            "namespaces": {
                "users": [
                    {"exclusive": True, "regex": config.ghosts.regex()},
                    {"exclusive": True, "regex": f"^{re.escape(config.bot_user_id)}$"},
                ],
                "aliases": [],
                "rooms": [],
            },
        },
    )


def accounts_registration(config: Config) -> str:
    """The registration file for acting as puppeted users."""
    appservice = config.appservice
    token = appservice.accounts_token.get_secret_value()
    return _render(
        _ACCOUNTS_HEADER,
        {
            "id": appservice.id + ACCOUNTS_SUFFIX,
            "url": None,
            "as_token": token,
            "hs_token": _derived_token(token),
            "sender_localpart": appservice.bot + ACCOUNTS_SUFFIX,
            "rate_limited": False,
            "namespaces": {
                "users": [
                    {"exclusive": False, "regex": f"^@.+:{re.escape(config.homeserver.domain)}$"}
                ],
                "aliases": [],
                "rooms": [],
            },
        },
    )


def _derived_token(token: str) -> str:
    """A token that the file must have and nobody uses: from the other one, so nobody must store it."""
    digest = hmac.digest(
        token.encode(), b"dm_bridge accounts registration hs_token", hashlib.sha256
    )
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _render(header: str, registration: dict[str, Any]) -> str:
    return header + yaml.safe_dump(registration, sort_keys=False, width=1000, allow_unicode=True)


@click.command(
    short_help="Write the homeserver's registration files.",
    epilog="Example: dm-bridge registration -c config.yaml -o /etc/matrix-synapse",
)
@config_option("The configuration file.")
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The directory to write to; made when it is not there.  [default: this one]",
)
@click.option(
    "--synapse",
    "homeserver_yaml",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also list the files in this homeserver.yaml of a Synapse, and let it read them.",
)
@click.option("--force", is_flag=True, help="Replace files that differ.")
def registration(
    config_path: Path, directory: Path, homeserver_yaml: Path | None, force: bool
) -> None:
    """Write registration.yaml and registration-accounts.yaml, which the homeserver needs.

    Where a Synapse is found on this machine, offers to list them in its configuration.

    Needed again, with --force, after a change of homeserver.domain, of a token, of appservice.id,
    listen, url, bot or ghost_prefix, or of which networks are enabled; the homeserver must then be
    restarted, and the bridge after it.
    """
    config = load_config(config_path)
    texts = {
        directory / MAIN_FILE: main_registration(config),
        directory / ACCOUNTS_FILE: accounts_registration(config),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in texts:
            check_replaceable(path)
        present = {path: path.read_text(encoding="utf-8") for path in texts if path.exists()}
    except OSError as error:
        named = error.filename or directory
        raise AdminError(
            f"{named} cannot be used: {error.strerror}. Choose another directory with -o, or check the owner "
            "and mode of this one."
        ) from error
    except UnicodeDecodeError as error:
        raise AdminError(
            f"What is in {directory} is no registration: it is not text. Choose another directory with -o."
        ) from error
    different = [str(path) for path, text in present.items() if text != texts[path]]
    if different and not force:
        raise AdminError(
            f"{' and '.join(different)} would change. Run the command again with --force to replace "
            "what is there, then restart the homeserver."
        )
    for path, text in texts.items():
        if present.get(path) == text:
            click.echo(f"{path} is up to date.")
        else:
            try:
                write_private(path, text, replace=path in present)
            except FileExistsError:
                raise AdminError(f"Another program is writing {path} now. Try again.") from None
            click.echo(f"{path} written.")
    paths = [path.absolute() for path in texts]
    synapse = _synapse_for(config.homeserver.domain, homeserver_yaml)
    if synapse is None:
        _explain(paths)
        return
    local_synapse.give(synapse, paths)
    changed = local_synapse.enlist(synapse, paths)
    if changed is None:
        click.echo(f"\n{synapse.path} lists them already. Restart Synapse if they have changed.")
    else:
        click.echo(
            f"\n{changed} lists them now; the file as it was is kept beside it. Restart Synapse, then run "
            "`dm-bridge run`."
        )


def _synapse_for(domain: str, named: Path | None) -> LocalSynapse | None:
    """The Synapse whose configuration is to list the files: the one that was named, or found and agreed to."""
    if named is not None:
        synapse = local_synapse.read(named)
        if synapse.domain != domain:
            raise AdminError(
                f"{named} is the configuration of {synapse.domain or 'no server'}, and homeserver.domain is "
                f"{domain}. Nothing was changed there."
            )
        return synapse
    found = local_synapse.find() if sys.stdin.isatty() else None
    if found is None or found.domain != domain:
        return None
    return found if click.confirm(f"\nList them in {found.path}?") else None


def _explain(paths: list[Path]) -> None:
    lines = "\n".join(f"  - {path}" for path in paths)
    click.echo(
        "\nThe homeserver must be able to read both files; only their owner can now. For Synapse, add\n"
        "this to homeserver.yaml and restart it:\n\n"
        f"app_service_config_files:\n{lines}\n\n"
        "Then run `dm-bridge run`."
    )
