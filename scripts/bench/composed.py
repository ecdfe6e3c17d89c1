"""Composed vectors: more documents than there are texts, made of real vectors of sentence windows.

A document is the element-wise maximum of the vectors of two windows of near passages, of whose
terms some are dropped. Topics, near-duplicates and which weights go together are those of real
texts. A larger collection takes more passages, so that its world grows with it.

Every choice follows from the seed and the document's number alone: not from threads, nor from how
many documents are made at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tamis.index import SparseVectors
from tamis.index.errors import InputError
from tamis.index.files.system import usable_cores
from tamis.scripts.bench.loops import join, pairs, telling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CHUNK_ROWS = 100_000
TELLING = 3  # terms that a window is placed by


class Recipe(NamedTuple):
    """How documents are composed.

    Attributes:
        variants: documents made of each window.
        reach: how many places apart a window and its partner may be.
        kept: share of a window's terms that stay.
    """

    variants: int = 5
    reach: int = 16
    kept: float = 0.6


class World(NamedTuple):
    """Windows in an order in which near ones are near.

    Attributes:
        vectors: of the windows.
        passages: ``[windows]`` int64, the number of each window's passage.
    """

    vectors: SparseVectors
    passages: NDArray[np.int64]

    @staticmethod
    def ordered(vectors: SparseVectors, passages: NDArray[np.int64]) -> World:
        """Order by the most telling terms: those of the largest weight times rarity."""
        frequencies = np.bincount(vectors.terms, minlength=vectors.vocab_size)
        rarity = np.log(len(vectors) / np.maximum(frequencies, 1.0))
        best = np.full((len(vectors), TELLING), -1)
        telling(vectors.offsets, vectors.terms, vectors.weights, rarity, best)
        order = np.lexsort(best.T[::-1])
        return World(vectors.take(order), passages[order])

    def thinned(self, windows: int, seed: int) -> World:
        """About so many windows: those of passages drawn at random; all where there are fewer."""
        if windows >= len(self.vectors):
            return self
        draw = np.random.default_rng(seed).random(int(self.passages.max()) + 1)
        rows = np.flatnonzero(draw[self.passages] < windows / len(self.vectors))
        return World(self.vectors.take(rows), self.passages[rows])


def composed(world: World, documents: int, recipe: Recipe, seed: int) -> Iterator[SparseVectors]:
    """Documents in chunks of `CHUNK_ROWS`, made by all cores.

    Args:
        world: windows; a collection takes as many of its passages as the recipe's variants need.
        documents: how many.
        recipe: how.
        seed: of all choices.

    Raises:
        InputError: the world has fewer than two windows.
    """
    world = world.thinned(-(-documents // recipe.variants), seed)
    if len(world.vectors) < 2:
        raise InputError(f"expected two windows at least, found {len(world.vectors)}; give texts")
    firsts = iter(range(0, documents, CHUNK_ROWS))

    def chunk(first: int) -> SparseVectors:
        return _chunk(world, first, min(CHUNK_ROWS, documents - first), recipe, seed)

    with ThreadPoolExecutor(usable_cores()) as pool:
        while turn := list(islice(firsts, usable_cores())):
            yield from pool.map(chunk, turn)


def _chunk(world: World, first: int, rows: int, recipe: Recipe, seed: int) -> SparseVectors:
    vectors = world.vectors
    chosen = pairs(world.passages, first, rows, recipe.reach, seed)
    room = int((vectors.offsets[chosen + 1] - vectors.offsets[chosen]).sum())
    offsets = np.zeros(rows + 1, np.int64)
    terms, weights = np.empty(room, np.int32), np.empty(room, np.float32)
    least = np.uint64((1 - recipe.kept) * 2**64)
    arrays = (vectors.offsets, vectors.terms, vectors.weights)
    end = join(arrays, chosen, least, np.uint64(seed), first, (offsets, terms, weights))
    return SparseVectors.trusted(offsets, terms[:end], weights[:end], vectors.vocab_size)
