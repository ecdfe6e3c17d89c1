"""An exhaustive search in NumPy, for a process that has not loaded the compiled loops.

Loading them takes most of a second, this search of some thousand documents a few milliseconds. So
a process searches like this at first, until as much time has gone as loading takes; then the loops
answer in microseconds. Both find the same documents with the very same scores.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.interrupts import check_for_interrupts
from tamis.index.segment.quantize import numbers
from tamis.index.topk import TopK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.index.segment.loops.arrays import Records
    from tamis.index.vectors import SparseVectors

LOOPS = "tamis.index.segment.loops.search"
_MOST = 1 << 25  # entries of records that are read in a quarter of the time that loading takes

_read = 0  # entries, by all searches of this process


def import_loops() -> None:
    """Have every search from now on use the loops: for a process that is to answer many."""
    import_module(LOOPS)


def loops_spared(entries: int) -> bool:
    """Whether a search that reads so many entries of records is to do without the loops."""
    return LOOPS not in sys.modules and _read + entries <= _MOST


def search_all(
    queries: SparseVectors, k: int, records: Records, allowed: NDArray[np.bool_] | None
) -> tuple[TopK, NDArray[np.int64]]:
    """The k best documents of each query; arguments and result as `Segment.search`."""
    global _read
    _read += records.entries.size * len(queries)
    docs = np.full((len(queries), k), -1, np.int32)
    scores = np.zeros((len(queries), k), np.float32)
    work, postings = np.zeros((2, len(queries)), np.int64)
    for row in range(len(queries)):
        check_for_interrupts()
        sums, postings[row] = _sums(*queries.row(row), records)
        matched = np.flatnonzero(sums > 0 if allowed is None else (sums > 0) & allowed)
        found = sums[matched].astype(np.float32)
        best = np.lexsort((matched, -found))[:k]
        docs[row, : best.size], scores[row, : best.size] = matched[best], found[best]
        work[row] = matched.size
    return TopK(docs, scores, work), postings


def _sums(
    terms: NDArray[np.int32], weights: NDArray[np.float32], records: Records
) -> tuple[NDArray[np.float64], int]:
    """``[documents]`` float64 scores, summed over rising terms, and how many entries were added."""
    query = np.zeros(records.scales.size)
    query[terms] = weights.astype(np.float64) * records.scales[terms]
    of_entries = query[records.entries["term"]]
    held = np.flatnonzero(of_entries)
    products = of_entries[held] * numbers(records.entries["impact"])[held]
    docs = records.starts.searchsorted(held, "right") - 1
    sums = np.bincount(docs, products, minlength=records.starts.size - 1)
    return sums.astype(np.float64, copy=False), held.size  # of nothing they are integers
