"""Averages models that began as one: a soup is often better than each of them.

Wortsman et al., "Model soups", ICML 2022 (arXiv 2203.05482).
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file, save_file

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.formats import QUERY_WEIGHT_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WEIGHTS, TABLE = "model.safetensors", QUERY_WEIGHT_FILES[0]


def average_models(folders: Sequence[Path], out: Path) -> Path:
    """Write the mean of several trainings that started from the same weights.

    Weights are averaged as they are, query weights geometrically: they are learned as logarithms.

    Args:
        folders: of models that `tamis train` made; settings and tokenizer are those of the first.
        out: new folder.

    Returns:
        ``out``.

    Raises:
        InputError: there is no folder, or ``out`` exists.
        FormatError: the models have other tensors than the first, or no weights.
    """
    if not folders or out.exists():
        found = f"{out}, which exists" if folders else "no model"
        raise InputError(f"expected models and a new folder, found {found}; name another folder")
    weights = [_tensors(folder / WEIGHTS) for folder in folders]
    tables = [_tensors(folder / TABLE) for folder in folders if (folder / TABLE).is_file()]
    for folder, one in zip(folders, weights, strict=True):
        if _shapes(one) != _shapes(weights[0]):
            raise FormatError(
                f"{folder}: expected the tensors of {folders[0]}, found others; "
                "average trainings of one base"
            )
    mean = {name: np.mean([one[name] for one in weights], axis=0) for name in weights[0]}
    shutil.copytree(folders[0], out)
    save_file(mean, str(out / WEIGHTS), metadata={"format": "pt"})
    if len(tables) == len(folders):
        product = np.prod([one["weight"].astype(np.float64) for one in tables], axis=0)
        table = product ** (1 / len(tables))
        save_file({"weight": table.astype(np.float32)}, str(out / TABLE))
    return out


def _tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    if not path.is_file():
        raise FormatError(
            f"{path}: expected the weights of a model that `tamis train` made, found no such file; "
            "give the folder that it printed"
        )
    return load_file(str(path))


def _shapes(tensors: dict[str, NDArray[np.float32]]) -> dict[str, tuple[int, ...]]:
    return {name: one.shape for name, one in tensors.items()}
