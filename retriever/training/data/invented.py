"""Queries cut out of passages: runs of words, and bags of their rarer words. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.retriever.training.data.token_rows import TokenRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_TOKENS, MOST_TOKENS = 4, 48
BAG_SHARE = 0.5  # of the queries that are bags of words
KEPT_IN_BAG = 0.7  # of the rarer words of a run
COMMON = 1e-3  # share of all pieces above which a word is kept less often


def invent_queries(
    passages: TokenRows, continues: NDArray[np.bool_], seed: int
) -> tuple[TokenRows, NDArray[np.int32]]:
    """One query out of each passage that is long enough.

    Half of them are runs of whole words as they stand, half keep some of the run's words only.

    Args:
        passages: where queries are cut out.
        continues: ``[vocabulary]`` bool, pieces that go on with the word before them.
        seed: of the choices.

    Returns:
        The queries, and the passage of each.
    """
    draw = np.random.default_rng(seed)
    home = np.flatnonzero(passages.lengths > LEAST_TOKENS)
    size = LEAST_TOKENS + np.floor(
        (MOST_TOKENS + 1 - LEAST_TOKENS) * draw.random(len(home)) ** 2  # most are short
    ).astype(np.int64)
    size = np.minimum(size, passages.lengths[home])
    start = passages.offsets[home] + draw.integers(0, passages.lengths[home] - size + 1)
    offsets = np.concatenate([[0], np.cumsum(size)])
    row = np.repeat(np.arange(len(home)), size)
    entry = start[row] + np.arange(offsets[-1]) - offsets[row]
    ids = passages.ids[entry]
    kept = _whole_words(ids, row, continues) & _chosen_words(ids, row, continues, draw)
    counts = np.bincount(row[kept], minlength=len(home))
    some = counts > 0
    rows = TokenRows(np.concatenate([[0], np.cumsum(counts)]), ids[kept])
    return rows.take(np.flatnonzero(some)), home[some].astype(np.int32)


def _whole_words(
    ids: NDArray[np.int32], row: NDArray[np.int64], continues: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Leaves out the pieces at the start of a run that go on with a word before it."""
    starts = ~continues[ids]
    begun = np.cumsum(starts)  # words begun so far, over all runs
    first = np.searchsorted(row, row)  # where the run starts
    earlier: NDArray[np.int64] = (begun - starts)[first]
    return np.asarray(begun > earlier)


def _chosen_words(
    ids: NDArray[np.int32],
    row: NDArray[np.int64],
    continues: NDArray[np.bool_],
    draw: np.random.Generator,
) -> NDArray[np.bool_]:
    """All pieces of a run, or those of some of its words, the rarer the likelier."""
    frequency = np.bincount(ids, minlength=len(continues)) / max(len(ids), 1)
    runs = draw.random(row[-1] + 1 if len(row) else 0) >= BAG_SHARE
    starts = ~continues[ids]
    word = np.maximum(np.cumsum(starts) - 1, 0)
    rarity = np.minimum(1.0, np.sqrt(COMMON / np.maximum(frequency[ids], 1e-9)))
    lucky = draw.random(len(ids)) < KEPT_IN_BAG * rarity
    kept = np.zeros(word[-1] + 1 if len(word) else 0, bool)
    kept[word[starts]] = lucky[starts]
    return np.asarray(runs[row] | kept[word], bool)
