"""Compiled loops of the head in 8 bits: arrays in, arrays out, no objects, no checks.

Axes: T tokens of a text, D numbers of a token, V terms, N terms of a block.
"""

import math

import numpy as np

from tamis.retriever.models.row_loops import compiled_relaxed

_F, _U8 = np.float32, np.uint8
_ONE, _TINY = _F(1), _F(1e-30)
_LARGEST = _F(127)
_ZERO = _F(128.5)  # 128, and what makes a cut to whole numbers a rounding
_SLACK = _F(1e-5)  # of a squared length, for what float32 loses in a difference of two
_AHEAD = 16  # terms looked at together


@compiled_relaxed
def add_distances(hidden, mean, images, out):
    """Put beside the images of tokens [T, r] how far each token lies from its image.

    The first r columns of ``out`` [T, r + c] become the images, the others the distances, which
    are never too small.
    """
    rank = images.shape[1]
    for t in range(hidden.shape[0]):
        row, image, to = hidden[t], images[t], out[t]
        whole, within = _F(0), _F(0)
        for d in range(row.size):
            away = row[d] - mean[d]
            whole += away * away
        for d in range(rank):
            within += image[d] * image[d]
            to[d] = image[d]
        rest = whole - within
        rest = _F(math.sqrt((rest if rest > _F(0) else _F(0)) + whole * _SLACK))
        for d in range(rank, to.size):
            to[d] = rest


@compiled_relaxed
def round_together(rows, out):
    """Round ``rows`` [T, D] to ``out`` [T, D] uint8 around 128, by one scale.

    Returns:
        The scale, and the longest row of what rounding took away and of what it left.
    """
    top = _TINY
    for t in range(rows.shape[0]):
        row = rows[t]
        for d in range(row.size):
            size = abs(row[d])
            top = size if size > top else top
    scale, factor = top / _LARGEST, _LARGEST / top
    lost, left = _F(0), _F(0)
    for t in range(rows.shape[0]):
        row, to = rows[t], out[t]
        away, kept = _F(0), _F(0)
        for d in range(row.size):
            whole = np.int32(row[d] * factor + _ZERO)
            value = _F(whole - np.int32(128)) * scale
            away += (row[d] - value) * (row[d] - value)
            kept += value * value
            to[d] = _U8(whole)
        lost = away if away > lost else lost
        left = kept if kept > left else left
    return scale, _F(math.sqrt(lost)), _F(math.sqrt(left))


@compiled_relaxed
def rounding_errors(rows, rounded, scales, out):
    """Lengths ``out`` [T] of what rounding took from ``rows`` [T, D], each with a scale."""
    for t in range(rows.shape[0]):
        row, whole, scale, away = rows[t], rounded[t], scales[t], _F(0)
        for d in range(row.size):
            rest = row[d] - (_F(whole[d]) - _F(128)) * scale
            away += rest * rest
        out[t] = _F(math.sqrt(away * (_ONE + _SLACK)))


@compiled_relaxed
def pick_highest(upper, error, least, count, out):
    """Up to ``count`` terms whose ``upper`` [V] uint8 plus ``error`` [V] int16 is highest.

    Args:
        upper: rounded bounds.
        error: what is to be added; far below 0 for a term that is never wanted.
        least: terms below it are left out.
        count: how many.
        out: [count] int32, filled from its start, rising.

    Returns:
        How many.
    """
    sums = np.zeros(512, np.int32)  # 255 and an error are below
    for v in range(upper.size):
        reach = np.int32(upper[v]) + np.int32(error[v])
        if reach >= least:
            sums[reach] += 1
    bar, above = 511, 0
    while bar > least and above + sums[bar] < count:
        above += sums[bar]
        bar -= 1
    spare, found = count - above, 0  # of those at the bar, the first
    for v in range(upper.size):
        reach = np.int32(upper[v]) + np.int32(error[v])
        if reach > bar or (reach == bar and reach >= least and spare > 0):
            spare -= reach == bar
            out[found] = v
            found += 1
    return found


@compiled_relaxed
def pick_reaching(upper, error, least, known, out):
    """Terms of ``upper`` [V] and ``error`` [V] (see `pick_highest`) at ``least`` or above.

    Those whose upper is cut at 255 reach anything. ``known`` are rising terms to leave out.

    Returns:
        How many are in ``out`` [V] int32, rising.
    """
    found, place = 0, 0
    for v in range(upper.size):
        reach = np.int32(upper[v]) + np.int32(error[v])
        if reach < least and (upper[v] < 255 or error[v] < 0):
            continue
        while place < known.size and known[place] < v:
            place += 1
        if place < known.size and known[place] == v:
            continue
        out[found] = v
        found += 1
    return found


@compiled_relaxed
def exact_maxima(products, tokens, terms, head, bar, out):
    """The largest logit of each term over a text's tokens, as float32 sums them.

    A pair of token and term is summed only where 8 bits leave open that it is the largest, and
    reaches the bar.

    Args:
        products: [T or more, N or more] int32, of rounded tokens and rows, N at least to the next
            multiple of 16.
        tokens: hidden [T, D] float32, scales [T], and lengths [T] of their rounding errors.
        terms: [N].
        head: rows [V, D] int8, scales [V], bias [V], norms [V] of the scaled rows.
        bar: logits below it are not wanted.
        out: [N] float32, -inf for a term below the bar.
    """
    hidden, scales, errors = tokens
    rows, steps, bias, norms = head
    count = terms.size
    wide = -(-count // _AHEAD) * _AHEAD
    norm, need = np.zeros(wide, np.float32), np.full(wide, np.inf, np.float32)
    by = np.zeros(wide, np.float32)
    for n in range(count):
        by[n], norm[n] = steps[terms[n]], norms[terms[n]]
        need[n] = bar - bias[terms[n]]
        out[n] = -np.inf
    for t in range(hidden.shape[0]):  # what is surely reached
        row, scale, error = products[t], scales[t], errors[t]
        for n in range(count):
            low = _F(row[n]) * by[n] * scale - norm[n] * error
            need[n] = low if low > need[n] else need[n]
    for t in range(hidden.shape[0]):
        row, scale, error = products[t], scales[t], errors[t]
        for first in range(0, wide, _AHEAD):
            some = 0
            for n in range(first, first + _AHEAD):
                some += _F(row[n]) * by[n] * scale + norm[n] * error >= need[n]
            if some == 0:
                continue
            for n in range(first, min(first + _AHEAD, count)):
                if _F(row[n]) * by[n] * scale + norm[n] * error >= need[n]:
                    term, total = terms[n], _F(0)
                    matrix, state = rows[term], hidden[t]
                    for d in range(state.size):
                        total += state[d] * _F(matrix[d])
                    total *= steps[term]
                    need[n] = total if total > need[n] else need[n]
                    logit = total + bias[term]
                    out[n] = logit if logit > out[n] else out[n]
