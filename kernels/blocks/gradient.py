"""The backward of block-sparse attention: dQ on the forward's tiles, dK and dV on tiles of keys.

With P = softmax, delta = sum(dO * O) a row: dS = P * (dO V' - delta), dQ = scale dS K,
dK = scale dS' Q, dV = P' dO (Dao et al., 2022). P is made again from the log-sum-exp. Every output
has one writer: long ranges are cut into pieces whose float32 partial sums are added in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl

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
from tamis.kernels.blocks.work import key_work, query_work
from tamis.kernels.launch import cdiv, on
from tamis.kernels.tuned import attention_gradient_tile

if TYPE_CHECKING:
    from tamis.kernels.blocks.ranges import Ranges
    from tamis.kernels.blocks.tile import Launch
    from tamis.kernels.blocks.work import Work


@triton.jit
def _row_products(
    out, grad, delta,
    queries, heads, out_row, out_head, g_row, g_head,
    D: tl.constexpr, D_PAD: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Delta = sum(dO * O) of ROWS rows, a row being a token's head."""
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    row, head = r // heads, r % heads
    there = filled(row < queries, D, D_PAD)
    o = tl.load(vectors(out, row, head, out_row, out_head, D_PAD), mask=there, other=0.0)
    do = tl.load(vectors(grad, row, head, g_row, g_head, D_PAD), mask=there, other=0.0)
    both = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    tl.store(delta + head * queries + row, both, mask=row < queries)


