"""First stage of a search: bounds of all documents from the lists, window by window.

A query is scaled so that no document's sum passes two bytes. Every product is rounded up, so a
document's sum, in units of the query, is at least its score, and exceeds it by no more than the
margin of `scale_query`: the best k are among the documents whose sum is at least the k-th largest
sum less the margin.
"""

import numpy as np
from numba import njit

from tamis.index.loops.arrays import BUCKET_BITS, SUM_LIMIT, TIERS, WINDOW
from tamis.index.loops.prefetch import prefetch_range

_IMAGE_MAX = 255
_FRACTION_BITS = np.uint32(16)  # of a unit: product of a term's unit and an image
_SCAN = 64  # sums looked at together: one cache line pair, a few vector registers
_AHEAD_TERMS = 4  # lists begun to load before they are read
_AHEAD_POSTINGS = 84  # of each: four cache lines, then the processor's own prefetcher follows


@njit(cache=True, nogil=True)
def choose_terms(terms, weights, steps, mass):
    """The places in the query of its strongest terms, which hold ``mass`` of its potential.

    The potential of a term is the most it can add to a score. Terms that no document holds are
    left out.

    Args:
        terms: ``[n]`` int32.
        weights: ``[n]`` float32.
        steps: ``[vocab_size]`` float32.
        mass: share of the potential of all terms, at most 1; from 1 on every term is chosen.

    Returns:
        ``[chosen]`` int64, strongest first; in the query's order when all are chosen.
    """
    potential = np.empty(terms.size, np.float64)
    for i in range(terms.size):
        potential[i] = np.float64(weights[i]) * steps[terms[i]]
    held = np.flatnonzero(potential)
    if mass >= 1.0:
        return held
    order = held[np.argsort(-potential[held])]
    wanted, chosen = mass * potential.sum(), 0
    while chosen < order.size and wanted > 0.0:
        wanted -= potential[order[chosen]]
        chosen += 1
    return order[:chosen]


@njit(cache=True, nogil=True)
def scale_query(terms, weights, steps, chosen, image_error, units):
    """The chosen terms' weights in units, such that a document's sum fits two bytes.

    Args:
        terms: ``[n]`` int32.
        weights: ``[n]`` float32.
        steps: ``[vocab_size]`` float32.
        chosen: ``[m]`` int64 places in the query, at most `MAX_QUERY_TERMS`.
        image_error: 0 if an image times its step is the stored weight, 1 if rounded up to it.
        units: ``[m]`` uint32, written: units and fraction of one step of each term.

    Returns:
        The margin: the most, in units, by which a sum can exceed its document's score.
    """
    potential = 0.0
    for i in chosen:
        potential += np.float64(weights[i]) * steps[terms[i]]
    room = SUM_LIMIT - 2 * chosen.size  # each product is rounded up by less than two units
    factor = room / (potential * _IMAGE_MAX) * (1 << 16)
    for j in range(chosen.size):
        i = chosen[j]
        units[j] = np.uint32(np.ceil(np.float64(weights[i]) * steps[terms[i]] * factor))
    # a term: 1 unit and 255 / 2**16 of rounding, and image_error steps; 2 for float arithmetic
    return np.int64(np.ceil(1.01 * chosen.size + image_error * room / _IMAGE_MAX)) + 2


@njit(cache=True, nogil=True)
def find_candidates(lists, terms, reach, documents, allowed, scratch):
    """Collect the documents whose sums are near the k largest.

    Args:
        lists: `Lists`.
        terms: ``[m]`` int32, the terms to read; their units stand in ``scratch.units``.
        reach: ``(k, tiers, slack, margin)``: how many tiers to read; candidates reach the share
            ``slack`` of the k-th largest sum, less ``margin`` units.
        documents: number of documents.
        allowed: ``[documents]`` bool, whether a document may be found; empty when all may.
        scratch: `Scratch`; its first places of ``docs`` receive the candidates, rising.

    Returns:
        ``(candidates, postings)``: how many there are, and how many postings were read.
    """
    k, tiers, slack, margin = reach
    scratch.buckets[:] = 0
    rare_at = lists.rare_starts[terms]
    found, bucket, above, least, read = 0, 0, 0, 1, 0
    for window in range(lists.bases.size - 1):
        first_doc = window * WINDOW
        size = min(WINDOW, documents - first_doc)
        read += _add_common(lists, window, terms, tiers, scratch)
        read += _add_rare(lists, first_doc, terms, rare_at, scratch)
        found, bucket, above, least = _collect(
            scratch, first_doc, size, allowed, k, slack, margin, found, bucket, above, least
        )
        scratch.sums[:size] = 0
    return _drop_below(scratch.docs, scratch.marks, found, least), read


