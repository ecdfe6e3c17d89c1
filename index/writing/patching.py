"""Patching: stored documents with other values. Records in, records out; vectors stay as they are.

A patched document is written anew, whole, with the vector that it has. So all that holds of writes
holds of it: it happens as a whole or not at all, readers stay with their generation, and merges,
snapshots and cursors know nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from tamis.index.errors import InputError
from tamis.index.vectors import SparseVectors
from tamis.index.writing.pending import GIVEN, Present, checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.index import Index
    from tamis.index.segment.values import ColumnType

    Rewrite = tuple[list[str], list[bytes], SparseVectors, bool | None]


def patched(record: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A record after a change, by JSON Merge Patch (RFC 7396).

    Objects are merged, null removes a field, and anything else takes its place. A dot leads into
    an object that is there.

    Raises:
        InputError: the change names another id.
    """
    if change.get("_id", record["_id"]) != record["_id"]:
        raise InputError(
            f"expected no _id but {record['_id']!r}, found {change['_id']!r}; leave it out"
        )
    return _merged(record, change)


def _merged(record: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(record)
    for name, value in change.items():
        outer, _, inner = name.partition(".")
        if inner and name not in found and isinstance(found.get(outer), dict):
            found[outer] = _merged(found[outer], {inner: value})
        elif value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            held = found.get(name)
            found[name] = _merged(held if isinstance(held, dict) else {}, value)
        else:
            found[name] = value
    return found


def present_in(index: Index, doc_id: str) -> Present | None:
    """A document of a generation; None where it has none of this id."""
    doc = index.doc(doc_id)
    if doc is None:
        return None
    part, at = index.locate(doc)
    vector = part.rows(np.array([at]), index.vocab_size)
    return Present(part.record(at, index.columns), vector, int(part.origins()[at]))


def rewrites(
    present: Mapping[str, Present],
    changes: Mapping[str, Mapping[str, Any]],
    vocab_size: int,
    columns: Mapping[str, ColumnType],
) -> Iterator[Rewrite]:
    """What writes changed documents anew: ids, records, vectors and whether these were given.

    Documents whose vectors come from elsewhere are written apart; all are checked before the first.

    Raises:
        InputError: a changed value is not of its field's type, JSON cannot hold it, or a vector is
            still to come.
    """
    awaiting = [doc_id for doc_id, one in present.items() if one.origin not in GIVEN]
    if awaiting:
        raise InputError(
            f"expected documents whose vectors are there, found {awaiting[0]!r}, whose learned "
            "vector is still to come; put the document, or end the build with --resume"
        )
    held = {doc_id: orjson.loads(one.record) for doc_id, one in present.items()}
    records = [patched(record, changes[doc_id]) for doc_id, record in held.items()]
    rows = [one.vector.over(vocab_size) for one in present.values()]
    vectors = SparseVectors.concatenate([SparseVectors.empty(vocab_size), *rows])
    ids, encoded = checked(records, vectors, vocab_size, columns)
    origins = np.array([one.origin for one in present.values()], np.int64)
    for origin in np.unique(origins).tolist():
        alike = np.flatnonzero(origins == origin)
        yield _picked(ids, alike), _picked(encoded, alike), vectors.take(alike), GIVEN[origin]


def _picked(values: Sequence[Any], places: NDArray[np.int64]) -> list[Any]:
    return [values[place] for place in places.tolist()]
