"""The public functions of the fused LM head. The input tensor's device picks the path.

A SPLADE head turns the hidden states of a text into one weight per vocabulary term:
`activation(logit_scale * max_t(hidden_t . weight_v + bias_v))`. Written naively it makes a
[B, S, V] tensor of logits that exists only to be reduced; nothing here ever does.

CUDA tensors run the Triton kernels; CPU tensors run cpu.py. TAMIS_KERNELS=cpu sends CUDA
tensors there too, to tell a kernel fault from a model fault. A failure of Triton
raises.

Non-finite values: NaN or infinity in a token that counts propagates to its row of a dense result;
`splade_encode` refuses it. Values in masked tokens are never read.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import torch

from tamis.kernels.head import cpu
from tamis.kernels.head.activation import Activation
from tamis.kernels.head.cpu import Selection, SparseRows
from tamis.kernels.head.inputs import HeadInputs
from tamis.kernels.head.ragged import Ragged, check_device

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "Activation",
    "SparseRows",
    "splade_encode",
    "splade_encode_packed",
    "splade_head",
    "splade_head_packed",
    "splade_head_sum",
]

_HALF_AND_SINGLE = (torch.bfloat16, torch.float16, torch.float32)


def splade_head(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    activation: Activation = Activation.LOG1P_RELU,
    logit_scale: float = 1.0,
) -> torch.Tensor:
    """Return the max-pooled term weights of padded sequences; differentiable.

    Args:
        hidden: [B, S, D] bf16, fp16 or fp32 (float64 on the path of CPUs), any strides.
        weight: [V, D], dtype of `hidden` (under autocast both are cast).
        bias: [V], any floating dtype, or None.
        mask: [B, S] bool, True where a token counts; None counts every token.
        activation: applied once to the pooled logit.
        logit_scale: positive factor of the logits.

    Returns:
        [B, V] float32 (float64 for float64 inputs). A row without tokens is 0 under every
        activation. Where several tokens tie, the gradient goes to one of them.

    Raises:
        ValueError: shapes, dtypes or devices disagree, or the device is not supported.
    """
    ragged = _padded(hidden, mask)
    return _head(HeadInputs(hidden, weight, bias, ragged, activation, logit_scale))


def splade_head_packed(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    offsets: torch.Tensor,
    max_len: int,
    activation: Activation = Activation.LOG1P_RELU,
    logit_scale: float = 1.0,
) -> torch.Tensor:
    """Return the max-pooled term weights of sequences laid end to end; differentiable.

    Args:
        hidden: [T, D]; sequence b owns rows `offsets[b] .. offsets[b + 1]`.
        weight: [V, D].
        bias: [V] or None.
        offsets: [B + 1] int32 or int64 on the device of `hidden`, from 0, never falling, at most T.
        max_len: the longest length, or more (the host knows it; reading it back would wait).
            On CUDA a longer sequence is cut there.
        activation: applied once to the pooled logit.
        logit_scale: positive factor of the logits.

    Returns:
        [B, V], as `splade_head`.

    Raises:
        ValueError: as `splade_head`; or, on the CPU, offsets that fall or leave `hidden`.
    """
    ragged = Ragged(None, offsets, max_len)
    return _head(HeadInputs(hidden, weight, bias, ragged, activation, logit_scale))


def splade_head_sum(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    activation: Activation = Activation.LOG1P_RELU,
    logit_scale: float = 1.0,
) -> torch.Tensor:
    """Return the sum-pooled term weights (SPLADE v1) of padded sequences; differentiable.

    Arguments, result and errors as `splade_head`. Logits are made by chunk and made again in the
    backward, in plain torch on every device.
    """
    ragged = _padded(hidden, mask)
    inputs = _checked(HeadInputs(hidden, weight, bias, ragged, activation, logit_scale))
    rows, bounds = ragged.on_host(inputs.hidden)
    return cpu.head_sum(rows, inputs.weight, bias, bounds, activation, logit_scale)


@torch.no_grad()
def splade_encode(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    activation: Activation = Activation.LOG1P_RELU,
    threshold: float = 0.0,
    top_n: int | None = None,
    logit_scale: float = 1.0,
    exclude: torch.Tensor | None = None,
) -> SparseRows:
    """Return the term weights of padded sequences as sparse rows; no gradient.

    Args:
        hidden: [B, S, D].
        weight: [V, D].
        bias: [V] or None.
        mask: [B, S] bool, True where a token counts; None counts every token.
        activation: applied once to the pooled logit.
        threshold: only weights above it are kept; at least 0.
        top_n: keep at most this many a row, the heaviest, ties to the lower term; None keeps all.
        logit_scale: positive factor of the logits.
        exclude: [V] bool, terms never emitted (special tokens); None emits any.

    Returns:
        CSR tensors on the device of `hidden`.

    Raises:
        ValueError: as `splade_head`; or a weight that is NaN or infinite.
    """
    keep = Selection(threshold, top_n, exclude)
    ragged = _padded(hidden, mask)
    return _encode(HeadInputs(hidden, weight, bias, ragged, activation, logit_scale), keep)


@torch.no_grad()
def splade_encode_packed(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    offsets: torch.Tensor,
    max_len: int,
    activation: Activation = Activation.LOG1P_RELU,
    threshold: float = 0.0,
    top_n: int | None = None,
    logit_scale: float = 1.0,
    exclude: torch.Tensor | None = None,
) -> SparseRows:
    """Return the term weights of sequences laid end to end as sparse rows; no gradient.

    `hidden`, `offsets` and `max_len` as `splade_head_packed`; the rest as `splade_encode`.
    """
    keep = Selection(threshold, top_n, exclude)
    ragged = Ragged(None, offsets, max_len)
    return _encode(HeadInputs(hidden, weight, bias, ragged, activation, logit_scale), keep)


def _head(inputs: HeadInputs) -> torch.Tensor:
    inputs = _checked(inputs)
    fused = _fused(inputs.hidden)
    if fused is None:
        hidden, weight, bias, ragged, activation, scale = inputs
        rows, bounds = ragged.on_host(hidden)
        return cpu.head(rows, weight, bias, bounds, activation, scale)
    out: torch.Tensor = fused.head(inputs)
    return out


def _encode(inputs: HeadInputs, keep: Selection) -> SparseRows:
    inputs = _checked(inputs)
    _check_selection(inputs.hidden, inputs.weight, keep)
    fused = _fused(inputs.hidden)
    if fused is None:
        hidden, weight, bias, ragged, activation, scale = inputs
        rows, bounds = ragged.on_host(hidden)
        return cpu.encode(rows, weight, bias, bounds, activation, scale, keep)
    out: SparseRows = fused.encode(inputs, keep)
    return out


def _padded(hidden: torch.Tensor, mask: torch.Tensor | None) -> Ragged:
    return Ragged(mask, None, hidden.shape[1] if hidden.ndim == 3 else 0)


def _checked(inputs: HeadInputs) -> HeadInputs:
    """Return the inputs as they enter the product, every one checked."""
    hidden, weight = _autocast(inputs.hidden, inputs.weight)
    inputs.ragged.check(hidden)
    _check_weight(hidden, weight, inputs.bias)
    _check_scale(inputs.logit_scale)
    return inputs._replace(hidden=hidden, weight=weight)


def _fused(hidden: torch.Tensor) -> ModuleType | None:
    """Return the Triton module for this tensor, or None for cpu.py.

    Raises:
        ValueError: CUDA tensors, and no Triton.
    """
    if hidden.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        return None
    if os.environ.get("TAMIS_KERNELS") == "cpu" or hidden.dtype == torch.float64:
        return None
    try:
        import tamis.kernels.head.triton_head as fused
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise ValueError(
            "expected Triton for CUDA tensors, found none; "
            "install it (pip install triton) or set TAMIS_KERNELS=cpu"
        ) from error
    return fused


def _autocast(hidden: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cast both operands as a matmul would under autocast.

    Raises:
        ValueError: a device that is neither CPU nor CUDA.
    """
    kind = hidden.device.type
    if kind not in ("cpu", "cuda"):
        raise ValueError(
            f"expected tensors on cpu or cuda, found {kind}; move them with .to('cpu')"
        )
    if not torch.is_autocast_enabled(kind):
        return hidden, weight
    dtype = torch.get_autocast_dtype(kind)
    return hidden.to(dtype), weight.to(dtype)


