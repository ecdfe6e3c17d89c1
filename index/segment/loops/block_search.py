"""Search by blocks: whole blocks are judged by their summaries, and opened by falling bound.

The lists of the summaries are those of a collection whose documents are the blocks, so that
`find_candidates` finds the blocks worth opening; the documents of an opened block are scored. None
scores more than its block's bound, so an exact search stops where bounds fall below the k-th score.
"""

import numpy as np

from tamis.index.segment.loops.arrays import BLOCK, BUCKET_BITS, IMAGE_MAX, SUM_LIMIT
from tamis.index.segment.loops.candidates import find_candidates, find_reaching
from tamis.index.segment.loops.compiled import compiled
from tamis.index.segment.loops.prefetch import prefetch_item, prefetch_range
from tamis.index.segment.loops.query import (
    choose_for_exact,
    choose_images,
    largest_contribution,
    safe_rest,
    scale_query,
)
from tamis.index.segment.loops.search import dot
from tamis.index.segment.loops.topk import offer, sort_best

SEED_CUT, SEED_SLACK = 0.3, 0.95  # of the search that gives an exact one its first threshold
_MORE_FROM = 250_000  # documents from which an exact search leaves more unread than by windows
_AHEAD_STARTS, _AHEAD_RECORDS = 2, 1  # blocks whose records' places, and records, begin to load
_UNITS = 2  # of a sum: more than single precision rounds


@compiled
def search_blocks(
    queries, knobs, blocks, records, depth, allowed, scratch, docs, scores, work, postings
):
    """The k best documents of each query.

    Args:
        queries: ``(offsets [rows + 1] int64, terms int32, weights float32)``.
        knobs: `Knobs`, an array each; where ``cut`` is 0 the result is the exhaustive one.
        blocks: `Blocks`.
        records: `Records`.
        depth: how many of all documents hold about k of the allowed ones.
        allowed: ``[documents]`` bool, whether a document may be found; empty when all may.
        scratch: `Scratch`, of this thread alone.
        docs: ``[rows, k]`` int32, written.
        scores: ``[rows, k]`` float32, written.
        work: ``[rows]`` int64, written: documents scored in full.
        postings: ``[rows]`` int64, written: postings read.
    """
    offsets = queries[0]
    for row in range(offsets.size - 1):
        terms = queries[1][offsets[row] : offsets[row + 1]]
        weights = queries[2][offsets[row] : offsets[row + 1]]
        for i in range(terms.size):
            scratch.dense[terms[i]] = np.float64(weights[i]) * records.scales[terms[i]]
        query, best = (terms, weights), (docs[row], scores[row])
        exact = knobs.cut[row] == 0.0
        cut = SEED_CUT if exact else knobs.cut[row]
        slack = SEED_SLACK if exact else knobs.slack[row]
        kept, done, read = _find_some(
            query, (depth, cut, slack), blocks, records, allowed, scratch, best
        )
        if exact or kept < docs.shape[1]:
            least_score = best[1][0] if kept == docs.shape[1] else np.float32(0.0)
            kept, more, again = _find_all(
                query, least_score, blocks, records, allowed, scratch, best
            )
            done, read = done + more, read + again
        sort_best(docs[row], scores[row], kept)
        work[row], postings[row] = done, read
        for i in range(terms.size):
            scratch.dense[terms[i]] = 0.0


@compiled
def _find_some(query, reach, blocks, records, allowed, scratch, best):
    """Open the blocks whose sums are near the largest; `_open`'s counts, and postings read."""
    (terms, weights), (depth, cut, slack), lists = query, reach, blocks.lists
    held = np.empty(terms.size, np.int64)
    least = cut * largest_contribution(terms, weights, lists.steps)
    count, rest = choose_images(terms, weights, lists.steps, least, held, scratch.cuts)
    if count == 0:
        return 0, 0, 0
    chosen = held[:count]
    factor = _scale(query, lists.steps, chosen, scratch)
    size, nothing = (blocks.members.size + BLOCK - 1) // BLOCK, np.empty(0, np.bool_)
    found, _, read = find_candidates(
        lists, terms[chosen], (depth, slack, 0), size, nothing, scratch
    )
    kept, scored = _open(found, rest, factor, blocks, records, allowed, scratch, best)
    return kept, scored, read


