"""The write-ahead log: what was written but is not in a segment yet, frame after frame.

A frame is ``magic[4] length[4] synced[8] xxh3[8] payload[length]``, little-endian. The checksum
covers the log's number and the frame's place too, so that no frame passes for another. ``synced``
is how much of the file was known to be on disk when the frame was written; after each fsync an
empty frame, a *mark*, says so. That tells the two kinds of damage apart:

- a *torn tail*, which a crash leaves: no whole frame after it calls the place synced, so nothing
  in it was ever acknowledged, and it is dropped;
- *corruption* of what had been on disk, which is an error.

Knows nothing of what payloads mean.
"""

from __future__ import annotations

import re
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from tamis.index.errors import CorruptionError, InputError, StoppedError
from tamis.index.files.storage import RESTORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.index.files.storage import Storage

MAGIC = b"tfrm"
_HEADER = struct.Struct("<4sIQQ")
_HASHED = struct.Struct("<QQIQ")  # log number, place, length, synced
_START = b"tamis log"
_NAME = re.compile(r"log-(\d{6,})")
MAX_PAYLOAD_BYTES = (1 << 30) - 1


def log_name(number: int) -> str:
    """The file of a log."""
    return f"log-{number:06}"


def log_numbers(storage: Storage) -> list[int]:
    """The logs in a folder, rising."""
    found = (_NAME.fullmatch(name) for name in storage.names())
    return sorted(int(match[1]) for match in found if match)


@dataclass(frozen=True, slots=True)
class LogContents:
    """What a log holds.

    Attributes:
        payloads: of all whole frames but the first and the marks, in order.
        whole_bytes: where the last whole frame ends; 0 for a log that was never begun.
        torn_bytes: what a crash left after it.
    """

    payloads: list[bytes]
    whole_bytes: int
    torn_bytes: int


def read_log(storage: Storage, number: int) -> LogContents:
    """Read a log as far as it is whole.

    Raises:
        CorruptionError: bytes that had been on disk have changed since.
    """
    data = storage.read(log_name(number))
    payloads, at = list[bytes](), 0
    while (frame := _frame(data, at, number)) is not None:
        payloads.append(frame.payload)
        at = frame.end
    if any(later.synced > at for later in _frames_after(data, at, number)):
        raise CorruptionError(
            f"{storage.path(log_name(number))}: expected a whole frame at byte {at}, found a "
            f"damaged one that had been on disk; {RESTORE}"
        )
    if payloads and payloads[0] != _START:
        raise CorruptionError(
            f"{storage.path(log_name(number))}: expected the start of a log, found another frame; "
            f"{RESTORE}"
        )
    return LogContents([p for p in payloads[1:] if p], at, len(data) - at)


def read_logs(storage: Storage, first: int) -> dict[int, LogContents]:
    """All logs from the ``first`` on, which must be there, by number.

    Raises:
        CorruptionError: as `read_log`, or a log is missing, or one with a successor is torn: a
            log is whole on disk before the next one begins.
    """
    numbers = [number for number in log_numbers(storage) if number >= first]
    if not numbers or numbers != list(range(first, numbers[-1] + 1)):
        raise CorruptionError(
            f"{storage.root}: expected the file {log_name(first)} and its successors, found "
            f"{', '.join(map(log_name, numbers)) or 'none'}; {RESTORE}"
        )
    logs = {number: read_log(storage, number) for number in numbers}
    for number, contents in logs.items():
        if (number < numbers[-1] and contents.torn_bytes) or not logs[first].whole_bytes:
            raise CorruptionError(
                f"{storage.path(log_name(number))}: expected a log that is whole, found it torn "
                f"after {contents.whole_bytes} bytes; {RESTORE}"
            )
    return logs


def has_writes(storage: Storage, first: int) -> bool:
    """Whether the logs from the ``first`` on may hold writes, by their sizes alone."""
    begun = _HEADER.size + len(_START)
    logs = [number for number in log_numbers(storage) if number >= first]
    return any((storage.size(log_name(number)) or 0) > begun for number in logs)


class _Frame(NamedTuple):
    payload: bytes
    synced: int
    end: int


def _frame(data: bytes, at: int, number: int) -> _Frame | None:
    """The whole frame at a place, or None."""
    if len(data) - at < _HEADER.size:
        return None
    magic, length, synced, checksum = _HEADER.unpack_from(data, at)
    end = at + _HEADER.size + length
    if magic != MAGIC or end > len(data):
        return None
    payload = data[at + _HEADER.size : end]
    whole = _checksum(number, at, synced, payload) == checksum
    return _Frame(payload, synced, end) if whole else None


