"""The forward: one pass of matrix product and max over tokens, never writing a logit.

Tiles are BLOCK_V terms x BLOCK_T packed tokens. Terms lie along the rows of the accumulator, so in
the tensor cores' register layout a term's logits sit in one quad of lanes: the max over tokens is
plain register arithmetic, with two shuffles at the very end. Programs are persistent and the loop
over columns runs across tile borders, so loads for the next tile fly during this one's epilogue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from tamis.kernels import tuned
from tamis.kernels.launch import INTERPRETED, cdiv, descriptor, on, processors

if TYPE_CHECKING:
    from tamis.kernels.head.pack import Packed

_LOWEST_32 = -(1 << 31)
_LOWEST_64 = -(1 << 63)


def pooled_keys(packed: Packed, weight: torch.Tensor, *, index: bool) -> torch.Tensor:
    """Return the best raw logit of each (sequence, term) as an order-preserving integer.

    Args:
        packed: the tokens.
        weight: [V, width] aligned rows, width of `packed.rows`.
        index: carry the winner's position too.

    Returns:
        [B, V] int32: float bits, negative ones reversed; the lowest integer where nothing counted.
        With `index` int64: that in the high half, 2^31 - 1 - position in sequence in the low half.
    """
    batch, vocab, width = len(packed.length), weight.shape[0], weight.shape[1]
    lowest, dtype = (_LOWEST_64, torch.int64) if index else (_LOWEST_32, torch.int32)
    best = torch.full((batch, vocab), lowest, dtype=dtype, device=weight.device)
    device = weight.device
    tile = tuned.pool_tile(weight, packed.max_len, index=index)
    tiles = cdiv(packed.rows.shape[0], tile.block_t) * cdiv(vocab, tile.block_v)
    programs = min(tiles, processors(device) * tile.per_processor)
    if programs == 0:
        return best
    with on(device):
        _pool_kernel[(programs,)](
            descriptor(weight, (tile.block_v, tile.block_d)),
            descriptor(packed.rows, (tile.block_t, tile.block_d)),
            best, packed.segment, packed.start, packed.used,
            vocab, width, programs, -(tile.block_t // 4),
            BLOCK_V=tile.block_v, BLOCK_T=tile.block_t, BLOCK_D=tile.block_d,
            GRANULE=packed.granule, GROUP=tile.group, INDEX=index,
            PRECISION=_precision(weight.dtype), INTERPRETED=INTERPRETED,
            num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
    return best


def _precision(dtype: torch.dtype) -> str:
    """Return Triton's name for how fp32 products are made; follows torch's own setting."""
    if dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest":
        return "ieee"
    return "tf32"


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _max(x, axis: tl.constexpr, INTERPRETED: tl.constexpr):
    """Max that keeps NaN. The interpreter's general reduce is too slow, and its max drops NaN."""
    if INTERPRETED:
        broken = tl.sum((x != x).to(tl.int32), axis) > 0
        return tl.where(broken, float("nan"), tl.max(x, axis))
    else:  # noqa: RET505  (the untaken branch is not compiled)
        return tl.reduce(x, axis, _larger)


@triton.jit
def _order(x):
    """Map float32 to int32 so that integers compare as the floats do; NaN above infinity."""
    bits = x.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _slots(NG: tl.constexpr, HALVES: tl.constexpr):
    """Number the registers that hold one lane's share of a term, last first."""
    g = tl.arange(0, NG)[None, :, None, None, None] * (HALVES * 2)
    h = tl.arange(0, HALVES)[None, None, :, None, None] * 2
    p = tl.arange(0, 2)[None, None, None, None, :]
    return NG * HALVES * 2 - 1 - (g + h + p)


