"""Between pooled logits and term weights: bias, scale, activation, and the slope back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from tamis.kernels.launch import cdiv, on

if TYPE_CHECKING:
    from tamis.kernels.head.activation import Activation
    from tamis.kernels.head.pack import Packed

_BLOCK = 1024
_WIDEST_INT16 = 1 << 15

_NONE = tl.constexpr(0)
_RELU = tl.constexpr(1)
_LOG1P_RELU = tl.constexpr(2)


def finish(
    best: torch.Tensor,
    bias: torch.Tensor | None,
    packed: Packed,
    activation: Activation,
    logit_scale: float,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Turn pooled keys into weights, and positions when the keys carry them.

    Args:
        best: [B, V] keys of `pool.pooled_keys`; int32 keys are overwritten by the weights.
        bias: [V] or None.
        packed: the tokens the keys were pooled from.
        activation: applied to `logit_scale * (logit + bias)`.
        logit_scale: positive.

    Returns:
        Weights [B, V] float32, and positions [B, V] (int16, or int32 where a sequence is longer
        than that) within the packed sequence, -1 where nothing counted; None without positions.
    """
    batch, vocab = best.shape
    index = best.dtype == torch.int64
    winner = None
    if index:
        narrow = torch.int16 if packed.max_len <= _WIDEST_INT16 else torch.int32
        winner = torch.empty_like(best, dtype=narrow)
        out = torch.empty_like(best, dtype=torch.float32)
    else:
        out = best.view(torch.float32)
    if batch and vocab:
        with on(best.device):
            _finish_kernel[(batch, cdiv(vocab, _BLOCK))](
                best, bias, packed.length, out, winner, vocab, logit_scale,
                ACTIVATION=int(activation), INDEX=index, BLOCK=_BLOCK,
            )  # fmt: skip
    return out, winner


@triton.jit
def log1p(x):
    """log(1 + x) for x >= 0 to float32 accuracy: the rounding of 1 + x is divided out again."""
    u = 1.0 + x
    return tl.where(u == 1.0, x, tl.log(u) * (x / (u - 1.0)))


@triton.jit
def activated(z, ACTIVATION: tl.constexpr):
    """Apply the activation numbered as in `Activation`. Comparisons are such that NaN stays NaN."""
    if ACTIVATION != _NONE:
        z = tl.where(z <= 0.0, 0.0, z)
        if ACTIVATION != _RELU:
            z = tl.where(z == float("inf"), z, log1p(z))
            if ACTIVATION != _LOG1P_RELU:
                z = tl.where(z == float("inf"), z, log1p(z))
    return z


@triton.jit
def slope(y, ACTIVATION: tl.constexpr):
    """Return d output / d logit from the output, as `Activation.slope`."""
    if ACTIVATION == _NONE:
        return tl.full(y.shape, 1.0, tl.float32)
    else:  # noqa: RET505  (the untaken branch is not compiled)
        factor = tl.where(y <= 0.0, 0.0, 1.0)
        if ACTIVATION != _RELU:
            fall = y
            if ACTIVATION != _LOG1P_RELU:
                fall = y + (tl.exp(y) - 1.0)
            factor = factor * tl.exp(-fall)
        return factor


@triton.jit
def _finish_kernel(
    best_ptr, bias_ptr, length_ptr, out_ptr, winner_ptr, V, logit_scale,
    ACTIVATION: tl.constexpr, INDEX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    v = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = v < V
    at = b.to(tl.int64) * V + v  # int64: B * V passes 2^31
    length = tl.load(length_ptr + b)
    key = tl.load(best_ptr + at, mask=inside, other=0)
    if INDEX:
        # Rows that pad a sequence repeat its last token: a win there is that token's.
        position = tl.minimum(0x7FFFFFFF - (key & 0x7FFFFFFF).to(tl.int32), length - 1)
        tl.store(winner_ptr + at, position.to(winner_ptr.dtype.element_ty), mask=inside)
        key = (key >> 32).to(tl.int32)
    bits = key ^ ((key >> 31) & 0x7FFFFFFF)
    z = bits.to(tl.float32, bitcast=True)
    if bias_ptr is not None:
        z += tl.load(bias_ptr + v, mask=inside, other=0.0).to(tl.float32)
    weight = activated(z * logit_scale, ACTIVATION)
    tl.store(out_ptr + at, tl.where(length > 0, weight, 0.0), mask=inside)
