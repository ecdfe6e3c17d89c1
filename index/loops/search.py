"""The search of a batch of queries: candidates from the lists, scores from the records."""

import numpy as np
from numba import njit

from tamis.index.loops.arrays import TIERS
from tamis.index.loops.candidates import choose_terms, find_candidates, scale_query
from tamis.index.loops.prefetch import prefetch_range
from tamis.index.loops.topk import offer, sort_best

_AHEAD_DOCUMENTS = 6  # records begun to load before they are read


@njit(cache=True, nogil=True)
def search(
    queries, knobs, image_error, lists, records, allowed, scratch, docs, scores, work, postings
):
    """The k best documents of each query.

    Args:
        queries: ``(offsets [rows + 1] int64, terms int32, weights float32)``.
        knobs: `Knobs`, an array each; with all at their ends a result is the exhaustive one.
        image_error: see `scale_query`.
        lists: `Lists`.
        records: `Records`.
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
        asked = (docs.shape[1], knobs.mass[row], knobs.tiers[row], knobs.slack[row])
        found, read = _find(terms, weights, asked, image_error, lists, records, allowed, scratch)
        k, mass, tiers, _ = asked
        if found < k and (mass < 1.0 or tiers < TIERS):  # weaker postings may hold more matches
            asked = (k, 1.0, TIERS, 1.0)
            found, more = _find(
                terms, weights, asked, image_error, lists, records, allowed, scratch
            )
            read += more
        work[row], postings[row] = found, read
        _score(terms, weights, records, scratch, work[row], docs[row], scores[row])


@njit(cache=True, nogil=True)
def _find(terms, weights, asked, image_error, lists, records, allowed, scratch):
    """Candidates for one query: how many there are, and the postings read for them."""
    k, mass, tiers, slack = asked
    chosen = choose_terms(terms, weights, lists.steps, mass)
    if chosen.size == 0:
        return 0, 0
    margin = scale_query(terms, weights, lists.steps, chosen, image_error, scratch.units)
    documents = records.starts.size - 1
    return find_candidates(
        lists, terms[chosen], (k, tiers, slack, margin), documents, allowed, scratch
    )


@njit(cache=True, nogil=True)
def _score(terms, weights, records, scratch, found, best_docs, best_scores):
    """Score the candidates in full and keep the best.

    A score is summed in float64 over rising terms and rounded once: the same operations as
    `reference.search`, since a query weight times a scale times an impact is exact in float64.
    """
    dense, candidates = scratch.dense, scratch.docs
    for i in range(terms.size):
        dense[terms[i]] = np.float64(weights[i]) * records.scales[terms[i]]
    kept = 0
    for ahead in range(found + _AHEAD_DOCUMENTS):
        if ahead < found:
            doc = candidates[ahead]
            prefetch_range(
                records.entries,
                records.starts[doc],
                records.starts[doc + 1],
                records.entries.itemsize,
            )
        if ahead >= _AHEAD_DOCUMENTS:
            doc = candidates[ahead - _AHEAD_DOCUMENTS]
            score = _dot(records, doc, dense)
            kept = offer(best_docs, best_scores, kept, doc, np.float32(score))
    sort_best(best_docs, best_scores, kept)
    for i in range(terms.size):
        dense[terms[i]] = 0.0


@njit(cache=True, nogil=True)
def _dot(records, doc, dense):
    score = 0.0
    for at in range(records.starts[doc], records.starts[doc + 1]):
        score += dense[records.entries[at].term] * records.entries[at].impact
    return score
