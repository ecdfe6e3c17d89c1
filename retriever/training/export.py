"""Writes a trained student as a model folder that every loader of Tamis reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from tamis.retriever.models.formats import QUERY_WEIGHT_FILES, SETTINGS_FILE
from tamis.retriever.models.head_kinds import HeadKind

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.models.splade_model import SpladeModel
    from tamis.retriever.training.student import Student

KEPT_SETTINGS = ("double_log", "linear_head", "bidirectional", "logit_scale", "top_n", "echo")
QUERY_FOLDER = "query"
LORA = ".default."  # in the names of peft's parameters, not in its files


@torch.no_grad()
def export_model(student: Student, folder: Path, *, name: str) -> None:
    """Write the encoder: models with their heads, tokenizer, query weights, settings.

    A model of low-rank differences is written as these, for the base that it started from.

    Args:
        student: in the state to be saved.
        folder: new or existing.
        name: of the model.
    """
    _export_side(student, student.documents, folder, name)
    if student.log_table is not None:
        table = student.table().float().cpu().contiguous()
        save_file({"weight": table}, str(folder / QUERY_WEIGHT_FILES[0]))
    elif student.query_model is not None and student.query_model is not student.documents:
        _export_side(student, student.query_model, folder / QUERY_FOLDER, name)


def _export_side(student: Student, model: SpladeModel, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(model.model, "peft_config"):
        _export_differences(model, folder)
    else:
        model.head.save(model.model, folder)
    student.tokenizer.save(folder)
    side = model.side
    settings = {"name": name, "max_length": side.max_length}
    settings |= {key: getattr(side, key) for key in KEPT_SETTINGS if getattr(side, key)}
    if side.head is not HeadKind.MAX and not side.head.has_weights:
        settings["pooling"] = side.head
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2))


def _export_differences(model: SpladeModel, folder: Path) -> None:
    """A PEFT adapter: the matrices of low rank, and which base they belong to."""
    whole: Any = model.model
    tensors = {
        f"base_model.model.{name.replace(LORA, '.')}": one.detach().cpu().contiguous()
        for name, one in whole.named_parameters()
        if "lora_" in name
    }
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    settings = whole.peft_config["default"]
    settings.base_model_name_or_path = str(model.side.folder)
    settings.save_pretrained(str(folder))
