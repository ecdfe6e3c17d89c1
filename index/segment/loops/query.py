"""Preparing a query: which images of which terms to read, and what each adds to a sum.

A query is scaled so that no document's sum passes two bytes. Every product is rounded up, so a
document's sum, in units of the query, is at least what its postings that were read add to its
score. The *margin* is the most by which the k-th largest sum can exceed the score of a document
that a search must not miss: the best k are among the documents whose sum is at least the k-th
largest sum less the margin.
"""

import numpy as np

from tamis.index.segment.loops.arrays import IMAGE_MAX, LEVEL_IMAGES, LEVELS, SUM_LIMIT
from tamis.index.segment.loops.compiled import compiled

FRACTION_BITS = np.uint32(16)  # of a unit: product of a term's unit and an image
SAFE_REST = 0.25  # of the largest contribution: the most that an exact search leaves unread
_DOCUMENTS_A_RESULT = 10_000  # from which on it leaves so much
_FINEST = 0.95  # the last factor by which prices are tried


@compiled
def largest_contribution(terms, weights, steps):
    """The most that one posting adds to a score: ``[n]`` terms int32, weights float32."""
    largest = 0.0
    for i in range(terms.size):
        largest = max(largest, np.float64(weights[i]) * steps[terms[i]] * IMAGE_MAX)
    return largest


@compiled
def choose_images(terms, weights, steps, least, chosen, cuts):
    """Choose the images that contribute at least ``least``.

    Args:
        terms: ``[n]`` int32.
        weights: ``[n]`` float32.
        steps: ``[vocab_size]`` float32.
        least: 0 to read everything.
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
def safe_rest(k, documents):
    """The share of the largest contribution that an exact search for ``k`` leaves unread.

    What is unread widens the margin. The more results of so many documents, the closer their
    scores, and the more documents in the margin must be scored for each posting that is spared.
    """
    return SAFE_REST * min(1.0, documents / (_DOCUMENTS_A_RESULT * k)) ** 0.4


@compiled
def choose_for_exact(terms, weights, lists, share, chosen, cuts):
    """Choose images so that few postings are read, and what is left unread adds little.

    Each term leaves the level unread that spares it most postings, less a price for what they
    might add; at the least price at which all terms together leave no more than ``share`` of the
    largest contribution. (Lagrange's multiplier: no other choice of levels with as small a rest
    spares more.)

    Args and returns as `choose_images`, with `Lists` for their steps. Rare terms are read.
    """
    allowed = share * largest_contribution(terms, weights, lists.steps)
    price, factor = _highest_price(terms, lists, allowed), 0.5
    if _rest_at(terms, weights, lists, 0.0) <= allowed:
        price, factor = 0.0, 1.0
    while factor < _FINEST:
        if _rest_at(terms, weights, lists, price * factor) <= allowed:
            price *= factor
        else:
            factor = np.sqrt(factor)
    count, rest = 0, 0.0
    for i in range(terms.size):
        step = np.float64(weights[i]) * lists.steps[terms[i]]
        unread = _unread_images(lists, terms[i], price * step)
        rest += step * unread
        if step > 0.0 and unread < IMAGE_MAX:
            chosen[count], cuts[count] = i, np.uint8(unread + 1)
            count += 1
    return count, rest


@compiled
def _highest_price(terms, lists, allowed):
    """A price at which no more than ``allowed`` stays unread: all postings are not worth more."""
    postings = 0.0
    for term in terms:
        if lists.rows[term] >= 0:
            postings += lists.weaker[lists.rows[term], LEVELS - 1]
    return postings / allowed if allowed > 0.0 else 0.0


@compiled
def _rest_at(terms, weights, lists, price):
    """What all terms together leave unread at a price of a unit of the score."""
    rest = 0.0
    for i in range(terms.size):
        step = np.float64(weights[i]) * lists.steps[terms[i]]
        rest += step * _unread_images(lists, terms[i], price * step)
    return rest


@compiled
def _unread_images(lists, term, price):
    """How many images of a term to leave unread, from the weakest, at a price of an image."""
    best, most, row = 0, 0.0, lists.rows[term]
    if row >= 0:
        for level in range(LEVELS):
            images = min(IMAGE_MAX, (level + 1) * LEVEL_IMAGES)
            gain = lists.weaker[row, level] - price * images
            if gain > most:
                best, most = images, gain
    return best


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
