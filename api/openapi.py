"""The OpenAPI document, made from the table of operations and the types of api/.

msgspec gives the JSON schemas; the limits of this server are written into them.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from tamis.api import problems, requests
from tamis.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.api.limits import Limits
    from tamis.api.operations import Operation

REF = "#/components/schemas/{name}"
PARAMETERS = {
    "name": "An index of this server.",
    "id": "A document of the index; slashes may stand as they are or escaped.",
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
    types = [Problem, requests.SearchRequest]
    types += [kind for operation in table for kind in (operation.takes, operation.gives) if kind]
    _, schemas = msgspec.json.schema_components(dict.fromkeys(types), ref_template=REF)
    for name in ("SearchRequest", "BatchRequest"):
        schemas[name]["properties"]["k"]["maximum"] = limits.k
    schemas["BatchRequest"]["properties"]["queries"]["maxItems"] = limits.batch
    schemas["EncodeRequest"]["properties"]["texts"]["maxItems"] = limits.batch
    schemas["RerankRequest"]["properties"]["documents"]["maxItems"] = limits.rerank
    schemas["WeightedQuery"]["properties"]["vector"]["maxProperties"] = limits.query_terms
    for schema in schemas.values():
        schema["description"] = _first_paragraph(schema.get("description", ""))
    return dict(schemas)


def _operation(operation: Operation, schemas: dict[str, Any], needs_key: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": _responses(operation, needs_key),
    }
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", operation.path)]
    if operation.by_url:
        parameters += _url_parameters(schemas["SearchRequest"])
    if parameters:
        described["parameters"] = parameters
    if operation.takes is not None:
        content = {"schema": _ref(operation.takes), "example": operation.example}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    if needs_key and not operation.open:
        described["security"] = [{"bearer": []}, {"header": []}]
    return described


def _responses(operation: Operation, needs_key: bool) -> dict[str, Any]:
    statuses = {500, *operation.problems}
    if needs_key and not operation.open:
        statuses.add(401)
    problem = {"content": {problems.MEDIA_TYPE: {"schema": _ref(Problem)}}}
    schema = {"type": "string"} if operation.gives is str else _ref(operation.gives)
    answer = {"content": {operation.media_type: {"schema": schema}}}
    return {"200": {"description": "Done", **answer}} | {
        str(status): {"description": HTTPStatus(status).phrase, **problem}
        for status in sorted(statuses)
    }


def _path_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": PARAMETERS[name],
        "schema": {"type": "string"},
    }


def _url_parameters(search: dict[str, Any]) -> list[dict[str, Any]]:
    query = {
        "name": "q",
        "in": "query",
        "required": True,
        "description": "The text to search for.",
        "schema": {"type": "string", "minLength": 1},
    }
    options = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in search["properties"].items()
        if name not in ("query", "rerank")
    ]
    return [query, *options]


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": REF.format(name=kind.__name__)}


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())
