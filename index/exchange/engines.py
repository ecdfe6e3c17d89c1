"""JSON lines of other engines: documents with vectors, as Seismic, OpenSearch and Qdrant have them.

Each line, or pair of lines, is one document; terms are numbers, written as text where an engine
wants names. All but the vector is carried along where the index has it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from tamis.index.errors import InputError
from tamis.index.segment.identifiers import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tamis.index.files.lines import Rows
    from tamis.index.index import Index
    from tamis.index.vectors import SparseVectors

    Batch = tuple[Sequence[str], SparseVectors, Sequence[Mapping[str, Any]]]

Engine = Literal["seismic", "opensearch", "qdrant"]
VECTOR = "vector"  # field of OpenSearch, name of the vector in Qdrant
PAIRS = {"indices", "values"}  # of a sparse vector in Qdrant
IDS = ("_id", "id", "docid", "doc_id")
BULK_ACTIONS = ("index", "create", "update", "delete")
_ROWS = 10_000
_QDRANT = uuid.UUID("6b9a3f0e-2d0f-5b2a-9a51-6b6f1c2f5d4e")  # namespace of the points' numbers


def stored_documents(index: Index) -> Iterator[Batch]:
    """Ids, vectors and records of all documents that are not deleted, in batches."""
    for part in index.parts:
        for first in range(0, part.live_docs.size, _ROWS):
            docs = part.live_docs[first : first + _ROWS]
            ids = [part.stored.ids.doc_id(doc) for doc in docs.tolist()]
            records = [orjson.loads(record) for record in part.records(docs, index.columns)]
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


class EngineDocument(NamedTuple):
    """A document in the lines of one of these engines.

    Attributes:
        line: where it stands, from 1.
        doc_id: its id.
        vector: maps terms to weights, which were not looked into; terms that the line gives as
            numbers are numbers.
        fields: what it holds beside these.
    """

    line: int
    doc_id: str
    vector: Mapping[str | int, Any]
    fields: Mapping[str, Any]


def documents_of(name: str, rows: Rows) -> Iterator[EngineDocument]:
    """The documents in the lines of any of these engines; OpenSearch has the id one line before.

    Raises:
        InputError: a line is no such document; the message begins with file and line.
    """
    action: tuple[int, str] | None = None
    for number, line in rows:
        try:
            if action is None and (named := _named_by_action(line)) is not None:
                action = number, named
                continue
            vector = _vector(line)
            if action is None:
                doc_id, fields = _identified(line)
            else:
                doc_id, fields = action[1], _without(line, VECTOR)
        except InputError as error:
            raise InputError(f"{name}:{number}: {error}") from None
        yield EngineDocument(number, doc_id, vector, fields)
        action = None
    if action is not None:
        raise InputError(
            f"{name}:{action[0]}: expected a document after this action, found the end of the "
            "file; check that the file is whole"
        )


def _named_by_action(line: Mapping[str, Any]) -> str | None:
    """The id in the first line of a pair of OpenSearch's bulk API; None for any other line."""
    action, about = next(iter(line.items())) if len(line) == 1 else ("", None)
    if action not in BULK_ACTIONS or not isinstance(about, dict):
        return None
    if action not in ("index", "create"):
        raise InputError(
            f"expected the bulk actions index and create, found {action}; leave others out"
        )
    return checked_id(about.get("_id"))


def _identified(line: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The id of a document and what else it holds; a point of Qdrant has that in its payload."""
    payload = line.get("payload", line)
    if payload is not line and (payload is None or isinstance(payload, dict)):
        held = (payload or {}).get("_id")
        return checked_id(line.get("id") if held is None else held), _without(payload or {}, "_id")
    key = next((key for key in IDS if line.get(key) is not None), IDS[0])
    return checked_id(line.get(key)), _without(line, key, VECTOR)


def _without(line: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in names}


def checked_id(value: object) -> str:
    """An id that was read, a whole number as text; raises InputError where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        found = "none" if value is None else type(value).__name__
        raise InputError(f"expected a string or a whole number as id, found {found}; give one")
    return check_id(value)


def _vector(line: Mapping[str, Any]) -> Mapping[str | int, Any]:
    found = line.get(VECTOR)
    if isinstance(found, dict) and any(isinstance(value, dict) for value in found.values()):
        found = _of_qdrant(found)
    if not isinstance(found, dict):
        raise InputError(
            'expected a line such as {"id": "7", "vector": {"2003": 1.5}}, found '
            f"{'no vector' if found is None else type(found).__name__} among the fields "
            f"{', '.join(line)}; give an id and a vector"
        )
    if any(isinstance(found.get(name), list) for name in PAIRS):
        return _pairs(found)
    return found


def _of_qdrant(vectors: Mapping[str, Any]) -> Any:  # noqa: ANN401  whatever stands there
    """The sparse one of a point's named vectors."""
    sparse = [name for name, one in vectors.items() if isinstance(one, dict) and set(one) == PAIRS]
    if VECTOR not in sparse and len(sparse) != 1:
        raise InputError(
            f"expected one sparse vector of indices and values, or one that is named {VECTOR}, "
            f"found the vectors {', '.join(vectors)}; leave the others out"
        )
    return vectors[VECTOR if VECTOR in sparse else sparse[0]]


def _pairs(vector: Mapping[str, Any]) -> dict[str | int, Any]:
    indices, values = vector.get("indices"), vector.get("values")
    if not isinstance(indices, list) or not isinstance(values, list) or set(vector) != PAIRS:
        raise InputError(
            f"expected a list of indices and one of values, found {str(vector)[:80]}; correct it"
        )
    if len(indices) != len(values):
        raise InputError(
            f"expected as many values as indices, found {len(indices)} indices and {len(values)} "
            "values; correct the line"
        )
    pairs: dict[str | int, Any] = {}
    for index, value in zip(indices, values, strict=True):
        if not isinstance(index, int) or isinstance(index, bool):
            raise InputError(
                f"expected whole numbers as indices, found {index!r}; correct the line"
            )
        if index in pairs:
            raise InputError(f"expected each index once, found {index} twice; leave one out")
        pairs[index] = value
    return pairs
