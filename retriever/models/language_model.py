"""Loads Hugging Face language models, whole or cut before their vocabulary head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from tamis.index.errors import FormatError
from tamis.retriever.models.adapters import with_adapter
from tamis.retriever.models.description import Architecture, NeuralSide
from tamis.retriever.models.heads import HEADS
from tamis.retriever.models.quantised_weights import is_quantised, load_quantised
from tamis.retriever.models.splade_model import SpladeModel
from tamis.retriever.models.weights import fill, load_model, reading, tell_left_over

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KINDS: dict[Architecture, Any] = {
    Architecture.MASKED: AutoModelForMaskedLM,
    Architecture.CAUSAL: AutoModelForCausalLM,
    Architecture.HEADLESS: AutoModel,
}


def load_language_model(
    side: NeuralSide,
    special_ids: Iterable[int],
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> SpladeModel:
    """Load a side's model onto a device, ready to encode.

    Args:
        side: what to load.
        special_ids: terms that are never emitted.
        device: where it runs.
        dtype: of its weights and arithmetic; None is bfloat16 on a GPU, float32 on a processor.

    Raises:
        FormatError: weights are missing, or the head does more than a product and a bias.
    """
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    model = load_whole_model(side, dtype)
    decoder = cut_head(model, side.folder) if side.head.over_vocabulary else None
    head = HEADS[side.head].load(side, decoder)
    head = head.to(head.dtype or dtype)
    excluded = special_ids if side.head.over_pieces else ()
    return SpladeModel(side, model, head, excluded).to(device).eval()


class PassThrough(nn.Module):
    """Stands where a vocabulary head stood and gives its input back."""

    weight = None
    bias = None  # some models read the bias of the head they are given

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return ``hidden``."""
        return hidden


@torch.inference_mode()
def cut_head(model: Any, folder: object) -> nn.Linear:  # noqa: ANN401  any Hugging Face model
    """Take the vocabulary head out of a model, which then gives the head's input as its logits.

    One short text is run with and without the head, to be certain that head and model together
    still compute the logits: some models scale, cap or cut them afterwards.

    Raises:
        FormatError: they do not, or are not finite.
    """
    training = model.training
    model.eval()  # dropout would make two runs differ
    with reading(folder):
        decoder, logits, rebuilt = _with_and_without(model)
    model.train(training)
    if not torch.isfinite(logits).all():
        raise FormatError(
            f"{folder}: expected finite logits of a short text, found NaN or infinity: its weights "
            f"hold such, or are too large for {model.dtype}; copy the folder anew from its source"
        )
    if logits.shape != rebuilt.shape or not torch.allclose(logits, rebuilt, rtol=1e-3, atol=1e-3):
        raise FormatError(
            f"{folder}: expected logits that are a matrix product and a bias, found "
            f"{type(model).__name__}, which changes them afterwards; use another architecture"
        )
    head: nn.Linear = decoder
    return head


def _with_and_without(model: Any) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:  # noqa: ANN401  any HF model
    """The head of a model, the logits of a short text, and the same with the head run apart."""
    decoder = model.get_output_embeddings()
    probe = torch.tensor([[1, 2, 3]], device=model.device)
    logits = model(input_ids=probe).logits
    bias = getattr(decoder, "bias", None)
    model.set_output_embeddings(PassThrough())
    decoder.bias = bias
    return decoder, logits, decoder(model(input_ids=probe).logits)


def load_headless(folder: Path) -> nn.Module:
    """A backbone without a head, in float32 on the processor, such as a dense encoder's."""
    model: nn.Module = load_model(AutoModel, folder, torch.float32).model
    return model.eval()


def load_whole_model(side: NeuralSide, dtype: torch.dtype) -> Any:  # noqa: ANN401  any HF model
    """A side's Hugging Face model, with its vocabulary head if it has one, on the processor."""
    kind = KINDS[side.architecture]
    if is_quantised(side.folder / "model.safetensors"):
        weights = load_quantised(side.folder / "model.safetensors")
        with reading(side.folder):
            config = AutoConfig.from_pretrained(str(side.folder), local_files_only=True)
            model = kind.from_config(config, dtype=dtype)
        fill(model, {name: torch.from_numpy(one) for name, one in weights.items()}, side.folder)
    else:
        model, left_over = load_model(kind, side.folder, dtype)
        if side.head.over_vocabulary:
            tell_left_over(left_over, side.folder)
    if side.linear_head:
        make_head_linear(model, side.folder)
    return model if side.adapter is None else with_adapter(model, side.adapter, side.vocab_size)


def make_head_linear(model: Any, folder: Path) -> None:  # noqa: ANN401  any HF model
    """Take the activation out of a BERT head's transform, as ``NeuralSide.linear_head`` says.

    Raises:
        FormatError: the model is not a BERT.
    """
    transform = getattr(
        getattr(getattr(model, "cls", None), "predictions", None), "transform", None
    )
    if transform is None:
        raise FormatError(
            f"{folder}: expected a BERT model for linear_head, found {type(model).__name__}; "
            "remove that setting from encoder.json"
        )
    transform.transform_act_fn = nn.Identity()
