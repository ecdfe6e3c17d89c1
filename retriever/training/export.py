"""Writes a trained student as a model folder that every loader of Tamis reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from tamis.retriever.language_model import without_progress_bars
from tamis.retriever.model_sides import QUERY_WEIGHT_FILES, SETTINGS_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from tamis.retriever.training.student import Student

KEPT_SETTINGS = ("double_log", "linear_head", "bidirectional", "logit_scale", "prompt", "top_n")


@torch.no_grad()
def export_model(student: Student, folder: Path, *, name: str) -> None:
    """Write the encoder: language model with its head, tokenizer, query weights, settings.

    Args:
        student: in the state to be saved.
        folder: new or existing.
        name: of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    side = student.documents.side
    model: Any = student.documents.model
    hole = model.get_output_embeddings()
    model.set_output_embeddings(student.documents.decoder)
    with without_progress_bars():
        model.save_pretrained(str(folder))
    model.set_output_embeddings(hole)
    student.tokenizer.save(folder)
    settings = {"name": name, "max_length": side.max_length}
    settings |= {key: getattr(side, key) for key in KEPT_SETTINGS if getattr(side, key)}
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2))
    if student.log_table is not None:
        table = student.table().float().cpu().contiguous()
        save_file({"weight": table}, str(folder / QUERY_WEIGHT_FILES[0]))
