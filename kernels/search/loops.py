"""The CUDA kernels of exact search: arrays in, arrays out, no checks.

Numba compiles them, as Triton cannot add to shared memory at computed places. They use whole
numbers and barriers alone, no warps, so that Numba's simulator runs the same source without a GPU
(``NUMBA_ENABLE_CUDASIM=1``).

Axes: Q queries, T tiles, R rows (terms that occur), F places of the buffer of found documents.
"""

from __future__ import annotations

import os

from numba import cuda, float32, float64, int32

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"  # Numba decides when it is imported
TILE = 64 if SIMULATED else 8192  # documents whose sums lie in shared memory, 4 bytes each
THREADS = 4 if SIMULATED else 256
TERMS = THREADS  # of a query, whose lists are read together
PLACE_BITS = 16  # of a posting, below its image
PLACE_MASK = (1 << PLACE_BITS) - 1
IMAGE_MAX = (1 << 16) - 1
DIGITS = ((21, 10), (11, 10), (0, 11))  # (shift, bits) of a sum's digits, from the highest
BINS = 1 << 11
GROUP = BINS // THREADS


@cuda.jit
def find(
    # the tiles: their order, how many were visited, postings, where each tile's and row's begin
    order, visited, postings, bases, slices,
    # the queries: where each begins, rows, what an image step adds, the least sum that counts
    starts, rows, units, least,
    # which documents may be found: [documents] uint8, or nothing
    allowed, documents,
    # found: documents and sums [Q, F], how many were found [Q]
    docs, sums, counts,
):  # fmt: skip
    """Add up one tile's postings of one query; note the documents whose sum is good enough.

    Sums are whole numbers, so that postings may be added in any order. A posting is
    ``image << 16 | place`` in an int32 that is read as unsigned. The lists of `TERMS` terms at a
    time are read as one, end to end, so that no thread waits at the end of a short one.
    """
    query, tile = cuda.blockIdx.x, order[visited + cuda.blockIdx.y]
    thread = cuda.threadIdx.x
    added = cuda.shared.array(TILE, int32)
    ends = cuda.shared.array(TERMS, int32)  # of each list, in the row of all
    shifts = cuda.shared.array(TERMS, int32)  # from a place in that row to one among postings
    steps = cuda.shared.array(TERMS, float32)
    for place in range(thread, TILE, THREADS):
        added[place] = 0
    base = bases[tile]
    for first in range(starts[query], starts[query + 1], TERMS):
        count = min(TERMS, starts[query + 1] - first)
        cuda.syncthreads()
        for term in range(thread, count, THREADS):
            row = rows[first + term]
            shifts[term] = slices[tile, row]
            ends[term] = slices[tile, row + 1] - slices[tile, row]
            steps[term] = units[first + term]
        cuda.syncthreads()
        before = int32(0)
        if thread < count:
            for term in range(thread):
                before += ends[term]
        cuda.syncthreads()
        if thread < count:
            shifts[thread] -= before
            ends[thread] += before
        cuda.syncthreads()
        total = ends[count - 1]
        term, at = int32(0), int32(thread)
        while at + 3 * THREADS < total:  # four at a time: loads that do not wait for one another
            term = _holding(ends, term, at)
            second = _holding(ends, term, at + THREADS)
            third = _holding(ends, second, at + 2 * THREADS)
            fourth = _holding(ends, third, at + 3 * THREADS)
            posting = postings[base + shifts[term] + at]
            posting_2 = postings[base + shifts[second] + at + THREADS]
            posting_3 = postings[base + shifts[third] + at + 2 * THREADS]
            posting_4 = postings[base + shifts[fourth] + at + 3 * THREADS]
            _add(added, posting, steps[term])
            _add(added, posting_2, steps[second])
            _add(added, posting_3, steps[third])
            _add(added, posting_4, steps[fourth])
            term = fourth
            at = int32(at + 4 * THREADS)
        while at < total:
            term = _holding(ends, term, at)
            _add(added, postings[base + shifts[term] + at], steps[term])
            at = int32(at + THREADS)
    cuda.syncthreads()
    first, bound = tile * TILE, least[query]
    for place in range(thread, min(TILE, documents - first), THREADS):
        if added[place] >= bound and (allowed.size == 0 or allowed[first + place] != 0):
            to = cuda.atomic.add(counts, query, 1)
            if to < docs.shape[1]:
                docs[query, to] = first + place
                sums[query, to] = added[place]


