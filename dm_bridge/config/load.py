"""Loads a configuration: file, environment, secret files, then every check at once.

The rule that must never break: all problems are reported together; the first never hides the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dm_bridge.config import explain, shape
from dm_bridge.config.checks import cross_check
from dm_bridge.config.document import Document, read_document
from dm_bridge.config.environment import apply_environment
from dm_bridge.config.prepare import Preparer
from dm_bridge.config.problems import InvalidConfigError, KeyPath
from dm_bridge.config.schema import Config, NetworkSection
from dm_bridge.errors import ConfigError
from dm_bridge.network.registry import connector_names, load_connector

_Model = TypeVar("_Model", bound=BaseModel)
_NETWORKS = "networks"
_ENABLED = "enabled"


def load_config(
    path: Path | str,
    environ: Mapping[str, str] | None = None,
    *,
    allow_example_tokens: bool = True,
) -> Config:
    """The configuration in ``path``, with the environment's overrides (``os.environ`` by default).

    ``allow_example_tokens``: False refuses the tokens of config.example.yaml, which are public.
    Relative file names are relative to the folder of ``path``, those of connectors too where the
    field's type is ``Path``. Raises `InvalidConfigError`, with a line for every
    problem.
    """
    path = Path(path)
    document = read_document(path)
    apply_environment(document, os.environ if environ is None else environ)
    config = _Loader(document, path.absolute().parent).load()
    cross_check(document, allow_example_tokens=allow_example_tokens)
    if document.problems or config is None:
        raise InvalidConfigError(document.problems, config)
    return config


class _Loader:
    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._context = {"folder": folder}
        self._preparer = Preparer(document, folder)

    def load(self) -> Config | None:
        document = self._document
        document.values = self._preparer.prepare(Config, document.values, ())
        sections = document.values.get(_NETWORKS, {})
        networks: dict[str, NetworkSection] = {}
        if isinstance(sections, dict):
            for name in list(sections):
                network = self._network(name, sections)
                if network is not None:
                    networks[name] = network
        else:
            document.complain(
                (_NETWORKS,), f"expected networks by name; found {explain.kind(sections)}."
            )
        return self._validate(Config, (), {_NETWORKS: networks})

    def _network(self, name: str, sections: dict[str, Any]) -> NetworkSection | None:
        path: KeyPath = (_NETWORKS, name)
        document, installed = self._document, connector_names()
        if name not in installed:
            document.complain_within(
                path,
                f"there is no connector named {name}{explain.suggestion(name, installed) or '.'} "
                f"Installed are: {', '.join(installed) or 'none'}. Install the package that brings it, "
                "or remove this section.",
            )
            return None
        try:
            connector = load_connector(name)
        except ConfigError as error:
            document.complain_within(path, error.message)
            return None
        section = {} if sections[name] is None else sections[name]
        if not isinstance(section, dict):
            document.complain(path, f"expected keys below it; found {explain.kind(section)}.")
            return None
        enabled = True
        also: tuple[str, ...] = ()
        if _ENABLED not in shape.fields(connector.config_model):
            enabled = self._enabled((*path, _ENABLED), section.pop(_ENABLED, True))
            also = (_ENABLED,)
        sections[name] = self._preparer.prepare(connector.config_model, section, path, also)
        options = self._validate(connector.config_model, path)
        if options is None:
            return None
        enabled = bool(getattr(options, _ENABLED, enabled))
        return NetworkSection(name, enabled, connector, options)

    def _enabled(self, path: KeyPath, value: Any) -> bool:
        if not isinstance(value, bool):
            found = explain.shown(value)
            self._document.complain(path, f"expected true or false; found {found}.")
        return value is True

    def _validate(
        self, model: type[_Model], path: KeyPath, instead: Mapping[str, Any] | None = None
    ) -> _Model | None:
        """The section at ``path`` as a ``model``, with some values replaced; None after a problem."""
        try:
            return self._attempt(model, path, instead)
        except ValidationError as error:
            if not self._read_as_text(error, path):
                self._report(error, model, path)
                return None
        try:
            return self._attempt(model, path, instead)
        except ValidationError as error:
            self._report(error, model, path)
            return None

    def _attempt(
        self, model: type[_Model], path: KeyPath, instead: Mapping[str, Any] | None
    ) -> _Model:
        section = {**self._document.value(path), **(instead or {})}
        return model.model_validate(section, context=self._context)

    def _read_as_text(self, error: ValidationError, path: KeyPath) -> bool:
        """Take refused scalars of the environment as the text they were: a token may be all digits."""
        changed = False
        for details in error.errors(include_url=False, include_input=False):
            full = self._existing(path, details["loc"])
            origin = self._document.origins.get(full)
            if origin is None or not origin.is_environment or origin.text is None:
                continue
            if isinstance(self._document.value(full), bool | int | float | None):
                self._document.replace(full, origin.text)
                changed = True
        return changed

    def _report(self, error: ValidationError, model: type[BaseModel], path: KeyPath) -> None:
        document = self._document
        reported = {problem.path for problem in document.problems} | document.settled
        for details in error.errors(include_url=False, include_input=False):
            full = self._existing(path, details["loc"])
            if full in reported or details["type"] == "default_factory_not_called":
                continue
            reported.add(full)
            annotation, field = shape.field_at(model, full[len(path) :])
            origin = document.origins.get(full)
            is_key = details["loc"][-1:] == ("[key]",)
            document.complain(
                full,
                explain.sentence(
                    details,
                    annotation,
                    field.description if field is not None else None,
                    full[-1] if is_key else document.value(full),
                    origin.text if origin is not None and not is_key else None,
                ),
            )

    def _existing(self, path: KeyPath, loc: tuple[int | str, ...]) -> KeyPath:
        """The key that a pydantic location means; it may also hold names of types and ``[key]``."""
        value = self._document.value(path)
        for position, part in enumerate(loc):
            match value, part:
                case dict(), _ if part in value:
                    value = value[part]
                case list(), int() if part < len(value):
                    value = value[part]
                case dict(), _ if position == len(loc) - 1 and part != "[key]":
                    return (*path, part)
                case _:
                    continue
            path = (*path, part)
        return path
