"""Inverting rows into posting lists, and scoring by them term at a time."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_terms(terms, counts):
    """Add one to ``counts[term]`` for each entry of ``terms``.

    Args:
        terms: ``[nnz]`` int32.
        counts: ``[vocab_size]`` int64, changed in place.
    """
    for term in terms:
        counts[term] += 1


@njit(cache=True, nogil=True)
def scatter_rows(offsets, terms, weights, first_doc, cursors, posting_docs, posting_weights):
    """Append the rows of a batch to their posting lists.

    Args:
        offsets: ``[rows + 1]`` int64; row ``r`` is document ``first_doc + r``.
        terms: ``[nnz]`` int32.
        weights: ``[nnz]`` float32.
        first_doc: number of the first row's document.
        cursors: ``[vocab_size]`` int64, where each list goes on; changed in place.
        posting_docs: ``[postings]`` int32, written.
        posting_weights: ``[postings]`` float32, written.
    """
    for row in range(offsets.size - 1):
        for at in range(offsets[row], offsets[row + 1]):
            place = cursors[terms[at]]
            posting_docs[place] = first_doc + row
            posting_weights[place] = weights[at]
            cursors[terms[at]] = place + 1


@njit(cache=True, nogil=True)
def add_scores(query_terms, query_weights, posting_offsets, posting_docs, posting_weights, totals):
    """Add each document's dot product with one query to ``totals``.

    Terms are taken in rising order, so a total is the same float64 sum as the reference's.

    Args:
        query_terms: ``[n]`` int32, rising.
        query_weights: ``[n]`` float32.
        posting_offsets: ``[vocab_size + 1]`` int64.
        posting_docs: ``[postings]`` int32.
        posting_weights: ``[postings]`` float32.
        totals: ``[documents]`` float64, changed in place.
    """
    for i in range(query_terms.size):
        term, weight = query_terms[i], np.float64(query_weights[i])
        for at in range(posting_offsets[term], posting_offsets[term + 1]):
            totals[posting_docs[at]] += weight * posting_weights[at]
