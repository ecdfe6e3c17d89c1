"""Encoders around an encoder: vectors remembered between systems, and fewer terms a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from tamis.index.vectors import SparseVectors
from tamis.retriever.models.encoder import SparseEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tamis.retriever.models.description import EncoderDescription
    from tamis.retriever.models.encoder import Encoder, QueryEncoder
    from tamis.retriever.vocabulary import Vocabulary

    Progress = Callable[[int], None]


def arithmetic(encoder: Encoder) -> str | None:
    """What an encoder that runs a model computes with; None where nothing is known of it."""
    return encoder.arithmetic if isinstance(encoder, SparseEncoder) else None


@dataclass(frozen=True)
class _Around:
    """Everything but the documents is the encoder's own, so its query side opens the index."""

    encoder: Encoder

    @property
    def description(self) -> EncoderDescription:
        return self.encoder.description

    @property
    def location(self) -> str:
        return self.encoder.location

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.encoder.count_tokens(texts)

    def query_side(self) -> QueryEncoder:
        return self.encoder.query_side()

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        return self.encoder.encode_queries(texts)

    @property
    def vocabulary(self) -> Vocabulary:
        return self.encoder.vocabulary


@dataclass(frozen=True)
class Remembered(_Around):
    """Keeps the vectors of each batch of documents in a folder, so that the next system has them.

    Attributes:
        encoder: encodes what is not there yet.
        folder: holds one file a batch, named after encoder, arithmetic and texts.
        found: files that were there already, so that no speed is told from them.
    """

    folder: Path
    found: list[Path] = field(default_factory=list)

    def encode_documents(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> SparseVectors:
        """The encoder's vectors, from the folder where they are there."""
        made_by = self.description.fingerprint, arithmetic(self.encoder)
        digest = xxhash.xxh3_128(repr(made_by).encode())
        for text in texts:
            digest.update(f"{len(text)}:{text}".encode())
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if path.exists():
            self.found.append(path)
            return SparseVectors.load(path)
        vectors = self.encoder.encode_documents(texts, progress=progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        vectors.save(half)
        half.replace(path)
        return vectors


@dataclass(frozen=True)
class HeaviestTerms(_Around):
    """Keeps the ``terms`` heaviest terms of each document."""

    terms: int

    def encode_documents(
        self, texts: Sequence[str], *, progress: Progress | None = None
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