@cuda.jit(device=True)
def _holding(ends, term, at):
    """The first list, from ``term`` on, that ends past a place."""
    while ends[term] <= at:
        term = int32(term + 1)
    return term


@cuda.jit(device=True)
def _add(added, posting, step):
    """Add a posting's contribution, at least one unit, to its document's sum."""
    image = float32(int32((posting >> PLACE_BITS) & IMAGE_MAX))
    cuda.atomic.add(added, posting & PLACE_MASK, int32(image * step) + int32(1))


@cuda.jit
def select(sums, counts, k, margins, least):
    """Raise the least sum that counts to the k-th largest found so far, less the margin.

    Digit by digit from the highest (a radix selection): count the sums that begin with the digits
    chosen so far by their next digit, and choose the one that holds the k-th largest.
    """
    query, thread = cuda.blockIdx.x, cuda.threadIdx.x
    bins = cuda.shared.array(BINS, int32)
    groups = cuda.shared.array(THREADS, int32)  # of neighbouring bins
    state = cuda.shared.array(2, int32)  # the digits chosen so far; how many are still wanted
    found = min(counts[query], sums.shape[1])
    if found < k:
        return
    if thread == 0:
        state[0], state[1] = 0, k
    for shift, bits in DIGITS:
        for digit in range(thread, BINS, THREADS):
            bins[digit] = 0
        cuda.syncthreads()
        chosen = state[0]
        for at in range(thread, found, THREADS):
            if sums[query, at] >> (shift + bits) == chosen >> (shift + bits):
                cuda.atomic.add(bins, (sums[query, at] >> shift) & ((1 << bits) - 1), 1)
        cuda.syncthreads()
        held = int32(0)
        for digit in range(thread * GROUP, (thread + 1) * GROUP):
            held += bins[digit]
        groups[thread] = held
        cuda.syncthreads()
        if thread == 0:
            group = THREADS - 1
            while groups[group] < state[1]:
                state[1] -= groups[group]
                group -= 1
            digit = (group + 1) * GROUP - 1
            while bins[digit] < state[1]:
                state[1] -= bins[digit]
                digit -= 1
            state[0] = chosen | (digit << shift)
        cuda.syncthreads()
    if thread == 0:
        least[query] = max(least[query], state[0] - margins[query])


@cuda.jit
def gather(docs, sums, counts, least, places, candidates, chosen):
    """Copy the documents found whose sum counts to ``candidates``, and count them."""
    query, thread = cuda.blockIdx.x, cuda.threadIdx.x
    for at in range(thread, min(counts[query], docs.shape[1]), THREADS):
        if sums[query, at] >= least[query]:
            to = cuda.atomic.add(chosen, query, 1)
            if to < places:
                candidates[query, to] = docs[query, at]


@cuda.jit
def score(
    # the documents' own vectors: where each begins [documents + 1], rows rising, weights
    begins, terms, weights,
    # the queries: where each begins, rows rising, weights
    starts, rows, query_weights,
    # candidates [Q, places], how many each query has, and their scores: the same, float64
    places, candidates, chosen, scores,
):  # fmt: skip
    """Score candidates in full: one thread each, in rising order of terms, in float64."""
    query, at = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if at >= min(chosen[query], places):
        return
    doc = candidates[query, at]
    low, end = begins[doc], begins[doc + 1]
    total = float64(0.0)
    for term in range(starts[query], starts[query + 1]):
        high = end
        while low < high:  # the first entry that is not below the term
            middle = (low + high) >> 1
            if terms[middle] < rows[term]:
                low = middle + 1
            else:
                high = middle
        if low < end and terms[low] == rows[term]:
            total += float64(weights[low]) * float64(query_weights[term])
    scores[query, at] = total
