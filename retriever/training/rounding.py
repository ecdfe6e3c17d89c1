"""Rounds a trained model to int8: a quarter of the size, nearly the same vectors."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.formats import SETTINGS_FILE
from tamis.retriever.models.quantised_weights import save_quantised
from tamis.retriever.models.tensor_files import load_arrays

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = "model.safetensors"


def round_model(folder: Path, out: Path, **settings: object) -> Path:
    """Write a model that `tamis train` made with the matrices of its language models as int8 rows.

    Args:
        folder: of the trained model.
        out: new or existing folder; other files in it stay.
        settings: put into its ``encoder.json``, in place of what stands there (name, top_n, ...).

    Returns:
        ``out``.

    Raises:
        InputError: ``folder`` and ``out`` are the same.
        FormatError: ``folder`` holds no trained model.
    """
    if folder.resolve() == out.resolve():
        raise InputError(f"{out}: expected another folder than the model's, found the same")
    needed = (WEIGHTS, SETTINGS_FILE, "config.json", "tokenizer.json")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise FormatError(
            f"{folder}: expected a model that `tamis train` made, found no {missing[0]}; "
            "give the folder that it printed"
        )
    ignored = shutil.ignore_patterns(WEIGHTS)
    shutil.copytree(folder, out, dirs_exist_ok=True, ignore=ignored)  # heads and queries too
    for path in sorted(folder.rglob(WEIGHTS)):
        save_quantised(load_arrays(path), out / path.relative_to(folder))
    known = json.loads((folder / SETTINGS_FILE).read_text())
    (out / SETTINGS_FILE).write_text(json.dumps(known | settings, indent=2, sort_keys=True) + "\n")
    return out
