"""Exchanges: what each operation sends and gives, described once for both clients.

A function here is named after its operation in ``/openapi.json`` and sends nothing: it gives the
request as data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote
from uuid import uuid4

from tamis.api.messages import answers, write_answers
from tamis.api.messages.rerank_answers import RerankAnswer
from tamis.index.errors import InputError
from tamis.retriever.answers import ExplainAnswer, SearchAnswer
from tamis.retriever.fusion.several_indexes import SeveralAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Unpack

Answer = TypeVar("Answer")
Wait = Literal["none", "durable", "searchable", "complete"]
Query = str | dict[str, Any]  # a text, or {"vector": {"term": weight}}
JSON, NDJSON = "application/json", "application/x-ndjson"
KEY = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Exchange(Generic[Answer]):
    """One request, and what its answer is.

    Attributes:
        method: of HTTP.
        path: escaped.
        gives: type of the answer.
        parameters: of the URL.
        body: as it is sent; None for none.
        kind: media type of the body.
        key: of an operation that is carried out once, however often it is sent; None elsewhere.
        gone: the answer where a repetition finds nothing to remove any more, as the first request
            did it and its answer was lost.
    """

    method: str
    path: str
    gives: type[Answer]
    parameters: Mapping[str, str] | None = None
    body: bytes | None = None
    kind: str = JSON
    key: str | None = None
    gone: Answer | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Those of this request alone."""
        found = {} if self.body is None else {"Content-Type": self.kind}
        return found if self.key is None else {**found, KEY: self.key}


class Option(TypedDict, total=False):
    """What a search may be asked for beside its query, as in the body of a request."""

    k: int
    offset: int
    cursor: str
    exact: bool
    recall: float
    lexical_weight: float
    explain: bool
    highlight: bool
    group_by: str
    group_size: int
    syntax: Literal["plain", "operators"]
    typos: Literal["auto", "off"]
    language: str
    count: Literal["words", "filter"]
    facets: Sequence[str | Mapping[str, Any]]
    sort: Sequence[str | Mapping[str, Any]]
    boosts: Sequence[Mapping[str, Any]]
    min_score: float
    filter: Mapping[str, Any]
    text_boosts: Mapping[str, float]
    fields: Sequence[str]
    rerank: Mapping[str, int | str]
    timeout_ms: int


def info() -> Exchange[answers.InfoAnswer]:
    """Version and limits of the server."""
    return Exchange("GET", "/v1/info", answers.InfoAnswer)


def search(
    index: str, query: Query | None = None, **options: Unpack[Option]
) -> Exchange[SearchAnswer]:
    """The best documents for a text or weights by term; without one, all that a filter admits."""
    body = dict(options) if query is None else {"query": query, **options}
    return _sent("POST", _of(index, "search"), SearchAnswer, body)


def search_indexes(
    indexes: Sequence[str], query: Query | None = None, **options: Unpack[Option]
) -> Exchange[SeveralAnswer]:
    """The best documents of several indexes; not with every option, which the service tells."""
    body = {"indexes": indexes, **options}
    sent = body if query is None else {**body, "query": query}
    return _sent("POST", "/v1/search", SeveralAnswer, sent)


def search_batch(
    index: str, queries: Sequence[Query], **options: Unpack[Option]
) -> Exchange[answers.BatchAnswer]:
    """Many queries at once, with the same options."""
    body = {"queries": queries, **options}
    return _sent("POST", _of(index, "search/batch"), answers.BatchAnswer, body)


def explain(
    index: str,
    query: Query,
    id: str,  # noqa: A002  as in the body
    **options: Any,  # noqa: ANN401  those of the body
) -> Exchange[ExplainAnswer]:
    """Why a document has its score for a query."""
    body = {"query": query, "id": id, **options}
    return _sent("POST", _of(index, "explain"), ExplainAnswer, body)


def list_documents(index: str, **parameters: str | int) -> Exchange[SearchAnswer]:
    """Documents by a filter and in the order of fields; parameters as in the URL."""
    named = {name: str(value) for name, value in parameters.items()}
    return Exchange("GET", _of(index, "documents"), SearchAnswer, named)


def suggest(index: str, q: str, size: int = 10) -> Exchange[answers.SuggestAnswer]:
    """How a text that is being typed may go on."""
    parameters = {"q": q, "size": str(size)}
    return Exchange("GET", _of(index, "suggest"), answers.SuggestAnswer, parameters)


def encode(texts: Sequence[str], index: str | None = None) -> Exchange[answers.EncodeAnswer]:
    """The query vectors of texts; the index may be left out where there is but one."""
    body: dict[str, Any] = {"texts": texts}
    return _sent(
        "POST",
        "/v1/encode",
        answers.EncodeAnswer,
        body if index is None else body | {"index": index},
    )


