"""Interchange: the vectors of an index leave for files that other programs read.

`Anserini's JsonVectorCollection <https://github.com/castorini/anserini>`_ is JSON lines such as
``{"id": "7", "contents": "", "vector": {"2003": 1.5}}``.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import orjson

from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tamis.index.index import Index

JSON_KINDS = (".jsonl", ".ndjson", ".json")
JSON_ENDINGS = tuple(kind + packed for kind in JSON_KINDS for packed in ("", ".gz"))
MOST_WHOLE = 2**53  # above, JSON of most programs holds no whole number
_ROWS = 10_000  # of a batch
_GZIP_LEVEL = 1  # digits hardly shrink further, at several times the cost


def stored_vectors(index: Index) -> Iterator[tuple[list[str], SparseVectors]]:
    """Ids and vectors, as stored, of all documents that are not deleted, in batches."""
    for part in index.parts:
        for first in range(0, part.live_docs.size, _ROWS):
            docs = part.live_docs[first : first + _ROWS]
            ids = [part.stored.ids.doc_id(doc) for doc in docs.tolist()]
            yield ids, part.rows(docs, index.vocab_size)


def whole_numbers(vectors: SparseVectors, scale: float) -> SparseVectors:
    """Weights times ``scale``, rounded, as Lucene's impacts; terms that round to 0 are left out."""
    rounded = np.rint(vectors.weights * scale)
    kept = rounded > 0
    return SparseVectors(
        np.concatenate([[0], np.cumsum(kept)])[vectors.offsets],
        vectors.terms[kept],
        rounded[kept].astype(np.float32),
        vectors.vocab_size,
    )


def write_json_vectors(path: Path, batches: Iterable[tuple[Sequence[str], SparseVectors]]) -> None:
    """Write a JsonVectorCollection; reading it gives the very same weights.

    Args:
        path: the file; one that ends in ``.gz`` is compressed.
        batches: ids and vectors. Terms are written as numbers. Lucene takes whole numbers alone:
            give it those of `whole_numbers`.
    """
    with _opened(path) as file:
        for ids, vectors in batches:
            for doc_id, row in zip(ids, vectors.to_dicts(), strict=True):
                vector = {str(term): _plain(weight) for term, weight in row.items()}
                file.write(orjson.dumps({"id": doc_id, "contents": "", "vector": vector}) + b"\n")


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines to a file; one that ends in ``.gz`` is compressed."""
    with _opened(path) as file:
        file.writelines(lines)


def _plain(weight: float) -> float:
    is_whole = weight.is_integer() and weight < MOST_WHOLE
    return int(weight) if is_whole else weight


def _opened(path: Path) -> BinaryIO:
    if path.name.endswith(".gz"):
        return cast("BinaryIO", gzip.open(path, "wb", compresslevel=_GZIP_LEVEL))
    return path.open("wb")
