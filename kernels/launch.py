"""Grid helpers: what every kernel launch needs to know about the machine and its inputs."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, overload

import torch
import triton
from triton.tools.tensor_descriptor import TensorDescriptor

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton too decides when it is imported
TMA_ALIGNMENT_BYTES = 16
WORKSPACE_BYTES = 64 << 20


@overload
def cdiv(a: int, b: int) -> int: ...
@overload
def cdiv(a: NDArray[np.int64], b: NDArray[np.int64] | int) -> NDArray[np.int64]: ...
def cdiv(a: Any, b: Any) -> Any:
    """Return a / b rounded up, of numbers or of arrays."""
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    """Return the least multiple of b that is at least a."""
    return cdiv(a, b) * b


@functools.cache
def processors(device: torch.device) -> int:
    """Return the number of multiprocessors; 2 under the interpreter, so that programs loop."""
    if device.type != "cuda":
        return 2
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def descriptor(matrix: torch.Tensor, block: tuple[int, int]) -> TensorDescriptor:
    """Return a tensor-memory descriptor of a row-major [rows, columns] matrix."""
    return TensorDescriptor(matrix, list(matrix.shape), list(matrix.stride()), list(block))


def aligned(matrix: torch.Tensor) -> torch.Tensor:
    """Return [rows, columns] as the copy engine wants it: row-major, rows at multiples of 16 bytes.

    The matrix itself where it already is, otherwise a copy whose columns are padded with zeros.
    """
    step = TMA_ALIGNMENT_BYTES // matrix.element_size()
    if (
        matrix.stride(1) == 1
        and matrix.stride(0) % step == 0
        and matrix.stride(0) >= matrix.shape[1]
        and matrix.data_ptr() % TMA_ALIGNMENT_BYTES == 0
    ):
        return matrix
    width = round_up(matrix.shape[1], step)
    copy = matrix.new_zeros(matrix.shape[0], width)
    copy[:, : matrix.shape[1]] = matrix
    return copy


def on(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which launches go to `device`; an empty one where they already do."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(device)


def next_power_of_2(n: int) -> int:
    """Return the least power of two that is at least n."""
    power: int = triton.next_power_of_2(n)
    return power