@triton.jit
def _emit(
    best_ptr, start_ptr, value, tagged, sequence, t0, v0, V,
    BLOCK_V: tl.constexpr, BLOCK_T: tl.constexpr, GRANULE: tl.constexpr, INDEX: tl.constexpr,
    INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Fold one sequence's lane maxima [BLOCK_V, 4] into `best`. Max is exact in any order."""
    terms = v0 + tl.arange(0, BLOCK_V)
    target = best_ptr + sequence.to(tl.int64) * V + terms
    if INDEX:
        SLOTS: tl.constexpr = BLOCK_T // 4
        PER: tl.constexpr = GRANULE // 4
        slot = SLOTS - 1 - (tagged.to(tl.int32, bitcast=True) & (SLOTS - 1))
        lane = tl.arange(0, 4)[None, :]
        column = slot // PER * GRANULE + slot % PER // 2 * 8 + lane * 2 + slot % 2
        position = t0 + column - tl.load(start_ptr + sequence)
        key = (_order(value).to(tl.int64) << 32) | (0x7FFFFFFF - position).to(tl.int64)
        tl.atomic_max(target, tl.max(key, 1), mask=terms < V, sem="relaxed")
    else:
        key = _order(_max(value, 1, INTERPRETED))
        tl.atomic_max(target, key, mask=terms < V, sem="relaxed")


@triton.jit(do_not_specialize=["programs", "low_off"])
def _pool_kernel(
    weight_desc, tokens_desc, best_ptr, segment_ptr, start_ptr, used_ptr,
    V, D, programs, low_off,
    BLOCK_V: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, GRANULE: tl.constexpr,
    GROUP: tl.constexpr, INDEX: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """Persistent: each program takes every `programs`-th tile; one loop runs over all their steps.

    With INDEX a register's number replaces the low log2(BLOCK_T / 4) bits of its logit, so that one
    float max finds value and place at once; the exact value comes from a second max beside it.
    """
    NG: tl.constexpr = BLOCK_T // GRANULE
    HALVES: tl.constexpr = GRANULE // 8
    pid = tl.program_id(0)
    used = tl.load(used_ptr)
    tiles_t = tl.cdiv(used, BLOCK_T)
    tiles_v = tl.cdiv(V, BLOCK_V)
    mine = tl.maximum(tl.cdiv(tiles_t * tiles_v - pid, programs), 0)
    steps = tl.cdiv(D, BLOCK_D)
    acc = tl.zeros([BLOCK_V, BLOCK_T], tl.float32)
    tile = pid - programs
    step = 0
    v0 = 0
    t0 = 0
    for _ in range(mine * steps):
        if step == 0:
            tile += programs
            band = tile // (GROUP * tiles_t)
            tall = tl.minimum(tiles_v - band * GROUP, GROUP)
            inside = tile - band * GROUP * tiles_t
            v0 = (band * GROUP + inside % tall) * BLOCK_V
            t0 = inside // tall * BLOCK_T
        terms = weight_desc.load([v0, step * BLOCK_D])
        tokens = tokens_desc.load([t0, step * BLOCK_D])
        acc = tl.dot(terms, tokens.T, acc, input_precision=PRECISION)
        step += 1
        if step == steps:
            step = 0
            # [BLOCK_V, granule, half, lane of the quad, pair]: only the lane axis leaves a thread.
            logits = tl.reshape(acc, [BLOCK_V, NG, HALVES, 4, 2])
            value = _max(_max(logits, 4, INTERPRETED), 2, INTERPRETED)
            tagged = value
            if INDEX:
                bits = logits.to(tl.int32, bitcast=True)
                slots = (bits & low_off) | _slots(NG, HALVES)
                tagged = slots.to(tl.float32, bitcast=True)
                tagged = _max(_max(tagged, 4, INTERPRETED), 2, INTERPRETED)
            g0 = t0 // GRANULE
            granules = g0 + tl.arange(0, NG)
            owner = tl.load(segment_ptr + granules, mask=granules * GRANULE < used, other=-1)
            sequence = tl.load(segment_ptr + g0)
            last = tl.load(segment_ptr + tl.minimum(g0 + NG, used // GRANULE) - 1)
            if (sequence == last) & (t0 + BLOCK_T <= used):
                _emit(
                    best_ptr, start_ptr, _max(value, 1, INTERPRETED), _max(tagged, 1, INTERPRETED),
                    sequence, t0, v0, V, BLOCK_V, BLOCK_T, GRANULE, INDEX, INTERPRETED,
                )  # fmt: skip
            else:
                while sequence <= last:
                    here = (owner == sequence)[None, :, None]
                    low = float("-inf")
                    top = _max(tl.where(here, value, low), 1, INTERPRETED)
                    tag = _max(tl.where(here, tagged, low), 1, INTERPRETED)
                    _emit(
                        best_ptr, start_ptr, top, tag,
                        sequence, t0, v0, V, BLOCK_V, BLOCK_T, GRANULE, INDEX, INTERPRETED,
                    )  # fmt: skip
                    sequence += 1
            acc = tl.zeros([BLOCK_V, BLOCK_T], tl.float32)
