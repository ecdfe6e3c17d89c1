"""The backward for short sequences: library matrix products with a one-hot matrix.

With A[t, v] = g[b, v] where t is the token that won (b, v), else 0:
    d hidden = A weight,    d weight = A^T hidden.
A has as many entries as the logits, so it is made for one slice of the vocabulary at a time, within
the workspace. Two matrix products as long as the forward's, against a gather that costs the same at
any length (gradient.py): the shorter the sequences, the better this is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from tamis.kernels.gradient import logit_gradient
from tamis.kernels.launch import WORKSPACE_BYTES, cdiv, on, round_up

if TYPE_CHECKING:
    from tamis.kernels.gradient import Pooled
    from tamis.kernels.pack import Packed

_BLOCK_V = 256
_ALIGNED = 64  # columns; a matrix product wants its rows aligned


def gradients(
    packed: Packed, pooled: Pooled, weight: torch.Tensor, flat_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return d loss / d hidden [flat_rows, D] and d loss / d weight [V, D].

    Packed rows past those in use must be finite.
    """
    capacity, (vocab, width) = packed.rows.shape[0], weight.shape
    slice_v = WORKSPACE_BYTES // (weight.element_size() * capacity) // _ALIGNED * _ALIGNED
    slice_v = min(round_up(vocab, _ALIGNED), max(_ALIGNED, slice_v))
    one_hot = torch.empty((capacity, slice_v), dtype=weight.dtype, device=weight.device)
    grad_rows = torch.zeros((capacity, width), dtype=torch.float32, device=weight.device)
    grad_weight = torch.empty((vocab, width), dtype=weight.dtype, device=weight.device)
    back = 1.0 if pooled.unit is None else 1.0 / pooled.unit
    for first in range(0, vocab, slice_v):
        terms = slice(first, min(vocab, first + slice_v))
        _spread(packed, pooled, one_hot, terms)
        part = one_hot[:, : terms.stop - first]
        grad_rows += part @ weight[terms]
        grad_weight[terms] = (part.T @ packed.rows[:, :width]) * back
    # Rows that stand for no token of the input fall on one extra row, which is dropped.
    grad = torch.zeros((flat_rows + 1, width), dtype=weight.dtype, device=weight.device)
    target = torch.where(packed.source < 0, flat_rows, packed.source).long()
    grad.index_copy_(0, target, (grad_rows * back).to(grad.dtype))
    return grad[:flat_rows], grad_weight


def _spread(packed: Packed, pooled: Pooled, one_hot: torch.Tensor, terms: slice) -> None:
    """Fill the first columns of `one_hot [capacity, at least terms]`."""
    batch, vocab = pooled.out.shape
    count = terms.stop - terms.start
    with on(one_hot.device):
        _spread_kernel[(batch, cdiv(count, _BLOCK_V))](
            pooled.grad, pooled.out, pooled.winner, packed.start, one_hot, pooled.unit,
            batch, vocab, terms.start, count, *one_hot.shape, pooled.logit_scale,
            ACTIVATION=int(pooled.activation), BLOCK_S=8, BLOCK_V=_BLOCK_V,
        )  # fmt: skip


@triton.jit(do_not_specialize=["B", "first", "count", "capacity", "logit_scale"])
def _spread_kernel(
    grad_ptr, out_ptr, winner_ptr, start_ptr, one_hot_ptr, unit_ptr,
    B, V, first, count, capacity, stride, logit_scale,
    ACTIVATION: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_V: tl.constexpr,
):  # fmt: skip
    """Write one sequence's rows of the one-hot matrix; the last sequence clears the rest too."""
    b = tl.program_id(0)
    local = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    inside = local < count
    at = b.to(tl.int64) * V + first + local
    g, winner = logit_gradient(grad_ptr, out_ptr, winner_ptr, at, inside, logit_scale, ACTIVATION)
    if unit_ptr is not None:
        g *= tl.load(unit_ptr)
    start = tl.load(start_ptr + b)
    end = capacity
    if b + 1 < B:
        end = tl.load(start_ptr + b + 1)
    for s0 in range(0, end - start, BLOCK_S):
        s = s0 + tl.arange(0, BLOCK_S)
        value = tl.where(winner[None, :] == s[:, None], g[None, :], 0.0)
        target = one_hot_ptr + (start + s).to(tl.int64)[:, None] * stride + local[None, :]
        mask = (s < end - start)[:, None] & inside[None, :]
        tl.store(target, value.to(one_hot_ptr.dtype.element_ty), mask=mask)
