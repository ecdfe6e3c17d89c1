"""Safetensors files of NumPy arrays. Needs no torch; knows nothing of models."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from tamis.index.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def save_arrays(
    arrays: Mapping[str, NDArray[Any]], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays of any memory layout.

    The library writes the bytes that follow an array's first, whatever its strides: a transposed or
    sliced view would keep its shape and get other numbers.
    """
    in_order = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    save_file(in_order, str(path), metadata=None if metadata is None else dict(metadata))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file.

    Raises:
        FormatError: the file is missing or is not of the safetensors format.
    """
    try:
        arrays: dict[str, NDArray[Any]] = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise _not_safetensors(path, error) from error
    return arrays


def tensor_names(path: Path) -> list[str]:
    """The names of the tensors in a file, in any format of numbers.

    Raises:
        FormatError: the file is missing or is not of the safetensors format.
    """
    return list(tensor_kinds(path))


def tensor_kinds(path: Path) -> dict[str, str]:
    """The names of the tensors in a file, each with its kind of numbers, such as F32 or I8.

    Raises:
        FormatError: the file is missing or is not of the safetensors format.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  no mapping
    except (OSError, SafetensorError) as error:
        raise _not_safetensors(path, error) from error


def file_digest(path: Path) -> bytes:
    """The hash of a file's bytes, 8 bytes of xxh3."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_64).digest()


def _not_safetensors(path: Path, error: Exception) -> FormatError:
    return FormatError(
        f"{path}: expected safetensors, found something else ({error}); copy the file again"
    )
