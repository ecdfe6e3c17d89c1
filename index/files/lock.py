"""FolderLock: one writer at a time in a collection's folder.

A lock covers all that lies in its folder, up to two levels down: who keeps a folder of many
collections holds one lock for them all.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from stat import S_ISDIR
from typing import TYPE_CHECKING, Self

from tamis.index.errors import InputError, LockedError
from tamis.index.files import system

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tamis.index.files.storage import Storage

LOCK = "LOCK"
ORPHANS_END_WITHIN_S = 5.0
LOOKS_END_WITHIN_S = 0.1  # somebody may just look whether it is held
LEVELS = 2  # of folders above, whose locks cover this one
_ONLY_READ = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_LOCK = (FileNotFoundError, NotADirectoryError, PermissionError)  # or none that we could see
_held: set[tuple[int, int]] = set()  # device and inode of the locks of this process


def refuse_foreign(storage: Storage) -> None:
    """Refuse a folder for a new index that holds what no build has left there.

    Whoever builds locks first, and the lock's file stays: a build may then remove what it finds.

    Raises:
        InputError: the folder holds something, and no lock.
    """
    names = storage.names()
    if names and LOCK not in names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise InputError(
            f"{storage.root}: expected a new or an empty folder to write an index in, found one "
            f"that holds {names[0]!r}{more}; name another, such as {storage.root / 'index'}"
        )


class FolderLock:
    """Held while a ``with`` block runs; the system lets go of it when the process ends.

    A process that built segments for the holder ends a moment after it, and is waited for.

    Raises:
        InputError: the system has no such locks.
        LockedError: another process holds it, or that of a folder above; the message names the
            process id.
    """

    def __init__(self, storage: Storage) -> None:
        self._path = storage.root / LOCK

    def __enter__(self) -> Self:
        system.refuse_unless_writing()
        self.handle = _opened(self._path)  # a process that is given it too goes on holding it
        try:
            _await(lambda: system.lock_alone(self.handle), self._path, self.handle)
            if not self._is_in_place():  # its last holder removed it between our two calls
                raise _refusal(self._path, "a process that has just ended")
            refuse_kept(self._path.parent)
        except BaseException:
            os.close(self.handle)
            raise
        self._tell()
        _held.add(_identity(self.handle))
        return self

    def _tell(self) -> None:
        """Write the process id, for those who are refused; a full disk may not take it."""
        with suppress(OSError):
            os.truncate(self.handle, 0)
            os.write(self.handle, f"{os.getpid()}\n".encode())

    def remove_with_folder(self) -> None:
        """Delete the lock's file, and the folder if nothing else is in it, while holding it."""
        self._path.unlink()
        if not any(self._path.parent.iterdir()):
            self._path.parent.rmdir()

    def _is_in_place(self) -> bool:
        opened = os.fstat(self.handle)
        if S_ISDIR(opened.st_mode):
            return True
        return self._path.exists() and os.path.samestat(opened, self._path.stat())

    def release(self) -> None:
        """Let another writer in."""
        _held.discard(_identity(self.handle))
        os.close(self.handle)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.release()


def refuse_locked(storage: Storage) -> None:
    """Refuse a folder that somebody else writes (LockedError), without locking it."""
    _refuse_held(storage.root / LOCK, set())


def refuse_kept(root: Path) -> None:
    """Refuse a folder that lies in one that somebody else keeps as a whole (LockedError)."""
    for above in root.absolute().parents[:LEVELS]:
        _refuse_held(above / LOCK, _held)


def _refuse_held(path: Path, ours: set[tuple[int, int]]) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except _NO_LOCK:
        return
    try:
        if _identity(handle) not in ours:
            _await(lambda: not system.is_locked(handle), path, handle)
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """A handle to lock; on a disk that is only read, one to read, or even that of the folder."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in _ONLY_READ:
            raise
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)


def _identity(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


def _await(is_free: Callable[[], bool], path: Path, handle: int) -> None:
    """Wait for a lock whose holder has ended; raise LockedError for one who has not."""
    began = time.monotonic()
    while not is_free():
        holder = _holder(handle)
        patience_s = ORPHANS_END_WITHIN_S if _has_ended(holder) else LOOKS_END_WITHIN_S
        if time.monotonic() - began > patience_s:
            raise _refusal(path, f"process {holder}")
        time.sleep(0.005)


def _holder(handle: int) -> str:
    """The process id that a lock's file holds; no file where the disk could only be read."""
    with suppress(OSError):
        return os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
    return "unknown"


def _has_ended(holder: str) -> bool:
    return holder.isdigit() and not system.is_running(int(holder))


def _refusal(path: Path, holder: str) -> LockedError:
    return LockedError(
        f"{path.parent}: expected to be the only writer, found {holder} writing; wait for it to end"
    )
