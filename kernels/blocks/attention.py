"""Block-sparse attention in Triton: two ranges of keys a query tile, no mask tensor.

Steps over the range that is read in full come first, without a mask but at its end; then those over
the own blocks of the tile's rows, where each row sees its span. A tile may hold rows of several
blocks. Softmax runs in base 2. Long ranges are cut into pieces that `_block_merge` joins by their
log-sum-exp (Milakov and Gimelshein, 2018; Dao et al., 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from tamis.kernels.blocks.gradient import gradients
from tamis.kernels.blocks.tile import (
    LOG2E,
    PRECISION,
    filled,
    head_tiles,
    launch_of,
    load_item,
    load_spans,
    loop_steps,
    rows_last,
    seen,
    step_start,
    tile_rows,
    vectors,
)
from tamis.kernels.blocks.work import query_work
from tamis.kernels.launch import on
from tamis.kernels.tuned import attention_tile

if TYPE_CHECKING:
    from tamis.kernels.blocks.ranges import Ranges

LEAST, MOST = tl.constexpr(2.0**-64), tl.constexpr(2.0**64)  # sums of weights kept as they are


@triton.jit
def _walk(
    tile, keys, values, first, last, a0, a1, b0, b1, k_at, k_column, v_at, v_column, scale2,
    D_PAD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, RISING: tl.constexpr,
):  # fmt: skip
    """Sums of weights and of weighted values over all steps, and what weights are relative to.

    RISING keeps that at the largest product so far; otherwise it is 0, which spares the loop the
    maximum and both sums' correction by it.
    """
    top = tl.full([BLOCK_M], float("-inf") if RISING else 0.0, tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, D_PAD], tl.float32)
    full, steps, clean = loop_steps(a0, a1, b0, b1, BLOCK_N)
    for i in range(steps):
        start = step_start(i, full, a0, b0, BLOCK_N)
        k = keys.load([start + k_at, k_column])
        s = tl.dot(tile, k.T, input_precision=PRECISION)
        if i >= clean:
            at = start + tl.arange(0, BLOCK_N)
            here = seen(at[None, :], i < full, a1, first[:, None], last[:, None])
            s = tl.where(here, s, float("-inf"))
        v = values.load([start + v_at, v_column])
        if RISING:
            new = tl.maximum(top, tl.max(s, 1) * scale2)
            base = tl.where(new == float("-inf"), 0.0, new)  # a row that has seen nothing yet
            p = tl.exp2(s * scale2 - base[:, None])
            shrink = tl.exp2(top - base)
            total = total * shrink
            acc = acc * shrink[:, None]
            top = new
        else:
            p = tl.exp2(s * scale2)
        total += tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc, input_precision=PRECISION)
    return acc, total, top


@triton.jit
def _block_forward(
    q, keys, values, out, lse, part_out, part_lse, items, spans,
    scale2, queries, kv_heads,
    q_row, q_head, out_row, out_head, k_down, k_across, v_down, v_across,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """One tile of query rows and one key head; see `Work` for an item's fields."""
    kv_head = tl.program_id(0) % kv_heads
    q0, q1, a0, a1, b0, b1, slot = load_item(items, tl.program_id(0) // kv_heads)
    row, head, alive = tile_rows(q0, q1, kv_head, 0, GROUP, TOKENS, BLOCK_M)
    first, last = load_spans(spans, row, alive)
    there = filled(alive, D, D_PAD)
    tile = tl.load(vectors(q, row, head, q_row, q_head, D_PAD), mask=there, other=0.0)
    k_at, k_column = kv_head * k_down, kv_head * k_across
    v_at, v_column = kv_head * v_down, kv_head * v_across
    wide: tl.constexpr = keys.dtype != tl.float16  # has the exponents of float32
    acc, total, top = _walk(
        tile, keys, values, first, last, a0, a1, b0, b1, k_at, k_column, v_at, v_column, scale2,
        D_PAD, BLOCK_M, BLOCK_N, not wide,
    )  # fmt: skip
    if wide:
        far = alive & ~((total > LEAST) & (total < MOST))  # a NaN is far, too
        if tl.max(far.to(tl.int32)) > 0:
            acc, total, top = _walk(
                tile, keys, values, first, last, a0, a1, b0, b1,
                k_at, k_column, v_at, v_column, scale2, D_PAD, BLOCK_M, BLOCK_N, True,
            )  # fmt: skip
    total = tl.where(total > 0, total, 1.0)
    acc = acc / total[:, None]
    log = top + tl.log2(total)
    if slot < 0:
        to = vectors(out, row, head, out_row, out_head, D_PAD)
        tl.store(to, acc.to(out.dtype.element_ty), mask=there)
        tl.store(lse + head.to(tl.int64) * queries + row, log, mask=alive)
    else:
        spot = (slot * kv_heads + kv_head).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
        tl.store(part_out + spot[:, None] * D_PAD + tl.arange(0, D_PAD)[None, :], acc)
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
    begin = tl.program_id(2) * ROWS
    row, head, alive = tile_rows(q0, q1, kv_head, begin, GROUP, TOKENS, ROWS)
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    acc = tl.zeros([ROWS, D_PAD], tl.float32)
    for piece in range(count):
        spot = ((slot + piece) * tl.num_programs(1) + kv_head).to(tl.int64) * BLOCK_M
        spot += begin + tl.arange(0, ROWS)
        log = tl.load(part_lse + spot)
        new = tl.maximum(top, log)
        base = tl.where(new == float("-inf"), 0.0, new)
        weight = tl.exp2(log - base)
        shrink = tl.exp2(top - base)
        total = total * shrink + weight
        acc = acc * shrink[:, None]
        part = tl.load(part_out + spot[:, None] * D_PAD + tl.arange(0, D_PAD)[None, :])
        acc += weight[:, None] * part
        top = new
    total = tl.where(total > 0, total, 1.0)
    to = vectors(out, row, head, out_row, out_head, D_PAD)
    kept = (acc / total[:, None]).to(out.dtype.element_ty)
    tl.store(to, kept, mask=filled(alive, D, D_PAD))
    tl.store(lse + head.to(tl.int64) * queries + row, top + tl.log2(total), mask=alive)


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
    """See `tamis.kernels.blocks.ops.block_attention`."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v)):
        out: torch.Tensor = _BlockAttention.apply(q, k, v, ranges, scale)
        return out
    return _forward(q, k, v, ranges, scale)[0]


def _forward(q, k, v, ranges: Ranges, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the log-sum-exp in base 2 ``[heads, queries]`` float32."""
    queries, heads, _ = q.shape
    kv_heads = k.shape[1]
    launch = launch_of(q, k, attention_tile(q))
    sizes = launch.sizes
    work = query_work(ranges, launch.tokens, sizes.split, launch.lanes, q.device)
    q, keys, values = rows_last(q), head_tiles(k, sizes.keys), head_tiles(v, sizes.keys)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty(heads, queries, dtype=torch.float32, device=q.device)
    rows = max(work.slots, 1) * kv_heads * sizes.rows
    part_out = torch.empty(rows, launch.heads["D_PAD"], dtype=torch.float32, device=q.device)
    part_lse = torch.empty(rows, dtype=torch.float32, device=q.device)
    with on(q.device):
        _block_forward[(len(work.items) * kv_heads,)](
            q, keys.tiles, values.tiles, out, lse, part_out, part_lse, work.items, work.spans,
            scale * LOG2E, queries, kv_heads,
            *q.stride()[:2], *out.stride()[:2], *keys[1:], *values[1:], **launch.run,
        )  # fmt: skip
        if len(work.merges):
            step = min(16, sizes.rows)
            _block_merge[(len(work.merges), kv_heads, sizes.rows // step)](
                out, lse, part_out, part_lse, work.merges,
                queries, *out.stride()[:2], **launch.heads,
                BLOCK_M=sizes.rows, TOKENS=launch.tokens, ROWS=step,
            )  # fmt: skip
    return out, lse
