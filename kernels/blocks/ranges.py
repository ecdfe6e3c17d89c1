"""Which keys each query row reads: two ranges a block. Knows nothing of texts or models.

A packed batch is a row of lists, a list is a prefix, its documents and a query, laid end to end. A
block reads itself, causally or in full, and one range in full: documents read the prefix, the query
reads everything before it. So two ranges a block say the whole mask, and no mask is ever built.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The key ranges of blocks of query rows, and for each block of keys who reads it.

    Attributes:
        rows: ``[blocks, 6]`` int32 of q0, q1, a0, a1, b0, b1: query rows q0 to q1 read all keys a0
            to a1 and their own keys b0 to b1, as many as there are query rows.
        readers: ``[blocks, 2]`` int32: query rows that read keys b0 to b1 in full; 0, 0 for none.
        queries: rows of the query tensor; each is in exactly one block.
        keys: rows of the key tensor.
        causal: whether a row reads its own block only up to itself.
        window: farthest a row sees within its own block, in rows; None for the whole block.
    """

    rows: NDArray[np.int32]
    readers: NDArray[np.int32]
    queries: int
    keys: int
    causal: bool
    window: int | None = None
    _made: dict[object, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check what the kernels trust.

        Raises:
            ValueError: ranges leave the tensors, or the blocks do not cover the query rows.
        """
        rows, empty = self.rows, self.rows[:, 2] == self.rows[:, 3]
        ends = np.concatenate([[0], rows[:, 1]])
        inside = (rows >= 0).all() and (rows[:, 3] <= self.keys).all()
        inside = inside and (rows[:, 5] <= self.keys).all() and (rows[:, 2] <= rows[:, 3]).all()
        own = (rows[:, 1] - rows[:, 0] == rows[:, 5] - rows[:, 4]).all()
        before = (empty | (rows[:, 3] <= rows[:, 4]) | (rows[:, 2] >= rows[:, 5])).all()
        if not (inside and own and before and (ends[:-1] == rows[:, 0]).all()):
            raise ValueError(
                "expected blocks that follow each other and read ranges inside the keys, apart "
                "from their own; build them with block_ranges"
            )
        if ends[-1] != self.queries:
            raise ValueError(f"expected blocks of {self.queries} query rows, found {ends[-1]}")

    def cached(self, key: object, make: Callable[[], Made]) -> Made:
        """What ``make`` gives, made once: work lists, by device and tile, serve every layer."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def within(self, window: int | None) -> Ranges:
        """The same blocks reading only themselves, at most ``window`` rows away."""
        rows = self.rows.copy()
        rows[:, 2:4] = 0
        return replace(
            self, rows=rows, readers=np.zeros_like(self.readers), window=window, _made={}
        )


def block_ranges(
    bounds: NDArray[np.int32], lists: NDArray[np.int32], *, causal: bool, query_reads: bool = True
) -> Ranges:
    """The ranges of a packed batch whose queries and keys are the same rows.

    Args:
        bounds: ``[blocks + 1]`` first row of each block, from 0, rising.
        lists: ``[lists + 1]`` first block of each list, from 0; a list has at least a prefix and a
            query.
        causal: whether a row reads its own block only up to itself.
        query_reads: whether the query reads the documents, or the prefix alone.

    Raises:
        ValueError: a list has fewer than two blocks, or a block has no row.
    """
    if (np.diff(lists) < 2).any() or (np.diff(bounds) < 1).any():
        raise ValueError(
            "expected lists of a prefix, documents and a query, each of at least one token; "
            f"found block counts {np.diff(lists)[:4]} and lengths {np.diff(bounds)[:4]}"
        )
    own = np.stack([bounds[:-1], bounds[1:]], 1)  # [blocks, 2]
    full, readers = np.zeros_like(own), np.zeros_like(own)
    list_of = np.repeat(np.arange(len(lists) - 1), np.diff(lists))
    first, last = lists[:-1], lists[1:] - 1
    full[:] = own[first][list_of]
    full[first] = 0
    readers[first] = np.stack([bounds[first + 1], bounds[last + 1]], 1)
    if query_reads:
        full[last] = np.stack([bounds[first], bounds[last]], 1)
        readers[:] = np.where((readers == 0).all(1)[:, None], own[last][list_of], readers)
        readers[last] = 0
    rows = np.concatenate([own, full, own], 1).astype(np.int32)
    total = int(bounds[-1])
    return Ranges(rows, readers.astype(np.int32), total, total, causal)


def cached_ranges(prefix: int, documents: int, query: int, *, causal: bool) -> Ranges:
    """The ranges of one list whose documents are keys alone: only prefix and query are computed.

    Args:
        prefix: query rows 0 to ``prefix``, and as many keys.
        documents: keys after them, read by the query.
        query: the remaining rows and keys.
        causal: whether a row reads its own block only up to itself.
    """
    start, total = prefix + documents, prefix + documents + query
    rows = [[0, prefix, 0, 0, 0, prefix], [prefix, prefix + query, 0, start, start, total]]
    table = np.array(rows, np.int32)
    return Ranges(table, np.zeros((2, 2), np.int32), prefix + query, total, causal)
