"""Models ready to be trained: a base, the head that was asked for, all in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tamis.index.errors import InputError
from tamis.retriever.models.description import (
    Architecture,
    HeadKind,
    NeuralSide,
    read_checkpoint,
)
from tamis.retriever.models.heads import HEADS
from tamis.retriever.models.language_model import load_language_model
from tamis.retriever.models.splade_model import SpladeModel
from tamis.retriever.training.teachers import backbone_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.retriever.training.config import EncoderConfig

LORA_ALPHA = 2  # times the rank: the scale of the differences


def base_side(config: EncoderConfig) -> NeuralSide:
    """What a configuration starts from: the head of the base, all else as configured.

    Raises:
        InputError, FormatError: the base model cannot be read.
    """
    side = read_checkpoint(config.base).document
    return replace(
        side,
        double_log=config.double_log,
        echo=config.echo,
        bidirectional=side.bidirectional or config.bidirectional,
        max_length=side.max_length // 2 if config.echo else side.max_length,
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
        if side.adapter is not None:
            raise InputError(
                f"{side.adapter}: expected a base without an adapter for lora_rank, found one; "
                "merge it into its base first, or set lora_rank = 0"
            )
        add_low_rank(model, config.lora_rank)
    return model


def _with_head(kind: HeadKind, side: NeuralSide, special: list[int]) -> SpladeModel:
    """A base with a head of that kind: its own, or one that begins on top of it."""
    if kind.over_vocabulary and not side.head.over_vocabulary:
        raise InputError(
            f"{side.folder}: expected a base with a vocabulary head for head {kind}, found one "
            "that weighs tokens; set head to linear or choose another base"
        )
    base = load_language_model(side, special, torch.device("cpu"))
    if side.head is kind:
        return base
    model = base.model
    wanted = replace(side, head=kind)
    if not kind.over_vocabulary:
        model = backbone_of(model)
        wanted = replace(wanted, architecture=Architecture.HEADLESS, double_log=False)
    return SpladeModel(wanted, model, HEADS[kind].begin(wanted, base.head), special)


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
