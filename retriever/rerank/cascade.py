"""Two passes over many candidates: stored keys for all of them, a full reading of the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.retriever.rerank.block_reranker import BlockReranker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from tamis.retriever.rerank.store import DocumentStore


@dataclass(frozen=True)
class Cascade:
    """Ranks 500 to 1,000 candidates from stored keys and reads the best of them.

    Attributes:
        reranker: with conditioning "query"; the store was made by the same parts.
        store: keys of all candidates.
        best: how many are read.
    """

    reranker: BlockReranker
    store: DocumentStore
    best: int = 50

    def rank(
        self, query: str, doc_ids: Sequence[str], texts: Sequence[str]
    ) -> list[tuple[str, float]]:
        """The candidates best first, with scores that fall.

        The best of the first pass have the second's scores; the others stand below them in the
        order of the first, each one lower than the last.

        Raises:
            InputError: there are not as many texts as ids, or the store lacks a document.
        """
        if len(doc_ids) != len(texts):
            raise InputError(f"expected a text an id, found {len(texts)} for {len(doc_ids)}")
        if not doc_ids:
            return []
        parts = self.reranker.parts
        dtype: torch.dtype = parts.backbone.model.dtype
        held = self.store.keys(doc_ids, parts.backbone.device, dtype)
        quick = BlockReranker(parts, "none").score_held(query, held)
        order = np.argsort(-quick, kind="stable").tolist()
        chosen = order[: self.best]
        scores = self.reranker.score(query, [texts[at] for at in chosen])
        found = [(doc_ids[chosen[i]], float(scores[i])) for i in np.argsort(-scores, kind="stable")]
        lowest = float(scores.min())
        rest = enumerate(order[self.best :], start=1)
        return found + [(doc_ids[at], lowest - rank) for rank, at in rest]
