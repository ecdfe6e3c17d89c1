"""Rounds a trained model to int8: a quarter of the size, nearly the same vectors."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from safetensors.numpy import load_file

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.formats import QUERY_WEIGHT_FILES, SETTINGS_FILE
from tamis.retriever.models.quantised_weights import save_quantised

if TYPE_CHECKING:
    from pathlib import Path

COPIED = ("config.json", "tokenizer.json", QUERY_WEIGHT_FILES[0])


def round_model(folder: Path, out: Path, **settings: object) -> Path:
    """Write a model that `tamis train` made with its matrices as int8 rows.

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
    needed = ("model.safetensors", SETTINGS_FILE, *COPIED[:2])
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise FormatError(
            f"{folder}: expected a model that `tamis train` made, found no {missing[0]}; "
            "give the folder that it printed"
        )
    out.mkdir(parents=True, exist_ok=True)
    save_quantised(load_file(str(folder / "model.safetensors")), out / "model.safetensors")
    for name in COPIED:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    known = json.loads((folder / SETTINGS_FILE).read_text())
    (out / SETTINGS_FILE).write_text(json.dumps(known | settings, indent=2, sort_keys=True) + "\n")
    return out
