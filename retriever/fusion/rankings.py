"""Joining rankings and feeding answers back into queries: pure functions of scores and vectors.

A ranking is a mapping of document id to score, higher is better. Knows nothing of indexes, models
or files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Ranking = Mapping[str, float]


def rrf(
    rankings: Sequence[Ranking], *, k: int = 60, weights: Sequence[float] | None = None
) -> dict[str, float]:
    """Reciprocal rank fusion: a document scores the sum of ``weight / (k + rank)``.

    Args:
        rankings: of one query; a document that a ranking lacks gets nothing from it.
        k: damps the first ranks; 60 in Cormack, Clarke and Büttcher (SIGIR 2009).
        weights: one a ranking, 1 each by default.

    Returns:
        Fused scores, best first; equal scores by document id.

    Raises:
        InputError: there are not as many weights as rankings.
    """
    weights = _checked_weights(rankings, weights)
    fused: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, doc_id in enumerate(_best_first(ranking), 1):
            fused[doc_id] = fused.get(doc_id, 0.0) + weight / (k + rank)
    return _best_first(fused)


def weighted_sum(
    rankings: Sequence[Ranking],
    weights: Sequence[float],
    *,
    normalise: Callable[[Ranking], Ranking] | None = None,
) -> dict[str, float]:
    """The weighted sum of normalised scores (`min_max` unless another function is given).

    A document that a ranking lacks counts 0 there, or as the ranking's lowest score where that is
    below 0: it never gets what only others have, also where a ranking has one document or equal
    scores.

    Returns:
        Fused scores, best first; equal scores by document id.

    Raises:
        InputError: there are not as many weights as rankings.
    """
    weights = _checked_weights(rankings, weights)
    scaled = [(normalise or min_max)(ranking) for ranking in rankings]
    fused = dict.fromkeys((doc_id for ranking in rankings for doc_id in ranking), 0.0)
    for ranking, weight in zip(scaled, weights, strict=True):
        absent = min(0.0, min(ranking.values(), default=0.0))
        for doc_id in fused:
            fused[doc_id] += weight * ranking.get(doc_id, absent)
    return _best_first(fused)


def min_max(ranking: Ranking) -> dict[str, float]:
    """Scores moved and stretched to span 0 to 1; all 1 where they are equal."""
    if not ranking:
        return {}
    low, high = min(ranking.values()), max(ranking.values())
    if high == low:
        return dict.fromkeys(ranking, 1.0)
    return {doc_id: (score - low) / (high - low) for doc_id, score in ranking.items()}


def rocchio(
    query: NDArray[np.float32],
    feedback: NDArray[np.float32],
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
) -> NDArray[np.float32]:
    """Dense pseudo-relevance feedback: ``alpha * query + beta * mean(feedback)``.

    Args:
        query: ``[dimensions]``.
        feedback: ``[documents, dimensions]``, vectors of the first answers; none leaves the query.
        alpha: weight of the query.
        beta: weight of the feedback.

    Source: Li, Mourad, Zhuang, Koopman and Zuccon (TOIS 2023), vector PRF after Rocchio (1971).
    """
    if not len(feedback):
        return query
    return np.asarray(alpha * query + beta * feedback.mean(axis=0), np.float32)


def sparse_rocchio(
    query: SparseVectors,
    feedback: SparseVectors,
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
    terms: int = 64,
) -> SparseVectors:
    """Sparse pseudo-relevance feedback: Rocchio, keeping every term of the query.

    Feedback is scaled to the query's length first, for their weights have different scales.

    Args:
        query: one row.
        feedback: vectors of the first answers, in the query's vocabulary; no row leaves the query.
        alpha: weight of the query.
        beta: weight of the feedback.
        terms: most terms to add.

    Returns:
        One row.

    Raises:
        InputError: ``query`` is not one row, or the vocabularies differ.
    """
    if len(query) != 1 or query.vocab_size != feedback.vocab_size:
        raise InputError(
            f"expected one query row over {feedback.vocab_size} terms, found {len(query)} rows "
            f"over {query.vocab_size}; encode query and feedback with the same encoder"
        )
    if not feedback.nnz or not query.nnz:
        return query
    held = np.union1d(query.terms, feedback.terms)
    own, weights = held.searchsorted(query.terms), query.weights
    total = np.bincount(held.searchsorted(feedback.terms), feedback.weights, held.size)
    mean = total / len(feedback)
    mean *= beta * np.linalg.norm(weights) / np.linalg.norm(mean)
    added = mean.copy()
    added[own] = 0
    mixed = np.zeros_like(mean)
    heaviest = np.argsort(-added, kind="stable")[:terms]
    mixed[heaviest] = added[heaviest]
    mixed[own] = alpha * weights + mean[own]
    kept = np.flatnonzero(mixed > 0)
    return SparseVectors(
        np.array([0, kept.size]), held[kept], mixed[kept].astype(np.float32), query.vocab_size
    )


def _checked_weights(
    rankings: Sequence[Ranking], weights: Sequence[float] | None
) -> Sequence[float]:
    weights = [1.0] * len(rankings) if weights is None else weights
    if len(weights) != len(rankings):
        raise InputError(
            f"expected one weight a ranking, found {len(rankings)} rankings and {len(weights)} "
            "weights; give as many"
        )
    return weights


def _best_first(ranking: Ranking) -> dict[str, float]:
    return dict(sorted(ranking.items(), key=lambda pair: (-pair[1], pair[0])))
