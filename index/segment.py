"""A segment: an immutable set of documents as posting lists, mapped from disk."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.loops.postings import add_scores
from tamis.index.loops.topk import take_best

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tamis.index.storage import FileEntry, Storage


class Segment:
    """Documents ``0 .. documents-1`` of one segment; safe to search from many threads."""

    def __init__(
        self, storage: Storage, folder: str, files: Mapping[str, FileEntry], documents: int
    ) -> None:
        def mapped(part: str) -> NDArray[Any]:
            name = f"{folder}/postings.{part}"
            return storage.map_array(name, files[name])

        self.documents = documents
        self._offsets: NDArray[np.int64] = mapped("offsets")
        self._docs: NDArray[np.int32] = mapped("docs")
        self._weights: NDArray[np.float32] = mapped("weights")
        self._local = threading.local()  # the totals of one thread's running query

    @property
    def vocab_size(self) -> int:
        """Number of terms with a (possibly empty) posting list."""
        return self._offsets.size - 1

    def search(
        self, terms: NDArray[np.int32], weights: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], int]:
        """The exact k best documents for one query.

        Args:
            terms: ``[n]`` int32, rising, below ``vocab_size``.
            weights: ``[n]`` float32.
            k: at least 1.

        Returns:
            ``(docs [found] int32, scores [found] float32, matched)``, best first.
        """
        docs, scores = np.empty(k, np.int32), np.empty(k, np.float32)
        totals = self._totals()
        add_scores(terms, weights, self._offsets, self._docs, self._weights, totals)
        found, matched = take_best(totals, docs, scores)
        return docs[:found], scores[:found], matched

    def weights_of(self, doc: int, terms: NDArray[np.int32]) -> NDArray[np.float32]:
        """The stored weights ``[n]`` of ``terms`` in one document, 0 where it lacks the term."""
        found = np.zeros(terms.size, np.float32)
        for i, term in enumerate(terms):
            start, stop = self._offsets[term], self._offsets[term + 1]
            at = start + np.searchsorted(self._docs[start:stop], doc)
            if at < stop and self._docs[at] == doc:
                found[i] = self._weights[at]
        return found

    def document_frequency(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many documents hold each of ``terms``: ``[n]`` int64."""
        return self._offsets[terms + 1] - self._offsets[terms]

    def _totals(self) -> NDArray[np.float64]:
        if not hasattr(self._local, "totals"):
            self._local.totals = np.zeros(self.documents, np.float64)
        totals: NDArray[np.float64] = self._local.totals
        return totals