def _check_weight(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    dim = hidden.shape[-1]
    if weight.ndim != 2 or weight.shape[1] != dim or dim == 0:
        raise ValueError(
            f"expected weight [V, {dim}] for hidden {tuple(hidden.shape)}, "
            f"found {tuple(weight.shape)}; pass the decoder matrix, one row a term"
        )
    if hidden.dtype not in (*_HALF_AND_SINGLE, torch.float64) or weight.dtype != hidden.dtype:
        raise ValueError(
            f"expected hidden and weight of one dtype among bfloat16, float16, float32, float64, "
            f"found {hidden.dtype} and {weight.dtype}; cast one of them"
        )
    check_device("weight", weight, hidden)
    if bias is None:
        return
    if bias.shape != weight.shape[:1] or not bias.is_floating_point():
        raise ValueError(
            f"expected bias [{weight.shape[0]}] of a floating dtype, "
            f"found {tuple(bias.shape)} {bias.dtype}"
        )
    check_device("bias", bias, hidden)


def _check_scale(logit_scale: float) -> None:
    if not (math.isfinite(logit_scale) and logit_scale > 0):
        raise ValueError(
            f"expected a positive finite logit_scale, found {logit_scale}; "
            "a negative one would turn the maximum into a minimum"
        )


def _check_selection(hidden: torch.Tensor, weight: torch.Tensor, keep: Selection) -> None:
    threshold, top_n, exclude = keep
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ValueError(f"expected a finite threshold of at least 0, found {threshold}")
    if top_n is not None and top_n < 1:
        raise ValueError(f"expected top_n of at least 1, or None for all, found {top_n}")
    if exclude is None:
        return
    if exclude.shape != weight.shape[:1] or exclude.dtype != torch.bool:
        raise ValueError(
            f"expected exclude [{weight.shape[0]}] bool, "
            f"found {tuple(exclude.shape)} {exclude.dtype}; True marks a term never to emit"
        )
    check_device("exclude", exclude, hidden)
