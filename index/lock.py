"""FolderLock: one writer at a time in a collection's folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from tamis.index.errors import LockedError

if TYPE_CHECKING:
    from types import TracebackType

    from tamis.index.storage import Storage

LOCK = "LOCK"


class FolderLock:
    """Held while a ``with`` block runs; the system lets go of it when the process ends.

    Raises:
        LockedError: another process holds it; the message names the process id.
    """

    def __init__(self, storage: Storage) -> None:
        self._path = storage.path(LOCK)

    def __enter__(self) -> Self:
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise LockedError(
                f"{self._path.parent}: expected to be the only writer, found process {holder} "
                "writing; wait for it to end"
            ) from error
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
