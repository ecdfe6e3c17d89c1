"""How strongly signal rows attend to segments of keys, in Triton: forward and backward.

A score is the log of a sum of exponentials, so with G its gradient and P = exp(scale q k - score),
the share of a key among its segment's: dQ = scale sum of G P K, dK = scale sum of G P Q. P is made
again from the scores. Every output has one writer: a tile of rows walks all segments that it
scores, a tile of keys all rows that score it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import triton
import triton.language as tl

from tamis.kernels.blocks.cpu import runs_of
from tamis.kernels.blocks.tile import (
    LOG2E,
    PRECISION,
    filled,
    padded_width,
    rows_last,
    tile_rows,
    vectors,
)
from tamis.kernels.launch import cdiv, next_power_of_2, on

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYS = 64  # of a tile
TO_BASE_2 = tl.constexpr(LOG2E)


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
    begin = s0 + tl.program_id(2) * TOKENS
    row, head, alive = tile_rows(begin, s1, kv_head, 0, GROUP, TOKENS, BLOCK_M)
    there = filled(alive, D, D_PAD)
    tile = tl.load(vectors(q, row, head, q_row, q_head, D_PAD), mask=there, other=0.0)
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    for start in range(k0, k1, BLOCK_N):
        col = start + tl.arange(0, BLOCK_N)
        where = vectors(k, col, kv_head + 0 * col, k_row, k_head, D_PAD)
        keys = tl.load(where, mask=filled(col < k1, D, D_PAD), other=0.0)
        s = tl.dot(tile, tl.trans(keys), input_precision=PRECISION) * scale2
        s = tl.where((col < k1)[None, :], s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        total = total * tl.exp2(top - new) + tl.sum(tl.exp2(s - new[:, None]), 1)
        top = new
    log = (top + tl.log2(total)) * 0.6931471805599453
    token = row - s0
    spot = (number * most + token) * heads + head
    written = (token < most) & (tl.arange(0, BLOCK_M) // GROUP < TOKENS)
    tl.store(out + spot, tl.where(alive, log, 0.0), mask=written)


@triton.jit
def _grad_signals(
    q, k, segments, scores, grad, runs, out,
    scale, scale2, most, heads,
    q_row, q_head, k_row, k_head, out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Gradient of one tile of signal rows and one key head, over all that the rows score."""
    run = runs + tl.program_id(0).to(tl.int64) * 4
    kv_head = tl.program_id(1)
    s0, s1, begin, stop = tl.load(run), tl.load(run + 1), tl.load(run + 2), tl.load(run + 3)
    first = s0 + tl.program_id(2) * TOKENS
    row, head, alive = tile_rows(first, s1, kv_head, 0, GROUP, TOKENS, BLOCK_M)
    there = filled(alive, D, D_PAD)
    tile = tl.load(vectors(q, row, head, q_row, q_head, D_PAD), mask=there, other=0.0)
    acc = tl.zeros([BLOCK_M, D_PAD], tl.float32)
    for number in range(begin, stop):
        segment = segments + number * 4
        k0, k1 = tl.load(segment + 2), tl.load(segment + 3)
        log, g = _score_rows(scores, grad, number, row - s0, head, alive, most, heads)
        for start in range(k0, k1, BLOCK_N):
            col = start + tl.arange(0, BLOCK_N)
            keys = _key_tile(k, col, k1, kv_head, k_row, k_head, D, D_PAD)
            weights = _weights(tile, keys, log, g, alive, col < k1, scale2)
            acc = tl.dot(weights.to(keys.dtype), keys, acc, input_precision=PRECISION)
    to = vectors(out, row, head, out_row, out_head, D_PAD)
    tl.store(to, (acc * scale).to(out.dtype.element_ty), mask=there)