def _frames_after(data: bytes, at: int, number: int) -> Iterator[_Frame]:
    """Whole frames anywhere behind a place."""
    at = data.find(MAGIC, at + 1)
    while at >= 0:
        if (frame := _frame(data, at, number)) is not None:
            yield frame
        at = data.find(MAGIC, at + 1)


def _checksum(number: int, at: int, synced: int, payload: bytes) -> int:
    digest = xxhash.xxh3_64(_HASHED.pack(number, at, len(payload), synced))
    digest.update(payload)
    return digest.intdigest()


class Log:
    """The write side of one log; safe to use from many threads.

    Any failing step stops it: after a failed fsync nobody knows what is on disk, until the log is
    read again.
    """

    def __init__(self, storage: Storage, number: int, handle: int, size_bytes: int) -> None:
        """Take a file that is on disk; `create` and `resume` are the ways in."""
        self.number = number
        self._storage = storage
        self._handle = handle
        self._size_bytes = size_bytes
        self._synced_bytes = size_bytes
        self._failure: BaseException | None = None
        self._append_lock = threading.Lock()
        self._sync_lock = threading.Lock()

    @staticmethod
    def create(storage: Storage, number: int) -> Log:
        """Begin a log; it is on disk when this returns."""
        name = log_name(number)
        handle = storage.create(name)
        try:
            frame = _framed(number, 0, 0, _START)
            storage.write_all(handle, frame)
            storage.sync(handle)
            storage.sync_folder()
        except BaseException:
            storage.close(handle)
            raise
        return Log(storage, number, handle, len(frame))

    @staticmethod
    def resume(storage: Storage, number: int, contents: LogContents) -> Log:
        """Go on with a log, its torn tail cut off."""
        handle = storage.append_to(log_name(number))
        try:
            if contents.torn_bytes:
                storage.truncate(handle, contents.whole_bytes)
            storage.sync(handle)  # what was read may not have been on disk yet
            log = Log(storage, number, handle, contents.whole_bytes)
            if contents.payloads:
                log.append(b"")  # a mark: all before it is on disk
        except BaseException:
            storage.close(handle)
            raise
        return log

    @property
    def failure(self) -> BaseException | None:
        """What has stopped it; None while it takes writes."""
        return self._failure

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._size_bytes

    def append(self, payload: bytes) -> int:
        """Write a frame; `sync` to the place returned makes it durable.

        Raises:
            InputError: the payload is too long.
            StoppedError: an earlier step failed.
            OSError: this one does.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise InputError(
                f"expected at most {MAX_PAYLOAD_BYTES} bytes in one write, found {len(payload)}; "
                "write fewer documents at a time"
            )
        with self._append_lock:
            self.refuse_if_stopped()
            frame = _framed(self.number, self._size_bytes, self._synced_bytes, payload)
            with _Stops(self):
                self._storage.write_all(self._handle, frame)
            self._size_bytes += len(frame)
            return self._size_bytes

    def sync(self, place: int) -> None:
        """Wait until everything before ``place`` is on disk.

        Callers that come while another waits share the next fsync: group commit.
        """
        with self._sync_lock:
            if self._synced_bytes >= place:
                return
            self.refuse_if_stopped()
            self._sync_file()
            self.append(b"")

    def finish(self) -> None:
        """Wait until all of the file is on disk; the next log may begin."""
        with self._sync_lock:
            self.refuse_if_stopped()
            self._sync_file()

    def _sync_file(self) -> None:
        target = self._size_bytes
        with _Stops(self):
            self._storage.sync(self._handle)
        self._synced_bytes = target

    def sync_all(self) -> None:
        """Wait until everything written so far is on disk."""
        self.sync(self._size_bytes)

    def close(self) -> None:
        """Let go of the file."""
        self._storage.close(self._handle)

    def stop(self, failure: BaseException) -> None:
        """Take nothing any more."""
        self._failure = self._failure or failure

    def refuse_if_stopped(self) -> None:
        """Raise StoppedError when an earlier step has failed."""
        if self._failure is not None:
            raise StoppedError(
                f"{self._storage.root}: expected a disk that works, found {self._failure}; "
                "see to the disk, then open the collection for writing again"
            ) from self._failure


class _Stops:
    """Stops the log when the ``with`` block fails."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._log.stop(error)


def _framed(number: int, at: int, synced: int, payload: bytes) -> bytes:
    checksum = _checksum(number, at, synced, payload)
    return _HEADER.pack(MAGIC, len(payload), synced, checksum) + payload
