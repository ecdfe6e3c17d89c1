"""The k best of many scored documents, with a binary heap whose root is the worst kept."""

import numpy as np

from tamis.index.segment.loops.compiled import compiled


@compiled
def offer(docs, scores, found, doc, score):
    """Keep a document if it is among the k best so far.

    Equal scores keep the lower document number.

    Args:
        docs: ``[k]`` int32, changed in place.
        scores: ``[k]`` float32, changed in place.
        found: how many places are used.
        doc: document number.
        score: float32.

    Returns:
        How many places are used now.
    """
    if found < docs.size:
        docs[found], scores[found] = doc, score
        _sift_up(docs, scores, found)
        return found + 1
    if score > scores[0] or (score == scores[0] and doc < docs[0]):
        docs[0], scores[0] = doc, score
        _sift_down(docs, scores, 0, found)
    return found


@compiled
def sort_best(docs, scores, found):
    """Order what `offer` kept: falling scores, ties by rising document; the rest is emptied."""
    for last in range(found - 1, 0, -1):  # heap sort: the worst of the rest goes last
        _swap(docs, scores, 0, last)
        _sift_down(docs, scores, 0, last)
    for at in range(found, docs.size):
        docs[at], scores[at] = -1, np.float32(0)


@compiled
def _worse(docs, scores, a, b):
    return scores[a] < scores[b] or (scores[a] == scores[b] and docs[a] > docs[b])


@compiled
def _swap(docs, scores, a, b):
    docs[a], docs[b] = docs[b], docs[a]
    scores[a], scores[b] = scores[b], scores[a]


@compiled
def _sift_up(docs, scores, at):
    while at > 0 and _worse(docs, scores, at, (at - 1) // 2):
        _swap(docs, scores, at, (at - 1) // 2)
        at = (at - 1) // 2


@compiled
def _sift_down(docs, scores, at, size):
    while True:
        child = 2 * at + 1
        if child + 1 < size and _worse(docs, scores, child + 1, child):
            child += 1
        if child >= size or not _worse(docs, scores, child, at):
            return
        _swap(docs, scores, at, child)
        at = child
