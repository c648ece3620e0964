"""A request, once it is known who asks: it can be answered by this process, or carried to another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from dm_bridge.ids import UserId
from dm_bridge.provisioning.refusals import Refusal, bad_json
from dm_bridge.provisioning.wire import MatrixError
from dm_bridge.texts import phrase

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """``operation``: the name of what is asked for. ``path`` and ``query``: the parameters, unquoted."""

    operation: str
    user: UserId
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    def read(self, model: type[Model]) -> Model:
        """The body. Raises `Refusal`, which does not quote it: it may hold a password."""
        try:
            return model.model_validate(self.json())
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            if where:
                raise bad_json(phrase("provisioning-body-odd-there", where=where)) from None
            raise bad_json(phrase("provisioning-body-odd")) from None

    def limit(self, default: int, most: int) -> int:
        """The parameter ``limit``: how much is asked for. Raises `Refusal`."""
        text = self.query.get("limit")
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
            raise Refusal(400, "M_INVALID_PARAM", phrase("provisioning-odd-limit"))
        return min(int(text), most)

    def json(self) -> Any:
        """The body as JSON. Raises `Refusal`."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Refusal(400, "M_NOT_JSON", phrase("provisioning-body-no-json")) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """``body``: JSON text. ``retry_after``: seconds, as in `Refusal`."""

    status: int
    body: str
    retry_after: float | None = None

    @classmethod
    def of(cls, model: BaseModel, status: int = 200) -> Answer:
        return cls(status, model.model_dump_json(by_alias=True, exclude_none=True))

    @classmethod
    def refusing(cls, refusal: Refusal) -> Answer:
        after = refusal.retry_after
        milliseconds = None if after is None else int(after * 1000)
        error = MatrixError(
            errcode=refusal.errcode, error=refusal.message, retry_after_ms=milliseconds
        )
        return replace(cls.of(error, refusal.status), retry_after=after)


Run = Callable[[Call], Awaitable[Answer]]
"""Answers a call; does not raise."""
