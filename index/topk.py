"""TopK: the answers to a batch of queries, in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """The best documents of each query.

    Attributes:
        docs: ``[queries, K]`` int32 document numbers, -1 where fewer than K matched.
        scores: ``[queries, K]`` float32, falling; equal scores by rising document number.
            The places without a document hold 0.
        work: ``[queries]`` int64, documents scored in full.
    """

    docs: NDArray[np.int32]
    scores: NDArray[np.float32]
    work: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.docs)

    def row(self, query: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Documents and scores of one query, without the empty places."""
        found = int((self.docs[query] >= 0).sum())
        return self.docs[query, :found], self.scores[query, :found]
