"""The backward of the max-pooled head, without float atomics: every output has one writer.

With g[b, v] = d loss / d logit and i[b, v] the winning token:
    d bias[v]      = sum_b g[b, v]
    d weight[v]    = sum_b g[b, v] hidden[b, i[b, v]]
    d hidden[b, s] = sum_v g[b, v] [i[b, v] = s] weight[v]
This file is the way for long sequences, whose cost does not grow with their length: one gathered
row for each active pair (b, v). Pairs are listed by term for d weight, and sorted into bins of
a few tokens for d hidden, where each bin is a one-hot tensor-core product. Inactive pairs are never
listed; how many are active is known to the device alone. one_hot.py is the way for short ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl

from tamis.kernels import tuned
from tamis.kernels.head.finish import slope
from tamis.kernels.launch import WORKSPACE_BYTES, cdiv, next_power_of_2, on

if TYPE_CHECKING:
    from tamis.kernels.head.activation import Activation
    from tamis.kernels.head.pack import Packed

_SPREAD = 1024  # terms a program sorts
_PAIR_BYTES = 8


class Pooled(NamedTuple):
    """What the forward leaves for the backward, and the gradient that arrives.

    out:    [B, V] float32 weights.
    winner: [B, V] int16 or int32 position in the packed sequence, -1 for none.
    grad:   [B, V] float32, d loss / d out, contiguous.
    unit:   [1] float32 power of two that brings g under 1, for fp16 products; None otherwise.
    """

    out: torch.Tensor
    winner: torch.Tensor
    grad: torch.Tensor
    unit: torch.Tensor | None
    activation: Activation
    logit_scale: float


def unit_of(grad: torch.Tensor, logit_scale: float) -> torch.Tensor:
    """Return the power of two [1] that divides every |d loss / d logit| to at most 1."""
    peak = grad.abs().amax().clamp(min=2.0**-100) * logit_scale
    return torch.exp2(-torch.ceil(torch.log2(peak))).view(1)


def weight_gradient(
    packed: Packed, pooled: Pooled, weight: torch.Tensor, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return d loss / d weight [V, D] and d loss / d bias [V] or None, in their own dtypes."""
    batch, (vocab, width) = len(packed.length), weight.shape
    device = weight.device
    grad = torch.empty((vocab, width), dtype=weight.dtype, device=device)
    grad_bias = None if bias is None else torch.empty(vocab, dtype=bias.dtype, device=device)
    tile = tuned.grad_tile(weight, packed.max_len)
    block_d = min(tile.weight_d, max(16, next_power_of_2(width)))
    group = min(vocab, max(1, WORKSPACE_BYTES // (_PAIR_BYTES * max(1, batch))))
    pairs = torch.empty((group, batch), dtype=torch.int64, device=device)
    counts = torch.empty(group, dtype=torch.int32, device=device)
    for first in range(0, vocab, group):
        count = min(group, vocab - first)
        with on(device):
            _list_kernel[(cdiv(count, 32),)](
                pooled.grad, pooled.out, pooled.winner, packed.start, pairs, counts,
                grad_bias, first, count, batch, vocab, pooled.logit_scale,
                ACTIVATION=int(pooled.activation), BLOCK_B=32, BLOCK_V=32,
            )  # fmt: skip
            _weight_kernel[(cdiv(count, tile.weight_v), cdiv(width, block_d))](
                pairs, counts, packed.rows, grad, first, count,
                batch, width, packed.rows.shape[1],
                BLOCK_V=tile.weight_v, BLOCK_K=tile.weight_k, BLOCK_D=block_d,
                num_warps=tile.weight_warps,
            )  # fmt: skip
    return grad, grad_bias


def hidden_gradient(
    packed: Packed, pooled: Pooled, weight: torch.Tensor, flat_rows: int
) -> torch.Tensor:
    """Return d loss / d hidden [flat_rows, D], zero for rows that never counted."""
    batch, vocab = pooled.out.shape
    grad = torch.zeros((flat_rows, weight.shape[1]), dtype=weight.dtype, device=weight.device)
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
    device = weight.device
    tile = tuned.grad_tile(weight, packed.max_len)
    block_d = min(tile.hidden_d, max(16, next_power_of_2(width)))
    count, chunks = end - first, cdiv(vocab, _SPREAD)
    bins = cdiv(packed.max_len, tile.hidden_bin)
    lines = [t[first:end] for t in (pooled.grad, pooled.out, pooled.winner)]
    rule = {"ACTIVATION": int(pooled.activation), "BIN": tile.hidden_bin, "BLOCK": _SPREAD}
    sizes = torch.empty((count, bins, chunks), dtype=torch.int32, device=device)
    pairs = torch.empty(count * vocab, dtype=torch.int32, device=device)
    slopes = torch.empty(count * vocab, dtype=torch.float32, device=device)
    with on(device):
        grid = (count, chunks)
        _count_kernel[grid](*lines, sizes, vocab, bins, chunks, pooled.logit_scale, **rule)
        ends = sizes.view(-1).cumsum(0, dtype=torch.int32)
        _sort_kernel[grid](
            *lines, sizes, ends, pairs, slopes, vocab, bins, chunks, pooled.logit_scale, **rule
        )
        _bin_kernel[(count * bins, cdiv(width, block_d))](
            pairs, slopes, ends, weight, grad, packed.source, packed.start, packed.length,
            pooled.unit, first, width, *weight.stride(), bins, chunks,
            BIN=tile.hidden_bin, BLOCK_K=tile.hidden_k, BLOCK_D=block_d, PRECISION="ieee",
            num_warps=tile.hidden_warps, num_stages=tile.hidden_stages,
        )  # fmt: skip


@triton.jit
def logit_gradient(
    grad_ptr, out_ptr, winner_ptr, at, mask, logit_scale, ACTIVATION: tl.constexpr
):  # fmt: skip
    """Return d loss / d logit (0 where inactive) and the winning position of entries `at`."""
    y = tl.load(out_ptr + at, mask=mask, other=0.0)
    upstream = tl.load(grad_ptr + at, mask=mask, other=0.0)
    winner = tl.load(winner_ptr + at, mask=mask, other=-1).to(tl.int32)
    g = upstream * slope(y, ACTIVATION) * logit_scale
    return tl.where(winner < 0, 0.0, g), winner


@triton.jit(do_not_specialize=["first", "count", "B", "logit_scale"])
def _list_kernel(
    grad_ptr, out_ptr, winner_ptr, start_ptr, pairs_ptr, counts_ptr, grad_bias_ptr,
    first, count, B, V, logit_scale,
    ACTIVATION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_V: tl.constexpr,
):  # fmt: skip
    """List each term's active pairs in rising sequence order: packed row high, bits of g low."""
    local = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    found = tl.zeros([BLOCK_V], tl.int32)
    total = tl.zeros([BLOCK_V], tl.float32)
    for b0 in range(0, B, BLOCK_B):
        b = b0 + tl.arange(0, BLOCK_B)
        at = b.to(tl.int64)[:, None] * V + (first + local)[None, :]
        inside = (b < B)[:, None] & (local < count)[None, :]
        g, winner = logit_gradient(
            grad_ptr, out_ptr, winner_ptr, at, inside, logit_scale, ACTIVATION
        )
        active = (g != 0.0).to(tl.int32)
        row = tl.load(start_ptr + b, mask=b < B, other=0)[:, None] + winner
        bits = g.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
        place = local.to(tl.int64)[None, :] * B + found[None, :] + tl.cumsum(active, 0) - 1
        tl.store(pairs_ptr + place, (row.to(tl.int64) << 32) | bits, mask=active != 0)
        found += tl.sum(active, 0)
        total += tl.sum(g, 0)
    tl.store(counts_ptr + local, found, mask=local < count)
    if grad_bias_ptr is not None:
        total = total.to(grad_bias_ptr.dtype.element_ty)
        tl.store(grad_bias_ptr + first + local, total, mask=local < count)


@triton.jit(do_not_specialize=["first", "count", "B"])
def _weight_kernel(
    pairs_ptr, counts_ptr, rows_ptr, grad_weight_ptr, first, count, B, D, stride_row,
    BLOCK_V: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """BLOCK_D columns of d weight for BLOCK_V terms, BLOCK_K gathered rows at a time."""
    local = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    found = tl.load(counts_ptr + local, mask=local < count, other=0)
    lists = pairs_ptr + local.to(tl.int64) * B
    acc = tl.zeros([BLOCK_V, BLOCK_D], tl.float32)
    for k0 in range(0, tl.max(found, 0), BLOCK_K):
        k = k0 + tl.arange(0, BLOCK_K)
        listed = k[None, :] < found[:, None]
        pair = tl.load(lists[:, None] + k[None, :], mask=listed, other=0)
        g = pair.to(tl.int32).to(tl.float32, bitcast=True)
        row = rows_ptr + (pair >> 32) * stride_row
        inside = listed[:, :, None] & (d < D)[None, None, :]
        token = tl.load(row[:, :, None] + d[None, None, :], mask=inside, other=0.0)
        acc += tl.sum(g[:, :, None] * token.to(tl.float32), 1)
    target = grad_weight_ptr + (first + local).to(tl.int64)[:, None] * D + d[None, :]
    inside = (local < count)[:, None] & (d < D)[None, :]
    tl.store(target, acc.to(grad_weight_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _tally(bin_of, quad):
    """Return 1 in the 16-bit field of each pair's bin, for bins 4 quad .. 4 quad + 3, else 0."""
    field = tl.full(bin_of.shape, 1, tl.int64) << ((bin_of & 3) * 16).to(tl.int64)
    return tl.where((bin_of >= 0) & (bin_of // 4 == quad), field, 0)


@triton.jit(do_not_specialize=["bins", "chunks", "logit_scale"])
def _count_kernel(
    grad_ptr, out_ptr, winner_ptr, sizes_ptr, V, bins, chunks, logit_scale,
    ACTIVATION: tl.constexpr, BIN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count one chunk's active pairs by bin: sizes [sequence, bin, chunk]. Four bins a sum."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    v = chunk * BLOCK + tl.arange(0, BLOCK)
    at = b.to(tl.int64) * V + v
    g, winner = logit_gradient(grad_ptr, out_ptr, winner_ptr, at, v < V, logit_scale, ACTIVATION)
    bin_of = tl.where(g != 0.0, winner // BIN, -1)
    lane = tl.arange(0, 4)
    for quad in range((bins + 3) // 4):
        total = tl.sum(_tally(bin_of, quad), 0)
        sizes = ((total >> (lane * 16).to(tl.int64)) & 0xFFFF).to(tl.int32)
        i = quad * 4 + lane
        tl.store(sizes_ptr + (b * bins + i) * chunks + chunk, sizes, mask=i < bins)


@triton.jit(do_not_specialize=["bins", "chunks", "logit_scale"])
def _sort_kernel(
    grad_ptr, out_ptr, winner_ptr, sizes_ptr, ends_ptr, pairs_ptr, slopes_ptr,
    V, bins, chunks, logit_scale,
    ACTIVATION: tl.constexpr, BIN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write one chunk's active pairs to their bins, in rising term order. Four bins a scan."""
    b, chunk = tl.program_id(0), tl.program_id(1)
    v = chunk * BLOCK + tl.arange(0, BLOCK)
    at = b.to(tl.int64) * V + v
    g, winner = logit_gradient(grad_ptr, out_ptr, winner_ptr, at, v < V, logit_scale, ACTIVATION)
    active = g != 0.0
    bin_of = tl.where(active, winner // BIN, -1)
    rank = tl.zeros([BLOCK], tl.int32)
    for quad in range((bins + 3) // 4):
        tally = _tally(bin_of, quad)
        counts = tl.cumsum(tally, 0) >> ((bin_of & 3) * 16).to(tl.int64)
        rank += tl.where(tally != 0, (counts & 0xFFFF).to(tl.int32), 0)
    cell = (b * bins + bin_of) * chunks + chunk
    end = tl.load(ends_ptr + cell, mask=active, other=0)
    place = end - tl.load(sizes_ptr + cell, mask=active, other=0) + rank - 1
    tl.store(pairs_ptr + place, v * BIN + winner % BIN, mask=active)
    tl.store(slopes_ptr + place, g, mask=active)


@triton.jit(do_not_specialize=["first", "bins", "chunks"])
def _bin_kernel(
    pairs_ptr, slopes_ptr, ends_ptr, weight_ptr, grad_ptr, source_ptr, start_ptr, length_ptr,
    unit_ptr, first, D, stride_v, stride_d, bins, chunks,
    BIN: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One bin's d hidden: one-hot [BIN, pairs] x gathered weight rows [pairs, BLOCK_D]."""
    cell = tl.program_id(0)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    low = tl.load(ends_ptr + cell * chunks - 1, mask=cell > 0, other=0)
    high = tl.load(ends_ptr + cell * chunks + chunks - 1)
    unit = 1.0
    if unit_ptr is not None:
        unit = tl.load(unit_ptr)
    row = tl.arange(0, BIN)
    acc = tl.zeros([BIN, BLOCK_D], tl.float32)
    for p0 in range(low, high, BLOCK_K):
        p = p0 + tl.arange(0, BLOCK_K)
        pair = tl.load(pairs_ptr + p, mask=p < high, other=0)
        g = tl.load(slopes_ptr + p, mask=p < high, other=0.0) * unit
        line = weight_ptr + (pair // BIN).to(tl.int64) * stride_v
        inside = (p < high)[:, None] & (d < D)[None, :]
        terms = tl.load(line[:, None] + d[None, :] * stride_d, mask=inside, other=0.0)
        one_hot = tl.where((pair % BIN)[None, :] == row[:, None], g[None, :], 0.0)
        acc = tl.dot(one_hot.to(terms.dtype), terms, acc, input_precision=PRECISION)
    acc = acc / unit
    b = first + cell // bins
    s = cell % bins * BIN + row
    counted = s < tl.load(length_ptr + b)
    source = tl.load(source_ptr + tl.load(start_ptr + b) + s, mask=counted, other=0)
    target = grad_ptr + source.to(tl.int64)[:, None] * D + d[None, :]
    inside = counted[:, None] & (d < D)[None, :]
    tl.store(target, acc.to(grad_ptr.dtype.element_ty), mask=inside)