def rerank(
    query: str,
    documents: Sequence[str],
    top_n: int | None = None,
    *,
    return_documents: bool = False,
) -> Exchange[RerankAnswer]:
    """Documents ordered by how well they answer a query."""
    body = {"query": query, "documents": documents, "top_n": top_n}
    return _sent("POST", "/v1/rerank", RerankAnswer, body | {"return_documents": return_documents})


def list_indexes() -> Exchange[answers.IndexesAnswer]:
    """All indexes."""
    return Exchange("GET", "/v1/indexes", answers.IndexesAnswer)


def get_index(index: str) -> Exchange[answers.IndexAnswer]:
    """One index."""
    return Exchange("GET", _of(index), answers.IndexAnswer)


def create_index(
    index: str, settings: Mapping[str, Any] | None = None
) -> Exchange[answers.IndexAnswer]:
    """Make an index, such as with ``{"encoder": "bm25", "fields": {"year": "integer"}}``."""
    return _sent("PUT", _of(index), answers.IndexAnswer, dict(settings or {}))


def add_fields(index: str, fields: Mapping[str, str]) -> Exchange[answers.IndexAnswer]:
    """Declare further fields to filter by."""
    return _sent("PATCH", _of(index), answers.IndexAnswer, {"fields": dict(fields)})


def remove_index(index: str) -> Exchange[write_answers.RemovedAnswer]:
    """Remove an index and all its documents."""
    gone = write_answers.RemovedAnswer(index)
    return Exchange("DELETE", _of(index), write_answers.RemovedAnswer, gone=gone)


def reopen_index(index: str) -> Exchange[answers.IndexAnswer]:
    """Open an index again that could not be opened or written."""
    return Exchange("POST", _of(index, "reopen"), answers.IndexAnswer)


def list_aliases() -> Exchange[write_answers.AliasesAnswer]:
    """All aliases."""
    return Exchange("GET", "/v1/aliases", write_answers.AliasesAnswer)


def put_alias(alias: str, index: str) -> Exchange[write_answers.AliasAnswer]:
    """Let an alias stand for an index from now on."""
    return _sent("PUT", _alias(alias), write_answers.AliasAnswer, {"index": index})


def remove_alias(alias: str) -> Exchange[write_answers.RemovedAnswer]:
    """Remove an alias; its index stays."""
    gone = write_answers.RemovedAnswer(alias)
    return Exchange("DELETE", _alias(alias), write_answers.RemovedAnswer, gone=gone)


def get_document(index: str, id: str) -> Exchange[answers.DocumentAnswer]:  # noqa: A002
    """One stored document."""
    return Exchange("GET", _document(index, id), answers.DocumentAnswer)


def put_document(
    index: str,
    id: str,  # noqa: A002  as in the path
    document: Mapping[str, Any],
    wait: Wait = "durable",
) -> Exchange[write_answers.WriteAnswer]:
    """Add or replace one document."""
    sent = _sent("PUT", _document(index, id), write_answers.WriteAnswer, dict(document))
    return replace(sent, parameters={"wait": wait})


def patch_document(
    index: str,
    id: str,  # noqa: A002  as in the path
    change: Mapping[str, Any],
    wait: Wait = "durable",
) -> Exchange[write_answers.WriteAnswer]:
    """Change fields of one document; None removes a field, and nothing is encoded."""
    sent = _sent("PATCH", _document(index, id), write_answers.WriteAnswer, dict(change))
    return replace(sent, parameters={"wait": wait})


def delete_document(
    index: str,
    id: str,  # noqa: A002  as in the path
    wait: Wait = "durable",
) -> Exchange[write_answers.DeleteAnswer]:
    """Remove one document."""
    path, parameters = _document(index, id), {"wait": wait}
    gone = write_answers.DeleteAnswer(1, 0)
    return Exchange("DELETE", path, write_answers.DeleteAnswer, parameters, gone=gone)


def delete_documents(
    index: str,
    *,
    ids: Iterable[str] | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002  as in the body
    all: bool = False,  # noqa: A002  as in the body
    wait: Wait = "durable",
) -> Exchange[write_answers.DeleteAnswer]:
    """Remove the documents of some ids, those that a filter admits, or all."""
    body = {"ids": None if ids is None else list(ids), "filter": filter, "all": all}
    sent = _sent("POST", _of(index, "documents/delete"), write_answers.DeleteAnswer, body)
    return replace(sent, parameters={"wait": wait}, key=_new_key())


