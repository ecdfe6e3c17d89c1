"""Model weights as int8 with one scale a row, in safetensors; knows nothing of models.

A matrix ``name`` [rows, columns] is stored as int8 beside ``name.scale`` [rows] float32, so that
``weight = int8 * scale``; everything else is stored as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.retriever.models.tensor_files import load_arrays, save_arrays, tensor_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SCALE = ".scale"


def quantise_rows(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each row to 255 levels of its own scale.

    Args:
        matrix: ``[rows, columns]`` float32, finite.

    Returns:
        ``[rows, columns]`` int8 from -127 to 127, and ``[rows]`` float32 scales above zero.
    """
    scales = np.abs(matrix).max(axis=1) / np.float32(127)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    return np.rint(matrix / scales[:, None]).astype(np.int8), scales


def save_quantised(weights: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """Write weights, every matrix as int8 rows."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, weight in weights.items():
        if weight.ndim == 2:
            tensors[name], tensors[name + SCALE] = quantise_rows(weight)
        else:
            tensors[name] = weight
    save_arrays(tensors, path, {"format": "pt", "quantisation": "int8 rows"})


def load_quantised(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read what `save_quantised` wrote, as float32."""
    tensors = load_arrays(path)
    return {
        name: _restore(tensor, tensors.get(name + SCALE))
        for name, tensor in tensors.items()
        if not name.endswith(SCALE)
    }


def is_quantised(path: Path) -> bool:
    """Whether a file was written by `save_quantised`; a model in several files never was."""
    return path.is_file() and any(name.endswith(SCALE) for name in tensor_names(path))


def dequantise_rows(matrix: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """The float32 matrix that int8 rows and their scales stand for."""
    return matrix.astype(np.float32) * scales[:, None]


def _restore(tensor: NDArray[Any], scales: NDArray[np.float32] | None) -> NDArray[np.float32]:
    return tensor.astype(np.float32) if scales is None else dequantise_rows(tensor, scales)