@njit(cache=True, nogil=True)
def _add_common(lists, window, terms, tiers, scratch):
    """Add the common terms' postings of a window; how many there are."""
    base, slices = lists.bases[window], lists.slices[window]
    begins, ends, read = scratch.begins, scratch.ends, 0
    for j in range(terms.size):
        row = lists.rows[terms[j]]
        begins[j] = ends[j] = 0
        if row >= 0:
            begins[j] = base + slices[row * TIERS]
            ends[j] = base + slices[row * TIERS + tiers]
            read += ends[j] - begins[j]
    for j in range(terms.size + _AHEAD_TERMS):
        if j < terms.size:
            stop = min(ends[j], begins[j] + _AHEAD_POSTINGS)
            prefetch_range(lists.postings, begins[j], stop, 3)
        if j >= _AHEAD_TERMS:
            at = j - _AHEAD_TERMS
            _add(lists.postings, begins[at], ends[at], scratch.units[at], scratch.sums)
    return read


@njit(cache=True, nogil=True)
def _add(postings, begin, end, unit, sums):
    for at in range(begin, end):
        product = unit * np.uint32(postings[at].image)  # below 2**32: see scale_query
        sums[postings[at].place] += np.uint16((product >> _FRACTION_BITS) + np.uint32(1))


@njit(cache=True, nogil=True)
def _add_rare(lists, first_doc, terms, rare_at, scratch):
    """Add the rare terms' postings of a window; how many there are. ``rare_at`` moves on."""
    postings, sums, stop_doc, read = lists.rare_postings, scratch.sums, first_doc + WINDOW, 0
    for j in range(terms.size):
        at, end, unit = rare_at[j], lists.rare_starts[terms[j] + 1], scratch.units[j]
        while at < end and postings[at].doc < stop_doc:
            product = unit * np.uint32(postings[at].image)
            added = np.uint16((product >> _FRACTION_BITS) + np.uint32(1))
            sums[postings[at].doc - first_doc] += added
            at += 1
        read += at - rare_at[j]
        rare_at[j] = at
    return read


@njit(cache=True, nogil=True)
def _collect(scratch, first_doc, size, allowed, k, slack, margin, found, bucket, above, least):
    """Take the window's sums of at least ``least``, which rises as better ones are found.

    ``bucket`` is the highest with k sums in it or over it, ``above`` how many there are.
    """
    sums = scratch.sums
    for group in range((size + _SCAN - 1) // _SCAN):
        if not _any_reaches(sums, group * _SCAN, np.uint16(least)):
            continue
        for place in range(group * _SCAN, group * _SCAN + _SCAN):
            total = np.int64(sums[place])
            if total < least or (allowed.size and not allowed[first_doc + place]):
                continue
            scratch.docs[found], scratch.marks[found] = first_doc + place, total
            found += 1
            if total >> BUCKET_BITS >= bucket:
                scratch.buckets[total >> BUCKET_BITS] += 1
                above += 1
                while above - scratch.buckets[bucket] >= k:
                    above -= scratch.buckets[bucket]
                    bucket += 1
                least = max(1, np.int64((bucket << BUCKET_BITS) * slack) - margin)
    return found, bucket, above, least


@njit(cache=True, nogil=True)
def _any_reaches(sums, start, least):
    hot = np.uint16(0)
    for i in range(_SCAN):  # no early exit, and an unsigned index: becomes vector code
        hot |= np.uint16(sums[np.uint64(start + i)] >= least)
    return hot != 0


@njit(cache=True, nogil=True)
def _drop_below(docs, marks, found, least):
    kept = 0
    for i in range(found):
        if marks[i] >= least:
            docs[kept] = docs[i]
            kept += 1
    return kept
