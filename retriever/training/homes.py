"""Homes: the passage that each query stands by, and what of others may be its hard negative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.retriever.training.batches import Hard
from tamis.retriever.training.device_rows import Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.retriever.training.data.training_data import Listed, Pairs
    from tamis.retriever.training.teachers import DenseTeacher

CHUNK = 256  # texts whose weights are dense at a time


class Homes:
    """Queries that negatives are wanted for, and the passage that each stands by.

    Attributes:
        queries: [H] int64, rising.
        passages: [H] int64, the first judged passage, or what the best candidate made of it.
    """

    def __init__(self, pairs: Pairs, listed: Listed) -> None:
        """Take the queries with a judged passage, and those with candidates."""
        kept = pairs.judged | np.isin(pairs.queries, listed.queries)
        order = np.flatnonzero(kept)
        order = order[np.argsort(~pairs.judged[order], kind="stable")]  # judged ones first
        queries, first = np.unique(pairs.queries[order], return_index=True)
        self.queries: NDArray[np.int64] = queries.astype(np.int64)
        self.passages: NDArray[np.int64] = pairs.passages[order][first].astype(np.int64)
        self._answers = _keys(pairs.queries[pairs.judged], pairs.passages[pairs.judged])

    def without_answers(self, found: NDArray[np.int64]) -> NDArray[np.int64]:
        """Passages [H, depth] with what answers the query, and its home, replaced by -1."""
        keys = _keys(np.broadcast_to(self.queries[:, None], found.shape), found)
        answers = np.isin(keys, self._answers) | (found == self.passages[:, None])
        return np.where(answers, -1, found)

    def without_false_negatives(
        self, found: NDArray[np.int64], teacher: DenseTeacher, margin: float
    ) -> NDArray[np.int64]:
        """Passages [H, depth] with what scores above ``margin`` of the home replaced by -1.

        Moreira et al., NV-Retriever (arXiv 2407.15831), there called TopK-PercPos.
        """
        device = teacher.passages.device
        parts = []
        for start in range(0, len(found), CHUNK):
            rows = slice(start, start + CHUNK)
            asked = teacher.queries[torch.from_numpy(self.queries[rows]).to(device)].float()
            with_home = np.concatenate([self.passages[rows, None], found[rows].clip(min=0)], 1)
            held = teacher.passages[torch.from_numpy(with_home).to(device)].float()
            scores = (held * asked[:, None, :]).sum(2)
            parts.append((scores[:, 1:] > margin * scores[:, :1]).cpu().numpy())
        return np.where(np.concatenate(parts), -1, found) if parts else found

    def groups(self, found: list[NDArray[np.int64]], device: torch.device) -> Hard:
        """Hard negatives out of passages [H, any], -1 for none, each once a query."""
        both = np.sort(np.concatenate(found, 1), 1)
        new = both >= 0
        new[:, 1:] &= both[:, 1:] != both[:, :-1]
        offsets = np.concatenate([[0], np.cumsum(new.sum(1))])
        candidates = (torch.from_numpy(part).to(device) for part in (offsets, both[new]))
        queries, homes = (
            torch.from_numpy(part).to(device) for part in (self.queries, self.passages)
        )
        return Hard(queries, homes, Ragged(*candidates))

    def listed(self, listed: Listed) -> NDArray[np.int64]:
        """The candidates of each query that came with the sources, [H, most], -1 for none."""
        at = np.searchsorted(self.queries, listed.queries)
        first = np.searchsorted(listed.queries, listed.queries)
        column = np.arange(len(at)) - first
        out = np.full((len(self.queries), int(column.max(initial=-1)) + 1), -1, np.int64)
        out[at, column] = listed.passages
        return out


def _keys(queries: Any, passages: Any) -> NDArray[np.int64]:  # noqa: ANN401  arrays of integers
    return (np.asarray(queries, np.int64) << 32) + np.asarray(passages, np.int64)
