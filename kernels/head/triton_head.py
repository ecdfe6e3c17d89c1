"""The fused SPLADE head on Triton: pack, pool, finish; and the way back.

Arguments have been checked by ops.py. Saves the output and one position per output entry, never a
logit: 6 bytes for each (sequence, term), 8 where a sequence is longer than 32768 tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tamis.kernels import tuned
from tamis.kernels.head import gradient, one_hot, pack, pool
from tamis.kernels.head.finish import finish
from tamis.kernels.head.inputs import HeadInputs
from tamis.kernels.head.sparsify import sparsify
from tamis.kernels.launch import aligned

if TYPE_CHECKING:
    from tamis.kernels.head.cpu import Selection, SparseRows
    from tamis.kernels.head.ragged import Ragged


def head(inputs: HeadInputs) -> torch.Tensor:
    """Return [B, V] float32; see `ops.splade_head`."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs[:3]):
        out: torch.Tensor = _FusedHead.apply(*inputs)
        return out
    return _weights(inputs)


def encode(inputs: HeadInputs, keep: Selection) -> SparseRows:
    """Return sparse rows; see `ops.splade_encode`."""
    return sparsify(_weights(inputs), keep)


def _pack(hidden: torch.Tensor, ragged: Ragged, *, clean: bool = False) -> pack.Packed:
    granule = tuned.granule(ragged.max_len)
    if ragged.offsets is not None:
        return pack.pack_offsets(hidden, ragged.offsets, ragged.max_len, granule, clean=clean)
    return pack.pack_padded(hidden, ragged.mask, granule, clean=clean)


def _weights(inputs: HeadInputs) -> torch.Tensor:
    """Return [B, V] float32 without keeping track of the winners."""
    packed = _pack(inputs.hidden, inputs.ragged)
    keys = pool.pooled_keys(packed, aligned(inputs.weight), index=False)
    return finish(keys, inputs.bias, packed, inputs.activation, inputs.logit_scale)[0]


class _FusedHead(torch.autograd.Function):
    """Forward with positions; deterministic backward."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> torch.Tensor:  # noqa: ANN401
        hidden, weight, bias, ragged, activation, scale = HeadInputs(*arguments)
        packed = _pack(hidden, ragged, clean=ragged.max_len <= tuned.ONE_HOT)
        keys = pool.pooled_keys(packed, aligned(weight), index=True)
        out, winner = finish(keys, bias, packed, activation, scale)
        ctx.save_for_backward(weight, bias, out, winner, *packed[:6])
        ctx.rest = packed[6:], hidden.shape, activation, scale
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        weight, bias, out, winner, *tensors = ctx.saved_tensors
        sizes, shape, activation, logit_scale = ctx.rest
        packed = pack.Packed(*tensors, *sizes)
        grad = grad.float().contiguous()
        unit = gradient.unit_of(grad, logit_scale) if weight.dtype == torch.float16 else None
        pooled = gradient.Pooled(out, winner, grad, unit, activation, logit_scale)
        rows = shape[:-1].numel()
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        if not out.numel() or not packed.max_len:
            nothing = [None if t is None else torch.zeros_like(t) for t in (weight, bias)]
            return grad.new_zeros(shape, dtype=weight.dtype), *nothing, None, None, None
        grad_hidden = grad_weight = grad_bias = None
        if packed.max_len <= tuned.ONE_HOT:
            grad_hidden, grad_weight, grad_bias = one_hot.gradients(
                packed, pooled, weight, bias, rows
            )
        else:
            if needs_hidden:
                grad_hidden = gradient.hidden_gradient(packed, pooled, weight, rows)
            if needs_weight or needs_bias:
                grad_weight, grad_bias = gradient.weight_gradient(packed, pooled, weight, bias)
        if grad_hidden is not None:
            grad_hidden = grad_hidden.view(shape)
        return grad_hidden, grad_weight, grad_bias, None, None, None
