"""What a training may go on with: the same data, model and schedule, at other rates if need be."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from tamis.retriever.training.records import identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.retriever.training.config import TrainingConfig

ADJUSTABLE = {  # what a training that went wrong may change; `health` advises some of it
    "loss": ("kl", "contrastive", "margin_mse"),
    "optimiser": ("rate", "head_rate", "table_rate", "clip"),
    "sparsity": ("weight",),
}


def settings_digest(config: TrainingConfig) -> str:
    """A hash of the settings that a training keeps from start to end.

    Where files lie plays no part, nor what is `ADJUSTABLE`.
    """
    settings = identity(config)
    settings["data"]["prepared"] = ""
    del settings["run"]
    for section, names in ADJUSTABLE.items():
        for name in names:
            del settings[section][name]
    seed = config.run.seed
    return hashlib.blake2b(json.dumps([settings, seed]).encode(), digest_size=16).hexdigest()


def adjustable(config: TrainingConfig) -> dict[str, Any]:
    """The settings that may change when a training is resumed, by name."""
    settings = identity(config)
    return {
        f"{section}.{name}": settings[section][name]
        for section, names in ADJUSTABLE.items()
        for name in names
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Settings that differ, each with what it was and what it is."""
    return {
        name: [before[name], value]
        for name, value in now.items()
        if name in before and before[name] != value
    }
