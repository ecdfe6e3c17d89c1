"""The cached teacher: scores that came with the texts, such as a cross-encoder's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from tamis.retriever.training.data.training_data import Listed


class CachedScores:
    """Scores of some pairs of query and passage, found by their numbers."""

    def __init__(self, listed: Listed, passages: int, device: torch.device) -> None:
        """Sort the pairs that have a score.

        Args:
            listed: pairs; those whose score is not a number have none.
            passages: how many there are in all.
            device: where scores are looked up.
        """
        scored = np.isfinite(listed.scores)
        keys = listed.queries[scored].astype(np.int64) * passages + listed.passages[scored]
        order = keys.argsort(kind="stable")
        self._total = passages
        self._keys = torch.from_numpy(keys[order]).to(device)
        self._scores = torch.from_numpy(listed.scores[scored][order]).to(device)

    def scores(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """Scores ``[Q, P]`` float32 of rows by number.

        A pair without a score has the least of its query in the batch; a query without any, zeros.
        """
        wanted = queries[:, None] * self._total + passages[None, :]
        if len(self._keys) == 0:
            return torch.zeros(wanted.shape, device=wanted.device)
        at = torch.searchsorted(self._keys, wanted).clamp(max=len(self._keys) - 1)
        known = self._keys[at] == wanted
        scores = self._scores[at]
        least = scores.masked_fill(~known, torch.inf).amin(1, keepdim=True)
        least = torch.where(torch.isinf(least), 0.0, least)
        return torch.where(known, scores, least)
