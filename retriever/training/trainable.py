"""Models ready to be trained: a base, the head that was asked for, all in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tamis.index.errors import InputError
from tamis.retriever.models.description import Architecture, NeuralSide, Pooling, read_checkpoint
from tamis.retriever.models.heads import Gate, GatedModel, TokenWeightModel, token_weigher
from tamis.retriever.models.language_model import load_language_model
from tamis.retriever.training.config import EncoderConfig, Head
from tamis.retriever.training.teachers import backbone_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.retriever.models.splade_model import SpladeModel

LORA_ALPHA = 2  # times the rank: the scale of the differences


def base_side(config: EncoderConfig) -> NeuralSide:
    """What a configuration starts from, with its settings.

    Raises:
        InputError, FormatError: the base model cannot be read.
    """
    side = read_checkpoint(config.base).document
    return replace(
        side,
        double_log=config.double_log,
        pooling=Pooling.SUM if config.head is Head.SUM else Pooling.MAX,
        echo=config.echo,
        bidirectional=side.bidirectional or config.bidirectional,
        max_length=side.max_length // 2 if config.echo else side.max_length,
        gated=side.gated and config.head is Head.GATED,
        prompt="",  # batches are made of bare texts
    )


def trainable_model(
    config: EncoderConfig, side: NeuralSide, special_ids: Iterable[int]
) -> SpladeModel:
    """The model in float32, its dropout switched off: the teachers are noise enough.

    Raises:
        InputError: the base has no vocabulary head and one is needed, or peft is not installed.
    """
    model = _with_head(config.head, side, list(special_ids))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model = model.float().train().requires_grad_()  # half precision would lose small updates
    if config.lora_rank:
        add_low_rank(model, config.lora_rank)
    return model


def _with_head(head: Head, side: NeuralSide, special: list[int]) -> SpladeModel:
    model = load_language_model(side, special, torch.device("cpu"))
    own_tokens = head in (Head.LINEAR, Head.MLP)
    if isinstance(model, TokenWeightModel):
        if not own_tokens:
            raise InputError(
                f"{side.folder}: expected a base with a vocabulary head for head {head}, found one "
                "that weighs tokens; set head to linear or choose another base"
            )
        return model
    if own_tokens:
        side = replace(side, architecture=Architecture.TOKEN_WEIGHTS, double_log=False)
        decoder = token_weigher(model.decoder.weight.shape[1], layers=1 + (head is Head.MLP))
        return TokenWeightModel(side, backbone_of(model.model), decoder, special)
    if head is Head.GATED and not side.gated:
        size, width = model.decoder.weight.shape
        bias = torch.zeros(size) if model.decoder.bias is None else model.decoder.bias
        side = replace(side, gated=True)
        return GatedModel(side, model.model, model.decoder, special, Gate(width, bias))
    return model


def add_low_rank(model: SpladeModel, rank: int) -> None:
    """Freeze a model and train low-rank differences to its matrices (LoRA, arXiv 2106.09685).

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise InputError(
            "expected peft for lora_rank, found none; pip install 'tamis[encode]'"
        ) from error
    inject_adapter_in_model(_low_rank_settings(model, rank), model.model)
    for name, one in model.named_parameters():
        one.requires_grad_("lora_" in name)


def _low_rank_settings(model: SpladeModel, rank: int) -> Any:  # noqa: ANN401  peft has no types
    """What peft is told: differences to every matrix of a model that has none yet."""
    from peft import LoraConfig

    names = [name for name, one in model.model.named_modules() if isinstance(one, nn.Linear)]
    return LoraConfig(r=rank, lora_alpha=LORA_ALPHA * rank, target_modules=names, bias="none")
