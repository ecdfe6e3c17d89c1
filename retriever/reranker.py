"""What a second stage is to the rest of the package. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Reranker(Protocol):
    """Scores the documents that a first stage found for a query."""

    def score(
        self, query: str, documents: Sequence[str], *, first_stage: Sequence[float] | None = None
    ) -> NDArray[np.float32]:
        """The scores ``[documents]``, higher for better.

        Args:
            query: its text.
            documents: their texts.
            first_stage: the scores they were found with, which a reranker may take into account.
        """
