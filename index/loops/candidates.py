"""First stage of a search: sums of all documents from the lists, window by window."""

import numpy as np
from numba import njit

from tamis.index.loops.arrays import BUCKET_BITS, WINDOW
from tamis.index.loops.prefetch import prefetch_range
from tamis.index.loops.query import FRACTION_BITS

_SCAN = 64  # sums looked at together: one cache line pair, a few vector registers
_SPARSE = 16  # documents a posting: with fewer postings, these are gone through, not all sums
_AHEAD_TERMS = 4  # lists begun to load before they are read
_AHEAD_POSTINGS = 84  # of each: four cache lines, then the processor's own prefetcher follows


@njit(cache=True, nogil=True)
def find_candidates(lists, terms, reach, documents, allowed, scratch):
    """Collect the documents whose sums are near the k largest.

    Args:
        lists: `Lists`.
        terms: ``[m]`` int32, the terms to read; their cuts and units stand in ``scratch``.
        reach: ``(k, slack, margin)``: candidates reach the share ``slack`` of the k-th largest
            sum, less ``margin`` units.
        documents: number of documents.
        allowed: ``[documents]`` bool, whether a document may be found; empty when all may.
        scratch: `Scratch`; its first places of ``docs`` receive the candidates.

    Returns:
        ``(candidates, least, postings)``: how many there are, the least sum that was good enough,
        and how many postings were read.
    """
    scratch.buckets[:] = 0
    for j in range(terms.size):
        scratch.rare_ends[j] = lists.rare_starts[terms[j]]
    state, read = (0, 0, 0, np.int64(1)), 0
    for window in range(lists.bases.size - 1):
        first_doc = window * WINDOW
        size = min(WINDOW, documents - first_doc)
        postings = _add_common(lists, window, terms, scratch)
        postings += _add_rare(lists, first_doc, terms, scratch)
        if postings * _SPARSE < size:
            state = _replay(lists, terms.size, first_doc, allowed, reach, state, scratch)
        else:
            state = _scan(first_doc, size, allowed, reach, state, scratch)
            scratch.sums[:size] = 0
        read += postings
    found, _, _, least = state
    return _drop_below(scratch.docs, scratch.marks, found, least), least, read


@njit(cache=True, nogil=True)
def _add_common(lists, window, terms, scratch):
    """Add the common terms' postings of a window; how many there are."""
    base, slices = lists.bases[window], lists.slices[window]
    begins, ends, read = scratch.begins, scratch.ends, 0
    for j in range(terms.size):
        row = lists.rows[terms[j]]
        begins[j] = ends[j] = 0
        if row >= 0:
            begins[j], ends[j] = base + slices[row], base + slices[row + 1]
    for j in range(terms.size + _AHEAD_TERMS):
        if j < terms.size:
            stop = min(ends[j], begins[j] + _AHEAD_POSTINGS)
            prefetch_range(lists.postings, begins[j], stop, 3)
        if j >= _AHEAD_TERMS:
            at = j - _AHEAD_TERMS
            cut, unit = scratch.cuts[at], scratch.units[at]
            ends[at] = _add(lists.postings, begins[at], ends[at], cut, unit, scratch.sums)
            read += ends[at] - begins[at]
    return read


@njit(cache=True, nogil=True)
def _add(postings, begin, end, cut, unit, sums):
    """Add postings until their images fall below ``cut``; where that is."""
    at = begin
    while at < end and postings[at].image >= cut:
        sums[postings[at].place] += _product(unit, postings[at].image)
        at += 1
    return at


@njit(cache=True, nogil=True)
def _product(unit, image):
    """What a posting adds, rounded up; below 2**32 before the shift: see `scale_query`."""
    return np.uint16(((unit * np.uint32(image)) >> FRACTION_BITS) + np.uint32(1))


@njit(cache=True, nogil=True)
def _add_rare(lists, first_doc, terms, scratch):
    """Add the rare terms' postings of a window, all of them; how many there are."""
    postings, sums, stop_doc, read = lists.rare_postings, scratch.sums, first_doc + WINDOW, 0
    for j in range(terms.size):
        at, end = scratch.rare_ends[j], lists.rare_starts[terms[j] + 1]
        scratch.rare_begins[j] = at
        while at < end and postings[at].doc < stop_doc:
            sums[postings[at].doc - first_doc] += _product(scratch.units[j], postings[at].image)
            at += 1
        scratch.rare_ends[j] = at
        read += at - scratch.rare_begins[j]
    return read


@njit(cache=True, nogil=True)
def _replay(lists, terms, first_doc, allowed, reach, state, scratch):
    """Take the good sums of the documents whose postings were read, and empty them."""
    sums = scratch.sums
    for j in range(terms):
        for at in range(scratch.begins[j], scratch.ends[j]):
            place = lists.postings[at].place
            total = np.int64(sums[place])
            sums[place] = 0
            if total >= state[3]:
                state = _take(first_doc + place, total, allowed, reach, state, scratch)
        for at in range(scratch.rare_begins[j], scratch.rare_ends[j]):
            doc = lists.rare_postings[at].doc
            total = np.int64(sums[doc - first_doc])
            sums[doc - first_doc] = 0
            if total >= state[3]:
                state = _take(np.int64(doc), total, allowed, reach, state, scratch)
    return state


@njit(cache=True, nogil=True)
def _scan(first_doc, size, allowed, reach, state, scratch):
    """Take the good sums of a window."""
    sums = scratch.sums
    for group in range((size + _SCAN - 1) // _SCAN):
        if not _any_reaches(sums, group * _SCAN, np.uint16(state[3])):
            continue
        for place in range(group * _SCAN, group * _SCAN + _SCAN):
            total = np.int64(sums[place])
            if total >= state[3]:
                state = _take(first_doc + place, total, allowed, reach, state, scratch)
    return state


@njit(cache=True, nogil=True)
def _take(doc, total, allowed, reach, state, scratch):
    """Make a document a candidate, unless it is not allowed.

    ``state`` is ``(found, bucket, above, least)``: the candidates so far; the highest bucket with
    k sums in it or over it, and how many those are; the least sum that is good enough. All rise.
    """
    if allowed.size and not allowed[doc]:
        return state
    (k, slack, margin), (found, bucket, above, least) = reach, state
    scratch.docs[found], scratch.marks[found] = doc, total
    if total >> BUCKET_BITS >= bucket:
        scratch.buckets[total >> BUCKET_BITS] += 1
        above += 1
        while above - scratch.buckets[bucket] >= k:
            above -= scratch.buckets[bucket]
            bucket += 1
        least = max(1, np.int64((bucket << BUCKET_BITS) * slack) - margin)
    return found + 1, bucket, above, least


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
