"""Arrays in files: written whole, mapped, or growing as an `ArrayFile`.

They are raw little-endian bytes; their dtype and shape stand in their `FileEntry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xxhash

from tamis.index.files.file_entry import FileEntry, little_endian

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from tamis.index.files.storage import Storage

BUFFER_BYTES = 1 << 18  # what an `ArrayFile` gathers before it writes


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


def write_array(storage: Storage, name: str, array: NDArray[Any]) -> FileEntry:
    """Write a whole array and wait until it is on disk."""
    with ArrayFile(storage, name, array.dtype, array.shape[1:]) as file:
        file.append(array)
    return file.entry


def write_arrays(
    storage: Storage, prefix: str, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, FileEntry]:
    """Write arrays as files named by ``prefix`` and their own names; the files' entries."""
    return {
        f"{prefix}{name}": write_array(storage, f"{prefix}{name}", array)
        for name, array in arrays.items()
    }


def create_array(
    storage: Storage, name: str, dtype: DTypeLike, shape: tuple[int, ...]
) -> NDArray[Any]:
    """A new writable array mapped to a file, zero-filled; finish it with `seal`."""
    kind = little_endian(dtype)
    size_bytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    handle = storage.create(name)
    try:
        if size_bytes:
            storage.reserve(handle, size_bytes)
    finally:
        storage.close(handle)
    if size_bytes == 0:
        return np.zeros(shape, kind)
    return np.memmap(storage.path(name), kind, "r+", shape=shape)


def seal(storage: Storage, name: str, array: NDArray[Any]) -> FileEntry:
    """Wait until an array of `create_array` is on disk, and give its entry.

    Syncing the file writes what was written through its map too. `array.flush()` would make
    all threads of the interpreter wait for the disk.
    """
    storage.finish_mapped(name)
    return FileEntry(array.nbytes, storage.checksum(name), array.dtype.str, array.shape)


def map_array(storage: Storage, name: str, entry: FileEntry) -> NDArray[Any]:
    """The array of a file, read-only: mapped, or read where it is no larger than a page.

    Empty ones are read-only too: loops are compiled again for arrays that can be written to.

    Raises:
        CorruptionError: the file is missing or of another size.
    """
    dtype, shape = np.dtype(entry.dtype), entry.shape or ()
    data = storage.mapped(name, entry)
    return np.frombuffer(data, dtype).reshape(shape)  # np.memmap takes four times the calls
