"""Compiled loops of composed vectors and of peers' files: arrays in, arrays out, no checks."""

import numba
import numpy as np

TRIES = 4  # partners looked at for one of another passage


@numba.njit(nogil=True)
def telling(offsets, terms, weights, rarity, best) -> None:
    """Write the most telling terms of each row, the first first: ``best`` [rows, n] int64."""
    most = best.shape[1]
    values = np.zeros(most)
    for row in range(offsets.size - 1):
        values[:] = 0.0
        for at in range(offsets[row], offsets[row + 1]):
            value, place = weights[at] * rarity[terms[at]], most
            while place > 0 and value > values[place - 1]:
                place -= 1
            if place < most:
                for later in range(most - 1, place, -1):
                    values[later], best[row, later] = values[later - 1], best[row, later - 1]
                values[place], best[row, place] = value, terms[at]


@numba.njit(nogil=True)
def _mixed(number):
    """A random number for a number (SplitMix64, Steele and others 2014)."""
    number = np.uint64(number) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@numba.njit(nogil=True)
def pairs(passages, first, rows, reach, seed):
    """The two windows of each document: ``[rows, 2]`` int64."""
    pairs = np.empty((rows, 2), np.int64)
    for row in range(rows):
        doc = first + row
        window = doc % passages.size
        draw, partner = _mixed(np.uint64(doc) ^ _mixed(np.uint64(seed))), window
        for _ in range(TRIES):
            draw = _mixed(draw)
            step = np.int64(draw % np.uint64(2 * reach)) - reach
            partner = (window + step + (step >= 0)) % passages.size
            if passages[partner] != passages[window]:
                break
        pairs[row] = window, partner
    return pairs


@numba.njit(nogil=True)
def join(arrays, pairs, least, seed, first, out):
    """Write each pair's maximum without the terms that are dropped; where the last entry ends."""
    (offsets, terms, weights), (ends, out_terms, out_weights) = arrays, out
    end = 0
    for row in range(pairs.shape[0]):
        left, right = offsets[pairs[row, 0]], offsets[pairs[row, 1]]
        left_end, right_end = offsets[pairs[row, 0] + 1], offsets[pairs[row, 1] + 1]
        draw = _mixed(np.uint64(first + row) ^ (seed << np.uint64(32)))
        while left < left_end or right < right_end:
            draw = _mixed(draw)
            other = _mixed(draw ^ np.uint64(1))
            in_left = left < left_end and (right >= right_end or terms[left] <= terms[right])
            in_right = right < right_end and (left >= left_end or terms[right] <= terms[left])
            term, weight = 0, np.float32(0.0)
            if in_left:
                term = terms[left]
                if draw >= least:
                    weight = weights[left]
                left += 1
            if in_right:
                term = terms[right]
                if other >= least:
                    weight = max(weight, weights[right])
                right += 1
            if weight > 0:
                out_terms[end], out_weights[end] = term, weight
                end += 1
        ends[row + 1] = end
    return end


@numba.njit(nogil=True)
def interleave(offsets, terms, weights, words) -> None:
    """Write each row as its length, its terms and its weights: ``words`` uint32."""
    at = 0
    for row in range(offsets.size - 1):
        start, end = offsets[row], offsets[row + 1]
        size = end - start
        words[at] = size
        words[at + 1 : at + 1 + size] = terms[start:end]
        words[at + 1 + size : at + 1 + 2 * size] = weights[start:end]
        at += 1 + 2 * size


@numba.njit(nogil=True)
def scores_of(offsets, terms, weights, docs, query):
    """The scores of ``docs`` for a dense ``query``, in double precision."""
    scores = np.zeros(docs.size)
    for place in range(docs.size):
        for at in range(offsets[docs[place]], offsets[docs[place] + 1]):
            scores[place] += query[terms[at]] * weights[at]
    return scores
