"""EncodedQueries: the vectors of queries, and what of the queries they leave out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.segment.loops.arrays import MAX_QUERY_TERMS
from tamis.index.vectors import SparseVectors
from tamis.retriever.first_stage.reading import ReadQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_NOT_READ = ReadQuery()


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQueries:
    """Queries over the terms of one collection.

    Attributes:
        vectors: ``[queries]``, at most `MAX_QUERY_TERMS` terms each, the heaviest.
        unknown_terms: ``[queries]``, the terms of each that no document has, as they are printed.
        terms_cut: ``[queries]`` int64, how many lighter terms were left out.
        read: ``[queries]``, what their texts were taken to mean.
    """

    vectors: SparseVectors
    unknown_terms: Sequence[tuple[str, ...]]
    terms_cut: NDArray[np.int64]
    read: Sequence[ReadQuery]

    @staticmethod
    def of(
        vectors: SparseVectors,
        unknown_terms: Sequence[tuple[str, ...]],
        read: Sequence[ReadQuery] | None = None,
    ) -> EncodedQueries:
        """Queries of these vectors, cut to the terms that a search takes; read from no texts."""
        kept = vectors.heaviest(MAX_QUERY_TERMS)
        cut = np.zeros(len(vectors), np.int64)
        if kept is not vectors:
            cut = np.diff(vectors.offsets) - np.diff(kept.offsets)
        read = [_NOT_READ] * len(vectors) if read is None else read
        return EncodedQueries(kept, unknown_terms, cut, read)

    @staticmethod
    def concatenate(parts: Sequence[EncodedQueries]) -> EncodedQueries:
        """All queries, in order; raises InputError where there is no part."""
        return EncodedQueries(
            SparseVectors.concatenate([part.vectors for part in parts]),
            list(chain.from_iterable(part.unknown_terms for part in parts)),
            np.concatenate([part.terms_cut for part in parts]),
            list(chain.from_iterable(part.read for part in parts)),
        )

    def row(self, query: int) -> EncodedQueries:
        """One query."""
        rows = slice(query, query + 1)
        return EncodedQueries(
            self.vectors.rows(query, query + 1),
            self.unknown_terms[rows],
            self.terms_cut[rows],
            self.read[rows],
        )


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A query that was read elsewhere, with the statistics of more documents than are here.

    Attributes:
        weights: by term, as they are printed; a term that the collection lacks adds nothing.
        text: whose quotes and signs say what documents must hold; empty for none.
        words: documents with one of these terms are counted; None for a query without words.
    """

    weights: Mapping[str, float]
    text: str = ""
    words: tuple[str, ...] | None = None


def without_blank(vectors: SparseVectors, texts: Sequence[str]) -> SparseVectors:
    """The vectors of texts, no term in those of blank ones."""
    if all(map(str.strip, texts)):
        return vectors
    said = np.repeat([bool(text.strip()) for text in texts], np.diff(vectors.offsets))
    return vectors.where(said, vectors.terms, vectors.vocab_size)


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights that no term can have, be it known or unknown."""
    for term, weight in weights.items():
        if not 0 < weight < inf:
            raise InputError(
                f"expected finite weights above zero, found {weight} for term {term!r}; leave out "
                "zeros, check for overflow"
            )