@triton.jit
def _grad_queries(
    q, keys, values, grad, lse, delta, out, part, items, spans,
    scale, scale2, queries, kv_heads,
    q_row, q_head, g_row, g_head, out_row, out_head, k_down, k_across, v_down, v_across,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """DQ of one tile of query rows and one key head."""
    kv_head = tl.program_id(0) % kv_heads
    q0, q1, a0, a1, b0, b1, slot = load_item(items, tl.program_id(0) // kv_heads)
    row, head, alive = tile_rows(q0, q1, kv_head, 0, GROUP, TOKENS, BLOCK_M)
    first, last = load_spans(spans, row, alive)
    there = filled(alive, D, D_PAD)
    tile = tl.load(vectors(q, row, head, q_row, q_head, D_PAD), mask=there, other=0.0)
    do = tl.load(vectors(grad, row, head, g_row, g_head, D_PAD), mask=there, other=0.0)
    at_row = head.to(tl.int64) * queries + row
    log = tl.load(lse + at_row, mask=alive, other=float("inf"))
    dl = tl.load(delta + at_row, mask=alive, other=0.0)
    acc = tl.zeros([BLOCK_M, D_PAD], tl.float32)
    full, steps, clean = loop_steps(a0, a1, b0, b1, BLOCK_N)
    for i in range(steps):
        start = step_start(i, full, a0, b0, BLOCK_N)
        k = keys.load([start + kv_head * k_down, kv_head * k_across])
        v = values.load([start + kv_head * v_down, kv_head * v_across])
        p = tl.exp2(tl.dot(tile, k.T, input_precision=PRECISION) * scale2 - log[:, None])
        if i >= clean:
            at = start + tl.arange(0, BLOCK_N)
            here = seen(at[None, :], i < full, a1, first[:, None], last[:, None])
            p = tl.where(here, p, 0.0)
        ds = p * (tl.dot(do, v.T, input_precision=PRECISION) - dl[:, None])
        acc = tl.dot(ds.to(k.dtype), k, acc, input_precision=PRECISION)
    acc = acc * scale
    if slot < 0:
        to = vectors(out, row, head, out_row, out_head, D_PAD)
        tl.store(to, acc.to(out.dtype.element_ty), mask=there)
    else:
        spot = (slot * kv_heads + kv_head).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
        tl.store(part + spot[:, None] * D_PAD + tl.arange(0, D_PAD)[None, :], acc)


@triton.jit
def _grad_keys(
    q, k, v, grad, lse, delta, out, part, items, spans,
    scale, scale2, queries, kv_heads, part_which,
    q_row, q_head, k_row, k_head, v_row, v_head, g_row, g_head, out_which, out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """DK and dV of one tile of keys and one key head; an item's ranges are query rows."""
    kv_head = tl.program_id(0) % kv_heads
    k0, k1, a0, a1, b0, b1, slot = load_item(items, tl.program_id(0) // kv_heads)
    col, same_head, held = tile_rows(k0, k1, kv_head, 0, 1, BLOCK_N, BLOCK_N)
    first, last = load_spans(spans, col, held)
    here_k = filled(held, D, D_PAD)
    keys = tl.load(vectors(k, col, same_head, k_row, k_head, D_PAD), mask=here_k, other=0.0)
    values = tl.load(vectors(v, col, same_head, v_row, v_head, D_PAD), mask=here_k, other=0.0)
    acc_k = tl.zeros([BLOCK_N, D_PAD], tl.float32)
    acc_v = tl.zeros([BLOCK_N, D_PAD], tl.float32)
    full, steps, _ = loop_steps(a0, a1, b0, b1, TOKENS)
    for i in range(steps):
        start = step_start(i, full, a0, b0, TOKENS)
        end = tl.where(i < full, a1, b1)
        row, head, alive = tile_rows(start, end, kv_head, 0, GROUP, TOKENS, BLOCK_M)
        there = filled(alive, D, D_PAD)
        tile = tl.load(vectors(q, row, head, q_row, q_head, D_PAD), mask=there, other=0.0)
        do = tl.load(vectors(grad, row, head, g_row, g_head, D_PAD), mask=there, other=0.0)
        at_row = head.to(tl.int64) * queries + row
        log = tl.load(lse + at_row, mask=alive, other=float("inf"))
        dl = tl.load(delta + at_row, mask=alive, other=0.0)
        p = tl.exp2(tl.dot(keys, tl.trans(tile), input_precision=PRECISION) * scale2 - log[None, :])
        if i >= full:
            here = (row[None, :] >= first[:, None]) & (row[None, :] < last[:, None])
            p = tl.where(here, p, 0.0)
        acc_v = tl.dot(p.to(do.dtype), do, acc_v, input_precision=PRECISION)
        ds = p * (tl.dot(values, tl.trans(do), input_precision=PRECISION) - dl[None, :])
        acc_k = tl.dot(ds.to(tile.dtype), tile, acc_k, input_precision=PRECISION)
    acc_k = acc_k * scale
    if slot < 0:
        to = vectors(out, col, same_head, out_row, out_head, D_PAD)
        tl.store(to, acc_k.to(out.dtype.element_ty), mask=here_k)
        tl.store(to + out_which, acc_v.to(out.dtype.element_ty), mask=here_k)
    else:
        spot = (slot * kv_heads + kv_head).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
        held_at = part + spot[:, None] * D_PAD + tl.arange(0, D_PAD)[None, :]
        tl.store(held_at, acc_k)
        tl.store(held_at + part_which, acc_v)


@triton.jit
def _add_pieces(
    part, out, merges,
    kv_heads, part_which, out_which, out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Add the pieces of ROWS rows of one tile, in their order; programs by head, then by output."""
    merge = merges + tl.program_id(0).to(tl.int64) * 8
    kv_head = tl.program_id(1) % kv_heads
    which = (tl.program_id(1) // kv_heads).to(tl.int64)
    start, stop = tl.load(merge), tl.load(merge + 1)
    slot, count = tl.load(merge + 2), tl.load(merge + 3)
    begin = tl.program_id(2) * ROWS
    row, head, alive = tile_rows(start, stop, kv_head, begin, GROUP, TOKENS, ROWS)
    base = part + which * part_which + tl.arange(0, D_PAD)[None, :]
    acc = tl.zeros([ROWS, D_PAD], tl.float32)
    for piece in range(count):
        spot = ((slot + piece) * kv_heads + kv_head).to(tl.int64) * BLOCK
        spot += begin + tl.arange(0, ROWS)
        acc += tl.load(base + spot[:, None] * D_PAD)
    to = vectors(out + which * out_which, row, head, out_row, out_head, D_PAD)
    tl.store(to, acc.to(out.dtype.element_ty), mask=filled(alive, D, D_PAD))


class _Pass(NamedTuple):
    """What both halves of the backward read."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    grad: torch.Tensor
    lse: torch.Tensor
    delta: torch.Tensor
    ranges: Ranges
    scales: tuple[float, float, int, int]  # of the products, in base 2; query rows, key heads
    launch: Launch


def gradients(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    ranges: Ranges,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """dQ, dK and dV, from what the forward kept."""
    queries, heads, _ = q.shape
    q, k, v, grad = (rows_last(t) for t in (q, k, v, grad))
    delta = torch.empty_like(lse)
    launch = launch_of(q, k, attention_gradient_tile(q))
    widths = {name: launch.heads[name] for name in ("D", "D_PAD")}
    scales = (scale, scale * LOG2E, queries, k.shape[1])
    with on(q.device):
        _row_products[(cdiv(queries * heads, 32),)](
            out, grad, delta, queries, heads, *out.stride()[:2], *grad.stride()[:2],
            **widths, ROWS=32,
        )  # fmt: skip
        kept = _Pass(q, k, v, grad, lse, delta, ranges, scales, launch)
        return (_query_gradient(kept), *_key_gradients(kept))


def _query_gradient(kept: _Pass) -> torch.Tensor:
    q, k, v, grad, lse, delta, ranges, _, launch = kept
    sizes, tokens = launch.sizes, launch.tokens
    work = query_work(ranges, tokens, sizes.split, launch.lanes, q.device)
    keys, values = head_tiles(k, sizes.keys), head_tiles(v, sizes.keys)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    part = _partial(work.slots * k.shape[1] * sizes.rows, kept)
    _grad_queries[(len(work.items) * k.shape[1],)](
        q, keys.tiles, values.tiles, grad, lse, delta, out, part, work.items, work.spans,
        *kept.scales, *q.stride()[:2], *grad.stride()[:2], *out.stride()[:2],
        *keys[1:], *values[1:], **launch.run,
    )  # fmt: skip
    _join(part[None], out[None], work, launch.heads | {"BLOCK": sizes.rows, "TOKENS": tokens})
    return out


def _key_gradients(kept: _Pass) -> tuple[torch.Tensor, torch.Tensor]:
    q, k, v, grad, lse, delta, ranges, _, launch = kept
    sizes = launch.sizes
    least = max(64, sizes.split // launch.heads["GROUP"] // 64 * 64)
    work = key_work(ranges, sizes.keys, least, launch.lanes, q.device)
    out = torch.empty(2, *k.shape, dtype=k.dtype, device=k.device)
    part = _partial(2 * work.slots * k.shape[1] * sizes.keys, kept)
    part = part.view(2, -1, part.shape[1])
    _grad_keys[(len(work.items) * k.shape[1],)](
        q, k, v, grad, lse, delta, out, part, work.items, work.spans,
        *kept.scales, part.stride(0),
        *(s for t in (q, k, v, grad) for s in t.stride()[:2]), *out.stride()[:3], **launch.run,
    )  # fmt: skip
    tile = {"GROUP": 1, "BLOCK": sizes.keys, "TOKENS": sizes.keys}
    _join(part, out, work, launch.heads | tile)
    return out[0], out[1]


def _partial(rows: int, kept: _Pass) -> torch.Tensor:
    shape = (max(rows, 2), kept.launch.heads["D_PAD"])
    return torch.empty(shape, dtype=torch.float32, device=kept.q.device)


def _join(part: torch.Tensor, out: torch.Tensor, work: Work, sizes: dict[str, int]) -> None:
    """Add up the pieces of ``out`` ``[outputs, rows, heads, D]``, where a launch cut any."""
    if len(work.merges) == 0:
        return
    outputs, _, heads, _ = out.shape
    kv_heads, rows = heads // sizes["GROUP"], min(16, sizes["BLOCK"])
    _add_pieces[(len(work.merges), outputs * kv_heads, sizes["BLOCK"] // rows)](
        part, out, work.merges, kv_heads, part.stride(0), *out.stride()[:3], **sizes, ROWS=rows,
    )  # fmt: skip
