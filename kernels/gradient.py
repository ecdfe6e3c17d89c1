"""The backward of the max-pooled head, without float atomics: every output has one writer.

With g[b, v] = d loss / d logit and i[b, v] the winning token:
    d weight[v] = sum_b g[b, v] hidden[b, i[b, v]]
    d hidden[b, s] = sum_v g[b, v] [i[b, v] = s] weight[v]
Short sequences: both are products with the one-hot matrix A[v, s] = g [i = s], built in registers.
Long ones: d weight gathers one row a pair; for d hidden the active pairs are first sorted into bins
of BIN tokens, and each bin is a one-hot product with gathered weight rows. Inactive pairs never
enter a bin, and how many do is known to the device alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl

from tamis.kernels import tuned
from tamis.kernels.finish import slope
from tamis.kernels.launch import WORKSPACE_BYTES, card, cdiv, next_power_of_2, on

if TYPE_CHECKING:
    from tamis.kernels.activation import Activation
    from tamis.kernels.pack import Packed

BIN = tl.constexpr(64)  # tokens a bin; also the rows of a one-hot tensor-core product
_SPREAD = 1024  # terms a program sorts
_PAIR_BYTES = 8


class Pooled(NamedTuple):
    """What the forward leaves for the backward, and the gradient that arrives.

    out:    [B, V] float32 weights.
    winner: [B, V] int16 or int32 position in the packed sequence, -1 for none.
    grad:   [B, V] float32, d loss / d out.
    """

    out: torch.Tensor
    winner: torch.Tensor
    grad: torch.Tensor
    activation: Activation
    logit_scale: float


def weight_gradient(
    packed: Packed, pooled: Pooled, weight: torch.Tensor, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return d loss / d weight [V, D] in the dtype of `weight`, and d loss / d bias [V] or None."""
    vocab, width = weight.shape
    grad_weight = torch.empty((vocab, width), dtype=weight.dtype, device=weight.device)
    grad_bias = None if bias is None else torch.empty_like(bias)
    tile = tuned.grad_tile(card(weight.device), weight.dtype, width, packed.max_len)
    one_hot = packed.max_len <= tuned.ONE_HOT
    block_d = min(tile.weight_d, max(16, next_power_of_2(width)))
    block_v = max(tile.weight_v, 64) if one_hot else tile.weight_v
    with on(weight.device):
        _weight_kernel[(cdiv(width, block_d), cdiv(vocab, block_v))](
            pooled.grad, pooled.out, pooled.winner, packed.rows, packed.start, packed.length,
            grad_weight, grad_bias,
            len(packed.length), vocab, width, packed.rows.shape[1], pooled.logit_scale,
            ACTIVATION=int(pooled.activation), BLOCK_V=block_v, BLOCK_D=block_d,
            LENGTH=max(16, next_power_of_2(packed.max_len)) if one_hot else 0,
            PRECISION="ieee", num_warps=tile.weight_warps, num_stages=tile.stages,
        )  # fmt: skip
    return grad_weight, grad_bias


