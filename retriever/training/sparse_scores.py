"""Scores of sparse vectors against sparse vectors by the batch, on the training device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tamis.retriever.training.device_rows import Ragged

if TYPE_CHECKING:
    from tamis.index.vectors import SparseVectors


class SparseScorer:
    """Inner products of fixed query and passage vectors.

    Attributes:
        queries: the vectors of all queries.
        passages: those of all passages.
    """

    def __init__(
        self, queries: SparseVectors, passages: SparseVectors, device: torch.device
    ) -> None:
        """Put both on a device."""
        self.queries, self.passages = queries, passages
        self._query_terms, self._query_weights = _ragged(queries, device)
        self._document_terms, self._document_weights = _ragged(passages, device)
        self._slot = torch.full((queries.vocab_size,), -1, dtype=torch.int64, device=device)

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """Of each query for each passage, ``[queries, passages]`` float32.

        Args:
            queries: [Q] int64 row numbers.
            passages: [P] int64 row numbers.
        """
        asked, held = self._query_terms.flat(queries), self._document_terms.flat(passages)
        terms = torch.unique(self._query_terms.values[asked.entry].long())
        self._slot[terms] = torch.arange(len(terms), device=terms.device)
        dtype = torch.float16 if terms.is_cuda else torch.float32  # weights reach about 25
        left = torch.zeros(len(queries), len(terms), dtype=dtype, device=terms.device)
        slot = self._slot[self._query_terms.values[asked.entry].long()]
        left[asked.row, slot] = self._query_weights.values[asked.entry].to(dtype)
        slot = self._slot[self._document_terms.values[held.entry].long()]
        known = slot >= 0
        right = torch.zeros(len(passages), len(terms), dtype=dtype, device=terms.device)
        weights = self._document_weights.values[held.entry[known]]
        right[held.row[known], slot[known]] = weights.to(dtype)
        self._slot[terms] = -1
        with torch.autocast(terms.device.type, enabled=False):
            return (left @ right.T).float()


def _ragged(vectors: SparseVectors, device: torch.device) -> tuple[Ragged, Ragged]:
    offsets = torch.from_numpy(vectors.offsets).to(device)
    terms = torch.from_numpy(vectors.terms).to(device)
    return Ragged(offsets, terms), Ragged(offsets, torch.from_numpy(vectors.weights).to(device))
