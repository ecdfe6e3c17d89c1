"""An example of each answer, made from its type: so none is missing or older than its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUES: dict[str, Any] = {  # by the name of a field, or of its type and itself
    "took_ms": 0.42,
    "encode_ms": 0.05,
    "retrieve_ms": 0.12,
    "fetch_ms": 0.09,
    "rerank_ms": 0.0,
    "generation": 3,
    "id": "owl",
    "rank": 1,
    "score": 2.001,
    "document": {"_id": "owl", "title": "Owls", "text": "Owls hunt at night.", "year": 2001},
    "RerankResult.document": None,
    "highlights": {"text": [{"text": "Owls", "match": True}, {"text": " hunt", "match": False}]},
    "matched_terms": [
        {
            "term": "=owl",
            "query_weight": 2.3,
            "doc_weight": 0.87,
            "contribution": 2.001,
            "expansion": False,
        }
    ],
    "missing_terms": [{"term": "=hunt", "query_weight": 1.9}],
    "vectors": [{"owl": 2.1, "=owl": 2.3}],
    "index": "papers",
    "RerankResult.index": 0,
    "relevance_score": 4.2,
    "name": "papers",
    "InfoAnswer.name": "tamis",
    "version": "0.1.0",
    "limits": {"k": 1000, "query_bytes": 8192},
    "documents": 1200,
    "size_bytes": 2_400_000,
    "vocab_size": 41_000,
    "fields": {"year": "integer", "language": "string"},
    "encoder": {"name": "tamis-minilm-l6", "licence": "Apache-2.0"},
    "lexical": {"language": "en", "words": 10_500},
    "writable": True,
    "alias": "current",
    "aliases": ["current"],
    "AliasesAnswer.aliases": [{"alias": "current", "index": "papers"}],
    "InfoAnswer.awaiting": {"papers": 0},
    "removed": "papers",
    "deleted": 2,
    "replaced": False,
    "written": 2,
    "failed": 1,
    "line": 3,
    "LineProblem.id": None,
    "code": "invalid_json",
    "detail": "expected JSON, found broken JSON (unexpected end of data); correct it",
    "suggestions": [{"text": "owls", "documents": 31}],
    "synonyms": ["owl, strix"],
    "stop_words": ["the"],
    "TaskAnswer.id": 12,
    "kind": "optimize",
    "subject": "papers",
    "status": "ok",
    "TaskAnswer.status": "running",
    "created": 1_767_225_600.0,
    "SnapshotAnswer.created": "2026-01-01T00:00:00Z",
    "SnapshotAnswer.name": "monday",
    "identity": "5f0c2a9e6b1d4c87",
    "updated": 1_767_225_601.5,
    "done": 400,
    "total": None,
    "TaskAnswer.total": 1200,
    "TaskAnswer.message": "merging",
}


def sample_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:  # noqa: ANN401  JSON
    """A value that this schema allows.

    Args:
        schema: of an answer, or of what stands in one.
        schemas: those that it refers to, by name.
    """
    if "$ref" in schema:
        kind = schema["$ref"].rpartition("/")[2]
        return _object(kind, schemas[kind], schemas)
    if "anyOf" in schema:
        return sample_of(schema["anyOf"][0], schemas)
    if "const" in schema or "enum" in schema:
        return schema.get("const", next(iter(schema.get("enum", ())), None))
    if "prefixItems" in schema:
        return [sample_of(one, schemas) for one in schema["prefixItems"]]
    of_type = {"string": "…", "integer": 1, "number": 1.5, "boolean": False, "null": None}
    if schema.get("type") == "array":
        return [sample_of(schema["items"], schemas)] if schema.get("items") else []
    if schema.get("type") == "object":
        return _object("", schema, schemas)
    return of_type.get(schema.get("type", "null"))


def _object(kind: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if "properties" not in schema:
        return sample_of(schema, schemas) if "type" not in schema else {}
    made = {}
    for name, of_one in schema["properties"].items():
        given = [one for one in (f"{kind}.{name}", name) if one in VALUES]
        if given:
            made[name] = VALUES[given[0]]
        elif "default" in of_one:
            made[name] = of_one["default"]
        else:
            made[name] = sample_of(of_one, schemas)
    return made
