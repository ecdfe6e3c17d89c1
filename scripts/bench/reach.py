"""What a search keeps of its promises: the recall that is reached, full results under filters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.segment.calibration import RECALLS, SAMPLES, recall_by_score
from tamis.index.segment.segment import EXACT

if TYPE_CHECKING:
    from tamis.index import Index, SparseVectors

SHARES = (1.0, 0.5, 0.05, 0.005, 0.0005)  # of all documents, which a filter allows
_ONE_SIDED_95 = 1.645  # standard errors


def recalls(index: Index, queries: SparseVectors) -> list[dict[str, Any]]:
    """The recall reached for each that can be asked, by score, so that ties are neutral.

    Args:
        index: one with a calibration.
        queries: which did not calibrate it.

    Returns:
        Rows with the mean, its lower bound (one-sided, 95 %) and the 5th percentile of queries.
    """
    rows = []
    for k in SAMPLES:
        truth = index.search(queries, k, exact=True)
        for asked in RECALLS:
            found = index.search(queries, k, recall=asked)
            reached = recall_by_score(found.scores, truth.scores)
            bound = reached.mean() - _ONE_SIDED_95 * reached.std() / np.sqrt(reached.size)
            rows.append(
                {
                    "k": k,
                    "asked": asked,
                    "reached": round(float(reached.mean()), 4),
                    "at_least": round(float(bound), 4),
                    "percentile_5": round(float(np.percentile(reached, 5)), 4),
                }
            )
    return rows


def filtered(
    index: Index, queries: SparseVectors, k: int, repeats: int = 3
) -> list[dict[str, Any]]:
    """Time exact search under filters that allow random documents of an index of one segment.

    Args:
        index: of one segment.
        queries: to answer, all in one call.
        k: results wanted.
        repeats: of which the fastest counts.

    Returns:
        Rows with the share allowed, the processor time and the share of queries with k results.
    """
    (part,) = index.parts
    draws = np.random.default_rng(0).random(part.entry.documents)
    rows = []
    for share in SHARES:
        allowed, least = draws < share, np.inf
        for _ in range(repeats):
            began = time.process_time_ns()
            found, _ = part.search(queries, k, EXACT, 1, None if share == 1 else allowed)
            least = min(least, (time.process_time_ns() - began) / 1000 / len(queries))
        full = float((found.docs[:, -1] >= 0).mean())
        rows.append({"allowed": share, "cpu_us_per_query": round(least, 1), "full": full})
    return rows
