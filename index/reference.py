"""Exhaustive search in plain NumPy: the truth that every other search is tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.index.topk import TopK

if TYPE_CHECKING:
    from tamis.index.vectors import SparseVectors


def search(documents: SparseVectors, queries: SparseVectors, k: int) -> TopK:
    """Score every document against every query.

    A score is the dot product summed in float64 and rounded once to float32. A document that
    shares no term with the query does not match.
    """
    row_of = np.repeat(np.arange(len(documents)), np.diff(documents.offsets))  # [nnz]
    held, places = np.unique(documents.terms, return_inverse=True)  # whatever their numbers are
    docs = np.full((len(queries), k), -1, np.int32)
    scores = np.zeros((len(queries), k), np.float32)
    work = np.zeros(len(queries), np.int64)
    for q in range(len(queries)):
        query = np.zeros(held.size)
        terms, weights = (part[np.isin(queries.row(q)[0], held)] for part in queries.row(q))
        query[held.searchsorted(terms)] = weights
        products = documents.weights * query[places]
        total = np.bincount(row_of, products, minlength=len(documents)).astype(np.float32)
        matched = np.flatnonzero(np.bincount(row_of, products > 0, minlength=len(documents)))
        best = matched[np.lexsort((matched, -total[matched]))][:k]
        docs[q, : best.size], scores[q, : best.size] = best, total[best]
        work[q] = matched.size
    return TopK(docs, scores, work)
