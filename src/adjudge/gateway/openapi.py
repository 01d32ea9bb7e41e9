"""The operations as OpenAPI 3.1, exact enough to be tested against: every status, every field, every bound."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

import adjudge
from adjudge.gateway.operations import JSON, Media, Operation
from adjudge.gateway.problems import ErrorBody

WORDS = {
    200: "Done.",
    400: "The request cannot be understood, or asks for what cannot be done.",
    401: "No valid key.",
    402: "A hard cap leaves no room, and waiting does not help.",
    403: "The key's scopes do not allow it; without keys: not asked by this machine's own name.",
    404: "There is no such thing.",
    405: "The path takes another method.",
    408: "The request did not come in time.",
    409: "What is asked for does not fit what is there.",
    413: "The request is too large.",
    415: "The request is no JSON.",
    429: "Too much for this minute, hour or day: see Retry-After.",
    431: "The request's head is too large.",
    500: "Something is wrong here.",
    502: "The model's server gave no usable answer.",
    503: "Too much is under way, or a server that is needed is down: see Retry-After.",
    504: "Nothing came in time.",
}
_READING = (400, 408, 413, 415)
_REFERENCE = "#/components/schemas/{name}"
_PAIR: dict[str, Any] = {
    "required": ["response_a", "response_b"],
    "properties": {"response_a": {"type": "string"}, "response_b": {"type": "string"}, "responses": {"type": "null"}},
}
_RATED: dict[str, Any] = {
    "required": ["responses"],
    "properties": {"responses": {"type": "array"}, "response_a": {"type": "null"}, "response_b": {"type": "null"}},
}


class Arms(NamedTuple):
    """What is known of a gateway's arms: those that judge, those of them that rate, and whether there is a router."""

    names: tuple[str, ...]
    rating: tuple[str, ...]
    routed: bool


def document(found: Sequence[Operation], arms: Arms) -> dict[str, Any]:
    """The whole document."""
    types = dict.fromkeys(t for o in found for t in (*o.posted, *(t for ts in o.answer.values() for t in ts)))
    _, schemas = msgspec.json.schema_components([*types, ErrorBody], ref_template=_REFERENCE)
    _narrow(schemas, arms)
    paths: dict[str, dict[str, Any]] = {}
    for operation in found:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "adjudge", "version": adjudge.__version__, "description": "A judging gateway."},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    problems = {500, 503, *operation.problems}
    if operation.scope is not None:
        problems |= {401, 403, 429}
    if operation.method == "POST":
        problems.update(_READING)
    if operation.path.startswith(("/healthz", "/readyz")):
        problems.add(403)
    told: dict[str, Any] = {
        "summary": operation.words,
        "responses": {
            "200": {"description": WORDS[200], "content": _content(operation.answer), "headers": _ID},
            **{str(status): _refusal(status) for status in sorted(problems)},
        },
        "security": [] if operation.scope is None else [{}, {"key": []}],
    }
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    if names:
        told["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if operation.posted:
        told["requestBody"] = {"required": True, "content": {JSON: {"schema": _one_of(operation.posted)}}}
    if operation.path == "/v1/rewards":
        told["parameters"] = [{"name": "arm", "in": "query", "required": False, "schema": {"type": "string"}}]
    return told


_ID = {"x-request-id": {"schema": {"type": "string"}}}


def _refusal(status: int) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_ID)
    if status in (429, 503):
        headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds."}
    content = {JSON: {"schema": {"$ref": _REFERENCE.format(name=ErrorBody.__name__)}}}
    return {"description": WORDS[status], "content": content, "headers": headers}


def _content(answer: Media) -> dict[str, Any]:
    return {
        media: {"schema": _one_of(types) if types and media == JSON else {"type": "object"} if media == JSON else {}}
        for media, types in answer.items()
    }


def _one_of(types: Iterable[Any]) -> dict[str, Any]:
    found = [{"$ref": _REFERENCE.format(name=t.__name__)} for t in types]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _narrow(schemas: dict[str, Any], arms: Arms) -> None:
    """What types cannot say: an item is a pair, or responses for an arm that rates; and which arms there are."""
    names = [*(("auto",) if arms.routed else ()), *arms.names]
    alone = {**_RATED, "properties": {**_RATED["properties"], "arm": {"enum": list(arms.rating)}}}
    alone["required"] = ["responses", "arm"]
    schemas["Item"]["oneOf"] = [_PAIR, _RATED]
    schemas["SingleRequest"]["oneOf"] = [_PAIR, alone] if arms.rating else [_PAIR]
    for name in ("JudgeRequest", "SingleRequest"):
        fields = schemas[name]["properties"]
        fields["arm"] = {"enum": names, "default": "auto"} if arms.routed else {"enum": names}
        fields["fallback"]["items"] = {"enum": list(arms.names)}
        if not arms.routed:
            schemas[name].setdefault("required", []).append("arm")
    schemas["RewardsRequest"]["properties"]["arm"] = {"enum": [*names, None]}
    schemas["ChatRequest"]["properties"]["model"] = {"enum": [f"adjudge/{name}" for name in names]}