@compiled
def _find_all(query, least_score, blocks, records, allowed, scratch, best):
    """Open all blocks that may hold a document of this score or a better one; the same."""
    (terms, weights), lists = query, blocks.lists
    held, documents = np.empty(terms.size, np.int64), records.starts.size - 1
    share = safe_rest(best[0].size, documents) * max(1.0, documents / _MORE_FROM) ** 0.25
    count, rest = choose_for_exact(terms, weights, lists, share, held, scratch.cuts)
    if least_score <= rest:  # what is not read might be enough
        count, rest = choose_images(terms, weights, lists.steps, 0.0, held, scratch.cuts)
    if count == 0:
        return 0, 0, 0
    chosen = held[:count]
    factor = _scale(query, lists.steps, chosen, scratch)
    least = np.int64((least_score - rest) * factor) - _UNITS
    found, read = find_reaching(lists, terms[chosen], least, scratch)
    kept, scored = _open(found, rest, factor, blocks, records, allowed, scratch, best)
    return kept, scored, read


@compiled
def _scale(query, steps, chosen, scratch):
    """Prepare the chosen terms' units; how many units, at least, a sum has for each of a score."""
    terms, weights = query
    scale_query(terms, weights, steps, chosen, 0.0, 0, scratch.units)
    potential = 0.0
    for i in chosen:
        potential += np.float64(weights[i]) * steps[terms[i]]
    return (SUM_LIMIT - 2 * chosen.size) / (potential * IMAGE_MAX)


@compiled
def _open(found, rest, factor, blocks, records, allowed, scratch, best):
    """Score the documents of blocks by falling sums until none further can be among the best.

    Args:
        found: how many candidates stand in ``scratch.docs``, their sums in ``scratch.marks``.
        rest: the most that unread postings add to a score.
        factor: units of a sum for each of a score.
        blocks: `Blocks`.
        records: `Records`.
        allowed: as of `search_blocks`.
        scratch: `Scratch`; its dense query is filled.
        best: documents and scores, ``[k]`` each, written.

    Returns:
        ``(kept, scored)``: results, and documents scored in full.
    """
    docs, scores = best
    size = (blocks.members.size + BLOCK - 1) // BLOCK
    _sort_by_sum(scratch, found, size)
    candidates, kept, scored = scratch.docs[size : size + found], 0, 0
    for ahead in range(found + _AHEAD_STARTS):
        _load_ahead(candidates, ahead, blocks.members, records)
        if ahead < _AHEAD_STARTS:
            continue
        at = ahead - _AHEAD_STARTS
        # a bucket's largest sum: of all that follow, too
        bound = np.int64(scratch.marks[size + at]) | ((1 << BUCKET_BITS) - 1)
        if kept == docs.size and bound + rest * factor + _UNITS < np.float64(scores[0]) * factor:
            break
        first = np.int64(candidates[at]) * BLOCK
        for doc in blocks.members[first : first + BLOCK]:
            if allowed.size == 0 or allowed[doc]:
                score = np.float32(dot(records, doc, scratch.dense))
                scored += 1
                if score > 0.0:
                    kept = offer(docs, scores, kept, doc, score)
    return kept, scored


@compiled
def _load_ahead(candidates, ahead, members, records):
    """Begin to load what is read of the next blocks: first where records begin, then records."""
    if ahead < candidates.size:
        first = np.int64(candidates[ahead]) * BLOCK
        for doc in members[first : first + BLOCK]:
            prefetch_item(records.starts, doc)
    at = ahead - _AHEAD_STARTS + _AHEAD_RECORDS
    if 0 <= at < candidates.size:
        first = np.int64(candidates[at]) * BLOCK
        for doc in members[first : first + BLOCK]:
            start, stop = records.starts[doc], records.starts[doc + 1]
            prefetch_range(records.entries, start, stop, records.entries.itemsize)


@compiled
def _sort_by_sum(scratch, found, size):
    """Put candidates and sums by falling sums, bucket by bucket, from place ``size`` on."""
    docs, marks, ends = scratch.docs, scratch.marks, scratch.buckets
    ends[:] = 0
    for i in range(found):
        ends[marks[i] >> BUCKET_BITS] += 1
    above = size
    for bucket in range(ends.size - 1, -1, -1):
        ends[bucket], above = above, above + ends[bucket]
    for i in range(found):
        bucket = marks[i] >> BUCKET_BITS
        docs[ends[bucket]], marks[ends[bucket]] = docs[i], marks[i]
        ends[bucket] += 1
