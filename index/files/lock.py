"""FolderLock: one writer at a time in a collection's folder."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Self

from tamis.index.errors import InputError, LockedError
from tamis.index.files import system

if TYPE_CHECKING:
    from tamis.index.files.storage import Storage

LOCK = "LOCK"
ORPHANS_END_WITHIN_S = 5.0


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


def _has_ended(holder: str) -> bool:
    return holder.isdigit() and not system.is_running(int(holder))


class FolderLock:
    """Held while a ``with`` block runs; the system lets go of it when the process ends.

    A process that built segments for the holder ends a moment after it, and is waited for.

    Raises:
        InputError: the system has no such locks.
        LockedError: another process holds it; the message names the process id.
    """

    def __init__(self, storage: Storage) -> None:
        self._path = storage.root / LOCK

    def __enter__(self) -> Self:
        system.refuse_unless_writing()
        self._file = self._path.open("a+")
        patience_until = time.monotonic() + ORPHANS_END_WITHIN_S
        while not system.lock_alone(self._file.fileno()):
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            if not _has_ended(holder) or time.monotonic() > patience_until:
                self._file.close()
                raise self._refusal(f"process {holder}")
            time.sleep(0.005)
        if not self._is_in_place():  # its last holder removed it between our two calls
            self._file.close()
            raise self._refusal("a process that has just ended")
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()
        return self

    @property
    def handle(self) -> int:
        """What holds the lock; a process that is given it too goes on holding it."""
        return self._file.fileno()

    def remove_with_folder(self) -> None:
        """Delete the lock's file, and the folder if nothing else is in it, while holding it."""
        self._path.unlink()
        if not any(self._path.parent.iterdir()):
            self._path.parent.rmdir()

    def _is_in_place(self) -> bool:
        opened = os.fstat(self._file.fileno())
        return self._path.exists() and os.path.samestat(opened, self._path.stat())

    def _refusal(self, holder: str) -> LockedError:
        return LockedError(
            f"{self._path.parent}: expected to be the only writer, found {holder} writing; "
            "wait for it to end"
        )

    def release(self) -> None:
        """Let another writer in."""
        self._file.close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.release()
