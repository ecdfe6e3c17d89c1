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

from tamis.kernels.head.gradient import logit_gradient
from tamis.kernels.launch import WORKSPACE_BYTES, on, round_up

if TYPE_CHECKING:
    from tamis.kernels.head.gradient import Pooled
    from tamis.kernels.head.pack import Packed

_ALIGNED = 256  # terms of a slice; matrix products want aligned rows, stores whole vectors


def gradients(
    packed: Packed,
    pooled: Pooled,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    flat_rows: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return d loss / d hidden [flat_rows, D], / d weight [V, D] and / d bias [V] or None.

    Packed rows past those in use must be zeros, and `source` -1 where it means nothing.
    """
    capacity, (vocab, width) = packed.rows.shape[0], weight.shape
    step = WORKSPACE_BYTES // (weight.element_size() * capacity) // _ALIGNED * _ALIGNED
    step = min(round_up(vocab, _ALIGNED), max(_ALIGNED, step))
    one_hot = torch.empty((capacity, step), dtype=weight.dtype, device=weight.device)
    grad_rows = torch.zeros((capacity, width), dtype=torch.float32, device=weight.device)
    grad_weight = torch.empty((vocab, width), dtype=weight.dtype, device=weight.device)
    grad_bias = None if bias is None else torch.empty(vocab, dtype=bias.dtype, device=bias.device)
    tokens = packed.rows[:, :width]
    for first in range(0, vocab, step):
        # The last slice starts early, so that it too is aligned; the terms seen before are 0 in it.
        start = max(0, min(first, vocab - min(step, round_up(vocab - first, _ALIGNED))))
        end, seen = min(vocab, first + step), first - start
        _spread(packed, pooled, one_hot, grad_bias, start, first)
        part = one_hot[:, : end - start]
        grad_rows += _wide_product(part, weight[start:end])
        if seen:
            grad_weight[first:end] = (part.T @ tokens)[seen:]
        else:
            torch.mm(part.T, tokens, out=grad_weight[first:end])
    if pooled.unit is not None:
        grad_rows /= pooled.unit
        grad_weight /= pooled.unit
    # Rows that stand for no token of the input fall on one extra row, which is dropped.
    grad = torch.zeros((flat_rows + 1, width), dtype=weight.dtype, device=weight.device)
    target = torch.where(packed.source < 0, flat_rows, packed.source).long()
    grad.index_copy_(0, target, grad_rows.to(grad.dtype))
    return grad[:flat_rows], grad_weight, grad_bias


def _wide_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a @ b in float32: slices are summed, and rounding each first would show."""
    if a.is_cuda and a.dtype != torch.float32:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()


def _spread(
    packed: Packed,
    pooled: Pooled,
    one_hot: torch.Tensor,
    grad_bias: torch.Tensor | None,
    start: int,
    first: int,
) -> None:
    """Fill `one_hot [capacity, step]` for terms from `start`, with 0 for those before `first`."""
    batch, vocab = pooled.out.shape
    capacity, step = one_hot.shape
    with on(one_hot.device):
        _spread_kernel[(batch, step // _ALIGNED)](
            pooled.grad, pooled.out, pooled.winner, packed.start, one_hot, pooled.unit,
            batch, vocab, start, first, capacity, step, pooled.logit_scale,
            ACTIVATION=int(pooled.activation), BLOCK_S=8, BLOCK_V=_ALIGNED,
        )  # fmt: skip
        if grad_bias is not None:
            _bias_kernel[(step // 128,)](
                pooled.grad, pooled.out, pooled.winner, grad_bias,
                first, batch, vocab, pooled.logit_scale,
                ACTIVATION=int(pooled.activation), BLOCK_B=16, BLOCK_V=128,
            )  # fmt: skip


@triton.jit(do_not_specialize=["B", "start_v", "first", "capacity", "logit_scale"])
def _spread_kernel(
    grad_ptr, out_ptr, winner_ptr, start_ptr, one_hot_ptr, unit_ptr,
    B, V, start_v, first, capacity, stride, logit_scale,
    ACTIVATION: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_V: tl.constexpr,
):  # fmt: skip
    """Write one sequence's rows of the one-hot matrix; the last sequence clears the rest too."""
    b = tl.program_id(0)
    column = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    v = start_v + column
    at = b.to(tl.int64) * V + v  # int64: B * V passes 2^31
    g, winner = logit_gradient(
        grad_ptr, out_ptr, winner_ptr, at, (v >= first) & (v < V), logit_scale, ACTIVATION
    )
    if unit_ptr is not None:
        g *= tl.load(unit_ptr)
    start = tl.load(start_ptr + b)
    end = capacity
    if b + 1 < B:
        end = tl.load(start_ptr + b + 1)
    for s0 in range(0, end - start, BLOCK_S):
        s = s0 + tl.arange(0, BLOCK_S)
        value = tl.where(winner[None, :] == s[:, None], g[None, :], 0.0)
        target = one_hot_ptr + (start + s).to(tl.int64)[:, None] * stride + column[None, :]
        tl.store(target, value.to(one_hot_ptr.dtype.element_ty), mask=(s < end - start)[:, None])


@triton.jit(do_not_specialize=["first", "B", "logit_scale"])
def _bias_kernel(
    grad_ptr, out_ptr, winner_ptr, grad_bias_ptr, first, B, V, logit_scale,
    ACTIVATION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_V: tl.constexpr,
):  # fmt: skip
    v = first + tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    total = tl.zeros([BLOCK_V], tl.float32)
    for b0 in range(0, B, BLOCK_B):
        b = b0 + tl.arange(0, BLOCK_B)
        at = b.to(tl.int64)[:, None] * V + v[None, :]
        inside = (b < B)[:, None] & (v < V)[None, :]
        g, _ = logit_gradient(grad_ptr, out_ptr, winner_ptr, at, inside, logit_scale, ACTIVATION)
        total += tl.sum(g, 0)
    tl.store(grad_bias_ptr + v, total.to(grad_bias_ptr.dtype.element_ty), mask=v < V)
