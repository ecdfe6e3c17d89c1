"""Synthetic learned sparse vectors for benchmarks of the search: seeded, in the shape of SPLADE's.

Terms follow Zipf's law; documents and queries mix a few of 2,048 topics with common terms. The
defaults give about 119 terms a document and 45 a query, of which the ten strongest hold 70 % of
the weight.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from tamis.index import SparseVectors
from tamis.index.files.system import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOCAB_SIZE = 30_522
TOPICS, TOPIC_TERMS, FAMILY, FAMILY_TERMS = 2048, 320, 16, 1600
TOPIC_SHARE = 0.72  # of a vector's terms; the others are drawn from the whole vocabulary
CHUNK_ROWS = 20_000
PART_ROWS = 200_000  # drawn by a process at a time


class Topics:
    """Which terms go together, and how often each is drawn."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        popularity = 1 / (np.arange(1, VOCAB_SIZE + 1) + 30) ** 0.95
        self.by_rank = rng.permutation(VOCAB_SIZE).astype(np.int32)  # the common terms first
        self.common = np.cumsum(popularity / popularity.sum())
        within = 1 / (np.arange(1, TOPIC_TERMS + 1) + 4) ** 0.9
        self.within = np.cumsum(within / within.sum())
        self.terms = np.empty((TOPICS, TOPIC_TERMS), np.int32)
        taste = np.empty(VOCAB_SIZE)
        taste[self.by_rank] = 0.62 * np.log(popularity)
        for topic in range(TOPICS):
            if topic % FAMILY == 0:  # the topics of a family share their terms
                family = _draw(rng, taste, np.arange(VOCAB_SIZE), FAMILY_TERMS)
            self.terms[topic] = rng.permutation(_draw(rng, taste, family, TOPIC_TERMS))

    def vectors(self, rows: int, mean_terms: float, spread: float, seed: int) -> SparseVectors:
        """``rows`` vectors of about ``mean_terms`` terms; less ``spread`` makes few of them strong.

        Args:
            rows: how many.
            mean_terms: terms drawn for each; some fall together.
            spread: shape of the gamma distribution of weights.
            seed: of the draw.
        """
        rng = np.random.default_rng(seed)
        sizes = [min(CHUNK_ROWS, rows - first) for first in range(0, rows, CHUNK_ROWS)]
        return SparseVectors.concatenate(
            [self._chunk(rng, size, mean_terms, spread) for size in sizes]
        )

    def _chunk(
        self, rng: np.random.Generator, rows: int, mean_terms: float, spread: float
    ) -> SparseVectors:
        lengths = np.maximum(8, rng.normal(mean_terms, mean_terms / 4, rows)).astype(np.int64)
        row_of = np.repeat(np.arange(rows), lengths)
        nnz = row_of.size
        first = (TOPICS * rng.random(rows) ** 1.3).astype(np.int64)
        second = first // FAMILY * FAMILY + rng.integers(0, FAMILY, rows)
        topic = np.where(rng.random(nnz) < 0.7, first[row_of], second[row_of])
        topical = rng.random(nnz) < TOPIC_SHARE
        from_topic = self.terms[topic, _ranks(rng, self.within, nnz)]
        terms = np.where(topical, from_topic, self.by_rank[_ranks(rng, self.common, nnz)])
        strength = np.where(topical, 0.42, 0.25) * rng.gamma(spread, size=nnz)
        return _merged(rows, row_of * VOCAB_SIZE + terms, np.minimum(strength + 0.02, 3.2))


def _draw(
    rng: np.random.Generator, taste: NDArray[np.float64], among: NDArray[np.integer], count: int
) -> NDArray[np.integer]:
    """``count`` different terms, the likelier the higher their taste (Gumbel's trick)."""
    return among[np.argpartition(-(taste[among] + rng.gumbel(size=among.size)), count)[:count]]


def _ranks(rng: np.random.Generator, cumulated: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    return np.minimum(np.searchsorted(cumulated, rng.random(n)), cumulated.size - 1)


def _merged(rows: int, keys: NDArray[np.int64], weights: NDArray[np.float64]) -> SparseVectors:
    """Rows of vectors from (row, term) keys; a term that was drawn twice keeps one weight."""
    kept, places = np.unique(keys, return_index=True)
    offsets = np.searchsorted(kept, np.arange(rows + 1) * VOCAB_SIZE)
    terms = (kept % VOCAB_SIZE).astype(np.int32)
    return SparseVectors(offsets, terms, weights[places].astype(np.float32), VOCAB_SIZE)


def drawn_side_by_side(
    topics: Topics, rows: int, mean_terms: float, spread: float, seed: int
) -> SparseVectors:
    """`Topics.vectors` by all cores: parts of 200,000 rows, each with a seed of its own."""
    parts = range(0, rows, PART_ROWS)
    sizes = [min(PART_ROWS, rows - first) for first in parts]
    seeds = [seed + first for first in parts]
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        return SparseVectors.concatenate(
            list(pool.map(topics.vectors, sizes, repeat(mean_terms), repeat(spread), seeds))
        )