def hidden_gradient(
    packed: Packed, pooled: Pooled, weight: torch.Tensor, flat_rows: int
) -> torch.Tensor:
    """Return d loss / d hidden [flat_rows, D], zero for rows that never counted."""
    batch, vocab = pooled.out.shape
    grad = torch.zeros((flat_rows, weight.shape[1]), dtype=weight.dtype, device=weight.device)
    if not batch or not packed.max_len or not vocab:
        return grad
    # At most WORKSPACE_BYTES of pairs at once: the sequences are taken in groups.
    group = max(1, WORKSPACE_BYTES // (_PAIR_BYTES * vocab))
    for first in range(0, batch, group):
        _hidden_group(packed, pooled, weight, grad, first, min(batch, first + group))
    return grad


def _hidden_group(
    packed: Packed,
    pooled: Pooled,
    weight: torch.Tensor,
    grad: torch.Tensor,
    first: int,
    end: int,
) -> None:
    """Sort the active pairs of sequences first .. end into bins, then multiply each bin."""
    vocab, width = weight.shape
    count, bins, chunks = end - first, cdiv(packed.max_len, BIN.value), cdiv(vocab, _SPREAD)
    device = weight.device
    lines = [t[first:end] for t in (pooled.grad, pooled.out, pooled.winner)]
    rule = {"ACTIVATION": int(pooled.activation), "BLOCK": _SPREAD}
    sizes = torch.empty((count, bins, chunks), dtype=torch.int32, device=device)
    pairs = torch.empty(count * vocab, dtype=torch.int32, device=device)
    slopes = torch.empty(count * vocab, dtype=torch.float32, device=device)
    tile = tuned.grad_tile(card(device), weight.dtype, width, packed.max_len)
    block_d = min(tile.hidden_d, max(16, next_power_of_2(width)))
    with on(device):
        grid = (count, chunks)
        _count_kernel[grid](*lines, sizes, vocab, bins, chunks, pooled.logit_scale, **rule)
        ends = sizes.view(-1).cumsum(0, dtype=torch.int32)
        _sort_kernel[grid](
            *lines, sizes, ends, pairs, slopes, vocab, bins, chunks, pooled.logit_scale, **rule
        )
        _bin_kernel[(cdiv(width, block_d), count * bins)](
            pairs, slopes, ends, weight, grad, packed.source, packed.start, packed.length,
            first, width, weight.stride(0), bins, chunks,
            BLOCK_K=tile.hidden_k, BLOCK_D=block_d, PRECISION="ieee",
            num_warps=tile.hidden_warps, num_stages=tile.stages,
        )  # fmt: skip


@triton.jit
def _logit_gradient(
    grad_ptr, out_ptr, winner_ptr, at, mask, logit_scale, ACTIVATION: tl.constexpr
):  # fmt: skip
    """Return d loss / d logit (0 where inactive) and the winning position of entries `at`."""
    y = tl.load(out_ptr + at, mask=mask, other=0.0)
    upstream = tl.load(grad_ptr + at, mask=mask, other=0.0)
    winner = tl.load(winner_ptr + at, mask=mask, other=-1).to(tl.int32)
    g = upstream * slope(y, ACTIVATION) * logit_scale
    return tl.where(winner < 0, 0.0, g), winner


@triton.jit(do_not_specialize=["B", "logit_scale"])
def _weight_kernel(
    grad_ptr, out_ptr, winner_ptr, rows_ptr, start_ptr, length_ptr, grad_weight_ptr, grad_bias_ptr,
    B, V, D, stride_row, logit_scale,
    ACTIVATION: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_D: tl.constexpr, LENGTH: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One [BLOCK_V, BLOCK_D] block of d weight: a walk over the sequences, in order.

    LENGTH is 0 for the gather, or the padded length of a one-hot product.
    """
    v = tl.program_id(1) * BLOCK_V + tl.arange(0, BLOCK_V)
    d = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    acc = tl.zeros([BLOCK_V, BLOCK_D], tl.float32)
    total = tl.zeros([BLOCK_V], tl.float32)
    at = v.to(tl.int64)  # int64: B * V passes 2^31
    for b in range(0, B):
        g, winner = _logit_gradient(
            grad_ptr, out_ptr, winner_ptr, at, v < V, logit_scale, ACTIVATION
        )
        total += g
        start = tl.load(start_ptr + b).to(tl.int64)
        if LENGTH == 0:
            row = rows_ptr + (start + winner) * stride_row
            active = (g != 0.0)[:, None] & (d < D)[None, :]
            token = tl.load(row[:, None] + d[None, :], mask=active, other=0.0)
            acc += g[:, None] * token.to(tl.float32)
        else:
            s = tl.arange(0, LENGTH)
            length = tl.load(length_ptr + b)
            rows = rows_ptr + (start + s) * stride_row
            tokens = tl.load(
                rows[:, None] + d[None, :], mask=(s < length)[:, None] & (d < D)[None, :], other=0.0
            )
            one_hot = tl.where(winner[:, None] == s[None, :], g[:, None], 0.0)
            acc = tl.dot(one_hot.to(tokens.dtype), tokens, acc, input_precision=PRECISION)
        at += V
    target = grad_weight_ptr + v.to(tl.int64)[:, None] * D + d[None, :]
    inside = (v < V)[:, None] & (d < D)[None, :]
    tl.store(target, acc.to(grad_weight_ptr.dtype.element_ty), mask=inside)
    if grad_bias_ptr is not None:
        if tl.program_id(0) == 0:
            tl.store(grad_bias_ptr + v, total.to(grad_bias_ptr.dtype.element_ty), mask=v < V)


@triton.jit(do_not_specialize=["bins", "chunks", "logit_scale"])
def _count_kernel(
    grad_ptr, out_ptr, winner_ptr, sizes_ptr, V, bins, chunks, logit_scale,
    ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count one chunk's active pairs by bin: sizes [sequence, bin, chunk]."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    v = chunk * BLOCK + tl.arange(0, BLOCK)
    at = b.to(tl.int64) * V + v
    g, winner = _logit_gradient(grad_ptr, out_ptr, winner_ptr, at, v < V, logit_scale, ACTIVATION)
    mine = tl.where(g != 0.0, winner // BIN, -1)
    for i in range(0, bins):
        size = tl.sum((mine == i).to(tl.int32), 0)
        tl.store(sizes_ptr + (b * bins + i) * chunks + chunk, size)


@triton.jit(do_not_specialize=["bins", "chunks", "logit_scale"])
def _sort_kernel(
    grad_ptr, out_ptr, winner_ptr, sizes_ptr, ends_ptr, pairs_ptr, slopes_ptr,
    V, bins, chunks, logit_scale,
    ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write one chunk's active pairs to their bins, in rising term order."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    v = chunk * BLOCK + tl.arange(0, BLOCK)
    at = b.to(tl.int64) * V + v
    g, winner = _logit_gradient(grad_ptr, out_ptr, winner_ptr, at, v < V, logit_scale, ACTIVATION)
    mine = tl.where(g != 0.0, winner // BIN, -1)
    for i in range(0, bins):
        cell = (b * bins + i) * chunks + chunk
        size = tl.load(sizes_ptr + cell)
        if size > 0:
            member = mine == i
            place = tl.load(ends_ptr + cell) - size + tl.cumsum(member.to(tl.int32), 0) - 1
            tl.store(pairs_ptr + place, v * BIN + winner % BIN, mask=member)
            tl.store(slopes_ptr + place, g, mask=member)


@triton.jit(do_not_specialize=["first", "bins", "chunks"])
def _bin_kernel(
    pairs_ptr, slopes_ptr, ends_ptr, weight_ptr, grad_ptr, source_ptr, start_ptr, length_ptr,
    first, D, stride_v, bins, chunks,
    BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One bin's d hidden: one-hot [BIN, pairs] x gathered weight rows [pairs, BLOCK_D].

    Slopes are scaled to at most 1 by a power of two, so fp16 operands neither overflow nor lose.
    """
    cell = tl.program_id(1)
    d = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    low = tl.load(ends_ptr + cell * chunks - 1, mask=cell > 0, other=0)
    high = tl.load(ends_ptr + cell * chunks + chunks - 1)
    row = tl.arange(0, BIN)
    acc = tl.zeros([BIN, BLOCK_D], tl.float32)
    for p0 in range(low, high, BLOCK_K):
        p = p0 + tl.arange(0, BLOCK_K)
        pair = tl.load(pairs_ptr + p, mask=p < high, other=0)
        g = tl.load(slopes_ptr + p, mask=p < high, other=0.0)
        line = weight_ptr + (pair // BIN).to(tl.int64) * stride_v
        inside = (p < high)[:, None] & (d < D)[None, :]
        terms = tl.load(line[:, None] + d[None, :], mask=inside, other=0.0)
        one_hot = tl.where((pair % BIN)[None, :] == row[:, None], g[None, :], 0.0)
        acc = tl.dot(one_hot.to(terms.dtype), terms, acc, input_precision=PRECISION)
    b = first + cell // bins
    s = cell % bins * BIN + row
    counted = s < tl.load(length_ptr + b)
    source = tl.load(source_ptr + tl.load(start_ptr + b) + s, mask=counted, other=0)
    target = grad_ptr + source.to(tl.int64)[:, None] * D + d[None, :]
    inside = counted[:, None] & (d < D)[None, :]
    tl.store(target, acc.to(grad_ptr.dtype.element_ty), mask=inside)
