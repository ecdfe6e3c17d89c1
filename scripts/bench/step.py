"""The largest batch of a whole training step: encoder with checkpointing, head, and back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from tamis.kernels.head.ops import splade_head
from tamis.retriever.models.language_model import cut_head
from tamis.scripts.bench.head_baselines import eager

if TYPE_CHECKING:
    from collections.abc import Callable

_GIB = 1 << 30
_LAYERS = 12
_SIZES = {"eager": (8, 16), "fused": (128, 256)}


def largest_step(shape: Any, budget_gib: int = 80) -> dict[str, float]:  # noqa: ANN401  a Shape
    """Find the largest batch whose forward and backward, encoder included, fit a budget.

    The encoder is of XLM-R's base size, in bf16, every layer checkpointed; its weights and their
    gradients count, an optimiser's state does not. Two peaks give the line, as memory grows with
    the batch; a run near its end proves ours.
    """
    model, decoder = _encoder(shape)
    result: dict[str, float] = {"budget_gib": budget_gib}
    heads = {"eager": eager, "fused": _fused}
    for name, head in heads.items():
        sizes = _SIZES[name]
        peaks = [_peak(partial(_step, model, decoder, head, shape, size)) for size in sizes]
        slope = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
        result[name] = sizes[0] + int((budget_gib * _GIB - peaks[0]) / slope)
        result[f"{name}_mib_per_sequence"] = slope / 2**20
    proved = int(result["fused"] * 0.95)
    result["proved_batch"] = proved
    peak = _peak(partial(_step, model, decoder, _fused, shape, proved))
    result["proved_peak_gib"] = peak / _GIB
    result["ratio"] = result["fused"] / result["eager"]
    return result


def _encoder(shape: Any) -> tuple[Any, torch.nn.Linear]:  # noqa: ANN401  a Shape
    config = XLMRobertaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        num_hidden_layers=_LAYERS,
        max_position_embeddings=shape.length + 2,
    )
    torch.manual_seed(0)
    build: Any = XLMRobertaForMaskedLM
    model = build(config).to("cuda", torch.bfloat16)
    decoder = cut_head(model, "XLM-R")
    model.gradient_checkpointing_enable()
    return model.train(), decoder


def _fused(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    return splade_head(hidden, weight, bias, mask=mask)


def _step(
    model: Any,  # noqa: ANN401  any Hugging Face model
    decoder: torch.nn.Linear,
    head: Callable[..., torch.Tensor],
    shape: Any,  # noqa: ANN401  a Shape
    batch: int,
) -> None:
    model.zero_grad(set_to_none=True)
    decoder.zero_grad(set_to_none=True)
    ids = torch.randint(5, shape.vocab, (batch, shape.length), device="cuda")
    mask = torch.ones_like(ids, dtype=torch.bool)
    hidden = model(input_ids=ids).logits
    out = head(hidden, decoder.weight, decoder.bias, mask)
    torch.autograd.backward([out], [torch.ones_like(out)])


def _peak(work: Callable[[], None]) -> int:
    """The most memory the allocator held during a call, weights included."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()
