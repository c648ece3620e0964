"""Looks into pydantic models: which keys a section has, and which of them are secrets.

The rule that must never break: it judges a connector's own section exactly like ours.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

FILE_SUFFIX = "_file"


def unwrap(annotation: Any) -> Any:
    """``annotation`` without ``Annotated`` and without ``| None``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return unwrap(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        inner = [item for item in get_args(annotation) if item is not types.NoneType]
        return unwrap(inner[0]) if len(inner) == 1 else annotation
    return annotation


def accepts_none(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return accepts_none(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(accepts_none(item) for item in get_args(annotation))
    return annotation in (types.NoneType, None, Any)


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The model that ``annotation`` is, if it is one."""
    bare = unwrap(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def values_of(annotation: Any) -> Any:
    """The type of a map's values, or None when ``annotation`` is no map."""
    bare = unwrap(annotation)
    if get_origin(bare) in (dict, Mapping) and len(get_args(bare)) == 2:
        return get_args(bare)[1]
    return Any if bare in (dict, Mapping) else None


def items_of(annotation: Any) -> Any:
    """The type of a sequence's items, or None when ``annotation`` is no sequence."""
    bare = unwrap(annotation)
    if get_origin(bare) in (list, tuple, set, frozenset) and get_args(bare):
        return get_args(bare)[0]
    return None


def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A section's keys as written in a file (the alias, where a field has one)."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def is_secret(annotation: Any) -> bool:
    return unwrap(annotation) is SecretStr


def secret_file_key(model: type[BaseModel], key: str) -> str | None:
    """The secret that ``key`` names a file for: ``as_token`` for ``as_token_file``, else None."""
    known = fields(model)
    secret = key.removesuffix(FILE_SUFFIX)
    if key in known or secret == key or secret not in known:
        return None
    return secret if is_secret(known[secret].annotation) else None


def keys(model: type[BaseModel]) -> list[str]:
    """All that may be written in a section, the ``…_file`` keys of secrets included."""
    known = fields(model)
    names = list(known)
    for key, field in known.items():
        if is_secret(field.annotation) and key + FILE_SUFFIX not in known:
            names.append(key + FILE_SUFFIX)
    return names


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key below ``model`` with its dots, sections themselves left out."""
    for key, field in fields(model).items():
        inner = model_of(field.annotation)
        if inner is None:
            yield prefix + key, field
        else:
            yield from dotted_keys(inner, f"{prefix}{key}.")


def field_at(annotation: Any, path: tuple[str | int, ...]) -> tuple[Any, FieldInfo | None]:
    """The type, and the field if it is one, of the key at ``path`` below ``annotation``."""
    field: FieldInfo | None = None
    for part in path:
        model, field_found = model_of(annotation), None
        if model is not None:
            field_found = fields(model).get(str(part))
            annotation = field_found.annotation if field_found is not None else Any
        elif isinstance(part, int):
            annotation = items_of(annotation) or Any
        else:
            annotation = values_of(annotation) or Any
        field = field_found
    return annotation, field
