"""The CUDA kernels of exact search: arrays in, arrays out, no checks.

Numba compiles them, as Triton cannot add to shared memory at computed places. They use whole
numbers and barriers alone, no warps, so that Numba's simulator runs the same source without a GPU
(``NUMBA_ENABLE_CUDASIM=1``).

Axes: Q queries, T tiles, R rows (terms that occur), F places of the buffer of found documents.
"""

from __future__ import annotations

import os

from numba import cuda, float64, int32

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"  # Numba decides when it is imported
TILE = 64 if SIMULATED else 8192  # documents whose sums lie in shared memory, 4 bytes each
THREADS = 4 if SIMULATED else 256
PLACE_BITS = 16  # of a posting, below its image
PLACE_MASK = (1 << PLACE_BITS) - 1
IMAGE_MAX = (1 << 16) - 1
DIGITS = ((21, 10), (11, 10), (0, 11))  # (shift, bits) of a sum's digits, from the highest
BINS = 1 << 11


@cuda.jit
def find(
    # the tiles: their numbers, postings, where each tile's begin, where each row's begin there
    order, postings, bases, slices,
    # the queries: where each begins, rows, what an image step adds, the least sum that counts
    starts, rows, units, least,
    # which documents may be found: [documents] uint8, or nothing
    allowed, documents,
    # found: documents and sums [Q, F], how many were found [Q]
    docs, sums, counts,
):  # fmt: skip
    """Add up one tile's postings of one query; note the documents whose sum is good enough.

    Sums are whole numbers, so that postings may be added in any order. A posting is
    ``image << 16 | place`` in an int32 that is read as unsigned.
    """
    query, tile = cuda.blockIdx.x, order[cuda.blockIdx.y]
    thread = cuda.threadIdx.x
    added = cuda.shared.array(TILE, int32)
    for place in range(thread, TILE, THREADS):
        added[place] = 0
    cuda.syncthreads()
    base = bases[tile]
    for at in range(starts[query], starts[query + 1]):
        unit = units[at]
        row = rows[at]
        for posting in range(
            base + slices[tile, row] + thread, base + slices[tile, row + 1], THREADS
        ):
            packed = postings[posting]
            image = (packed >> PLACE_BITS) & IMAGE_MAX
            cuda.atomic.add(added, packed & PLACE_MASK, max(int32(1), int32(image * unit)))
    cuda.syncthreads()
    first, bound = tile * TILE, least[query]
    for place in range(thread, min(TILE, documents - first), THREADS):
        if added[place] >= bound and (allowed.size == 0 or allowed[first + place] != 0):
            at = cuda.atomic.add(counts, query, 1)
            if at < docs.shape[1]:
                docs[query, at] = first + place
                sums[query, at] = added[place]


@cuda.jit
def select(sums, counts, k, margins, least):
    """Raise the least sum that counts to the k-th largest found so far, less the margin.

    Digit by digit from the highest (a radix selection): count the sums that begin with the digits
    chosen so far by their next digit, and choose the one that holds the k-th largest.
    """
    query, thread = cuda.blockIdx.x, cuda.threadIdx.x
    bins = cuda.shared.array(BINS, int32)
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
        if thread == 0:
            digit = (1 << bits) - 1
            while bins[digit] < state[1]:
                state[1] -= bins[digit]
                digit -= 1
            state[0] = chosen | (digit << shift)
        cuda.syncthreads()
    if thread == 0:
        least[query] = max(least[query], state[0] - margins[query])


@cuda.jit
def gather(docs, sums, counts, least, candidates, chosen):
    """Copy the documents found whose sum counts to ``candidates`` [Q, C], and count them."""
    query, thread = cuda.blockIdx.x, cuda.threadIdx.x
    for at in range(thread, min(counts[query], docs.shape[1]), THREADS):
        if sums[query, at] >= least[query]:
            to = cuda.atomic.add(chosen, query, 1)
            if to < candidates.shape[1]:
                candidates[query, to] = docs[query, at]


@cuda.jit
def score(
    # the documents' own vectors: where each begins [documents + 1], rows rising, weights
    begins, terms, weights,
    # the queries: where each begins, rows rising, weights
    starts, rows, query_weights,
    # candidates [Q, C], how many each query has, and their scores [Q, C] float64
    candidates, chosen, scores,
):  # fmt: skip
    """Score candidates in full: one thread each, in rising order of terms, in float64."""
    query, at = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if at >= min(chosen[query], candidates.shape[1]):
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
