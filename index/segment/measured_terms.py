"""MeasuredTerms: the terms of vectors, counted. Room goes with how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.index.vectors import SparseVectors

_FIRST_ROOM = 1 << 10  # terms


class MeasuredTerms:
    """How many documents hold each term, and its largest weight. One thread at a time."""

    def __init__(self) -> None:
        self._count = 0
        self._held = np.zeros(0, np.int32)  # terms in the order in which they came
        self._frequencies = np.zeros(0, np.int64)
        self._largest = np.zeros(0, np.float32)
        self._slots = np.zeros(0, np.int32)

    def take(self, vectors: SparseVectors) -> None:
        """Count the terms of further documents."""
        from tamis.index.segment.loops.lists import measure

        self._make_room(self._count + min(vectors.nnz, vectors.vocab_size))
        self._count = measure(
            vectors.terms,
            vectors.weights,
            self._slots,
            self._held,
            self._count,
            self._frequencies,
            self._largest,
        )

    def rising(self) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]:
        """The terms, rising, how many documents hold each, and its largest weight."""
        order = np.argsort(self._held[: self._count])
        return self._held[order], self._frequencies[order], self._largest[order]

    def _make_room(self, terms: int) -> None:
        """For so many terms; slots are at most half taken."""
        if terms <= self._held.size:
            return
        from tamis.index.segment.loops.lists import fill_slots

        room = max(_FIRST_ROOM, 1 << (terms - 1).bit_length())
        self._held, self._frequencies, self._largest = (
            np.concatenate([array, np.zeros(room - array.size, array.dtype)])
            for array in (self._held, self._frequencies, self._largest)
        )
        self._slots = np.full(2 * room, -1, np.int32)
        fill_slots(self._slots, self._held[: self._count])
