"""Makes what was written ready for validation: unknown keys out, empty sections filled, secrets read.

The rule that must never break: an unknown key is reported even in a section whose model would
have ignored it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dm_bridge.config import explain, shape
from dm_bridge.config.document import Document
from dm_bridge.config.problems import KeyPath, Origin
from dm_bridge.config.schema import Config

_MAX_SECRET_BYTES = 65_536


class Preparer:
    """Prepares sections of one document. ``folder``: what relative file names are relative to."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder

    def prepare(self, annotation: Any, value: Any, path: KeyPath, also: Sequence[str] = ()) -> Any:
        """A copy of ``value``, found at ``path``, ready to be validated as ``annotation``.

        ``also``: keys to suggest that the model does not have, because they were taken out before.
        """
        model = shape.model_of(annotation)
        values = shape.values_of(annotation)
        items = shape.items_of(annotation)
        if value is None and (model or values) and not shape.accepts_none(annotation):
            value = {}
        if isinstance(value, dict) and model is not None:
            return self._section(model, value, path, also)
        if isinstance(value, dict) and values is not None:
            return {key: self.prepare(values, item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list) and items is not None:
            return [self.prepare(items, item, (*path, index)) for index, item in enumerate(value)]
        if shape.unwrap(annotation) is Path and isinstance(value, str) and value:
            return str(self._file(value))
        return value

    def _file(self, name: str) -> Path:
        """The file called ``name`` in the configuration; it is relative to the configuration's folder."""
        file = Path(name)
        with contextlib.suppress(RuntimeError):
            file = file.expanduser()
        return self._folder / file

    def _section(
        self, model: type[BaseModel], section: dict[str, Any], path: KeyPath, also: Sequence[str]
    ) -> dict[str, Any]:
        known = shape.fields(model)
        keep_unknown = model.model_config.get("extra") == "allow"
        prepared: dict[str, Any] = {}
        secret_files: list[tuple[str, str]] = []
        for key, value in section.items():
            secret = shape.secret_file_key(model, key)
            if secret is not None:
                secret_files.append((secret, key))
            elif key in known:
                prepared[key] = self.prepare(known[key].annotation, value, (*path, key))
            elif keep_unknown:
                prepared[key] = value
            else:
                self._document.complain_within(
                    (*path, key), explain.unknown_key(key, [*also, *shape.keys(model)], Config)
                )
        for secret, key in secret_files:
            self._take_secret(section, prepared, path, secret, key)
        for key, field in known.items():
            if key not in prepared and field.is_required() and shape.model_of(field.annotation):
                prepared[key] = self.prepare(field.annotation, {}, (*path, key))
        return prepared

    def _take_secret(
        self,
        section: dict[str, Any],
        prepared: dict[str, Any],
        path: KeyPath,
        secret: str,
        key: str,
    ) -> None:
        """Put what the file named by ``key`` holds into ``prepared`` as ``secret``."""
        document, target, named = self._document, (*path, secret), (*path, key)
        origin = document.origin(named)
        if secret in section:
            other = document.origin(target)
            if other.is_environment and not origin.is_environment:
                return
            if other.is_environment == origin.is_environment:
                document.complain(named, f"{secret} is given too, at {other}. Keep one of the two.")
                return
        name = origin.text if origin.is_environment and origin.text else section[key]
        if not isinstance(name, str) or not name:
            document.complain(named, f"expected the name of a file; found {explain.shown(name)}.")
            document.settled.add(target)
            return
        file = self._file(name)
        document.origins[target] = Origin(origin.source, origin.line, secret_file=str(file))
        try:
            prepared[secret] = _read_secret(file)
        except (OSError, ValueError) as error:
            reason = (
                error.strerror if isinstance(error, OSError) else "it is not a text of one line"
            )
            document.complain(named, f"the secret cannot be read from {file}: {reason}.")
            document.settled.add(target)


def _read_secret(file: Path) -> str:
    """The text in ``file`` without one newline at its end. Raises ``OSError`` or ``ValueError``."""
    with file.open("rb") as stream:
        raw = stream.read(_MAX_SECRET_BYTES + 1)
    text = raw.decode("utf-8")
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if len(raw) > _MAX_SECRET_BYTES or "\n" in text:
        raise ValueError("more than one line")
    return text
