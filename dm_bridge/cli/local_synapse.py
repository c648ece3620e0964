"""A Synapse on this machine: what its configuration says of it, and our registrations in it.

The rule that must never break: of a configuration that is not ours nothing changes but the list of registrations,
and that only as far as a parser agrees; the file as it was is kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dm_bridge.errors import AdminError

PLACES = (
    Path("synapse/homeserver.yaml"),
    Path("/etc/matrix-synapse/homeserver.yaml"),
    Path("/data/homeserver.yaml"),
)
"""Where docs/install.md, Debian's package and the official image have it."""
KEY = "app_service_config_files"
_EVERYWHERE = ("0.0.0.0", "::", "127.0.0.1", "::1")  # noqa: S104 - what a configuration may say


@dataclass(frozen=True, slots=True)
class LocalSynapse:
    """``files``: the configuration and the parts of ``conf.d`` beside it, each what it says; the last wins."""

    files: tuple[tuple[Path, dict[str, Any]], ...]

    @property
    def path(self) -> Path:
        """The main file."""
        return self.files[0][0]

    def get(self, key: str) -> Any:
        """What is in force."""
        return next((said[key] for _, said in reversed(self.files) if key in said), None)

    @property
    def domain(self) -> str:
        """The server name, or nothing."""
        name = self.get("server_name")
        return name if isinstance(name, str) else ""

    @property
    def url(self) -> str:
        """Where clients reach it on this machine without TLS, or nothing."""
        listeners = self.get("listeners")
        for listener in listeners if isinstance(listeners, list) else []:
            if not isinstance(listener, dict) or listener.get("tls"):
                continue
            served = [
                name
                for part in listener.get("resources") or []
                if isinstance(part, dict)
                for name in part.get("names") or []
            ]
            addresses = listener.get("bind_addresses") or [listener.get("bind_address") or "::"]
            if "client" in served and set(addresses) & {*_EVERYWHERE} and listener.get("port"):
                return f"http://localhost:{listener['port']}"
        return ""

    @property
    def owner(self) -> tuple[int, int] | None:
        """The user and group it runs as: whose its signing key is."""
        key = self.get("signing_key_path")
        with contextlib.suppress(OSError, TypeError):
            found = Path(key).stat()
            return found.st_uid, found.st_gid
        return None


def find(places: Sequence[Path] = PLACES) -> LocalSynapse | None:
    """The first Synapse whose configuration can be read here."""
    for place in places:
        with contextlib.suppress(AdminError):
            if place.is_file():
                return read(place)
    return None


def read(path: Path) -> LocalSynapse:
    """Raises `AdminError`."""
    parts = sorted((path.parent / "conf.d").glob("*.yaml"))
    return LocalSynapse(tuple((each, _load(each)) for each in (path, *parts)))


def _text(path: Path) -> str:
    """As it is, with the ends of its lines."""
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _load(path: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(_text(path))
    except OSError as error:
        raise AdminError(
            f"{path} cannot be read: {error.strerror}. Run this as a user who may."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise AdminError(f"{path} is no YAML. Is it the configuration of a Synapse?") from error
    if not isinstance(said, dict | None):
        raise AdminError(f"{path} is not the configuration of a Synapse.")
    return said or {}


def give(synapse: LocalSynapse, paths: Sequence[Path]) -> None:
    """Let Synapse read our files. Raises `AdminError`."""
    owner = synapse.owner
    if owner is None or os.geteuid() != 0:
        return
    try:
        for path in paths:
            os.chown(path, *owner)
    except OSError as error:
        raise AdminError(
            f"{error.filename} cannot be given to Synapse: {error.strerror}."
        ) from error


def enlist(synapse: LocalSynapse, paths: Sequence[Path]) -> Path | None:
    """List our files in its configuration; the file that was changed, if one was. Raises `AdminError`."""
    where, said = next(
        (each for each in reversed(synapse.files) if KEY in each[1]), synapse.files[0]
    )
    listed = said.get(KEY) or []
    if not isinstance(listed, list):
        raise AdminError(f"{KEY} in {where} is no list. Mend it, and run this again.")
    missing = [str(path) for path in paths if str(path) not in listed]
    if not missing:
        return None
    text = _text(where)
    changed = _with(text, [*listed, *missing], missing)
    if _parsed(changed) != {**said, KEY: [*listed, *missing]}:
        lines = "\n".join(f"  - {path}" for path in missing)
        raise AdminError(
            f"{where} is written in a way that I do not dare to change. Add to {KEY} there yourself:\n{lines}"
        )
    _replace(where, changed)
    return where


def _with(text: str, whole: Sequence[str], missing: Sequence[str]) -> str:
    """The text with more items in the list; what it means is for the caller to check."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    begin = next((n for n, line in enumerate(lines) if line.startswith(f"{KEY}:")), None)
    if begin is None and len(whole) == len(missing):
        return "".join([*lines, f"\n{KEY}:\n", *_items(whole, "  ")])
    if begin is None:  # the list is there, and not as we know it
        return text
    end, indent = begin, ""
    for n in range(begin + 1, len(lines)):
        if item := re.match(r"(\s*)-\s", lines[n]):
            end, indent = n, item[1]
        elif lines[n].strip() and not lines[n].lstrip().startswith("#"):
            break
    if end > begin:
        return "".join([*lines[: end + 1], *_items(missing, indent), *lines[end + 1 :]])
    return "".join([*lines[:begin], f"{KEY}:\n", *_items(whole, "  "), *lines[begin + 1 :]])


def _items(paths: Sequence[str], indent: str) -> list[str]:
    return [f"{indent}- {yaml.safe_dump(path, width=10_000).splitlines()[0]}\n" for path in paths]


def _parsed(text: str) -> Any:
    with contextlib.suppress(yaml.YAMLError):
        return yaml.safe_load(text)
    return None


def _replace(path: Path, text: str) -> None:
    """Write it whole or not at all, with the owner and mode it has; what was there is kept beside it."""
    place = Path(os.path.realpath(path))
    new = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        kept = place.with_name(f"{place.name}.before-dm_bridge")
        if not kept.exists():
            _put(new, kept, _text(place), place)
        _put(new, place, text, place)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise AdminError(
            f"{path} cannot be changed: {error.strerror}. Run this as root, or add the files to {KEY} yourself."
        ) from error


def _put(new: Path, place: Path, text: str, like: Path) -> None:
    """Write a file, under the name ``new`` until it is whole, with owner and mode of another."""
    new.touch(mode=0o600)
    with new.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() == 0:
        found = like.stat()
        os.chown(new, found.st_uid, found.st_gid)
    shutil.copymode(like, new)
    new.replace(place)
