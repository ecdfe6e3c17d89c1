"""Documents by number: JSON records, compressed one by one with a shared zstd dictionary.

Each record carries its own checksum, which is compared whenever it is read.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import orjson
import xxhash
import zstandard

from tamis.index.errors import CorruptionError, InputError
from tamis.index.files.array_file import ArrayFile, map_array
from tamis.index.files.maps import read_ahead
from tamis.index.files.storage import RESTORE, Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry

COMPRESSION_LEVEL = 6
DICTIONARY_BYTES = 1 << 15
SAMPLE_BYTES = 1 << 22  # records kept in memory to train the dictionary on
KEPT = 2  # decompressors; more are seldom in use at once, as threads share the interpreter
LEAST_BYTES = DICTIONARY_BYTES * 32  # of records; what is less is stored without a dictionary


def encode_record(record: Mapping[str, Any]) -> bytes:
    """A document as JSON, in memory of its own size: orjson's holds 4 KB however short it is.

    Raises:
        InputError: the record holds something JSON cannot.
    """
    try:
        return bytes(memoryview(orjson.dumps(record)))
    except (orjson.JSONEncodeError, TypeError) as error:
        raise InputError(
            f"expected a document that JSON can hold, found one it cannot ({error}); "
            "use strings, numbers, booleans, lists and objects"
        ) from error


class DocumentWriter:
    """Writes records to a folder: a context manager; afterwards `entries` names the files."""

    entries: dict[str, FileEntry]

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder
        self._sample: list[bytes] = []
        self._sample_bytes = 0
        self._compressor: zstandard.ZstdCompressor | None = None
        self._dictionary = b""
        self._at = 0
        with ExitStack() as files:
            self._data, self._offsets, self._checksums = (
                files.enter_context(ArrayFile(storage, f"{folder}/documents.{name}", dtype))
                for name, dtype in (
                    ("bytes", np.uint8),
                    ("offsets", np.int64),
                    ("checksums", np.uint64),
                )
            )
            self._files = files.pop_all()

    def append(self, record: Mapping[str, Any]) -> None:
        """Store the next document; raises as `encode_record`."""
        self.append_encoded(encode_record(record))

    def append_encoded(self, data: bytes) -> None:
        """Store the next document, given as JSON."""
        if self._compressor is not None:
            self._write(data)
            return
        self._sample.append(data)
        self._sample_bytes += len(data)
        if self._sample_bytes >= SAMPLE_BYTES:
            self._train()

    def _train(self) -> None:
        trained = None
        if self._sample_bytes >= LEAST_BYTES:
            trained = _train_dictionary(self._sample)
        self._dictionary = trained.as_bytes() if trained else b""
        self._compressor = zstandard.ZstdCompressor(
            level=COMPRESSION_LEVEL, dict_data=trained, write_checksum=False
        )
        for data in self._sample:
            self._write(data)
        self._sample.clear()

    def _write(self, data: bytes) -> None:
        assert self._compressor is not None
        frame = self._compressor.compress(data)
        self._data.append(np.frombuffer(frame, np.uint8))
        self._offsets.append(np.array([self._at]))
        self._checksums.append(np.array([xxhash.xxh3_64_intdigest(frame)], np.uint64))
        self._at += len(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:  # noqa: ANN401
        if kind is not None:
            self._files.__exit__(kind, *rest)
            return
        with self._files:
            if self._compressor is None:
                self._train()
            self._offsets.append(np.array([self._at]))
        name = f"{self._folder}/documents.dictionary"
        self.entries = {
            f"{self._folder}/documents.bytes": self._data.entry,
            f"{self._folder}/documents.offsets": self._offsets.entry,
            f"{self._folder}/documents.checksums": self._checksums.entry,
            name: self._storage.write(name, self._dictionary),
        }


class _Unpacker:
    """Unpacks records of one dictionary; its decompressors, 96 KB each, serve a thread at a time.

    It keeps few: one for each thread would add up over the segments.
    """

    def __init__(self, dictionary: bytes) -> None:
        self._dictionary = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self._idle: list[zstandard.ZstdDecompressor] = []

    def unpacked(self, frame: bytes) -> bytes:
        try:
            decompressor = self._idle.pop()
        except IndexError:  # all are in use
            decompressor = zstandard.ZstdDecompressor(dict_data=self._dictionary)
        data: bytes = decompressor.decompress(frame)
        if len(self._idle) < KEPT:
            self._idle.append(decompressor)
        return data


_PLAIN = _Unpacker(b"")  # of all segments that have no dictionary


class Documents:
    """Reads what `DocumentWriter` wrote; safe to use from many threads."""

    def __init__(self, storage: Storage, folder: str, files: Mapping[str, FileEntry]) -> None:
        self._path = storage.path(f"{folder}/documents.bytes")
        self._data = _map(storage, f"{folder}/documents.bytes", files)
        self._offsets = _map(storage, f"{folder}/documents.offsets", files)
        self._checksums = _map(storage, f"{folder}/documents.checksums", files)
        dictionary = storage.read(f"{folder}/documents.dictionary")
        self._unpacker = _Unpacker(dictionary) if dictionary else _PLAIN

    def __len__(self) -> int:
        return self._offsets.size - 1

    def read_ahead(self, first: int, last: int) -> None:
        """Ask the system for the records of documents ``first`` to ``last``, this one included."""
        read_ahead(self._data[self._offsets[first] : self._offsets[last + 1]])

    def __getitem__(self, doc: int) -> dict[str, Any]:
        """The record of a document number; raises as `encoded`."""
        record: dict[str, Any] = orjson.loads(self.encoded(doc))
        return record

    def encoded(self, doc: int) -> bytes:
        """The record of a document number as JSON.

        Raises:
            CorruptionError: its bytes are not those that were written.
        """
        frame = self._data[self._offsets[doc] : self._offsets[doc + 1]].tobytes()
        if xxhash.xxh3_64_intdigest(frame) != self._checksums[doc]:
            raise CorruptionError(
                f"{self._path}: document {doc} is not what was written; {RESTORE}"
            )
        return self._unpacker.unpacked(frame)


def _map(storage: Storage, name: str, files: Mapping[str, FileEntry]) -> NDArray[Any]:
    return map_array(storage, name, files[name])


def _train_dictionary(sample: list[bytes]) -> zstandard.ZstdCompressionDict | None:
    try:
        return zstandard.train_dictionary(DICTIONARY_BYTES, list[Any](sample))
    except zstandard.ZstdError:  # zstd refuses samples too alike or too small to learn from
        return None
