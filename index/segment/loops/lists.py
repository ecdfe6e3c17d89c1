"""Building inverted lists from the documents' records, one window at a time."""

import numpy as np

from tamis.index.segment.loops.arrays import IMAGE_MAX, LEVEL_IMAGES, LEVELS, WINDOW
from tamis.index.segment.loops.compiled import compiled


@compiled
def measure(terms, weights, frequencies, largest):
    """Count each term's documents and find its largest weight.

    Args:
        terms: ``[nnz]`` int32.
        weights: ``[nnz]`` float32.
        frequencies: ``[vocab_size]`` int64, changed in place.
        largest: ``[vocab_size]`` float32, changed in place.
    """
    for at in range(terms.size):
        frequencies[terms[at]] += 1
        largest[terms[at]] = max(largest[terms[at]], weights[at])


@compiled
def image_of(entry, scale, step):
    """A stored weight in steps of its term, rounded up: 1 to 255."""
    weight = np.float64(entry.impact) * scale
    return np.uint8(min(IMAGE_MAX, max(1, np.int64(np.ceil(weight / step)))))


@compiled
def count_slices(records, rows, first, last, slices):
    """Count a window's postings by row: ``slices[row + 1]``.

    Args:
        records: `Records`.
        rows: ``[vocab_size]`` int32.
        first: the window's first document.
        last: the one after its last.
        slices: ``[rows + 1]`` int64, changed in place.
    """
    for at in range(records.starts[first], records.starts[last]):
        row = rows[records.entries[at].term]
        if row >= 0:
            slices[row + 1] += 1


@compiled
def fill_window(records, steps, rows, first, last, cursors, postings):
    """Put a window's common postings in their places, in the order of documents.

    Args:
        records: `Records`.
        steps: ``[vocab_size]`` float32.
        rows: ``[vocab_size]`` int32.
        first: the window's first document.
        last: the one after its last.
        cursors: ``[rows]`` int64, where each slice goes on; changed in place.
        postings: ``[common postings]`` POSTING, written.
    """
    for doc in range(first, last):
        for at in range(records.starts[doc], records.starts[doc + 1]):
            entry = records.entries[at]
            row = rows[entry.term]
            if row >= 0:
                image = image_of(entry, records.scales[entry.term], steps[entry.term])
                postings[cursors[row]].place = doc - first
                postings[cursors[row]].image = image
                cursors[row] += 1


@compiled
def sort_slices(postings, base, slices):
    """Bring the strongest postings of each slice of a window to its front; else keep the order.

    Args:
        postings: ``[common postings]`` POSTING, changed in place.
        base: where the window begins.
        slices: ``[rows + 1]`` int64, where each slice begins from there.
    """
    starts = np.empty(IMAGE_MAX + 2, np.int64)  # by 255 - image
    aside = np.empty(WINDOW, postings.dtype)
    for row in range(slices.size - 1):
        begin, end = base + slices[row], base + slices[row + 1]
        starts[:] = 0
        for at in range(begin, end):
            aside[at - begin] = postings[at]
            starts[IMAGE_MAX - postings[at].image + 1] += 1
        for image in range(IMAGE_MAX):
            starts[image + 1] += starts[image]
        for i in range(end - begin):
            at = IMAGE_MAX - aside[i].image
            postings[begin + starts[at]] = aside[i]
            starts[at] += 1


@compiled
def count_weaker(postings, bases, slices):
    """Count each row's postings by level: ``weaker`` of `Lists`.

    Args:
        postings: ``[common postings]`` POSTING.
        bases: ``[windows + 1]`` int64.
        slices: ``[windows, rows + 1]`` uint32.
    """
    weaker = np.zeros((slices.shape[1] - 1, LEVELS), np.uint32)
    for window in range(slices.shape[0]):
        for row in range(slices.shape[1] - 1):
            begin, end = slices[window, row], slices[window, row + 1]
            for at in range(bases[window] + begin, bases[window] + end):
                weaker[row, (postings[at].image - 1) // LEVEL_IMAGES] += 1
    for level in range(1, LEVELS):
        weaker[:, level] += weaker[:, level - 1]
    return weaker


@compiled
def fill_rare(records, steps, rows, cursors, postings):
    """Put all rare postings in their places, in the order of documents.

    Args:
        records: `Records`.
        steps: ``[vocab_size]`` float32.
        rows: ``[vocab_size]`` int32.
        cursors: ``[vocab_size]`` int64, where each list goes on; changed in place.
        postings: ``[rare postings]`` RARE_POSTING, written.
    """
    for doc in range(records.starts.size - 1):
        for at in range(records.starts[doc], records.starts[doc + 1]):
            entry = records.entries[at]
            if rows[entry.term] < 0:
                to = cursors[entry.term]
                postings[to].doc = doc
                postings[to].image = image_of(entry, records.scales[entry.term], steps[entry.term])
                cursors[entry.term] += 1