@triton.jit
def _grad_keys(
    q, k, segments, scores, grad, out,
    scale, scale2, most, heads,
    q_row, q_head, k_row, k_head, out_row, out_head,
    GROUP: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Gradient of one tile of a segment's keys, over all rows that score it."""
    number, kv_head = tl.program_id(0), tl.program_id(1)
    segment = segments + number.to(tl.int64) * 4
    s0, s1 = tl.load(segment), tl.load(segment + 1)
    k0, k1 = tl.load(segment + 2), tl.load(segment + 3)
    start = k0 + tl.program_id(2) * BLOCK_N
    if start < k1:
        col = start + tl.arange(0, BLOCK_N)
        keys = _key_tile(k, col, k1, kv_head, k_row, k_head, D, D_PAD)
        acc = tl.zeros([BLOCK_N, D_PAD], tl.float32)
        for first in range(s0, s1, TOKENS):
            row, head, alive = tile_rows(first, s1, kv_head, 0, GROUP, TOKENS, BLOCK_M)
            there = filled(alive, D, D_PAD)
            tile = tl.load(vectors(q, row, head, q_row, q_head, D_PAD), mask=there, other=0.0)
            log, g = _score_rows(scores, grad, number, row - s0, head, alive, most, heads)
            weights = _weights(tile, keys, log, g, alive, col < k1, scale2)
            turned = tl.trans(weights.to(tile.dtype))
            acc = tl.dot(turned, tile, acc, input_precision=PRECISION)
        to = vectors(out, col, kv_head + 0 * col, out_row, out_head, D_PAD)
        tl.store(to, (acc * scale).to(out.dtype.element_ty), mask=filled(col < k1, D, D_PAD))


@triton.jit
def _key_tile(k, col, stop, kv_head, k_row, k_head, D: tl.constexpr, D_PAD: tl.constexpr):
    """Keys ``[columns, D_PAD]``, 0 from ``stop`` on."""
    where = vectors(k, col, kv_head + 0 * col, k_row, k_head, D_PAD)
    return tl.load(where, mask=filled(col < stop, D, D_PAD), other=0.0)


@triton.jit
def _score_rows(scores, grad, number, token, head, alive, most, heads):
    """A segment's scores, in base 2, and their gradients, of rows."""
    spot = (tl.full([], 0, tl.int64) + number) * most * heads + token * heads + head
    log = tl.load(scores + spot, mask=alive, other=0.0) * TO_BASE_2
    return log, tl.load(grad + spot, mask=alive, other=0.0)


@triton.jit
def _weights(tile, keys, log, g, alive, inside, scale2):
    """G P ``[rows, columns]``."""
    s = tl.dot(tile, tl.trans(keys), input_precision=PRECISION) * scale2
    share = tl.where(alive[:, None] & inside[None, :], tl.exp2(s - log[:, None]), 0.0)
    return share * g[:, None]


class _SegmentScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q, k, segments, scale, table) -> torch.Tensor:  # noqa: ANN401
        scores = _forward(q, k, segments, scale, table)
        ctx.save_for_backward(q, k, scores, table)
        ctx.segments, ctx.scale = segments, scale
        return scores

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        q, k, scores, table = ctx.saved_tensors
        return (*_gradients(grad, q, k, scores, ctx.segments, ctx.scale, table), None, None, None)


def segment_scores(
    q: torch.Tensor,
    k: torch.Tensor,
    segments: NDArray[np.int32],
    scale: float,
    table: torch.Tensor | None = None,
) -> torch.Tensor:
    """See `tamis.kernels.blocks.ops.segment_scores`; gradients need `one_writer`."""
    table = torch.from_numpy(segments).to(q.device) if table is None else table
    q, k = rows_last(q), rows_last(k)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad):
        out: torch.Tensor = _SegmentScores.apply(q, k, segments, scale, table)
        return out
    return _forward(q, k, segments, scale, table)


def one_writer(segments: NDArray[np.int32]) -> bool:
    """Whether no key is in two segments and no row in two runs of them, as gradients need it."""
    runs = runs_of(segments)
    return _apart(segments[:, 2:]) and _apart(segments[runs[:, 0], :2])


def _apart(spans: NDArray[np.int32]) -> bool:
    rising = spans[np.argsort(spans[:, 0], kind="stable")]
    return bool((rising[1:, 0] >= rising[:-1, 1]).all())


def _forward(
    q: torch.Tensor,
    k: torch.Tensor,
    segments: NDArray[np.int32],
    scale: float,
    table: torch.Tensor,
) -> torch.Tensor:
    """The scores ``[segments, most signals, heads]`` float32."""
    tile, most = _tile(q, k, segments)
    heads, kv_heads = q.shape[1], k.shape[1]
    out = torch.empty(len(segments), most, heads, dtype=torch.float32, device=q.device)
    with on(q.device):
        _segment_scores[(len(segments), kv_heads, cdiv(most, tile["TOKENS"]))](
            q, k, table, out, scale * LOG2E, most, heads,
            *q.stride()[:2], *k.stride()[:2], **tile,
        )  # fmt: skip
    return out


def _gradients(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    scores: torch.Tensor,
    segments: NDArray[np.int32],
    scale: float,
    table: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients, in the dtype and shape of ``q`` and ``k``."""
    tile, most = _tile(q, k, segments)
    grad, heads, kv_heads = grad.contiguous(), q.shape[1], k.shape[1]
    runs = runs_of(segments)
    owners = np.concatenate([segments[runs[:, 0], :2], runs], 1).astype(np.int32)
    longest = int((segments[:, 3] - segments[:, 2]).max())
    dq, dk = torch.zeros_like(q), torch.zeros_like(k)
    sizes = (scale, scale * LOG2E, most, heads, *q.stride()[:2], *k.stride()[:2])
    with on(q.device):
        _grad_signals[(len(runs), kv_heads, cdiv(most, tile["TOKENS"]))](
            q, k, table, scores, grad, torch.from_numpy(owners).to(q.device), dq,
            *sizes, *dq.stride()[:2], **tile,
        )  # fmt: skip
        _grad_keys[(len(segments), kv_heads, cdiv(longest, KEYS))](
            q, k, table, scores, grad, dk, *sizes, *dk.stride()[:2], **tile,
        )  # fmt: skip
    return dq, dk


def _tile(
    q: torch.Tensor, k: torch.Tensor, segments: NDArray[np.int32]
) -> tuple[dict[str, int], int]:
    """What kernels take of sizes, and the most signals of a segment."""
    heads, width = q.shape[1:]
    most = int((segments[:, 1] - segments[:, 0]).max())
    group = heads // k.shape[1]
    rows = min(64, max(16, next_power_of_2(most * group), next_power_of_2(group)))
    sizes = {"GROUP": group, "D": width, "D_PAD": padded_width(width)}
    return sizes | {"BLOCK_M": rows, "BLOCK_N": KEYS, "TOKENS": rows // group}, most
