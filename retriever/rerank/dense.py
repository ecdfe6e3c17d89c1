"""Dense interpolation: the first stage's scores and those of stored dense vectors, as one.

Vectors are int8 with one float16 scale, computed once by any dense encoder and found by a hash of
their text; a query costs one run of the encoder and a product with each candidate's vector, as in
Fast-Forward indexes (Leonhardt, Rudra, Khosla, Anand and Anand, WWW 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.retriever.models.dense_encoder import DenseEncoder
from tamis.retriever.rerank.reranker import (
    Assessment,
    check_first_stage,
    with_others_below,
    with_text,
)
from tamis.retriever.rerank.rounding import restored, rounded
from tamis.retriever.rerank.text_store import VECTORS, CurrentStore, TextStore
from tamis.retriever.types import ScorePart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHT = 0.5  # of the dense scores; chosen on development queries, see rerank/README.md
BITS = 8


class DenseReranker:
    """Reranks by a weighted sum of first-stage scores and dense ones; safe to share by threads.

    Each kind has mean 0 and deviation 1 over the list, as a weight says little of scores without a
    common unit. Without first-stage scores the dense ones alone decide.

    Attributes:
        encoder: makes the vectors of queries, and of texts without a stored one.
        weight: of the dense scores, from 0 to 1; the first stage's have the rest.
    """

    def __init__(
        self, encoder: DenseEncoder, weight: float = WEIGHT, stored: CurrentStore | None = None
    ) -> None:
        """Join an encoder and what is stored; see `from_pretrained` and `over`."""
        self.encoder, self.weight, self._stored = encoder, weight, stored

    @staticmethod
    def from_pretrained(
        name_or_path: str, *, device: str | None = None, weight: float = WEIGHT
    ) -> DenseReranker:
        """Load a dense encoder of sentence-transformers; errors as of `DenseEncoder.load`."""
        return DenseReranker(DenseEncoder.load(name_or_path, device=device), weight)

    def over(self, folder: Path) -> DenseReranker:
        """This reranker for the documents of one collection, by the vectors stored beside it."""
        stored = CurrentStore(folder, VECTORS, self.encoder.fingerprint)
        return DenseReranker(self.encoder, self.weight, stored)

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """The scores ``[documents]``; see `Reranker.score`."""
        return self.assess(query, documents, first_stage=first_stage).scores

    def assess(
        self,
        query: str,
        documents: Sequence[str],
        *,
        first_stage: Sequence[float] | None = None,
        explain: bool = False,
    ) -> Assessment:
        """The scores, and their two parts: see `AssessingReranker.assess`.

        Raises:
            InputError: first-stage scores are of another number than the documents, or not finite.
            CorruptionError: the stored vectors are damaged.
        """
        if first_stage is not None:
            check_first_stage(first_stage, len(documents))
        places, blank = with_text(documents)
        if not places:
            return Assessment(with_others_below(np.empty(0, np.float32), len(documents)))
        dense, not_stored = self._products(query, [documents[at] for at in places])
        measured = {"dense": dense}
        if first_stage is not None:
            measured = {"first stage": np.asarray(first_stage, np.float32)[places], "dense": dense}
        shares = self._shares(measured)
        scores = np.empty(len(documents), np.float32)
        best = sum(shares.values(), np.zeros(len(places))).astype(np.float32)
        scores[[*places, *blank]] = with_others_below(best, len(documents))
        parts: list[tuple[ScorePart, ...]] = [()] * len(documents) if explain else []
        for row, at in enumerate(places if explain else ()):
            parts[at] = tuple(
                ScorePart(name, float(of[row]), float(shares[name][row]))
                for name, of in measured.items()
            )
        return Assessment(scores, not_stored, parts)

    def _shares(self, measured: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float64]]:
        """What each kind of score adds."""
        if len(measured) == 1:
            return {name: of.astype(np.float64) for name, of in measured.items()}
        weights = {"first stage": 1 - self.weight, "dense": self.weight}
        return {name: weights[name] * standardised(of) for name, of in measured.items()}

    def _products(self, query: str, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """The dense scores ``[texts]``, and how many texts had to be encoded."""
        store = self._stored.opened() if self._stored is not None else None
        at = store.find(texts) if store is not None else np.full(len(texts), -1)
        vectors = np.empty((len(texts), self.encoder.size), np.float32)
        missing = np.flatnonzero(at < 0).tolist()
        if missing:
            vectors[missing] = self.encoder.encode_documents([texts[one] for one in missing])
        if store is not None and len(missing) < len(texts):
            vectors[at >= 0] = stored_vectors(store, at[at >= 0])
        products: NDArray[np.float32] = vectors @ self.encoder.encode_queries([query])[0]
        return products, len(missing)


def standardised(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores of one list with mean 0 and deviation 1; zeros where all are equal."""
    exact = scores.astype(np.float64)  # float32's mean of equal scores may be another number
    spread = exact.std()
    found: NDArray[np.float64] = (exact - exact.mean()) / spread if spread > 0 else exact * 0
    return found


def store_vectors(
    encoder: DenseEncoder, texts: Iterable[str], folder: Path, *, budget_bytes: int
) -> TextStore:
    """Compute and write the vectors of documents that have text, each text once.

    Args:
        encoder: of the vectors.
        texts: of the documents, as they will be reranked.
        folder: of the store.
        budget_bytes: refuse to write more.

    Raises:
        InputError: the budget is too small.
    """
    return TextStore.build(
        folder,
        VECTORS,
        encoder.fingerprint,
        texts,
        lambda some: list(_rounded(encoder.encode_documents(some))),
        budget_bytes=budget_bytes,
        settings={"encoder": str(encoder.files.folder.resolve()), "size": encoder.size},
    )


def stored_vectors(store: TextStore, at: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors ``[at, size]`` of texts that a store's `find` found; at least one."""
    size = int(store.about.settings["size"])
    rows = torch.from_numpy(store.contents.reshape(len(store), -1)[at])
    found: NDArray[np.float32] = restored(rows, (1, 1, size), BITS)[:, 0, 0].numpy()
    return found


def _rounded(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    return rounded(torch.from_numpy(vectors)[:, None, None], BITS)
