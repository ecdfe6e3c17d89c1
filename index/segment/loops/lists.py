"""Building inverted lists from the documents' records, one window at a time."""

import numpy as np

from tamis.index.segment.loops.arrays import IMAGE_MAX, LEVEL_IMAGES, LEVELS, WINDOW
from tamis.index.segment.loops.compiled import compiled
from tamis.index.segment.loops.impacts import number_of

HASH_FACTOR = (
    2654435769  # 2**32 over the golden ratio: the bits of a product from the 15th are mixed
)
HASH_SHIFT = 15


@compiled
def slot_of(term, slots, held):
    """Where a term's place stands among slots, or the free slot where it is to stand."""
    slot = (np.int64(term) * HASH_FACTOR >> HASH_SHIFT) & (slots.size - 1)
    while slots[slot] >= 0 and held[slots[slot]] != term:
        slot = (slot + 1) & (slots.size - 1)
    return slot


@compiled
def fill_slots(slots, held):
    """Put the places of terms into slots that are all free."""
    for place in range(held.size):
        slots[slot_of(held[place], slots, held)] = place


@compiled
def measure(terms, weights, slots, held, count, frequencies, largest):
    """Count each term's documents and find its largest weight; how many terms there are now.

    Args:
        terms: ``[nnz]`` int32.
        weights: ``[nnz]`` float32.
        slots: ``[a power of 2]`` int32, the place of the term that belongs there, or -1; more
            than twice as many as terms. Changed in place, as are all that follow.
        held: ``[room]`` int32, the terms by place.
        count: how many there are.
        frequencies: ``[room]`` int64, by place.
        largest: ``[room]`` float32, by place.
    """
    for at in range(terms.size):
        slot = slot_of(terms[at], slots, held)
        if slots[slot] < 0:
            slots[slot] = count
            held[count] = terms[at]
            count += 1
        place = slots[slot]
        frequencies[place] += 1
        largest[place] = max(largest[place], weights[at])
    return count


@compiled
def image_of(entry, scale, step):
    """A stored weight in steps of its term, rounded up: 1 to 255."""
    weight = number_of(entry.impact) * scale
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
