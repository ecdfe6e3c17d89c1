"""The head in two steps on the CPU: which terms can win in 8 bits, then those alone in float32.

All logits are first made in 8-bit whole numbers, with a bound on how far rounding moves each. A
term whose bound does not reach the heaviest `top_n` cannot be among them. The few that can are
multiplied again in float32, so that the result is that of `cpu.encode` up to the order of sums.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch

from tamis.kernels.head.cpu import NON_FINITE, Selection, SparseRows
from tamis.kernels.int8 import LARGEST, ZERO, Int8Matrix, int8_product_rounded, pack_int8
from tamis.kernels.product import product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tamis.kernels.head.activation import Activation

COLUMNS = 4096  # terms multiplied together: their logits stay near a core's cache
STEPS_OF_ERROR = 14  # of a rounded logit's 256, that rounding may move the largest row's
FLOOR = STEPS_OF_ERROR + 2  # stands for a logit of 0; what is rounded to 0 is surely below it
MOST = 255


class RoundedHead(NamedTuple):
    """A vocabulary matrix of int8 rows.

    rows:   [V, D] int8.
    scales: [V] float32.
    bias:   [V] float32.
    norms:  [V] float32, of the rows times their scales.
    chunks: the rows packed, `COLUMNS` at a time.
    """

    rows: torch.Tensor
    scales: torch.Tensor
    bias: torch.Tensor
    norms: torch.Tensor
    chunks: list[Int8Matrix]


def round_head(rows: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor) -> RoundedHead:
    """Prepare int8 rows [V, D] with scales [V] and bias [V] float32."""
    norms = rows.float().norm(dim=1) * scales
    chunks = [pack_int8(rows[cols], scales[cols]) for cols in _columns(len(rows))]
    return RoundedHead(rows, scales, bias, norms, chunks)


@torch.inference_mode()
def encode_candidates(
    hidden: torch.Tensor,
    head: RoundedHead,
    bounds: Sequence[int],
    activation: Activation,
    logit_scale: float,
    keep: Selection,
) -> SparseRows:
    """Return what `cpu.encode` gives for `head` in float32.

    Args:
        hidden: [T, D] float32, packed tokens; T may be more than the last of `bounds`.
        head: see `round_head`.
        bounds: B + 1 row numbers.
        activation: applied to the pooled logit.
        logit_scale: positive factor of the logits.
        keep: which of the weights.

    Raises:
        ValueError: a hidden state is NaN or infinite.
    """
    if not torch.isfinite(hidden).all():
        raise ValueError(NON_FINITE)
    found = candidates(hidden, head, bounds, keep)
    texts = [
        _weights(hidden[a:e], head, terms, activation, logit_scale, keep)
        for (a, e), terms in zip(itertools.pairwise(bounds), found, strict=True)
    ]
    counts = torch.tensor([0, *(len(terms) for terms, _ in texts)])
    return SparseRows(
        counts.cumsum(0),
        torch.cat([terms for terms, _ in texts]).to(torch.int32),
        torch.cat([weights for _, weights in texts]),
    )


def candidates(
    hidden: torch.Tensor, head: RoundedHead, bounds: Sequence[int], keep: Selection
) -> list[torch.Tensor]:
    """Return the terms of each text, rising, that can be among its heaviest `top_n` above 0.

    With r the rounding error of a hidden state and w a term's row, a logit moves by at most
    |r| |w| (Cauchy and Schwarz), and by half a step more as it is rounded itself.
    """
    scale = max(float(hidden.abs().max()), torch.finfo(torch.float32).tiny) / LARGEST
    rounded = torch.round(hidden / scale)
    moved = float((rounded * scale - hidden).norm(dim=1).max()) * head.norms  # [V]
    step = max(float(moved.max()), scale) / STEPS_OF_ERROR
    top = _pool((rounded + ZERO).to(torch.uint8), scale, head, bounds, step)  # [B, V]
    error = (moved / step + 1.501).to(torch.int16)  # whole steps, at least moved / step + 1/2
    upper = top + error
    if keep.exclude is not None:
        upper.masked_fill_(keep.exclude, 0)
    lower = top - error
    texts = zip(upper, lower, itertools.pairwise(bounds), strict=True)
    nothing = torch.empty(0, dtype=torch.int64)
    return [_reaching(up, low, keep.top_n) if e > a else nothing for up, low, (a, e) in texts]


def _reaching(upper: torch.Tensor, lower: torch.Tensor, top_n: int | None) -> torch.Tensor:
    """Return the terms that may be above 0 and that fewer than `top_n` are surely above."""
    terms = (upper >= FLOOR).nonzero()[:, 0]
    if top_n is None or len(terms) <= top_n:
        return terms
    bar = lower[terms].topk(top_n).values[-1]
    return terms[upper[terms] >= bar]


def _pool(
    rows: torch.Tensor, scale: float, head: RoundedHead, bounds: Sequence[int], step: float
) -> torch.Tensor:
    """Return the largest rounded logits [B, V] int16 over each text; 0 for a text without."""
    top = torch.zeros((len(bounds) - 1, len(head.rows)), dtype=torch.uint8)
    for cols, matrix in zip(_columns(len(head.rows)), head.chunks, strict=True):
        logits = int8_product_rounded(rows, scale, matrix, head.bias[cols], step, FLOOR)
        for b, (a, e) in enumerate(itertools.pairwise(bounds)):
            if e > a:
                torch.amax(logits[a:e], 0, out=top[b, cols])
    return top.to(torch.int16)


def _weights(
    hidden: torch.Tensor,
    head: RoundedHead,
    terms: torch.Tensor,
    activation: Activation,
    logit_scale: float,
    keep: Selection,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one text's terms, rising, and their weights, from the terms that can be there."""
    if not len(terms):
        return terms, torch.empty(0)
    products = product(hidden, head.rows.index_select(0, terms).float()).amax(0)
    logits = (products * head.scales[terms] + head.bias[terms]) * logit_scale  # scales are above 0
    above = logits > 0
    terms, weights = terms[above], activation.apply(logits[above])
    if keep.threshold > 0:
        heavy = weights > keep.threshold
        terms, weights = terms[heavy], weights[heavy]
    if keep.top_n is not None and len(terms) > keep.top_n:
        kept = torch.argsort(weights, descending=True, stable=True)[: keep.top_n].sort().values
        terms, weights = terms[kept], weights[kept]
    return terms, weights


def _columns(vocab: int) -> Iterator[slice]:
    for start in range(0, vocab, COLUMNS):
        yield slice(start, min(vocab, start + COLUMNS))
