"""First stage of a search: sums of all documents from the lists, window by window."""

import numpy as np

from tamis.index.segment.loops.arrays import BUCKET_BITS, SUM_LIMIT, WINDOW
from tamis.index.segment.loops.compiled import compiled
from tamis.index.segment.loops.prefetch import prefetch_range
from tamis.index.segment.loops.query import FRACTION_BITS

_SCAN = 64  # sums looked at together: one cache line pair, a few vector registers
_TOGETHER = 8  # postings added between two tests for the end
_FEW_POSTINGS = 2000  # of a window: to go through them again takes less than clearing all sums
_AHEAD_TERMS = 8  # lists begun to load before they are read
_AHEAD_POSTINGS = 84  # of each: four cache lines, then the processor's own prefetcher follows


@compiled
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
    k, slack, margin = reach
    scratch.buckets[:] = 0
    for j in range(terms.size):
        scratch.rare_ends[j] = lists.rare_starts[terms[j]]
    state, read = (0, 0, 0, 1), 0
    for window in range(lists.bases.size - 1):
        first_doc = window * WINDOW
        size = min(WINDOW, documents - first_doc)
        least = np.uint16(state[3] if window else SUM_LIMIT)
        postings, hot = _add_common(lists, window, terms, least, scratch)
        more, hot = _add_rare(lists, first_doc, terms, least, hot, scratch)
        if window == 0:  # nothing is known yet of the k best
            kth = _kth_of_groups(scratch.sums, k, scratch.best, scratch.buckets)
            kth = kth if allowed.size == 0 else 0
            state = (0, 0, 0, max(1, np.int64(kth * slack) - margin))
            hot = _scan(scratch.sums, size, np.uint16(state[3]), scratch.hot)
        state = _take(scratch, first_doc, hot, allowed, reach, state)
        _clear(lists, first_doc, terms, postings + more, scratch)
        read += postings + more
    found, _, _, least_sum = state
    return _drop_below(scratch.docs, scratch.marks, found, least_sum), least_sum, read


@compiled
def find_reaching(lists, terms, least, scratch):
    """Collect the documents whose sums reach ``least`` units, or 1 where it is less.

    Args and candidates as of `find_candidates`, their sums in ``scratch.marks``.

    Returns:
        ``(candidates, postings)``: how many there are, and how many postings were read.
    """
    for j in range(terms.size):
        scratch.rare_ends[j] = lists.rare_starts[terms[j]]
    found, read, enough = 0, 0, np.uint16(min(max(least, 1), SUM_LIMIT))
    for window in range(lists.bases.size - 1):
        first_doc = window * WINDOW
        postings, hot = _add_common(lists, window, terms, enough, scratch)
        more, hot = _add_rare(lists, first_doc, terms, enough, hot, scratch)
        for i in range(hot):
            place = np.int64(scratch.hot[i])
            scratch.docs[found], scratch.marks[found] = first_doc + place, scratch.sums[place]
            found += 1
        _clear(lists, first_doc, terms, postings + more, scratch)
        read += postings + more
    return found, read


@compiled
def _add_common(lists, window, terms, least, scratch):
    """Add the common terms' postings of a window: how many there are, how many documents are hot.

    A document is hot when its sum has come to reach ``least``; it stands in ``scratch.hot``.
    """
    base, slices = lists.bases[window], lists.slices[window]
    begins, ends, read, hot = scratch.begins, scratch.ends, 0, 0
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
            reads = (begins[at], ends[at], scratch.cuts[at], scratch.units[at])
            stop, hot = _add(lists.postings, reads, least, scratch.sums, scratch.hot, hot)
            read += stop - begins[at]
            ends[at] = stop
    return read, hot


@compiled
def _add(postings, reads, least, sums, hot_places, hot):
    """Add postings until their images fall below a cut; where that is, how many are hot."""
    at, end, cut, unit = reads
    while at < end and postings[at].image >= cut:
        last = at + _TOGETHER - 1
        stop = last + 1 if last < end and postings[last].image >= cut else at + 1
        for i in range(np.uint64(at), np.uint64(stop)):  # an unsigned index: no test for signs
            place = postings[i].place
            before = sums[place]
            after = np.uint16(before + _product(unit, postings[i].image))
            sums[place] = after
            if after >= least and before < least:
                hot_places[hot] = place
                hot += 1
        at = stop
    return at, hot


