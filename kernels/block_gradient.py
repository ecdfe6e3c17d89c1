"""The backward of block-sparse attention: dQ on the forward's tiles, dK and dV on tiles of keys.

With P = softmax, delta = sum(dO * O) a row: dS = P * (dO V' - delta), dQ = scale dS K,
dK = scale dS' Q, dV = P' dO (Dao et al., 2022). P is made again from the log-sum-exp. Every output
has one writer: long ranges are cut into pieces whose float32 partial sums are added in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from tamis.kernels.block_work import key_work, query_work
from tamis.kernels.launch import card, next_power_of_2, on
from tamis.kernels.tuned import attention_gradient_tile

if TYPE_CHECKING:
    from tamis.kernels.ranges import Ranges

LOG2E = 1.4426950408889634
PRECISION = tl.constexpr("ieee")


@triton.jit
def _grad_queries(
    q, k, v, grad, lse, delta, out, part, items,
    scale, queries,
    q_row, q_head, k_row, k_head, v_row, v_head, g_row, g_head, out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """DQ of one tile of query rows and one key head."""
    item = items + tl.program_id(0).to(tl.int64) * 8
    kv_head = tl.program_id(1)
    q0, q1 = tl.load(item), tl.load(item + 1)
    a0, a1 = tl.load(item + 2), tl.load(item + 3)
    b0, b1 = tl.load(item + 4), tl.load(item + 5)
    offset, slot = tl.load(item + 6), tl.load(item + 7)
    scale2 = scale * 1.4426950408889634

    r = tl.arange(0, BLOCK_M)
    token = r // GROUP
    head = kv_head * GROUP + r % GROUP
    row = q0 + token
    alive = (row < q1) & (token < TOKENS)
    d = tl.arange(0, D_PAD)
    wide = d < D
    here = alive[:, None] & wide[None, :]
    far = row.to(tl.int64)[:, None]
    tile = tl.load(q + far * q_row + head[:, None] * q_head + d[None, :], mask=here, other=0.0)
    do = tl.load(grad + far * g_row + head[:, None] * g_head + d[None, :], mask=here, other=0.0)
    log = tl.load(lse + head.to(tl.int64) * queries + row, mask=alive, other=float("inf"))
    dl = tl.load(delta + head.to(tl.int64) * queries + row, mask=alive, other=0.0)
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
    for i in range(full + tl.cdiv(tl.maximum(high - low, 0), BLOCK_N)):
        in_full = i < full
        start = tl.where(in_full, a0 + i * BLOCK_N, low + (i - full) * BLOCK_N)
        limit = tl.where(in_full, a1, high)
        col = tl.minimum(start + n, limit - 1).to(tl.int64)
        keys = tl.load(k_base[None, :] + col[:, None] * k_row, mask=wide[None, :], other=0.0)
        values = tl.load(v_base[None, :] + col[:, None] * v_row, mask=wide[None, :], other=0.0)
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
        p = tl.where(seen, tl.exp2(s - log[:, None]), 0.0)
        dp = tl.dot(do, tl.trans(values), input_precision=PRECISION)
        ds = p * (dp - dl[:, None])
        acc = tl.dot(ds.to(keys.dtype), keys, acc, input_precision=PRECISION)
    acc = acc * scale
    if slot < 0:
        to = far * out_row + head[:, None] * out_head + d[None, :]
        tl.store(out + to, acc.to(out.dtype.element_ty), mask=here)
    else:
        spot = (slot * tl.num_programs(1) + kv_head).to(tl.int64) * BLOCK_M + r
        tl.store(part + spot[:, None] * D_PAD + d[None, :], acc)


@triton.jit
def _grad_keys(
    q, k, v, grad, lse, delta, dk, dv, part_k, part_v, items,
    scale, queries,
    q_row, q_head, k_row, k_head, v_row, v_head, g_row, g_head, dk_row, dk_head, dv_row, dv_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """DK and dV of one tile of keys and one key head; see `key_work` for an item's fields."""
    item = items + tl.program_id(0).to(tl.int64) * 8
    kv_head = tl.program_id(1)
    k0, k1 = tl.load(item), tl.load(item + 1)
    a0, a1 = tl.load(item + 2), tl.load(item + 3)
    b0, b1 = tl.load(item + 4), tl.load(item + 5)
    offset, slot = tl.load(item + 6), tl.load(item + 7)
    scale2 = scale * 1.4426950408889634

    n = tl.arange(0, BLOCK_N)
    held = k0 + n < k1
    d = tl.arange(0, D_PAD)
    wide = d < D
    here = held[:, None] & wide[None, :]
    col = (k0 + n).to(tl.int64)[:, None]
    keys = tl.load(k + col * k_row + kv_head * k_head + d[None, :], mask=here, other=0.0)
    values = tl.load(v + col * v_row + kv_head * v_head + d[None, :], mask=here, other=0.0)
    acc_k = tl.zeros([BLOCK_N, D_PAD], tl.float32)
    acc_v = tl.zeros([BLOCK_N, D_PAD], tl.float32)
    r = tl.arange(0, BLOCK_M)
    token = r // GROUP
    head = kv_head * GROUP + r % GROUP
    head_rows = head.to(tl.int64) * queries
    low, high = b0, b1
    if CAUSAL:  # rows before the first key of the tile do not read it
        low = tl.minimum(b1, b0 + offset)
    if WINDOW >= 0:
        low = tl.maximum(low, b0 + offset - WINDOW)
        high = tl.minimum(b1, b0 + offset + BLOCK_N + WINDOW)
    full = tl.cdiv(a1 - a0, TOKENS)
    for i in range(full + tl.cdiv(tl.maximum(high - low, 0), TOKENS)):
        in_full = i < full
        start = tl.where(in_full, a0 + i * TOKENS, low + (i - full) * TOKENS)
        limit = tl.where(in_full, a1, high)
        row = tl.minimum(start + token, limit - 1)
        alive = (start + token < limit) & (token < TOKENS)
        far = row.to(tl.int64)[:, None]
        here_q = wide[None, :]
        tile = tl.load(
            q + far * q_row + head[:, None] * q_head + d[None, :], mask=here_q, other=0.0
        )
        do = tl.load(
            grad + far * g_row + head[:, None] * g_head + d[None, :], mask=here_q, other=0.0
        )
        log = tl.load(lse + head_rows + row)
        dl = tl.load(delta + head_rows + row)
        s = tl.dot(keys, tl.trans(tile), input_precision=PRECISION) * scale2
        seen = alive[None, :] & held[:, None]
        if CAUSAL or WINDOW >= 0:
            away = (start + token - b0)[None, :] - (offset + n)[:, None]
            near = away >= -WINDOW if WINDOW >= 0 else away >= 0
            if WINDOW >= 0:
                near = near & (away <= WINDOW)
            if CAUSAL:
                near = near & (away >= 0)
            seen = seen & (near | in_full)
        p = tl.where(seen, tl.exp2(s - log[None, :]), 0.0)
        acc_v = tl.dot(p.to(do.dtype), do, acc_v, input_precision=PRECISION)
        dp = tl.dot(values, tl.trans(do), input_precision=PRECISION)
        ds = p * (dp - dl[None, :])
        acc_k = tl.dot(ds.to(tile.dtype), tile, acc_k, input_precision=PRECISION)
    acc_k = acc_k * scale
    if slot < 0:
        to_k = col * dk_row + kv_head * dk_head + d[None, :]
        to_v = col * dv_row + kv_head * dv_head + d[None, :]
        tl.store(dk + to_k, acc_k.to(dk.dtype.element_ty), mask=here)
        tl.store(dv + to_v, acc_v.to(dv.dtype.element_ty), mask=here)
    else:
        spot = (slot * tl.num_programs(1) + kv_head).to(tl.int64) * BLOCK_N + n
        tl.store(part_k + spot[:, None] * D_PAD + d[None, :], acc_k)
        tl.store(part_v + spot[:, None] * D_PAD + d[None, :], acc_v)


