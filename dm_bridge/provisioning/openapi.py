"""The OpenAPI document (3.1), made from `OPERATIONS` and the models that they name."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from dm_bridge import __version__
from dm_bridge.provisioning.operations import OPERATIONS, PATHS, PREFIX, Operation, Parameter
from dm_bridge.provisioning.wire import MatrixError

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    400: "The request makes no sense, or cannot be carried out as it is.",
    401: "`M_MISSING_TOKEN` or `M_UNKNOWN_TOKEN`: who asks is not known.",
    403: "`M_FORBIDDEN`: the bridge is not open to this user.",
    404: "`M_NOT_FOUND`: there is no such thing, or none of this user's.",
    408: "The body did not arrive in time.",
    413: "`M_TOO_LARGE`: the body is too large.",
    429: "`M_LIMIT_EXCEEDED`: too often; `retry_after_ms` says when again.",
    500: "`M_UNKNOWN`: something went wrong in the bridge.",
    502: "`M_UNKNOWN`: the network, or the homeserver, did not do its part.",
    503: "`M_UNKNOWN`: not now; `retry_after_ms` says when again.",
    504: "`M_UNKNOWN`: it took too long, and may still be carried out.",
}
_USER = Parameter(
    "for whom, with the shared secret; with a token, it must be the user whose token it is"
)
_TAGS = {
    "account": "Logins.",
    "people": "People on the network, and chats with them.",
    "direct": "The user's m.direct, and what the bridge does about it. Of dm_bridge alone.",
    "deliveries": "What has not arrived. Of dm_bridge alone.",
    "admin": "For admins of the bridge. Of dm_bridge alone.",
}


def document() -> Json:
    """The whole document."""
    models: dict[type[BaseModel], JsonSchemaMode] = {MatrixError: "serialization"}
    for operation in OPERATIONS:
        models |= dict.fromkeys(operation.answers.values(), "serialization")
        if operation.body is not None:
            models[operation.body] = "validation"
    _, definitions = models_json_schema(list(models.items()), ref_template=_REFERENCE)
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dm_bridge provisioning",
            "version": __version__,
            "description": "Version 3 of the provisioning API of Matrix bridges, and what dm_bridge adds to it.",
            "license": {"name": "MPL-2.0", "identifier": "MPL-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A Matrix access token; `openid:` and an OpenID token; or the shared secret.",
                }
            },
        },
    }


def _operation(operation: Operation) -> Json:
    named = re.findall(r"{(\w+)}", operation.path)
    query = {"user_id": _USER, **operation.query}
    body = operation.body
    responses = {
        str(status): _content(model.__doc__ or model.__name__, model)
        for status, model in operation.answers.items()
    }
    for status, text in _ERRORS.items():
        own = operation.errors.get(status)
        responses[str(status)] = _content(f"{own}. {text}" if own else text, MatrixError)
    for status in operation.errors.keys() - _ERRORS.keys():
        responses[str(status)] = _content(operation.errors[status], MatrixError)
    return {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [
            *(_parameter(name, "path", PATHS[name]) for name in named),
            *(_parameter(name, "query", each) for name, each in query.items()),
        ],
        **({} if body is None else {"requestBody": {"required": True, **_json(body)}}),
        "responses": dict(sorted(responses.items())),
    }


def _parameter(name: str, where: str, parameter: Parameter) -> Json:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _content(description: str, model: type[BaseModel]) -> Json:
    return {"description": " ".join(description.split()), **_json(model)}


def _json(model: type[BaseModel]) -> Json:
    reference = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"content": {"application/json": {"schema": reference}}}
