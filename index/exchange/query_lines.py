"""Queries as other engines read them from files: lines of terms, which are numbers.

Lucene (Anserini, topics of ``-impact -pretokenized``) and BMP read pseudo-texts: a term stands as
often as it weighs, after ``id<tab>`` or ``id: ``. Seismic reads queries as it reads documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tamis.index.errors import InputError
from tamis.index.exchange.engines import engine_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tamis.index.vectors import SparseVectors

Form = Literal["anserini", "bmp", "seismic"]
MOST_REPEATED = 10_000  # that a term stands in a pseudo-text: a line stays one that can be read
_AFTER_ID = {"anserini": "\t", "bmp": ": "}
_NOT_IN_ID = {"anserini": "\t\n\r", "bmp": ":\n\r"}


def query_lines(form: Form, queries: Mapping[str, str], vectors: SparseVectors) -> Iterator[bytes]:
    """The lines of queries; those without a term have none, as engines stumble over them.

    Args:
        form: whose lines.
        queries: texts by id.
        vectors: one row a query; of whole numbers but for Seismic.

    Raises:
        InputError: an id cannot stand in such a line, or a weight is too large for a pseudo-text.
    """
    for query, (query_id, text) in enumerate(queries.items()):
        row = vectors.rows(query, query + 1)
        if not row.nnz:
            continue
        if form == "seismic":
            yield from engine_lines([([query_id], row, [{"text": text}])], "seismic")
        else:
            yield _repeated(form, query_id, row)


def _repeated(form: Literal["anserini", "bmp"], query_id: str, row: SparseVectors) -> bytes:
    found = next((sign for sign in _NOT_IN_ID[form] if sign in query_id), None)
    if found is not None:
        raise InputError(
            f"expected ids without {found!r} in queries for {form}, found {query_id!r}; rename it"
        )
    if row.weights.max() > MOST_REPEATED:
        raise InputError(
            f"expected weights up to {MOST_REPEATED} for {form}, as terms are repeated, found "
            f"{row.weights.max():.0f} in query {query_id!r}; give a smaller --scale"
        )
    pairs = zip(row.terms.tolist(), row.weights.tolist(), strict=True)
    terms = " ".join(" ".join([str(term)] * int(weight)) for term, weight in pairs)
    return f"{query_id}{_AFTER_ID[form]}{terms}\n".encode()
