"""Stemmed BM25 between the queries and passages of a batch, on the training device.

The same formula as the lexical channel of an index (`tamis.retriever.words.lexical`), whose
functions make the weights; statistics are those of all training passages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.index.vectors import SparseVectors
from tamis.retriever.training.sparse_scores import SparseScorer
from tamis.retriever.words.lexical import LexicalConfig, idf, lengths, saturate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.retriever.training.data.token_rows import TokenRows


class LexicalScorer:
    """BM25 weights of all passages and queries.

    Attributes:
        scorer: their inner products.
        mass: ``[queries]`` float32, the sum of each query's word weights.
    """

    def __init__(
        self, passages: TokenRows, queries: TokenRows, stem_count: int, device: torch.device
    ) -> None:
        """Weigh the words of both sides.

        Args:
            passages: stems of each passage, as `WordTable.words` gives them.
            queries: stems of each query.
            stem_count: number of stems.
            device: where scores are computed.
        """
        stem_count = max(stem_count, 1)  # texts without a word that comes twice
        counts = count_words(passages, stem_count)
        documents = counts.rows_from(0)  # that hold a word: the others tell nothing of words
        mean = float(lengths(counts).sum()) / max(documents, 1)
        frequency = np.bincount(counts.terms, minlength=stem_count)
        weights = idf(frequency, documents)
        asked = count_words(queries, stem_count)
        weighted = SparseVectors(
            asked.offsets, asked.terms, asked.weights * weights[asked.terms], stem_count
        )
        held = saturate(counts, max(mean, 1.0), LexicalConfig())
        self.scorer = SparseScorer(weighted, held, device)
        mass = np.concatenate([[0], np.cumsum(weighted.weights, dtype=np.float64)])
        self.mass = torch.from_numpy(np.diff(mass[weighted.offsets])).float().to(device)

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """BM25 ``[Q, P]`` float32 of queries for passages, given by row number."""
        return self.scorer.scores(queries, passages)


def count_words(rows: TokenRows, stem_count: int) -> SparseVectors:
    """How often each stem occurs in each row; stems rise within a row."""
    row = np.repeat(np.arange(len(rows), dtype=np.int64), rows.lengths)
    keys, counts = np.unique(row * stem_count + rows.ids, return_counts=True)
    offsets: NDArray[np.int64] = np.searchsorted(keys, np.arange(len(rows) + 1) * stem_count)
    terms = (keys % stem_count).astype(np.int32)
    return SparseVectors(offsets.astype(np.int64), terms, counts.astype(np.float32), stem_count)
