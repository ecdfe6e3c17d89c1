"""The OpenAPI document, made from the table of operations and the types of api/.

msgspec gives the JSON schemas; the limits of this server are written into them.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from tamis.api import problems
from tamis.api.http.idempotency import HEADER, LONGEST_KEY
from tamis.api.http.sample_answers import sample_of
from tamis.api.messages import requests
from tamis.api.messages.write_requests import Name
from tamis.api.operations.operation import EVENTS, NDJSON
from tamis.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.api.limits import Limits
    from tamis.api.operations.operation import Operation

REF = "#/components/schemas/{name}"
_NAME = msgspec.json.schema(Name)
EVENT = {
    "type": "object",
    "description": "Each event of the stream; its data is a TaskAnswer.",
    "properties": {
        "event": {"const": "task"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}
PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "name": ("An index of this server, or an alias.", {"type": "string", "minLength": 1}),
    "id": (
        "A document of the index; slashes may stand as they are or escaped.",
        {"type": "string", "minLength": 1},
    ),
    "alias": ("An alias.", _NAME),
    "snapshot": ("A snapshot of the index.", _NAME),
    "task": ("A task's number.", {"type": "integer", "minimum": 1}),
}


def describe(table: Sequence[Operation], limits: Limits, *, needs_key: bool) -> dict[str, Any]:
    """The whole document.

    Args:
        table: every operation.
        limits: written into the schemas of requests.
        needs_key: whether operations that are not open ask for an API key.
    """
    schemas = _schemas(table, limits)
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        described = _operation(operation, schemas, needs_key)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    components: dict[str, Any] = {"schemas": schemas}
    if needs_key:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tamis",
            "version": version("tamis"),
            "summary": "Learned sparse retrieval",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": components,
    }


def _schemas(table: Sequence[Operation], limits: Limits) -> dict[str, Any]:
    types: list[Any] = [Problem, requests.SearchRequest]
    types += [kind for operation in table for kind in (operation.takes, operation.gives)]
    kinds = dict.fromkeys(kind for kind in types if kind not in (None, str))
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    for name in ("SearchRequest", "BatchRequest", "SeveralRequest"):
        schemas[name]["properties"]["k"]["maximum"] = limits.k
    for name in ("SearchRequest", "SeveralRequest"):
        schemas[name]["properties"]["offset"]["maximum"] = limits.offset
    schemas["BatchRequest"]["properties"]["queries"]["maxItems"] = limits.batch
    schemas["EncodeRequest"]["properties"]["texts"]["maxItems"] = limits.batch
    schemas["RerankRequest"]["properties"]["documents"]["maxItems"] = limits.rerank
    schemas["WeightedQuery"]["properties"]["vector"]["maxProperties"] = limits.query_terms
    for name in ("DocumentRequest", "ChangeRequest"):
        schemas[name]["additionalProperties"] = True
    for schema in schemas.values():
        schema["description"] = _first_paragraph(schema.get("description", ""))
    return dict(schemas)


def _operation(operation: Operation, schemas: dict[str, Any], needs_key: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": _responses(operation, schemas, needs_key),
    }
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.takes is not None:
        described["requestBody"] = _body(operation)
    if needs_key and operation.access != "open":
        described["security"] = [{"bearer": []}, {"header": []}]
    return described


def _body(operation: Operation) -> dict[str, Any]:
    if operation.accepts == NDJSON:
        example = msgspec.json.encode(operation.example).decode() + "\n"
        content: dict[str, Any] = {"schema": {"type": "string"}, "example": example}
    else:
        content = {"schema": _ref(operation.takes), "example": operation.example}
    return {"required": True, "content": {operation.accepts: content}}


def _responses(operation: Operation, schemas: dict[str, Any], needs_key: bool) -> dict[str, Any]:
    statuses = {500, *operation.problems}
    if operation.access != "open":
        statuses |= {503, 507}  # what the machine may refuse
    if needs_key and operation.access != "open":
        statuses |= {401, 403}
    if operation.once:
        statuses |= {409, 422}
    problem = {"content": {problems.MEDIA_TYPE: {"schema": _ref(Problem)}}}
    schema = EVENT if operation.sends == EVENTS else _schema_of(operation.gives)
    answer = {"content": {operation.sends: {"schema": schema, **_example(schema, schemas)}}}
    good = {
        str(status): {"description": HTTPStatus(status).phrase, **answer}
        for status in (operation.status, *operation.also)
    }
    return good | {
        str(status): {"description": HTTPStatus(status).phrase, **problem}
        for status in sorted(statuses)
    }


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Of an answer in JSON; texts and streams have none."""
    return {"example": sample_of(schema, schemas)} if "$ref" in schema else {}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found = [_path_parameter(name) for name in re.findall(r"{(\w+)}", operation.path)]
    if operation.parameters is not None:
        found += _url_parameters(operation.parameters)
    if operation.once:
        found.append(
            {
                "name": HEADER,
                "in": "header",
                "required": False,
                "description": "The same request under the same key is carried out once.",
                "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
            }
        )
    return found


def _path_parameter(name: str) -> dict[str, Any]:
    description, schema = PARAMETERS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
    }


def _url_parameters(kind: type) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([kind], ref_template=REF)
    schema = components[kind.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": of_one.pop("description", ""),
            "schema": _without_null(of_one),
        }
        for name, of_one in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A URL cannot hold null: what may be null may be left out."""
    kept = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    found = {key: value for key, value in schema.items() if key != "anyOf"} | (
        kept[0] if len(kept) == 1 else {"anyOf": kept} if kept else {}
    )
    if None in found.get("enum", ()):
        found["enum"] = [value for value in found["enum"] if value is not None]
    if found.get("default", 0) is None:
        del found["default"]
    return found


def _schema_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401  a type
    return {"type": "string"} if kind is str else _ref(kind)


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": REF.format(name=kind.__name__)}


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())
