"""Compiled loops between 8-bit products: arrays in, arrays out, no objects, no checks.

A product gives rows that lack the scale of its input's row, and its bias. One pass over a row adds
both, does what follows in a transformer, and rounds the row for the next product: it becomes uint8
around 128 by a scale of its own, so that a token's numbers depend on no other token's.

bfloat16 is the upper half of a float32, here an uint16. Axes: T tokens, D numbers of a token.
"""

import math

import numpy as np

from tamis.index.segment.loops.compiled import compiled

_F, _I, _U = np.float32, np.int32, np.uint32
_HALF_WORD = _I(16)
_WITHOUT_SIGN = _I(0x7FFFFFFF)
_LEAST = _I(-0x80000000)
_NEXT_TO_NOTHING = _I(0x0DA24260)  # the bits of 1e-30: a row of zeros has this as its largest
_LARGEST = _F(127)
_ZERO = _F(128.5)  # 128, and what makes a cut to whole numbers a rounding
_ONE, _HALF = _F(1), _F(0.5)
_ROOT_HALF = _F(math.sqrt(0.5))
_ERF_END = _F(3.4)  # erf is 1 from here on, within 2e-6
_ERF_SPAN = _F(2 / 3.4**2)
_LOG2_E = _F(1 / math.log(2))
_EXP_END = _F(-80)
_EXPONENT, _EXPONENT_BITS = _I(127), _I(23)


def compiled_relaxed(function):
    """`compiled`, with sums in any order and unchecked divisions: what vector registers need."""
    loop = compiled(function)
    loop.targetoptions.update(fastmath=True, error_model="numpy")
    return loop


@compiled_relaxed
def round_row(row, out):
    """Round ``row`` [D] to ``out`` [D] uint8; returns its scale."""
    bits = row.view(np.int32)
    top = _NEXT_TO_NOTHING
    for d in range(row.size):  # without their signs, bits order as the floats they stand for
        size = bits[d] & _WITHOUT_SIGN
        top = size if size > top else top
    largest = _I(top).view(np.float32)
    factor = _LARGEST / largest
    for d in range(row.size):
        out[d] = np.uint8(row[d] * factor + _ZERO)
    return largest / _LARGEST


@compiled_relaxed
def round_rows(rows, out, scales):
    """Round each row of ``rows`` [T, D] to ``out`` [T, D] uint8 and its scale in ``scales`` [T]."""
    for t in range(rows.shape[0]):
        scales[t] = round_row(rows[t], out[t])


@compiled_relaxed
def scale_rows(rows, scales, bias):
    """Finish a product in place: rows [T, D] times scales [T], plus bias [D]."""
    for t in range(rows.shape[0]):
        row, scale = rows[t], scales[t]
        for d in range(row.size):
            row[d] = row[d] * scale + bias[d]


@compiled_relaxed
def scale_to_bfloat16(rows, scales, bias, out):
    """The same, into ``out`` [T, D] uint16, ties to even."""
    for t in range(rows.shape[0]):
        row, scale, to = rows[t], scales[t], out[t]
        for d in range(row.size):
            bits = _F(row[d] * scale + bias[d]).view(np.uint32)
            odd = (bits >> _U(16)) & _U(1)
            to[d] = np.uint16((bits + _U(0x7FFF) + odd) >> _U(16))


@compiled_relaxed
def add_and_norm(rows, scales, bias, states, gain, shift, epsilon, out):
    """Finish a product, add it to ``states`` [T, D] in place, apply LayerNorm, round.

    Writes ``out`` [T, D] uint8, and over ``scales`` [T] those of ``out``.
    """
    for t in range(rows.shape[0]):
        row, state, scale, total = rows[t], states[t], scales[t], _F(0)
        for d in range(row.size):
            value = row[d] * scale + bias[d] + state[d]
            state[d] = value
            total += value
        mean, squares = total / _F(row.size), _F(0)
        for d in range(row.size):
            away = state[d] - mean
            squares += away * away
        inverse = _ONE / _F(math.sqrt(squares / _F(row.size) + epsilon))
        for d in range(row.size):
            state[d] = (state[d] - mean) * inverse * gain[d] + shift[d]
        scales[t] = round_row(state, out[t])


@compiled_relaxed
def gelu_and_round(rows, scales, bias, out):
    """Finish a product, apply GELU x (1 + erf(x / sqrt 2)) / 2 in place, round.

    erf is a polynomial (least squares, weighted to the smallest largest error), within 3e-6.
    Writes ``out`` [T, D] uint8, and over ``scales`` [T] those of ``out``.
    """
    for t in range(rows.shape[0]):
        row, scale = rows[t], scales[t]
        for d in range(row.size):
            x = row[d] * scale + bias[d]
            z = x * _ROOT_HALF
            z = _ERF_END if z > _ERF_END else z
            z = -_ERF_END if z < -_ERF_END else z
            t2 = z * z * _ERF_SPAN - _ONE
            p = _F(-0.00230452009)
            p = p * t2 + _F(0.00611464422)
            p = p * t2 + _F(-0.0070679337)
            p = p * t2 + _F(0.0113823059)
            p = p * t2 + _F(-0.024999333)
            p = p * t2 + _F(0.042313518)
            p = p * t2 + _F(-0.0617867511)
            p = p * t2 + _F(0.0862145972)
            p = p * t2 + _F(-0.114878268)
            p = p * t2 + _F(0.1495554)
            p = p * t2 + _F(-0.206091266)
            p = p * t2 + _F(0.415664573)
            row[d] = x * _HALF * (_ONE + z * p)
        scales[t] = round_row(row, out[t])


@compiled_relaxed
def softmax_without_sum(scores, inverse):
    """Exponentials of ``scores`` [R, L] bfloat16 in place, less each row's largest.

    Writes ``inverse`` [R]: what turns a row into its softmax.
    """
    for t in range(scores.shape[0]):
        row = scores[t]
        top = _LEAST
        for d in range(row.size):
            bits = _I(_I(row[d]) << _HALF_WORD)
            order = bits ^ ((bits >> _I(31)) & _WITHOUT_SIGN)  # as whole numbers, in their order
            top = order if order > top else top
        largest = _I(top ^ ((top >> _I(31)) & _WITHOUT_SIGN)).view(np.float32)
        total = _F(0)
        for d in range(row.size):
            x = _I(_I(row[d]) << _HALF_WORD).view(np.float32) - largest
            x = _EXP_END if x < _EXP_END else x
            x *= _LOG2_E
            whole = np.rint(x)
            f = x - whole
            p = _F(0.0013333558)  # 2^f for |f| <= 1/2: Taylor's series, within 3e-6
            p = p * f + _F(0.0096181291)
            p = p * f + _F(0.0555041087)
            p = p * f + _F(0.2402265070)
            p = p * f + _F(0.6931471806)
            p = p * f + _ONE
            power = _I((_I(whole) + _EXPONENT) << _EXPONENT_BITS).view(np.float32)
            value = _F(power * p)
            total += value
            row[d] = np.uint16((value.view(np.uint32) + _U(0x8000)) >> _U(16))
        inverse[t] = _ONE / total
