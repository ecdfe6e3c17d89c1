"""The k best of many scored documents: by a binary heap whose root is the worst kept, or by a sort.

For many results a sort by digits takes a tenth of the heap's time, which misses its branches.
"""

import numpy as np

from tamis.index.segment.loops.compiled import compiled

DEEP = 64  # results from which on all scores are sorted
_DIGIT_BITS = 11
_SCORE_BITS = 31  # of a positive float32


@compiled
def keep_best(docs, scores, best_docs, best_scores):
    """Keep the k best of scored documents, by falling scores, ties by rising document.

    Args:
        docs: ``[n]`` int32; for `DEEP` results or more they rise.
        scores: ``[n]`` float32, none below 0; documents that score 0 are left out.
        best_docs: ``[k]`` int32, written.
        best_scores: ``[k]`` float32, written.
    """
    kept = 0
    if best_docs.size < DEEP:
        for i in range(docs.size):
            if scores[i] > 0.0:
                kept = offer(best_docs, best_scores, kept, docs[i], scores[i])
        sort_best(best_docs, best_scores, kept)
        return
    bits, keys = scores.view(np.uint32), np.empty(docs.size, np.uint64)
    for i in range(docs.size):
        if scores[i] > 0.0:
            keys[kept] = (np.uint64(~bits[i]) << np.uint64(32)) | np.uint64(i)
            kept += 1
    keys = _sorted(keys[:kept], 32, 32 + _SCORE_BITS)
    for at in range(best_docs.size):
        place = np.int64(keys[at] & np.uint64(0xFFFFFFFF)) if at < kept else -1
        best_docs[at] = docs[place] if place >= 0 else -1
        best_scores[at] = scores[place] if place >= 0 else 0.0


@compiled
def sort_documents(docs, documents):
    """Put some of ``documents`` documents, ``[n]`` int32, in rising order."""
    last = 0
    while documents >> last:
        last += 1
    keys = _sorted(docs.astype(np.uint64), 0, last)
    for i in range(docs.size):
        docs[i] = keys[i]


@compiled
def _sorted(keys, first, last):
    """Keys by their bits from ``first`` up to ``last``, equal ones as they were (radix sort)."""
    other, ends = np.empty_like(keys), np.empty(1 << _DIGIT_BITS, np.int64)
    mask = np.uint64(ends.size - 1)
    for shift in range(first, last, _DIGIT_BITS):
        ends[:] = 0
        for key in keys:
            ends[(key >> np.uint64(shift)) & mask] += 1
        end = 0
        for digit in range(ends.size):
            ends[digit], end = end, end + ends[digit]
        for key in keys:
            digit = (key >> np.uint64(shift)) & mask
            other[ends[digit]] = key
            ends[digit] += 1
        keys, other = other, keys
    return keys


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
