"""Building inverted lists from the documents' records, one window at a time."""

import numpy as np
from numba import njit

from tamis.index.loops.arrays import TIERS

_IMAGE_MAX = 255


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def image_of(entry, scale, step):
    """A stored weight in steps of its term, rounded up: 1 to 255."""
    weight = np.float64(entry.impact) * scale
    return np.uint8(min(_IMAGE_MAX, max(1, np.int64(np.ceil(weight / step)))))


@njit(cache=True, nogil=True)
def count_images(records, steps, rows, first, last, counts):
    """Count the images of each common term in documents ``first`` to ``last``.

    Args:
        records: `Records`.
        steps: ``[vocab_size]`` float32.
        rows: ``[vocab_size]`` int32.
        first: first document.
        last: the one after the last document.
        counts: ``[rows, 256]`` uint32, changed in place.
    """
    for at in range(records.starts[first], records.starts[last]):
        entry = records.entries[at]
        row = rows[entry.term]
        if row >= 0:
            counts[row, image_of(entry, records.scales[entry.term], steps[entry.term])] += 1


@njit(cache=True, nogil=True)
def tier_bounds(counts, shares, fewest):
    """The least image of each tier but the last, from the counts of `count_images`.

    Args:
        counts: ``[rows, 256]`` uint32.
        shares: ``[TIERS - 1]`` float64, the share of a list that lies in a tier or one before.
        fewest: at least so many postings lie in the first tier, if there are so many.

    Returns:
        ``[rows, TIERS - 1]`` uint8.
    """
    bounds = np.zeros((counts.shape[0], TIERS - 1), np.uint8)
    for row in range(counts.shape[0]):
        total = counts[row].sum()
        for tier in range(TIERS - 1):
            wanted, held, image = max(fewest, np.int64(shares[tier] * total)), 0, _IMAGE_MAX + 1
            while held < wanted and image > 1:
                image -= 1
                held += counts[row, image]
            bounds[row, tier] = image
    return bounds


@njit(cache=True, nogil=True)
def _tier_of(image, bounds):
    tier = 0
    while tier < TIERS - 1 and image < bounds[tier]:
        tier += 1
    return tier


@njit(cache=True, nogil=True)
def count_slices(records, steps, rows, bounds, first, last, slices):
    """Count a window's postings by row and tier: ``slices[row * TIERS + tier + 1]``.

    Args:
        records: `Records`.
        steps: ``[vocab_size]`` float32.
        rows: ``[vocab_size]`` int32.
        bounds: ``[rows, TIERS - 1]`` uint8 of `tier_bounds`.
        first: the window's first document.
        last: the one after its last.
        slices: ``[rows * TIERS + 1]`` int64, changed in place.
    """
    for at in range(records.starts[first], records.starts[last]):
        entry = records.entries[at]
        row = rows[entry.term]
        if row >= 0:
            image = image_of(entry, records.scales[entry.term], steps[entry.term])
            slices[row * TIERS + _tier_of(image, bounds[row]) + 1] += 1


@njit(cache=True, nogil=True)
def fill_window(
    records, steps, rows, bounds, first, last, cursors, rare_cursors, postings, rare_postings
):
    """Put a window's postings in their places.

    Args:
        records: `Records`.
        steps: ``[vocab_size]`` float32.
        rows: ``[vocab_size]`` int32.
        bounds: ``[rows, TIERS - 1]`` uint8 of `tier_bounds`.
        first: the window's first document.
        last: the one after its last.
        cursors: ``[rows * TIERS]`` int64, where each slice goes on; changed in place.
        rare_cursors: ``[vocab_size]`` int64, where each rare list goes on; changed in place.
        postings: ``[common postings]`` POSTING, written.
        rare_postings: ``[rare postings]`` RARE_POSTING, written.
    """
    for doc in range(first, last):
        for at in range(records.starts[doc], records.starts[doc + 1]):
            entry = records.entries[at]
            row = rows[entry.term]
            image = image_of(entry, records.scales[entry.term], steps[entry.term])
            if row < 0:
                rare_postings[rare_cursors[entry.term]].doc = doc
                rare_postings[rare_cursors[entry.term]].image = image
                rare_cursors[entry.term] += 1
            else:
                part = row * TIERS + _tier_of(image, bounds[row])
                postings[cursors[part]].place = doc - first
                postings[cursors[part]].image = image
                cursors[part] += 1
