"""FileEntry: what a finished file must be, and how the numbers in it lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a finished file must be: its size, its xxh3-64, and its array type if it has one."""

    size_bytes: int
    xxh3: str  # 16 hexadecimal digits
    dtype: str | None = None  # little-endian NumPy code such as "<i4"
    shape: tuple[int, ...] | None = None


def little_endian(dtype: DTypeLike) -> np.dtype[Any]:
    """A type as it lies in files."""
    return np.dtype(dtype).newbyteorder("<")
