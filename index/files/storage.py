"""Storage: every read and write of a collection's folder goes through here.

Knows files and checksums; knows nothing of what they mean, and of arrays no more than their bytes
(see `array_file`). A file is complete when `write`, `ArrayFile` or `seal` returns: its bytes are on
disk (fsync) and its `FileEntry` says what they must be. Inside a `together` block they are on disk
when that ends.

What changes the disk is made of *steps*, methods that are one call of the system each: `create`,
`append_to`, `write_some`, `reserve`, `truncate`, `sync`, `sync_name`, `close`, `rename`,
`remove`, `make_one_folder`, `remove_empty_folder`, `sync_folder` and `link`. A storage that
overrides them sees every change there is, can record it, and can make it fail.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

import xxhash

from tamis.index.errors import CorruptionError, InputError
from tamis.index.files import system
from tamis.index.files.file_entry import FileEntry
from tamis.index.files.maps import mapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_NOTHING_THERE = (FileNotFoundError, NotADirectoryError)
COPY_BYTES = 1 << 22
SYNCS_AT_ONCE = 8  # on threads of their own, of all storages of a process
FEW_SYNCS = 2
_idle_helpers = threading.Semaphore(SYNCS_AT_ONCE)
RESTORE = "restore this folder from a copy, or build it again with `tamis index`"


class Storage:
    """The files below one folder, by relative name."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._local = threading.local()  # a thread's files that wait to be synced together
        self._handed: dict[str, bytes] = {}

    def path(self, name: str) -> str:
        """Where the file of this name lies.

        No `Path`: each one puts its parts among the interpreter's interned strings, whose table
        has to grow when it has seen so many names, though few are left.
        """
        return os.path.join(self.root, name)

    # Steps.

    def create(self, name: str) -> int:
        """A handle to write a new or emptied file."""
        return os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    def append_to(self, name: str) -> int:
        """A handle to write at the end of an existing file."""
        return os.open(self.path(name), os.O_WRONLY | os.O_APPEND)

    def write_some(self, handle: int, data: bytes | memoryview) -> int:
        """Write a beginning of ``data``; its length, which is all of it but on a full disk."""
        return os.write(handle, data)

    def reserve(self, handle: int, size_bytes: int) -> None:
        """Give a file its size and its room on disk, so that writing to its map cannot fail."""
        system.reserve(handle, size_bytes)

    def truncate(self, handle: int, size_bytes: int) -> None:
        """Cut a file."""
        os.ftruncate(handle, size_bytes)

    def sync(self, handle: int) -> None:
        """Wait until a file's bytes are on disk."""
        system.sync(handle)

    def sync_name(self, name: str) -> None:
        """Wait until the bytes of a closed file are on disk."""
        handle = os.open(self.path(name), os.O_RDONLY)
        try:
            system.sync(handle)
        finally:
            os.close(handle)

    def close(self, handle: int) -> None:
        """Let go of a handle."""
        os.close(handle)

    def rename(self, name: str, to: str) -> None:
        """Put a file in place of another in one step."""
        os.replace(self.path(name), self.path(to))

    def remove(self, name: str) -> None:
        """Delete a file."""
        os.unlink(self.path(name))

    def make_one_folder(self, name: str) -> None:
        """Create a folder whose parent exists."""
        os.mkdir(self.path(name))

    def remove_empty_folder(self, name: str) -> None:
        """Delete a folder that holds nothing."""
        os.rmdir(self.path(name))

    def sync_folder(self, name: str = "") -> None:
        """Wait until the names in a folder are on disk."""
        handle = system.open_folder(self.path(name))
        try:
            system.sync(handle)
        finally:
            os.close(handle)

    def link(self, source: str, name: str) -> None:
        """Give a file of the same file system a second name here."""
        os.link(source, self.path(name))

    # Reading.

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name.

        Raises:
            OSError: the system does not say: that is not the same as no.
        """
        try:
            os.stat(self.path(name))
        except _NOTHING_THERE:
            return False
        return True

    def names(self, folder: str = "") -> list[str]:
        """What lies in a folder, in order; nothing where there is no such folder."""
        try:
            return sorted(os.listdir(self.path(folder)))
        except _NOTHING_THERE:
            return []

    def hand(self, contents: Mapping[str, bytes]) -> None:
        """Give what small files hold that another process has just written: no need to read it.

        Each is used once, by `read` or `mapped`, or forgotten when others are handed.
        """
        self._handed = dict(contents)

    def small(self, files: Mapping[str, FileEntry]) -> dict[str, bytes]:
        """What to `hand` of some files: all of those that `mapped` reads."""
        return {
            name: self.read(name)
            for name, entry in files.items()
            if entry.size_bytes <= mmap.PAGESIZE
        }

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        if (handed := self._handed.pop(name, None)) is not None:
            return handed
        handle = self.open_to_read(name)
        try:
            return _first_bytes(handle, os.fstat(handle).st_size)
        finally:
            os.close(handle)

    def size(self, name: str) -> int | None:
        """A file's bytes, None where there is no such file."""
        try:
            found = os.stat(self.path(name))
        except _NOTHING_THERE:
            return None
        return found.st_size if S_ISREG(found.st_mode) else None

    def mapped(self, name: str, entry: FileEntry) -> bytes | memoryview:
        """The bytes of a file, read-only: mapped, or read where it is no larger than a page.

        Raises:
            CorruptionError: the file is missing or of another size.
        """
        handed = self._handed.pop(name, None)
        if handed is not None and len(handed) == entry.size_bytes:
            return handed
        if entry.size_bytes == 0:
            self.check_size(name, entry)
            return b""
        try:
            handle = self.open_to_read(name)
        except FileNotFoundError:
            raise self._wrong_size(name, entry, None) from None
        try:
            found = os.fstat(handle).st_size
            if found != entry.size_bytes:
                raise self._wrong_size(name, entry, found)
            if found <= mmap.PAGESIZE:
                return _first_bytes(handle, found)
            return mapped(handle, found)
        finally:
            os.close(handle)

    def refuse_without_room(self, size_bytes: int) -> None:
        """Refuse to begin what the disk has no room for.

        Raises:
            OSError: fewer bytes are free (ENOSPC); a quota is not seen before it is met.
        """
        free_bytes = system.free_bytes(self.root)
        if free_bytes is not None and free_bytes < size_bytes:
            raise OSError(
                errno.ENOSPC, f"{size_bytes} bytes are needed, {free_bytes} free", str(self.root)
            )

    def checksum(self, name: str) -> str:
        """The xxh3-64 of a file as 16 hexadecimal digits."""
        with open(self.open_to_read(name), "rb", buffering=0) as file:
            return hashlib.file_digest(file, xxhash.xxh3_64).hexdigest()

    def open_to_read(self, name: str) -> int:
        """A handle to read a file."""
        return os.open(self.path(name), os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def check_size(self, name: str, entry: FileEntry) -> None:
        """Refuse a file that is missing or of another size than its entry says."""
        found = self.size(name)
        if found != entry.size_bytes:
            raise self._wrong_size(name, entry, found)

    def _wrong_size(self, name: str, entry: FileEntry, found: int | None) -> CorruptionError:
        what = "no file" if found is None else f"{found} bytes"
        return CorruptionError(
            f"{self.path(name)}: expected {entry.size_bytes} bytes, found {what}; {RESTORE}"
        )

    def check(self, name: str, entry: FileEntry) -> None:
        """Refuse a file whose bytes are not those that were written."""
        self.check_size(name, entry)
        found = self.checksum(name)
        if found != entry.xxh3:
            raise CorruptionError(
                f"{self.path(name)}: expected checksum {entry.xxh3}, found {found}; {RESTORE}"
            )

    # Writing, made of steps.

    @contextmanager
    def together(self) -> Iterator[None]:
        """Sync the files that the ``with`` block writes together, at its end.

        A disk syncs twenty files in hardly more time than one. Starting a thread takes longer than
        syncing two, so a few are synced one by one. Blocks may be nested.
        """
        if self._waiting is not None:
            yield
            return
        waiting = self._local.waiting = list[str]()
        try:
            yield
        finally:
            self._local.waiting = None
        with _helpers(len(waiting)) as helpers:
            if helpers > FEW_SYNCS:
                with (
                    suppress(RuntimeError),  # the system gives no more threads
                    ThreadPoolExecutor(helpers, "tamis-sync") as pool,
                ):
                    list(pool.map(self.sync_name, waiting))
                    return
            for name in waiting:
                self.sync_name(name)

    @property
    def _waiting(self) -> list[str] | None:
        waiting: list[str] | None = getattr(self._local, "waiting", None)
        return waiting

    def finish(self, name: str) -> None:
        """Wait until a closed file is on disk, at once or at the end of a `together` block."""
        if self._waiting is None:
            self.sync_name(name)
        else:
            self._waiting.append(name)

    def finish_mapped(self, name: str) -> None:
        """As `finish`, of a file whose bytes were written through a map: by no step."""
        self.finish(name)

    def make_folder(self, name: str = "") -> None:
        """Create a folder and its parents; an existing one is kept.

        Raises:
            InputError: the storage's own folder, or one above it, is a file, or the system
                cannot write collections.
        """
        system.refuse_unless_writing()
        if os.path.isdir(self.path(name)):
            return
        if name:
            self.make_folder(os.path.dirname(name))
        else:
            self._refuse_file()
            self.root.parent.mkdir(parents=True, exist_ok=True)
        self.make_one_folder(name)
        self.sync_folder(os.path.dirname(name) if name else "..")

    def _refuse_file(self) -> None:
        nearest = next(place for place in (self.root, *self.root.parents) if place.exists())
        if not nearest.is_dir():
            raise InputError(
                f"{self.root}: expected a folder to write, found the file {nearest}; choose another"
            )

    def remove_folder(self, name: str) -> None:
        """Delete a folder with all it holds; a missing one is fine."""
        try:
            with os.scandir(self.path(name)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except _NOTHING_THERE:
            return
        for entry in entries:
            inside = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                self.remove_folder(inside)
            else:
                self.remove(inside)
        self.remove_empty_folder(name)

    def write_all(self, handle: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``, in as many steps as it takes."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.write_some(handle, rest) :]

    def write(self, name: str, data: bytes) -> FileEntry:
        """Write a whole file and wait until it is on disk."""
        handle = self.create(name)
        try:
            self.write_all(handle, data)
        finally:
            self.close(handle)
        self.finish(name)
        return FileEntry(len(data), xxhash.xxh3_64_hexdigest(data))

    def replace(self, name: str, data: bytes) -> None:
        """Put a file in place of another in one step: readers see the old or the new bytes."""
        aside = f"{name}.new"
        self.write(aside, data)
        self.rename(aside, name)
        self.sync_folder(os.path.dirname(name))

    def copy(self, source: str, name: str) -> None:
        """Write a copy of a file and wait until it is on disk."""
        handle = self.create(name)
        try:
            with open(source, "rb") as file:
                while chunk := file.read(COPY_BYTES):
                    self.write_all(handle, chunk)
        finally:
            self.close(handle)
        self.finish(name)

    def adopt(self, name: str) -> FileEntry:
        """Wait until a file that somebody else wrote is on disk, and give its entry."""
        self.finish(name)
        return FileEntry(os.stat(self.path(name)).st_size, self.checksum(name))


@contextmanager
def _helpers(wanted: int) -> Iterator[int]:
    """How many threads there may be to help while the ``with`` block runs, of all the process's.

    Many writers at once need none: their own threads sync side by side already.
    """
    given = 0
    while given < min(wanted, SYNCS_AT_ONCE) and _idle_helpers.acquire(blocking=False):
        given += 1
    try:
        yield given
    finally:
        if given:
            _idle_helpers.release(given)


def link_or_copy(storage: Storage, source: str, name: str) -> None:
    """Give a file a second name, or copy it where that cannot be."""
    try:
        storage.link(source, name)
    except OSError:  # another file system, or one without hard links
        storage.copy(source, name)


def _first_bytes(handle: int, size_bytes: int) -> bytes:
    """So many bytes of an open file, or all it has; one call of the system for a small one."""
    pieces = [os.read(handle, size_bytes)]
    while pieces[-1] and (rest := size_bytes - sum(map(len, pieces))):
        pieces.append(os.read(handle, rest))
    return b"".join(pieces)
