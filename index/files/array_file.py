"""ArrayFile: a file that grows by arrays, and FileEntry: what a finished file must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from tamis.index.files.storage import Storage

BUFFER_BYTES = 1 << 18  # what an `ArrayFile` gathers before it writes


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a finished file must be: its size, its xxh3-64, and its array type if it has one."""

    size_bytes: int
    xxh3: str  # 16 hexadecimal digits
    dtype: str | None = None  # little-endian NumPy code such as "<i4"
    shape: tuple[int, ...] | None = None


class ArrayFile:
    """A file that grows by arrays of one dtype: a context manager that syncs when it closes.

    After the ``with`` block, `entry` describes the file.
    """

    entry: FileEntry

    def __init__(
        self, storage: Storage, name: str, dtype: DTypeLike, row_shape: tuple[int, ...] = ()
    ) -> None:
        self._storage, self._name = storage, name
        self._handle = storage.create(name)
        self._dtype = little_endian(dtype)
        self._row_shape = row_shape
        self._rows = 0
        self._size_bytes = 0
        self._digest = xxhash.xxh3_64()
        self._waiting = bytearray()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows ``[n, *row_shape]`` at the end."""
        data = np.ascontiguousarray(rows, self._dtype).tobytes()
        self._digest.update(data)
        self._rows += len(rows)
        self._size_bytes += len(data)
        self._waiting += data
        if len(self._waiting) >= BUFFER_BYTES:
            self._write_waiting()

    def _write_waiting(self) -> None:
        self._storage.write_all(self._handle, bytes(self._waiting))
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._write_waiting()
        finally:
            self._storage.close(self._handle)
        if kind is None:
            self._storage.finish(self._name)
        self.entry = FileEntry(
            self._size_bytes,
            self._digest.hexdigest(),
            self._dtype.str,
            (self._rows, *self._row_shape),
        )


def little_endian(dtype: DTypeLike) -> np.dtype[Any]:
    """A type as it lies in files."""
    return np.dtype(dtype).newbyteorder("<")
