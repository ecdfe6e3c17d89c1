"""Averages models that began as one: a soup is often better than each of them.

Wortsman et al., "Model soups", ICML 2022 (arXiv 2203.05482).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.formats import QUERY_WEIGHT_FILES
from tamis.retriever.models.tensor_files import load_arrays, save_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WEIGHTS, TABLE = Path("model.safetensors"), Path(QUERY_WEIGHT_FILES[0])


def average_models(folders: Sequence[Path], out: Path) -> Path:
    """Write the mean of several trainings that started from the same weights.

    Weights are averaged as they are, those of heads and query models too; query weights
    geometrically: they are learned as logarithms.

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
    files = _tensor_files(folders[0])
    for folder in folders:
        if WEIGHTS not in files or _tensor_files(folder) != files:
            raise FormatError(
                f"{folder}: expected the weights of {folders[0]} that `tamis train` made, found "
                "no such file or others; give the folders that it printed, of one configuration"
            )
    means = {file: _mean([folder / file for folder in folders], file == TABLE) for file in files}
    shutil.copytree(folders[0], out)
    for file, tensors in means.items():
        save_arrays(tensors, out / file, {"format": "pt"})
    return out


def _tensor_files(folder: Path) -> list[Path]:
    """The files of tensors below a model's folder, relative to it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*.safetensors"))


def _mean(paths: list[Path], geometric: bool) -> dict[str, NDArray[Any]]:
    """The mean of each tensor over files of the same tensors."""
    first = load_arrays(paths[0])
    total = {name: np.full(one.shape, float(geometric)) for name, one in first.items()}
    for path in paths:
        tensors = load_arrays(path)
        if _shapes(tensors) != _shapes(first):
            raise FormatError(
                f"{path}: expected the tensors of {paths[0]}, found others; "
                "average trainings of one base"
            )
        for name, one in tensors.items():
            total[name] = total[name] * one if geometric else total[name] + one
    means = {
        name: one ** (1 / len(paths)) if geometric else one / len(paths)
        for name, one in total.items()
    }
    return {name: mean.astype(first[name].dtype) for name, mean in means.items()}


def _shapes(tensors: dict[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    return {name: one.shape for name, one in tensors.items()}
