"""An order in which documents with like vectors are near: balanced two-means, again and again.

A range of documents is split where their products with one direction fall below the median; the
direction leads from the mean of one half of a sample to the mean of the other. Weights are squared
first. The order comes from the vectors alone, and is the same however many threads work on it.
"""

import numpy as np

from tamis.index.segment.loops.compiled import compiled
from tamis.index.segment.loops.impacts import number_of

SAMPLE = 1024  # documents that a direction is made of
_ROUNDS = 3  # of making halves of the sample, and a direction of the halves
_TRIES = 16  # documents among which the one least like the first is looked for


@compiled
def bisect(records, order, least, direction):
    """Order a range of documents down to ranges of ``least``.

    Args:
        records: `Records`.
        order: ``[n]`` int32 documents, rearranged.
        least: documents of a range that is not split.
        direction: ``[vocab_size]`` float32, all zero before and after.
    """
    stack = [(0, order.size)]
    while len(stack):
        first, last = stack.pop()
        if last - first > least:
            middle = first + split(records, order[first:last], least, direction)
            stack.append((middle, last))
            stack.append((first, middle))


@compiled
def split(records, docs, least, direction):
    """Bring the documents of one half to the front; how many, a multiple of ``least``.

    Args as of `bisect`, of a range of more than ``least`` documents.
    """
    size = min(docs.size, SAMPLE)
    sample, products = np.empty(size, np.int32), np.empty(docs.size, np.float32)
    for i in range(size):
        sample[i] = docs[i * docs.size // size]
    _learn(records, sample, products, direction)
    _multiply(records, docs, direction, products)
    for doc in sample:
        _wipe(records, doc, direction)
    half = (docs.size + least - 1) // least // 2 * least
    _part(products, docs, half)
    return half


@compiled
def _learn(records, sample, products, direction):
    """The direction between the halves of a sample."""
    first = sample[sample.size // 2]
    _add(records, first, 1.0, direction)
    _multiply(records, sample, direction, products)
    other = -1
    for i in range(_TRIES):
        at = i * sample.size // _TRIES
        if sample[at] != first and (other < 0 or products[at] < products[other]):
            other = at
    if other >= 0:
        _add(records, sample[other], -1.0, direction)
    for _ in range(_ROUNDS):
        _multiply(records, sample, direction, products)
        for doc in sample:
            _wipe(records, doc, direction)
        half = sample.size // 2
        _part(products, sample, half)
        for i in range(sample.size):
            share = -1.0 / half if i < half else 1.0 / (sample.size - half)
            _add(records, sample[i], share, direction)


@compiled
def _add(records, doc, factor, direction):
    for at in range(np.uint64(records.starts[doc]), np.uint64(records.starts[doc + 1])):
        entry = records.entries[at]
        direction[entry.term] += np.float32(factor) * _square(entry, records.scales)


@compiled
def _square(entry, scales):
    """The square of a weight: what is alike in strong terms is found by the same queries."""
    weight = scales[entry.term] * np.float32(number_of(entry.impact))
    return weight * weight


@compiled
def _wipe(records, doc, direction):
    for at in range(np.uint64(records.starts[doc]), np.uint64(records.starts[doc + 1])):
        direction[records.entries[at].term] = 0.0


@compiled
def _multiply(records, docs, direction, products):
    """Each document's product with the direction: ``products[: docs.size]``."""
    for i in range(docs.size):
        total = np.float32(0.0)
        start, stop = records.starts[docs[i]], records.starts[docs[i] + 1]
        for at in range(np.uint64(start), np.uint64(stop)):
            entry = records.entries[at]
            total += direction[entry.term] * _square(entry, records.scales)
        products[i] = total


@compiled
def _part(keys, docs, count):
    """Bring the ``count`` documents of the least keys to the front (Hoare's selection)."""
    first, last = 0, docs.size - 1
    while first < last:
        a, b, c = keys[first], keys[(first + last) // 2], keys[last]
        pivot = max(min(a, b), min(max(a, b), c))
        low, high = first, last
        while low <= high:
            while keys[low] < pivot:
                low += 1
            while keys[high] > pivot:
                high -= 1
            if low <= high:
                keys[low], keys[high] = keys[high], keys[low]
                docs[low], docs[high] = docs[high], docs[low]
                low += 1
                high -= 1
        if count <= high:
            last = high
        elif count >= low:
            first = low
        else:
            return
