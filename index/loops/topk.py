"""Selecting the k best of many scores with a binary heap."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def take_best(totals, best_docs, best_scores):
    """Move the best totals into the results, and set all totals back to zero.

    Equal scores keep the lower document number: documents come in rising order, and a later one
    must be better to enter.

    Args:
        totals: ``[documents]`` float64, zero where nothing matched; zero afterwards.
        best_docs: ``[k]`` int32, written; the first ``found`` places are used.
        best_scores: ``[k]`` float32, written: falling, ties by rising document.

    Returns:
        ``(found, matched)``: how many results there are, how many documents matched.
    """
    k, found, matched = best_docs.size, 0, 0
    for doc in range(totals.size):
        if totals[doc] > 0.0:
            matched += 1
            score = np.float32(totals[doc])
            totals[doc] = 0.0
            if found < k:
                best_docs[found], best_scores[found] = doc, score
                found += 1
                _sift_up(best_docs, best_scores, found - 1)
            elif score > best_scores[0]:
                best_docs[0], best_scores[0] = doc, score
                _sift_down(best_docs, best_scores, 0, found)
    for last in range(found - 1, 0, -1):  # heap sort: the worst of the rest goes last
        _swap(best_docs, best_scores, 0, last)
        _sift_down(best_docs, best_scores, 0, last)
    return found, matched


@njit(cache=True, nogil=True)
def _worse(docs, scores, a, b):
    return scores[a] < scores[b] or (scores[a] == scores[b] and docs[a] > docs[b])


@njit(cache=True, nogil=True)
def _swap(docs, scores, a, b):
    docs[a], docs[b] = docs[b], docs[a]
    scores[a], scores[b] = scores[b], scores[a]


@njit(cache=True, nogil=True)
def _sift_up(docs, scores, at):
    while at > 0 and _worse(docs, scores, at, (at - 1) // 2):
        _swap(docs, scores, at, (at - 1) // 2)
        at = (at - 1) // 2


@njit(cache=True, nogil=True)
def _sift_down(docs, scores, at, size):
    while True:
        child = 2 * at + 1
        if child + 1 < size and _worse(docs, scores, child + 1, child):
            child += 1
        if child >= size or not _worse(docs, scores, child, at):
            return
        _swap(docs, scores, at, child)
        at = child