def add_lines(
    index: str, lines: bytes, wait: Wait = "durable"
) -> Exchange[write_answers.IngestAnswer]:
    """Add or replace documents, a JSON object a line."""
    return _lines("POST", index, lines, wait)


def patch_lines(
    index: str, lines: bytes, wait: Wait = "durable"
) -> Exchange[write_answers.IngestAnswer]:
    """Change fields of documents, a JSON object with its ``_id`` a line."""
    return _lines("PATCH", index, lines, wait)


def get_synonyms(index: str) -> Exchange[answers.SynonymsAnswer]:
    """What words of queries also mean."""
    return Exchange("GET", _of(index, "synonyms"), answers.SynonymsAnswer)


def put_synonyms(
    index: str, synonyms: Sequence[str], stop_words: Sequence[str] = ()
) -> Exchange[answers.SynonymsAnswer]:
    """Replace what words of queries also mean, and which are left out."""
    body = {"synonyms": synonyms, "stop_words": stop_words}
    return _sent("PUT", _of(index, "synonyms"), answers.SynonymsAnswer, body)


def take_snapshot(index: str, name: str | None = None) -> Exchange[write_answers.TaskAnswer]:
    """Keep an index as it is now; a task."""
    sent = _sent("POST", _of(index, "snapshots"), write_answers.TaskAnswer, {"name": name})
    return replace(sent, key=_new_key())


def list_snapshots(index: str) -> Exchange[write_answers.SnapshotsAnswer]:
    """The snapshots of an index, oldest first."""
    return Exchange("GET", _of(index, "snapshots"), write_answers.SnapshotsAnswer)


def remove_snapshot(index: str, snapshot: str) -> Exchange[write_answers.RemovedAnswer]:
    """Delete a snapshot."""
    gone = write_answers.RemovedAnswer(snapshot)
    path = _of(index, f"snapshots/{_escaped(snapshot)}")
    return Exchange("DELETE", path, write_answers.RemovedAnswer, gone=gone)


def restore_snapshot(index: str, snapshot: str, to: str) -> Exchange[write_answers.TaskAnswer]:
    """Make a new index of a snapshot; a task."""
    body = {"index": index, "snapshot": snapshot, "to": to}
    sent = _sent("POST", "/v1/restore", write_answers.TaskAnswer, body)
    return replace(sent, key=_new_key())


def optimize_index(index: str) -> Exchange[write_answers.TaskAnswer]:
    """Rebuild an index as one segment; a task."""
    return Exchange("POST", _of(index, "optimize"), write_answers.TaskAnswer, key=_new_key())


def list_tasks(**parameters: str | int) -> Exchange[write_answers.TasksAnswer]:
    """Tasks, newest first."""
    named = {name: str(value) for name, value in parameters.items()}
    return Exchange("GET", "/v1/tasks", write_answers.TasksAnswer, named)


def get_task(task: int) -> Exchange[write_answers.TaskAnswer]:
    """How a task stands."""
    return Exchange("GET", f"/v1/tasks/{task}", write_answers.TaskAnswer)


def cancel_task(task: int) -> Exchange[write_answers.TaskAnswer]:
    """Ask a task to end; it may be done before it notices."""
    return Exchange("DELETE", f"/v1/tasks/{task}", write_answers.TaskAnswer)


def _of(index: str, rest: str = "") -> str:
    path = f"/v1/indexes/{_escaped(index)}"
    return f"{path}/{rest}" if rest else path


def _alias(alias: str) -> str:
    return f"/v1/aliases/{_escaped(alias)}"


def _document(index: str, doc_id: str) -> str:
    return _of(index, f"documents/{_escaped(doc_id)}")


def _escaped(part: str) -> str:
    """One part of a path, whatever it holds; a dot alone would lead to another path."""
    return quote(part, safe="") if part.strip(".") else part.replace(".", "%2E")


def _sent(method: str, path: str, gives: type[Answer], body: Mapping[str, Any]) -> Exchange[Answer]:
    return Exchange(method, path, gives, body=to_json(body))


def _lines(
    method: str, index: str, lines: bytes, wait: Wait
) -> Exchange[write_answers.IngestAnswer]:
    return Exchange(
        method,
        _of(index, "documents"),
        write_answers.IngestAnswer,
        {"wait": wait},
        lines,
        NDJSON,
        _new_key(),
    )


def to_json(value: Any) -> bytes:  # noqa: ANN401  whatever was given
    """A value as JSON.

    Raises:
        InputError: JSON cannot hold it, such as a number that is not finite.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"expected what JSON can hold, found something else ({error}); make it plain values"
        ) from error


def _new_key() -> str:
    return uuid4().hex
