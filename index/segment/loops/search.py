"""The search of a batch of queries: candidates from the lists, scores from the records."""

import numpy as np

from tamis.index.segment.loops.candidates import find_candidates
from tamis.index.segment.loops.compiled import compiled
from tamis.index.segment.loops.impacts import number_of
from tamis.index.segment.loops.prefetch import prefetch_item, prefetch_range
from tamis.index.segment.loops.query import (
    choose_for_exact,
    choose_images,
    largest_contribution,
    safe_rest,
    scale_query,
)
from tamis.index.segment.loops.topk import DEEP, keep_best, sort_documents

_AHEAD_DOCUMENTS = 6  # records begun to load before they are read


@compiled
def search(
    queries, knobs, image_error, lists, records, allowed, few, scratch, docs, scores, work, postings
):
    """The k best documents of each query.

    Args:
        queries: ``(offsets [rows + 1] int64, terms int32, weights float32)``.
        knobs: `Knobs`, an array each; with all at their ends a result is the exhaustive one.
        image_error: see `scale_query`.
        lists: `Lists`.
        records: `Records`.
        allowed: ``[documents]`` bool, whether a document may be found; empty when all may.
        few: ``[n]`` int32, the allowed documents where they are few; else empty.
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
        reach = (docs.shape[1], knobs.cut[row], knobs.slack[row])
        if few.size:
            scratch.docs[: few.size] = few
            found, read = few.size, 0
        else:
            found, read = _find(
                terms, weights, reach, image_error, lists, records, allowed, scratch
            )
        work[row], postings[row] = found, read
        _score(terms, weights, records, scratch, work[row], docs[row], scores[row])


@compiled
def _find(terms, weights, reach, image_error, lists, records, allowed, scratch):
    """Candidates for one query: how many there are, and the postings read for them.

    All postings are read where the strong ones are not enough: they hold fewer than k documents,
    or a safe search cannot tell that no document without a strong posting belongs to the best.
    """
    k, cut, slack = reach
    documents, held = records.starts.size - 1, np.empty(terms.size, np.int64)
    if cut > 0.0:
        least = cut * largest_contribution(terms, weights, lists.steps)
        count, rest = choose_images(terms, weights, lists.steps, least, held, scratch.cuts)
    else:
        share = safe_rest(k, documents)
        count, rest = choose_for_exact(terms, weights, lists, share, held, scratch.cuts)
    read = 0
    while count > 0:
        chosen, unsafe = held[:count], rest if cut == 0.0 else 0.0
        margin = scale_query(
            terms, weights, lists.steps, chosen, unsafe, image_error, scratch.units
        )
        found, least_sum, more = find_candidates(
            lists, terms[chosen], (k, slack, margin), documents, allowed, scratch
        )
        read += more
        if rest == 0.0 or (found >= k and (cut > 0.0 or least_sum > 1)):
            return found, read
        count, rest = choose_images(terms, weights, lists.steps, 0.0, held, scratch.cuts)
    return 0, read


@compiled
def _score(terms, weights, records, scratch, found, best_docs, best_scores):
    """Score the candidates in full and keep the best.

    A score is summed in float64 over rising terms and rounded once: the same operations as
    `reference.search`, since a query weight times a scale times an impact is exact in float64.
    """
    dense, candidates = scratch.dense, scratch.docs[:found]
    for i in range(terms.size):
        dense[terms[i]] = np.float64(weights[i]) * records.scales[terms[i]]
    if best_docs.size >= DEEP:
        sort_documents(candidates, records.starts.size - 1)
    scores = np.empty(found, np.float32)
    for ahead in range(found + _AHEAD_DOCUMENTS):
        if ahead + _AHEAD_DOCUMENTS < found:
            prefetch_item(records.starts, candidates[ahead + _AHEAD_DOCUMENTS])
        if ahead < found:
            doc = candidates[ahead]
            prefetch_range(
                records.entries,
                records.starts[doc],
                records.starts[doc + 1],
                records.entries.itemsize,
            )
        if ahead >= _AHEAD_DOCUMENTS:
            at = ahead - _AHEAD_DOCUMENTS
            scores[at] = dot(records, candidates[at], dense)
    keep_best(candidates, scores, best_docs, best_scores)
    for i in range(terms.size):
        dense[terms[i]] = 0.0


@compiled
def dot(records, doc, dense):
    """The score of a document, summed in float64 over rising terms."""
    score = 0.0
    # unsigned indices: no test for negative ones
    for at in range(np.uint64(records.starts[doc]), np.uint64(records.starts[doc + 1])):
        score += dense[records.entries[at].term] * number_of(records.entries[at].impact)
    return score
