"""What an answer costs: latency quantiles, active terms, the FLOPS measure, memory.

Knows nothing of relevance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.files.system import most_used_bytes
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.eval.ranker import Ranker
    from tamis.index.collection import Collection

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


def latencies(ranker: Ranker, queries: Sequence[str], k: int) -> dict[str, dict[str, float]]:
    """Milliseconds a query by stage and in total, one query after the other on one thread.

    The first query is answered once more beforehand, so that compilation and first page reads are
    not counted.
    """
    ranker.timed(queries[0], k)
    rows = [ranker.timed(query, k) for query in queries]
    stages = sorted({stage for row in rows for stage in row})
    columns = {stage: [row.get(stage, 0.0) for row in rows] for stage in stages}
    columns["total_ms"] = [sum(row.values()) for row in rows]
    return {stage: quantiles(values) for stage, values in columns.items()}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the mean, to four significant digits."""
    found = {name: float(np.quantile(values, at)) for name, at in QUANTILES.items()}
    return {name: float(f"{value:.4g}") for name, value in found.items()} | {
        "mean": float(f"{np.mean(values):.4g}")
    }


def flops(query_frequency: NDArray[np.float64], document_frequency: NDArray[np.float64]) -> float:
    """Expected multiplications of one query with one document: ``sum_t p_q(t) * p_d(t)``.

    Args:
        query_frequency: ``[terms]`` share of queries in which each term is active.
        document_frequency: ``[terms]`` share of documents in which it is.

    Source: Paria et al., "Minimizing FLOPs to Learn Efficient Sparse Representations" (ICLR 2020);
    reported so by Formal et al. (SPLADE, SIGIR 2021).
    """
    return float(query_frequency @ document_frequency)


def sparse_facts(collection: Collection, queries: Sequence[SparseVectors]) -> dict[str, Any]:
    """Index bytes, mean active terms of documents and queries, and the FLOPS measure."""
    terms, held = collection.index.frequencies()
    learned = learned_terms(collection)
    facts = {
        "index_bytes": collection.size_bytes,
        "index_bytes_per_document": round(collection.size_bytes / max(len(collection), 1), 1),
        "document_terms": _active(terms, held, learned, len(collection)),
    }
    if queries:
        asked, times = np.unique(queries[0].terms, return_counts=True)
        active = times / len(queries[0])
        present = collection.index.document_frequency(asked) / max(len(collection), 1)
        word = asked >= learned
        facts["query_terms"] = _active(asked, times, learned, len(queries[0]))
        facts["flops"] = {
            "learned": round(flops(active[~word], present[~word]), 4),
            "lexical": round(flops(active[word], present[word]), 4),
        }
    return facts


def learned_terms(collection: Collection) -> int:
    """Terms below this number are learned, the others words."""
    encoder = collection.settings.encoder
    return encoder.vocab_size if encoder is not None else 0


def documents(collection: Collection, step: int) -> SparseVectors:
    """The stored vectors of every ``step``-th document."""
    rows = [collection.index.row(doc) for doc in collection.index.live_docs()[::step].tolist()]
    pairs = (zip(terms.tolist(), weights.tolist(), strict=True) for terms, weights in rows)
    return SparseVectors.from_dicts(map(dict, pairs), collection.index.vocab_size)


def term_counts(of: str, vectors: SparseVectors, collection: Collection) -> dict[str, list[int]]:
    """How many terms of each channel every row has; channels without any are left out."""
    row_of = np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets))
    is_word = vectors.terms >= learned_terms(collection)
    counts = {
        f"learned terms of {of}": np.bincount(row_of[~is_word], minlength=len(vectors)),
        f"words of {of}": np.bincount(row_of[is_word], minlength=len(vectors)),
    }
    return {name: found.tolist() for name, found in counts.items() if found.any()}


def _active(
    terms: NDArray[np.int32], held: NDArray[np.int64], learned: int, rows: int
) -> dict[str, float]:
    """Mean number of active terms of a row, in each channel; 0 of no rows."""
    rows = max(rows, 1)
    return {
        "learned": round(float(held[terms < learned].sum()) / rows, 2),
        "lexical": round(float(held[terms >= learned].sum()) / rows, 2),
    }


def peak_memory_bytes() -> int:
    """The largest resident size this process has had."""
    return most_used_bytes()


def rounded(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Floats of a flat mapping to five significant digits."""
    return {
        key: float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in facts.items()
    }