@compiled
def _product(unit, image):
    """What a posting adds, rounded up; below 2**32 before the shift: see `scale_query`."""
    return np.uint16(((unit * np.uint32(image)) >> FRACTION_BITS) + np.uint32(1))


@compiled
def _add_rare(lists, first_doc, terms, least, hot, scratch):
    """Add the rare terms' postings of a window, all of them; as `_add_common`."""
    postings, sums, stop_doc, read = lists.rare_postings, scratch.sums, first_doc + WINDOW, 0
    for j in range(terms.size):
        begin, end = scratch.rare_ends[j], lists.rare_starts[terms[j] + 1]
        at = begin
        while at < end and postings[at].doc < stop_doc:
            place = postings[at].doc - first_doc
            before = sums[place]
            after = np.uint16(before + _product(scratch.units[j], postings[at].image))
            sums[place] = after
            if after >= least and before < least:
                scratch.hot[hot] = place
                hot += 1
            at += 1
        scratch.rare_begins[j], scratch.rare_ends[j] = begin, at
        read += at - begin
    return read, hot


@compiled
def _clear(lists, first_doc, terms, read, scratch):
    """Make all sums of a window zero again, one by one where ``read`` few postings were added."""
    if read > _FEW_POSTINGS:
        scratch.sums[:] = 0
        return
    for j in range(terms.size):
        for at in range(np.uint64(scratch.begins[j]), np.uint64(scratch.ends[j])):
            scratch.sums[lists.postings[at].place] = 0
        for at in range(scratch.rare_begins[j], scratch.rare_ends[j]):
            scratch.sums[lists.rare_postings[at].doc - first_doc] = 0


@compiled
def _kth_of_groups(sums, k, best, buckets):
    """A sum that k documents reach, or 0: the best of each group are different documents.

    A group is every 1,024th document, so that groups are compared side by side.
    """
    best[:] = 0
    for start in range(0, WINDOW, best.size):
        for i in range(best.size):  # an unsigned index: becomes vector code
            total, so_far = sums[np.uint64(start + i)], best[np.uint64(i)]
            best[np.uint64(i)] = total if total > so_far else so_far
    for total in best:
        buckets[total >> BUCKET_BITS] += 1
    above, bucket = 0, buckets.size
    while bucket > 0 and above < k:
        bucket -= 1
        above += buckets[bucket]
    buckets[:] = 0
    return bucket << BUCKET_BITS


@compiled
def _scan(sums, size, least, hot_places):
    """List the places whose sums reach ``least``; how many there are."""
    hot = 0
    for group in range((size + _SCAN - 1) // _SCAN):
        if _any_reaches(sums, group * _SCAN, least):
            for place in range(group * _SCAN, group * _SCAN + _SCAN):
                hot_places[hot] = place
                hot += sums[place] >= least
    return hot


@compiled
def _take(scratch, first_doc, hot, allowed, reach, state):
    """Make hot documents candidates, if they are allowed and still good enough.

    ``state`` is ``(found, bucket, above, least)``: the candidates so far; the highest bucket with
    k sums in it or over it, and how many those are; the least sum that is good enough. All rise.
    """
    (k, slack, margin), (found, bucket, above, least) = reach, state
    for i in range(hot):
        place = np.int64(scratch.hot[i])
        total = np.int64(scratch.sums[place])
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
            least = max(least, np.int64((bucket << BUCKET_BITS) * slack) - margin)
    return found, bucket, above, least


@compiled
def _any_reaches(sums, start, least):
    hot = np.uint16(0)
    for i in range(_SCAN):  # no early exit, and an unsigned index: becomes vector code
        hot |= np.uint16(sums[np.uint64(start + i)] >= least)
    return hot != 0


@compiled
def _drop_below(docs, marks, found, least):
    kept = 0
    for i in range(found):
        if marks[i] >= least:
            docs[kept] = docs[i]
            kept += 1
    return kept
