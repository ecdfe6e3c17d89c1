"""Preparing a query: which images of which terms to read, and what each adds to a sum.

A query is scaled so that no document's sum passes two bytes. Every product is rounded up, so a
document's sum, in units of the query, is at least what its postings that were read add to its
score. The *margin* is the most by which the k-th largest sum can exceed the score of a document
that a search must not miss: the best k are among the documents whose sum is at least the k-th
largest sum less the margin.
"""

import numpy as np

from tamis.index.loops.arrays import IMAGE_MAX, SUM_LIMIT
from tamis.index.loops.compiled import compiled

FRACTION_BITS = np.uint32(16)  # of a unit: product of a term's unit and an image
SAFE_REST = 0.25  # of the largest contribution: what an exact search may leave unread


@compiled
def least_contribution(terms, weights, steps, cut):
    """The contribution to a score below which postings are not read.

    Args:
        terms: ``[n]`` int32.
        weights: ``[n]`` float32.
        steps: ``[vocab_size]`` float32.
        cut: the share of the query's largest contribution; 0 for the share of a safe search,
            which bounds what is left unread.
    """
    largest, held = 0.0, 0
    for i in range(terms.size):
        step = np.float64(weights[i]) * steps[terms[i]]
        largest = max(largest, step * IMAGE_MAX)
        held += step > 0.0
    return largest * (cut if cut > 0.0 else SAFE_REST / max(held, 1))


@compiled
def choose_images(terms, weights, steps, least, chosen, cuts):
    """Choose the images that contribute at least ``least``.

    Args:
        terms: ``[n]`` int32.
        weights: ``[n]`` float32.
        steps: ``[vocab_size]`` float32.
        least: of `least_contribution`; 0 to read everything.
        chosen: ``[n]`` int64, written: places in the query of the terms to read.
        cuts: ``[n]`` uint8, written: the least image to read of each, from 1.

    Returns:
        ``(chosen, rest)``: how many terms, and the most that unread postings add to a score.
    """
    count, rest = 0, 0.0
    for i in range(terms.size):
        step = np.float64(weights[i]) * steps[terms[i]]
        if step == 0.0:
            continue
        first = max(1.0, np.ceil(least / step))
        rest += step * min(first - 1.0, IMAGE_MAX)
        if first <= IMAGE_MAX:
            chosen[count], cuts[count] = i, np.uint8(first)
            count += 1
    return count, rest


@compiled
def scale_query(terms, weights, steps, chosen, rest, image_error, units):
    """The chosen terms' weights in units, such that a document's sum fits two bytes.

    Args:
        terms: ``[n]`` int32.
        weights: ``[n]`` float32.
        steps: ``[vocab_size]`` float32.
        chosen: ``[m]`` int64 places in the query, at most `MAX_QUERY_TERMS`.
        rest: the most that unread postings may add to a score; 0 if a search may miss it.
        image_error: 0 if an image times its step is the stored weight, 1 if rounded up to it.
        units: ``[m]`` uint32, written: units and fraction of one step of each term.

    Returns:
        The margin, in units.
    """
    potential = 0.0
    for i in chosen:
        potential += np.float64(weights[i]) * steps[terms[i]]
    room = SUM_LIMIT - 2 * chosen.size  # each product is rounded up by less than two units
    factor = room / (potential * IMAGE_MAX) * (1 << 16)
    for j in range(chosen.size):
        i = chosen[j]
        units[j] = np.uint32(np.ceil(np.float64(weights[i]) * steps[terms[i]] * factor))
    # a term: 1 unit and 255 / 2**16 of rounding, and image_error steps; 2 for float arithmetic
    rounding = 1.01 * chosen.size + image_error * room / IMAGE_MAX
    unread = rest / (potential * IMAGE_MAX) * room
    return np.int64(np.ceil(rounding + min(unread, SUM_LIMIT))) + 2
