"""The page at ``/docs``: the OpenAPI document for people, as HTML that needs no script.

A script puts the server's own address into the examples, and copies them.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

from tamis.api.http.page import Endpoint, assembled, page_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Schema = dict[str, Any]
NDJSON = "application/x-ndjson"
SERVER = "http://127.0.0.1:8080"  # until the page's script says where it came from
GROUPS = {
    "Search": ("search", "explain", "encode", "rerank"),
    "Indexes": ("index", "alias", "snapshot", "restore"),
    "Documents": ("document", "ingest"),
    "Tasks": ("task",),
}
OTHERS = "The server"
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "maxProperties": "at most {}",
    "pattern": "{}",
}


def docs(document: Mapping[str, Any]) -> Endpoint:
    """The handler of the page that shows an OpenAPI document."""
    html = assembled("docs.html").replace("<!-- operations -->", _operations(document))
    html = html.replace("<!-- keys -->", _keys(document))
    html = html.replace("<!-- index of types -->", _index_of_types(document))
    return page_of("/docs", html.replace("<!-- types -->", _types(document)))


def _keys(document: Mapping[str, Any]) -> str:
    if "securitySchemes" not in document["components"]:
        return "This server asks for no key."
    return (
        "This server asks for one: send <code>Authorization: Bearer KEY</code>, or "
        "<code>X-API-Key: KEY</code>. What asks for none is marked."
    )


def _index_of_types(document: Mapping[str, Any]) -> str:
    names = map(escape, sorted(document["components"]["schemas"]))
    return " ".join(f'<a href="#type-{name}">{name}</a>' for name in names)


def _operations(document: Mapping[str, Any]) -> str:
    guarded = "securitySchemes" in document["components"]
    groups: dict[str, list[str]] = {name: [] for name in (*GROUPS, OTHERS)}
    for path, by_method in document["paths"].items():
        for method, operation in by_method.items():
            shown = _operation(method, path, operation, guarded=guarded)
            groups[_group(operation["operationId"])].append(shown)
    sections = "\n".join(
        f"<section><h2>{escape(name)}</h2>{''.join(found)}</section>"
        for name, found in groups.items()
        if found
    )
    return sections.replace("<details", "<details open", 1)


def _group(name: str) -> str:
    """The group whose word comes last in an operation's name."""
    places = {group: max(name.rfind(word) for word in words) for group, words in GROUPS.items()} | {
        OTHERS: -1
    }
    return max(reversed(places), key=places.__getitem__)


def _operation(method: str, path: str, operation: Mapping[str, Any], *, guarded: bool) -> str:
    is_open = guarded and "security" not in operation
    key = '<span class="open">no key</span>' if is_open else ""
    return (
        f'<details class="operation" id="{escape(operation["operationId"])}"><summary>'
        f'<span class="method {method}">{method.upper()}</span> <code>{_path(path)}</code> '
        f"<span>{escape(operation['summary'])}</span> {key}</summary>"
        f"{_parameters(operation)}{_request(method, path, operation)}{_responses(operation)}"
        "</details>"
    )


def _path(path: str) -> str:
    """Where a line may break."""
    return escape(path).replace("/", "<wbr>/")


def _parameters(operation: Mapping[str, Any]) -> str:
    rows = [
        (one["name"], one["schema"], one.get("description", ""), one["required"])
        for one in operation.get("parameters", ())
    ]
    return f"<h3>Parameters</h3>{_table(rows)}" if rows else ""


def _request(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """The operation as a command, and what its body is."""
    where = f"{SERVER}{re.sub('[{}]', '', path.replace('{name}', 'INDEX'))}"
    verb = "" if method == "get" else f" -X {method.upper()}"
    key = " -H 'Authorization: Bearer KEY'" if "security" in operation else ""
    needed = [
        f"{one['name']}=owls"
        for one in operation.get("parameters", ())
        if one["in"] == "query" and one["required"]
    ]
    address = f"'{where}?{'&'.join(needed)}'" if needed else where
    if "requestBody" not in operation:
        return f"<h3>Request</h3><pre>{escape(f'curl{verb}{key} {address}')}</pre>"
    ((media, content),) = operation["requestBody"]["content"].items()
    example = content["example"]
    text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    quoted = "'" + text.rstrip("\n").replace("'", "'\\''") + "'"
    verb = "" if method == "post" else verb
    command = f"curl{verb}{key} -H 'Content-Type: {media}' {address} \\\n  "
    from_file = "--data-binary @documents.jsonl" if media == NDJSON else "-d @request.json"
    return (
        f"<h3>Request</h3><p>{_kind(content['schema'])}</p>"
        f"<pre>{escape(command)}-d {escape(quoted)}</pre>"
        f"<p>From a file:</p><pre>{escape(command + from_file)}</pre>"
    )


def _responses(operation: Mapping[str, Any]) -> str:
    by_kind: dict[str, list[str]] = {}
    for status, response in operation["responses"].items():
        kinds = ", ".join(_kind(content["schema"]) for content in response["content"].values())
        by_kind.setdefault(kinds, []).append(f"{status} {escape(response['description'])}")
    rows = (
        f"<tr><td>{kind}</td><td>{', '.join(found)}</td></tr>" for kind, found in by_kind.items()
    )
    return (
        f'<h3>Answers</h3><div class="scroll"><table class="answers">{"".join(rows)}</table></div>'
        f"{_example(operation['responses'])}"
    )


def _example(responses: Mapping[str, Any]) -> str:
    """The example of the first answer that has one."""
    contents = (one for response in responses.values() for one in response["content"].values())
    given = next((one["example"] for one in contents if "example" in one), None)
    if given is None:
        return ""
    return f"<pre>{escape(json.dumps(given, indent=2, ensure_ascii=False))}</pre>"


def _types(document: Mapping[str, Any]) -> str:
    return "".join(
        f'<article id="type-{escape(name)}"><h3>{escape(name)}</h3>'
        f"<p>{escape(schema.get('description', ''))}</p>{_table(_fields(schema))}</article>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )


def _fields(schema: Schema) -> Iterable[tuple[str, Schema, str, bool]]:
    required = schema.get("required", ())
    for name, of_one in schema.get("properties", {}).items():
        yield name, of_one, of_one.get("description", ""), name in required


def _table(rows: Iterable[tuple[str, Schema, str, bool]]) -> str:
    cells = []
    for name, schema, description, required in rows:
        notes = [description, _bounds(schema)]
        if required:
            notes.append("required")
        elif "default" in schema:
            notes.append(f"default {json.dumps(schema['default'])}")
        told = "; ".join(note.rstrip(".") for note in notes if note)
        cells.append(f"<tr><td><code>{escape(name)}</code></td><td>{_kind(schema)}</td>")
        cells.append(f"<td>{escape(told)}</td></tr>")
    return f'<div class="scroll"><table>{"".join(cells)}</table></div>' if cells else ""


def _bounds(schema: Schema) -> str:
    """The limits of a value, those of its one form that is not null among them."""
    forms = [schema, *(form for form in schema.get("anyOf", ()) if form.get("type") != "null")]
    return ", ".join(
        words.format(form[name])
        for form in forms[:2]
        for name, words in BOUNDS.items()
        if name in form
    )


def _kind(schema: Schema) -> str:
    """A type in words, those that are described elsewhere as links."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"list of {', '.join(map(_kind, schema['prefixItems']))}"
        return f"list of {_kind(schema['items'])}" if "items" in schema else "list"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {_kind(values)}" if isinstance(values, dict) and values else "object"
    return escape(schema.get("type", "anything"))