@triton.jit
def _add_pieces(
    part, out, merges,
    out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Add the pieces of ROWS rows of one tile, in their order."""
    merge = merges + tl.program_id(0).to(tl.int64) * 8
    kv_head = tl.program_id(1)
    start, stop = tl.load(merge), tl.load(merge + 1)
    slot, count = tl.load(merge + 2), tl.load(merge + 3)
    r = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    token = r // GROUP
    head = kv_head * GROUP + r % GROUP
    row = start + token
    d = tl.arange(0, D_PAD)
    seen = ((row < stop) & (token < TOKENS))[:, None] & (d < D)[None, :]
    acc = tl.zeros([ROWS, D_PAD], tl.float32)
    for piece in range(count):
        spot = ((slot + piece) * tl.num_programs(1) + kv_head).to(tl.int64) * BLOCK + r
        acc += tl.load(part + spot[:, None] * D_PAD + d[None, :])
    to = row.to(tl.int64)[:, None] * out_row + head[:, None] * out_head + d[None, :]
    tl.store(out + to, acc.to(out.dtype.element_ty), mask=seen)


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
    queries, heads, width = q.shape
    kv_heads = k.shape[1]
    group, wide = heads // kv_heads, max(16, next_power_of_2(width))
    sizes = attention_gradient_tile(card(q.device), q.dtype)
    grad = grad if grad.stride(-1) == 1 else grad.contiguous()
    q, k, v = (t if t.stride(-1) == 1 else t.contiguous() for t in (q, k, v))
    delta = (grad.float() * out.float()).sum(-1).t().contiguous()  # [heads, queries]
    dq, dk, dv = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))
    strides = [s for t in (q, k, v, grad) for s in t.stride()[:2]]
    head = {"GROUP": group, "D": width, "D_PAD": wide}
    masks = {"CAUSAL": ranges.causal, "WINDOW": -1 if ranges.window is None else ranges.window}
    launch = {"num_warps": sizes.warps, "num_stages": sizes.stages}
    tokens = sizes.rows // group
    with on(q.device):
        work = query_work(ranges, tokens, sizes.split, q.device)
        part = _partial(work.slots * kv_heads * sizes.rows, wide, q)
        _grad_queries[(len(work.items), kv_heads)](
            q, k, v, grad, lse, delta, dq, part, work.items,
            scale, queries, *strides, *dq.stride()[:2],
            **head, **masks, **launch, BLOCK_M=sizes.rows, BLOCK_N=sizes.keys, TOKENS=tokens,
        )  # fmt: skip
        _join(part, dq, work.merges, kv_heads, head, sizes.rows, tokens)
        work = key_work(ranges, sizes.keys, max(64, sizes.split // group // 64 * 64), q.device)
        part = _partial(work.slots * kv_heads * sizes.keys, wide, q)
        part_v = torch.empty_like(part)
        _grad_keys[(len(work.items), kv_heads)](
            q, k, v, grad, lse, delta, dk, dv, part, part_v, work.items,
            scale, queries, *strides, *dk.stride()[:2], *dv.stride()[:2],
            **head, **masks, **launch, BLOCK_M=sizes.rows, BLOCK_N=sizes.keys, TOKENS=tokens,
        )  # fmt: skip
        one = head | {"GROUP": 1}
        _join(part, dk, work.merges, kv_heads, one, sizes.keys, sizes.keys)
        _join(part_v, dv, work.merges, kv_heads, one, sizes.keys, sizes.keys)
    return dq, dk, dv


def _partial(rows: int, wide: int, like: torch.Tensor) -> torch.Tensor:
    return torch.empty(max(rows, 1), wide, dtype=torch.float32, device=like.device)


def _join(part, out, merges, kv_heads: int, head: dict[str, int], block: int, tokens: int) -> None:
    if len(merges) == 0:
        return
    rows = min(16, block)
    _add_pieces[(len(merges), kv_heads, block // rows)](
        part, out, merges, *out.stride()[:2], **head, BLOCK=block, TOKENS=tokens, ROWS=rows
    )
