"""Checks between keys: tokens that differ, a bot that is no ghost, ids that stay short enough.

The rule that must never break: a key that already has a problem gets no second one from here.
"""

from __future__ import annotations

from dm_bridge.config.document import Document
from dm_bridge.config.problems import KeyPath, show_path
from dm_bridge.config.schema import AppserviceConfig, Config
from dm_bridge.config.values import EXAMPLE_TOKEN_MARK
from dm_bridge.ids import MAX_USER_ID_BYTES

ACCOUNTS_SUFFIX = "-accounts"
"""What the second registration's id and sender have after those of the first."""

_TOKENS: tuple[KeyPath, ...] = tuple(
    ("appservice", name) for name in ("as_token", "hs_token", "accounts_token")
)
_BOT: KeyPath = ("appservice", "bot")
_PREFIX: KeyPath = ("appservice", "ghost_prefix")
_DOMAIN: KeyPath = ("homeserver", "domain")
_HASHED_GHOST_BYTES = 16 + len("_=h") + 64  # a long network name, and a hashed contact


def advice(config: Config) -> list[str]:
    """What is probably not meant so, though it is no mistake."""
    said = []
    if not any(entry.level.may_use for entry in config.permissions.values()):
        said.append("nobody may use this bridge; set permissions in the configuration")
    if not config.enabled_networks:
        said.append("no network is enabled; set networks in the configuration")
    return said


def cross_check(document: Document, *, allow_example_tokens: bool) -> None:
    """Note in ``document`` what does not fit together."""
    bad = {problem.path for problem in document.problems} | document.settled

    def text(path: KeyPath) -> str | None:
        if path in bad:
            return None
        section = document.values.get(str(path[0]), {})
        name = str(path[1])
        if not isinstance(section, dict):
            return None
        if name not in section and path in (_BOT, _PREFIX):
            return str(AppserviceConfig.model_fields[name].default)
        value = section.get(name)
        return value if isinstance(value, str) else None

    tokens = {path: text(path) for path in _TOKENS}
    _check_tokens(
        document, {p: t for p, t in tokens.items() if t is not None}, allow_example_tokens
    )
    _check_names(document, text(_BOT), text(_PREFIX), text(_DOMAIN))


def _check_tokens(document: Document, tokens: dict[KeyPath, str], allow_example: bool) -> None:
    seen: dict[str, KeyPath] = {}
    for path, token in tokens.items():
        first = seen.setdefault(token, path)
        if first != path:
            document.complain(
                path,
                f"expected a token of its own; {show_path(first)} is the same. "
                "Make a new one, for instance with `openssl rand -hex 32`.",
            )
        elif EXAMPLE_TOKEN_MARK in token and not allow_example:
            document.complain(
                path,
                "this is the token of the example, which everybody knows. Write a configuration with "
                "tokens of your own with `dm-bridge init`.",
            )


def _check_names(
    document: Document, bot: str | None, prefix: str | None, domain: str | None
) -> None:
    if bot is not None and prefix is not None and (bot + ACCOUNTS_SUFFIX).startswith(prefix):
        document.complain(
            _BOT if _BOT in document.origins or _PREFIX not in document.origins else _PREFIX,
            f'the bot "{bot}" would be taken for a ghost, because ghosts begin with "{prefix}". '
            "Change appservice.bot or appservice.ghost_prefix.",
        )
    if domain is None:
        return
    if prefix is not None:
        spare = MAX_USER_ID_BYTES - len(f"@{prefix}:{domain}".encode()) - _HASHED_GHOST_BYTES
        if spare < 0:
            document.complain(
                _PREFIX,
                f"the user ids of ghosts would be longer than {MAX_USER_ID_BYTES} bytes. "
                f"Make appservice.ghost_prefix shorter by {-spare}.",
            )
    if bot is not None:
        spare = MAX_USER_ID_BYTES - len(f"@{bot}{ACCOUNTS_SUFFIX}:{domain}".encode())
        if spare < 0:
            document.complain(
                _BOT,
                f"the bot's user id would be longer than {MAX_USER_ID_BYTES} bytes. "
                f"Make appservice.bot shorter by {-spare}.",
            )
