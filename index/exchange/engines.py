"""JSON lines of other engines: documents with vectors for Seismic, OpenSearch and Qdrant.

Each line, or pair of lines, is one document; terms are numbers, written as text where an engine
wants names. All but the vector is carried along where the index has it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tamis.index.index import Index
    from tamis.index.vectors import SparseVectors

    Batch = tuple[Sequence[str], SparseVectors, Sequence[Mapping[str, Any]]]

Engine = Literal["seismic", "opensearch", "qdrant"]
VECTOR = "vector"  # field of OpenSearch, name of the vector in Qdrant
_ROWS = 10_000
_QDRANT = uuid.UUID("6b9a3f0e-2d0f-5b2a-9a51-6b6f1c2f5d4e")  # namespace of the points' numbers


def stored_documents(index: Index) -> Iterator[Batch]:
    """Ids, vectors and records of all documents that are not deleted, in batches.

    Records are empty in an index of vectors alone.
    """
    for part in index.parts:
        for first in range(0, part.live_docs.size, _ROWS):
            docs = part.live_docs[first : first + _ROWS]
            ids = [part.stored.ids.doc_id(doc) for doc in docs.tolist()]
            texts = part.stored.documents
            records = [texts[doc] if texts is not None else {} for doc in docs.tolist()]
            yield ids, part.rows(docs, index.vocab_size), records


def engine_lines(batches: Iterable[Batch], engine: Engine) -> Iterator[bytes]:
    """The documents as an engine reads them, line by line.

    Args:
        batches: ids, vectors and records.
        engine: ``seismic`` gives ``id``, ``content`` and ``vector``; ``opensearch`` the pairs of
            its bulk API, with a field ``vector`` of type rank_features or sparse_vector;
            ``qdrant`` points with the sparse vector ``vector`` and the record as payload.
    """
    line: Callable[..., bytes] = {
        "seismic": _seismic,
        "opensearch": _opensearch,
        "qdrant": _qdrant,
    }[engine]
    for ids, vectors, records in batches:
        for doc_id, row, record in zip(ids, vectors.to_dicts(), records, strict=True):
            yield line(doc_id, row, record)


def _seismic(doc_id: str, row: Mapping[int, float], record: Mapping[str, Any]) -> bytes:
    content = " ".join(filter(None, (record.get("title"), record.get("text"))))
    return _dumped({"id": doc_id, "content": content, "vector": _named(row)})


def _opensearch(doc_id: str, row: Mapping[int, float], record: Mapping[str, Any]) -> bytes:
    source = {name: value for name, value in record.items() if name != "_id"}
    return _dumped({"index": {"_id": doc_id}}) + _dumped({**source, VECTOR: _named(row)})


def _qdrant(doc_id: str, row: Mapping[int, float], record: Mapping[str, Any]) -> bytes:
    sparse = {"indices": list(row), "values": list(row.values())}
    point = str(uuid.uuid5(_QDRANT, doc_id))  # the same for the same document
    payload = {**record, "_id": doc_id}
    return _dumped({"id": point, "vector": {VECTOR: sparse}, "payload": payload})


def _named(row: Mapping[int, float]) -> dict[str, float]:
    return {str(term): weight for term, weight in row.items()}


def _dumped(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value) + b"\n"


def bulk_id(line: Mapping[str, Any]) -> str | None:
    """The id in the first line of a pair of OpenSearch's bulk API; None for any other line."""
    for action in ("index", "create"):
        about = line.get(action)
        if len(line) == 1 and isinstance(about, dict) and isinstance(about.get("_id"), str):
            found: str = about["_id"]
            return found
    return None


def vector_of(line: Mapping[str, Any]) -> tuple[Any, dict[str, float] | None]:
    """The id, where the line has one, and the vector of a line of any of these engines.

    The vector is None where the line has none.
    """
    vector, payload = line.get(VECTOR), line.get("payload")
    doc_id = payload.get("_id") if isinstance(payload, dict) else line.get("id")
    if isinstance(vector, dict) and isinstance(vector.get(VECTOR), dict):
        vector = vector[VECTOR]  # a named one of Qdrant
    if not isinstance(vector, dict):
        return doc_id, None
    if set(vector) == {"indices", "values"} and isinstance(vector["indices"], list):
        pairs = zip(map(str, vector["indices"]), vector["values"], strict=False)
        return doc_id, dict(pairs)
    return doc_id, vector
