"""Stemmed BM25 between the queries and passages of a batch, on the training device.

The same formula as the lexical channel of an index (`tamis.retriever.lexical`), whose functions
make the weights; statistics are those of all training passages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.index.vectors import SparseVectors
from tamis.retriever.lexical import LexicalConfig, idf, lengths, saturate
from tamis.retriever.training.ragged import Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.retriever.training.token_rows import TokenRows


class LexicalScorer:
    """BM25 weights of all passages and queries.

    Attributes:
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
        counts = count_words(passages, stem_count)
        mean = float(lengths(counts).mean()) if len(counts) else 0.0
        frequency = np.bincount(counts.terms, minlength=stem_count)
        weights = idf(frequency, len(counts))
        asked = count_words(queries, stem_count)
        self._document_terms, self._document_weights = _ragged(
            saturate(counts, max(mean, 1.0), LexicalConfig()), device
        )
        weighted = SparseVectors(
            asked.offsets, asked.terms, asked.weights * weights[asked.terms], stem_count
        )
        self._query_terms, self._query_weights = _ragged(weighted, device)
        self._slot = torch.full((stem_count,), -1, dtype=torch.int64, device=device)
        mass = np.concatenate([[0], np.cumsum(weighted.weights, dtype=np.float64)])
        self.mass = torch.from_numpy(np.diff(mass[weighted.offsets])).float().to(device)

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """BM25 of each query for each passage, ``[queries, passages]`` float32.

        Args:
            queries: [Q] int64 row numbers.
            passages: [P] int64 row numbers.
        """
        asked, held = self._query_terms.flat(queries), self._document_terms.flat(passages)
        words = torch.unique(self._query_terms.values[asked.entry].long())
        self._slot[words] = torch.arange(len(words), device=words.device)
        dtype = torch.float16 if words.is_cuda else torch.float32  # weights reach about 25
        left = torch.zeros(len(queries), len(words), dtype=dtype, device=words.device)
        slot = self._slot[self._query_terms.values[asked.entry].long()]
        left[asked.row, slot] = self._query_weights.values[asked.entry].to(dtype)
        slot = self._slot[self._document_terms.values[held.entry].long()]
        known = slot >= 0
        right = torch.zeros(len(passages), len(words), dtype=dtype, device=words.device)
        weights = self._document_weights.values[held.entry[known]]
        right[held.row[known], slot[known]] = weights.to(dtype)
        self._slot[words] = -1
        with torch.autocast(words.device.type, enabled=False):
            return (left @ right.T).float()


def count_words(rows: TokenRows, stem_count: int) -> SparseVectors:
    """How often each stem occurs in each row; stems rise within a row."""
    row = np.repeat(np.arange(len(rows), dtype=np.int64), rows.lengths)
    keys, counts = np.unique(row * stem_count + rows.ids, return_counts=True)
    offsets: NDArray[np.int64] = np.searchsorted(keys, np.arange(len(rows) + 1) * stem_count)
    terms = (keys % stem_count).astype(np.int32)
    return SparseVectors(offsets.astype(np.int64), terms, counts.astype(np.float32), stem_count)


def _ragged(vectors: SparseVectors, device: torch.device) -> tuple[Ragged, Ragged]:
    offsets = torch.from_numpy(vectors.offsets).to(device)
    terms = torch.from_numpy(vectors.terms).to(device)
    return Ragged(offsets, terms), Ragged(offsets, torch.from_numpy(vectors.weights).to(device))
