"""Storage: every read and write of a collection's folder goes through here.

Knows files, arrays and checksums; knows nothing of what they mean. Arrays are raw little-endian
bytes; their dtype and shape stand in the manifest. A file is complete when `write`, `ArrayFile`
or `seal` returns: its bytes are on disk (fsync) and its `FileEntry` says what they must be.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import xxhash

from tamis.index.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import DTypeLike, NDArray

HASH_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a finished file must be: its size, its xxh3-64, and its array type if it has one."""

    size_bytes: int
    xxh3: str  # 16 hexadecimal digits
    dtype: str | None = None  # little-endian NumPy code such as "<i4"
    shape: tuple[int, ...] | None = None


class Storage:
    """The files below one folder, by relative name."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def path(self, name: str) -> Path:
        """Where the file of this name lies."""
        return self.root / name

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name."""
        return self.path(name).exists()

    def make_folder(self, name: str = "") -> None:
        """Create a folder and its parents; an existing one is kept."""
        self.path(name).mkdir(parents=True, exist_ok=True)

    def remove_folder(self, name: str) -> None:
        """Delete a folder with all it holds; a missing one is fine."""
        if self.path(name).is_dir():
            shutil.rmtree(self.path(name))

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        return self.path(name).read_bytes()

    def write(self, name: str, data: bytes) -> FileEntry:
        """Write a whole file and wait until it is on disk."""
        with self.path(name).open("wb") as file:
            file.write(data)
            _sync(file.fileno())
        return FileEntry(len(data), xxhash.xxh3_64_hexdigest(data))

    def write_array(self, name: str, array: NDArray[Any]) -> FileEntry:
        """Write a whole array and wait until it is on disk."""
        with ArrayFile(self, name, array.dtype, array.shape[1:]) as file:
            file.append(array)
        return file.entry

    def write_arrays(self, prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, FileEntry]:
        """Write arrays as files named by ``prefix`` and their own names; the files' entries."""
        return {
            f"{prefix}{name}": self.write_array(f"{prefix}{name}", array)
            for name, array in arrays.items()
        }

    def replace(self, name: str, data: bytes) -> None:
        """Put a file in place of another in one step: readers see the old or the new bytes."""
        aside = f"{name}.new"
        self.write(aside, data)
        self.path(aside).replace(self.path(name))
        self.sync_folder(str(Path(name).parent))

    def sync_folder(self, name: str = "") -> None:
        """Wait until the names in a folder are on disk."""
        handle = os.open(self.path(name), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def create_array(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
        """A new writable array mapped to a file, zero-filled; finish it with `seal`."""
        if 0 in shape:
            self.path(name).write_bytes(b"")
            return np.zeros(shape, _little_endian(dtype))
        return np.memmap(self.path(name), _little_endian(dtype), "w+", shape=shape)

    def seal(self, name: str, array: NDArray[Any]) -> FileEntry:
        """Wait until an array of `create_array` is on disk, and give its entry."""
        if isinstance(array, np.memmap):
            array.flush()
        with self.path(name).open("rb") as file:
            _sync(file.fileno())
        return FileEntry(array.nbytes, self.checksum(name), array.dtype.str, array.shape)

    def adopt(self, name: str) -> FileEntry:
        """Wait until a file that somebody else wrote is on disk, and give its entry."""
        with self.path(name).open("rb") as file:
            _sync(file.fileno())
        return FileEntry(self.path(name).stat().st_size, self.checksum(name))

    def map_array(self, name: str, entry: FileEntry) -> NDArray[Any]:
        """The array of a file, mapped read-only.

        Raises:
            CorruptionError: the file is missing or of another size.
        """
        self.check_size(name, entry)
        dtype, shape = np.dtype(entry.dtype), entry.shape or ()
        if entry.size_bytes == 0:
            return np.zeros(shape, dtype)
        return np.memmap(self.path(name), dtype, "r", shape=shape)

    def checksum(self, name: str) -> str:
        """The xxh3-64 of a file as 16 hexadecimal digits."""
        digest = xxhash.xxh3_64()
        with self.path(name).open("rb") as file:
            while chunk := file.read(HASH_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def check_size(self, name: str, entry: FileEntry) -> None:
        """Refuse a file that is missing or of another size than its entry says."""
        path = self.path(name)
        found = path.stat().st_size if path.is_file() else None
        if found != entry.size_bytes:
            what = "no file" if found is None else f"{found} bytes"
            raise CorruptionError(
                f"{path}: expected {entry.size_bytes} bytes, found {what}; {RESTORE}"
            )

    def check(self, name: str, entry: FileEntry) -> None:
        """Refuse a file whose bytes are not those that were written."""
        self.check_size(name, entry)
        found = self.checksum(name)
        if found != entry.xxh3:
            raise CorruptionError(
                f"{self.path(name)}: expected checksum {entry.xxh3}, found {found}; {RESTORE}"
            )


RESTORE = "restore this folder from a copy, or build it anew with `tamis index`"


class ArrayFile:
    """A file that grows by arrays of one dtype: a context manager that syncs when it closes.

    After the ``with`` block, `entry` describes the file.
    """

    entry: FileEntry

    def __init__(
        self, storage: Storage, name: str, dtype: DTypeLike, row_shape: tuple[int, ...] = ()
    ) -> None:
        self._file = storage.path(name).open("wb")
        self._dtype = _little_endian(dtype)
        self._row_shape = row_shape
        self._rows = 0
        self._size_bytes = 0
        self._digest = xxhash.xxh3_64()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows ``[n, *row_shape]`` at the end."""
        data = np.ascontiguousarray(rows, self._dtype).tobytes()
        self._file.write(data)
        self._digest.update(data)
        self._rows += len(rows)
        self._size_bytes += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                _sync(self._file.fileno())
        self.entry = FileEntry(
            self._size_bytes,
            self._digest.hexdigest(),
            self._dtype.str,
            (self._rows, *self._row_shape),
        )


def _little_endian(dtype: DTypeLike) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")


def _sync(handle: int) -> None:
    os.fsync(handle)
