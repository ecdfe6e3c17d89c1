"""Block-sparse attention in Triton: two ranges of keys a query tile, no mask; forward and scores.

A tile is BLOCK_M rows: the query heads that share a key head stand beside each other, so that keys
are loaded once for all of them. A range is read in full without a mask; the own block with one.
Products are scaled into base 2. Long ranges are cut into pieces that `_merge` joins by their
log-sum-exp (Milakov and Gimelshein, 2018; Dao et al., 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from tamis.kernels.block_gradient import gradients
from tamis.kernels.block_work import query_work
from tamis.kernels.launch import card, next_power_of_2, on
from tamis.kernels.tuned import attention_tile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tamis.kernels.ranges import Ranges

LOG2E = 1.4426950408889634
PRECISION = tl.constexpr("ieee")


@triton.jit
def _block_forward(
    q, k, v, out, lse, part_out, part_lse, items,
    scale2, queries,
    q_row, q_head, k_row, k_head, v_row, v_head, out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """One tile of query rows and one key head; see `query_work` for an item's fields."""
    item = items + tl.program_id(0).to(tl.int64) * 8
    kv_head = tl.program_id(1)
    q0, q1 = tl.load(item), tl.load(item + 1)
    a0, a1 = tl.load(item + 2), tl.load(item + 3)
    b0, b1 = tl.load(item + 4), tl.load(item + 5)
    offset, slot = tl.load(item + 6), tl.load(item + 7)

    r = tl.arange(0, BLOCK_M)
    token = r // GROUP
    head = kv_head * GROUP + r % GROUP
    row = q0 + token
    alive = (row < q1) & (token < TOKENS)
    d = tl.arange(0, D_PAD)
    wide = d < D
    at = row.to(tl.int64)[:, None] * q_row + head[:, None] * q_head + d[None, :]
    tile = tl.load(q + at, mask=alive[:, None] & wide[None, :], other=0.0)

    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D_PAD], tl.float32)
    n = tl.arange(0, BLOCK_N)
    k_base = k + kv_head * k_head + d
    v_base = v + kv_head * v_head + d

    low, high = b0, b1
    if CAUSAL:
        high = tl.minimum(b1, b0 + offset + TOKENS)
    if WINDOW >= 0:
        low = tl.maximum(b0, b0 + offset - WINDOW)
        high = tl.minimum(high, b0 + offset + TOKENS + WINDOW)
    full = tl.cdiv(a1 - a0, BLOCK_N)
    for i in range(full + tl.cdiv(tl.maximum(high - low, 0), BLOCK_N)):  # one pipeline for both
        in_full = i < full
        start = tl.where(in_full, a0 + i * BLOCK_N, low + (i - full) * BLOCK_N)
        limit = tl.where(in_full, a1, high)
        col = tl.minimum(start + n, limit - 1).to(tl.int64)  # beyond: read again, and masked
        if D == D_PAD:
            keys = tl.load(k_base[None, :] + col[:, None] * k_row)
        else:
            keys = tl.load(k_base[None, :] + col[:, None] * k_row, mask=wide[None, :], other=0.0)
        s = tl.dot(tile, tl.trans(keys), input_precision=PRECISION) * scale2
        seen = (start + n < limit)[None, :]
        if CAUSAL or WINDOW >= 0:
            away = (offset + token)[:, None] - (start + n - b0)[None, :]
            near = away >= -WINDOW if WINDOW >= 0 else away >= 0
            if WINDOW >= 0:
                near = near & (away <= WINDOW)
            if CAUSAL:
                near = near & (away >= 0)
            seen = seen & (near | in_full)
        s = tl.where(seen, s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        base = new
        if WINDOW >= 0:
            base = tl.where(new == float("-inf"), 0.0, new)  # a row that has seen nothing yet
        p = tl.exp2(s - base[:, None])
        shrink = tl.exp2(top - base)
        total = total * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None]
        if D == D_PAD:
            values = tl.load(v_base[None, :] + col[:, None] * v_row)
        else:
            values = tl.load(v_base[None, :] + col[:, None] * v_row, mask=wide[None, :], other=0.0)
        acc = tl.dot(p.to(values.dtype), values, acc, input_precision=PRECISION)
        top = new

    acc = acc / tl.where(total > 0, total, 1.0)[:, None]
    log = top + tl.log2(tl.where(total > 0, total, 1.0))
    if slot < 0:
        to = row.to(tl.int64)[:, None] * out_row + head[:, None] * out_head + d[None, :]
        tl.store(out + to, acc.to(out.dtype.element_ty), mask=alive[:, None] & wide[None, :])
        tl.store(lse + head.to(tl.int64) * queries + row, log, mask=alive)
    else:
        spot = (slot * tl.num_programs(1) + kv_head).to(tl.int64) * BLOCK_M + r
        tl.store(part_out + spot[:, None] * D_PAD + d[None, :], acc)
        tl.store(part_lse + spot, log)


