"""Database: one SQLite file that one process has; its errors say what the machine refused.

With a write-ahead log and full synchronisation: what a change has returned from survives a power
cut. The file is locked for this process alone, so SQLite keeps the log's directory in memory: no
further file, and none that a full disk could refuse.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tamis.index.errors import CorruptionError, FormatError, TamisError
from tamis.index.files.closing import Closing
from tamis.index.files.storage import RESTORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUSY_TIMEOUT_S = 5.0
_PRIMARY = 0xFF  # the lowest byte of SQLite's codes is the kind, the others are details
_REFUSED = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EIO,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_AUTH: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EAGAIN,
    sqlite3.SQLITE_LOCKED: errno.EAGAIN,
}


class Database(Closing):
    """Safe to use from many threads.

    Attributes:
        path: the file.
        read_only: the disk can only be read; what was in the file is held in memory.
    """

    def __init__(self, path: Path) -> None:
        """Open or make a file; where the disk can only be read, what is in it.

        Raises:
            FormatError: it is no database.
            OSError: it cannot be opened.
        """
        self.path = path
        self.read_only = False
        self._lock = threading.RLock()
        try:
            self._connection = _connected(path)
        except sqlite3.DatabaseError as error:
            meaning = _meaning(path, error)
            if not isinstance(meaning, OSError):
                raise FormatError(
                    f"{path}: expected a catalogue, found something else ({error}); {RESTORE}"
                ) from error
            if not _is_only_read(path):
                raise meaning from error
            self._connection, self.read_only = _held_in_memory(path), True

    def take_up(self) -> None:
        """Open the file itself where it could only be read so far.

        Raises as construction, and OSError where it still can only be read.
        """
        with self._lock:
            newer = Database(self.path)
            self._connection, older = newer._connection, self._connection
            self.read_only = newer.read_only
            older.close()
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.path))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """All of the block's changes happen, or none.

        Raises:
            OSError: what the machine refused.
            CorruptionError: the file is damaged.
        """
        with self._lock, self._told():
            if self.read_only:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.path))
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # SQLite has ended it itself after some errors
                    self._connection.execute("ROLLBACK")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """What a query finds; raises as `change`."""
        with self._lock, self._told():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise _meaning(self.path, error) from error


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_only_read(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
    return False


def _held_in_memory(path: Path) -> sqlite3.Connection:
    """What a file and its log hold: SQLite cannot read a log where it cannot write."""
    with TemporaryDirectory(prefix="tamis-") as place:
        for file in (path, path.with_name(f"{path.name}-wal")):
            if file.exists():
                shutil.copyfile(file, Path(place) / file.name)
        held = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        with closing(_connected(Path(place) / path.name)) as copy:
            copy.backup(held)
    return held


def _meaning(path: Path, error: Exception) -> OSError | TamisError:
    """What SQLite's error says: the machine refused something, or the file is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    number = _REFUSED.get(code & _PRIMARY) if code is not None else None
    if number is not None:
        return OSError(number, f"{os.strerror(number)} ({error})", str(path))
    return CorruptionError(f"{path}: expected a whole database, found {error}; {RESTORE}")
