"""Encoders made cheaper: only a document's heaviest learned terms are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tamis.retriever.checkpoint import EncoderDescription
    from tamis.retriever.encoder import Encoder, QueryEncoder


@dataclass(frozen=True)
class HeaviestTerms:
    """An encoder that keeps the ``terms`` heaviest terms of each document.

    Queries are encoded as before, so an index of it is opened with the encoder's own query side.
    """

    encoder: Encoder
    terms: int

    @property
    def description(self) -> EncoderDescription:
        """The encoder's own."""
        return self.encoder.description

    @property
    def location(self) -> str:
        """The encoder's own."""
        return self.encoder.location

    def query_side(self) -> QueryEncoder:
        """The encoder's own."""
        return self.encoder.query_side()

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The encoder's own vectors."""
        return self.encoder.encode_queries(texts)

    def term_string(self, term: int) -> str:
        """The encoder's own."""
        return self.encoder.term_string(term)

    def term_id(self, string: str) -> int | None:
        """The encoder's own."""
        return self.encoder.term_id(string)

    def terms_of(self, text: str) -> set[int]:
        """The encoder's own."""
        return self.encoder.terms_of(text)

    def encode_documents(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> SparseVectors:
        """The encoder's vectors, lighter terms left out."""
        return heaviest(self.encoder.encode_documents(texts, progress=progress), self.terms)


def heaviest(vectors: SparseVectors, terms: int) -> SparseVectors:
    """The ``terms`` heaviest terms of each row; of equal weights the lower term stays."""
    row_of = np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets))  # [nnz]
    order = np.lexsort((vectors.terms, -vectors.weights, row_of))
    place = np.arange(vectors.nnz) - vectors.offsets[row_of]  # in the row, heaviest first
    kept = np.sort(order[place < terms])
    sizes = np.minimum(np.diff(vectors.offsets), terms)
    return SparseVectors(
        np.concatenate([[0], np.cumsum(sizes)]),
        vectors.terms[kept],
        vectors.weights[kept],
        vectors.vocab_size,
    )