@triton.jit
def _block_merge(
    out, lse, part_out, part_lse, merges,
    queries, out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Join the pieces of ROWS rows of one tile, weighed by their log-sum-exp."""
    merge = merges + tl.program_id(0).to(tl.int64) * 8
    kv_head = tl.program_id(1)
    q0, q1 = tl.load(merge), tl.load(merge + 1)
    slot, count = tl.load(merge + 2), tl.load(merge + 3)
    r = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    token = r // GROUP
    head = kv_head * GROUP + r % GROUP
    row = q0 + token
    alive = (row < q1) & (token < TOKENS)
    d = tl.arange(0, D_PAD)
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    acc = tl.zeros([ROWS, D_PAD], tl.float32)
    for piece in range(count):
        spot = ((slot + piece) * tl.num_programs(1) + kv_head).to(tl.int64) * BLOCK_M + r
        log = tl.load(part_lse + spot)
        new = tl.maximum(top, log)
        base = tl.where(new == float("-inf"), 0.0, new)
        weight = tl.exp2(log - base)
        shrink = tl.exp2(top - base)
        total = total * shrink + weight
        acc = acc * shrink[:, None]
        acc += weight[:, None] * tl.load(part_out + spot[:, None] * D_PAD + d[None, :])
        top = new
    total = tl.where(total > 0, total, 1.0)
    to = row.to(tl.int64)[:, None] * out_row + head[:, None] * out_head + d[None, :]
    seen = alive[:, None] & (d < D)[None, :]
    tl.store(out + to, (acc / total[:, None]).to(out.dtype.element_ty), mask=seen)
    tl.store(lse + head.to(tl.int64) * queries + row, top + tl.log2(total), mask=alive)


@triton.jit
def _segment_scores(
    q, k, segments, out,
    scale2, most, heads,
    q_row, q_head, k_row, k_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """The log-sum-exp of one segment for one tile of signal rows and one key head."""
    number = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    s0, s1 = tl.load(segments + number * 4), tl.load(segments + number * 4 + 1)
    k0, k1 = tl.load(segments + number * 4 + 2), tl.load(segments + number * 4 + 3)
    r = tl.arange(0, BLOCK_M)
    token = tl.program_id(2) * TOKENS + r // GROUP
    head = kv_head * GROUP + r % GROUP
    alive = (s0 + token < s1) & (r // GROUP < TOKENS)
    d = tl.arange(0, D_PAD)
    wide = d < D
    at = (s0 + token).to(tl.int64)[:, None] * q_row + head[:, None] * q_head + d[None, :]
    tile = tl.load(q + at, mask=alive[:, None] & wide[None, :], other=0.0)
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    n = tl.arange(0, BLOCK_N)
    for start in range(k0, k1, BLOCK_N):
        held = start + n < k1
        col = (start + n).to(tl.int64)
        where = col[:, None] * k_row + kv_head * k_head + d[None, :]
        keys = tl.load(k + where, mask=held[:, None] & wide[None, :], other=0.0)
        s = tl.dot(tile, tl.trans(keys), input_precision=PRECISION) * scale2
        s = tl.where(held[None, :], s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        total = total * tl.exp2(top - new) + tl.sum(tl.exp2(s - new[:, None]), 1)
        top = new
    log = (top + tl.log2(total)) * 0.6931471805599453
    spot = (number * most + token) * heads + head
    tl.store(out + spot, tl.where(alive, log, 0.0), mask=(token < most) & (r // GROUP < TOKENS))


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q, k, v, ranges: Ranges, scale: float) -> torch.Tensor:  # noqa: ANN401
        out, lse = _forward(q, k, v, ranges, scale)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.ranges, ctx.scale = ranges, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        q, k, v, out, lse = ctx.saved_tensors
        return (*gradients(grad, q, k, v, out, lse, ctx.ranges, ctx.scale), None, None)


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ranges: Ranges, scale: float
) -> torch.Tensor:
    """See `tamis.kernels.block_ops.block_attention`."""
    out: torch.Tensor = _BlockAttention.apply(q, k, v, ranges, scale)
    return out


def _forward(q, k, v, ranges: Ranges, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the log-sum-exp in base 2 ``[heads, queries]`` float32."""
    queries, heads, width = q.shape
    kv_heads = k.shape[1]
    group, wide = heads // kv_heads, max(16, next_power_of_2(width))
    sizes = attention_tile(card(q.device), q.dtype)
    tokens = sizes.rows // group
    work = query_work(ranges, tokens, sizes.split, q.device)
    q, k, v = _last_is_one(q), _last_is_one(k), _last_is_one(v)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty(heads, queries, dtype=torch.float32, device=q.device)
    rows = max(work.slots, 1) * kv_heads * sizes.rows
    part_out = torch.empty(rows, wide, dtype=torch.float32, device=q.device)
    part_lse = torch.empty(rows, dtype=torch.float32, device=q.device)
    shape = {"GROUP": group, "D": width, "D_PAD": wide, "BLOCK_M": sizes.rows, "TOKENS": tokens}
    with on(q.device):
        _block_forward[(len(work.items), kv_heads)](
            q, k, v, out, lse, part_out, part_lse, work.items,
            scale * LOG2E, queries,
            *q.stride()[:2], *k.stride()[:2], *v.stride()[:2], *out.stride()[:2],
            **shape, BLOCK_N=sizes.keys, CAUSAL=ranges.causal,
            WINDOW=-1 if ranges.window is None else ranges.window,
            num_warps=sizes.warps, num_stages=sizes.stages,
        )  # fmt: skip
        if len(work.merges):
            step = min(16, sizes.rows)
            _block_merge[(len(work.merges), kv_heads, sizes.rows // step)](
                out, lse, part_out, part_lse, work.merges,
                queries, *out.stride()[:2], **shape, ROWS=step,
            )  # fmt: skip
    return out, lse


def segment_scores(
    q: torch.Tensor, k: torch.Tensor, segments: NDArray[np.int32], scale: float
) -> torch.Tensor:
    """See `tamis.kernels.block_ops.segment_scores`."""
    heads, width = q.shape[1:]
    kv_heads, most = k.shape[1], int((segments[:, 1] - segments[:, 0]).max())
    group, wide = heads // kv_heads, max(16, next_power_of_2(width))
    rows = min(64, max(16, next_power_of_2(most * group), next_power_of_2(group)))
    tokens = rows // group
    q, k = _last_is_one(q), _last_is_one(k)
    table = torch.from_numpy(segments).to(q.device)
    out = torch.empty(len(segments), most, heads, dtype=torch.float32, device=q.device)
    with on(q.device):
        _segment_scores[(len(segments), kv_heads, triton.cdiv(most, tokens))](
            q, k, table, out,
            scale * LOG2E, most, heads,
            *q.stride()[:2], *k.stride()[:2],
            GROUP=group, D=width, D_PAD=wide, BLOCK_M=rows, BLOCK_N=64, TOKENS=tokens,
        )  # fmt: skip
    return out


def _last_is_one(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
