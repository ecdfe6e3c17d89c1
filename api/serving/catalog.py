"""Catalog: what a data folder knows beside its collections, in one SQLite file.

Settings, aliases, the answers of requests that may be sent twice, and the records of long tasks.
What a method has returned from survives a power cut; what the machine refuses is raised as an
OSError. SQLite has no checksums, so every row carries its own, compared on each read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from tamis.api.serving.database import Database
from tamis.index.errors import CorruptionError, FormatError, InputError
from tamis.index.files.closing import Closing
from tamis.index.files.storage import RESTORE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

CATALOG = "catalog.sqlite"
CATALOG_FORMAT = 1
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TABLES = ("settings", "aliases", "answers", "tasks")
MOST_TASKS = 1000  # remembered: the newest
PAGE_ROWS = 500  # read at a time where there may be any number


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered.

    Attributes:
        request: identity of the request's contents.
        status: the answer's status code.
        body: the answer.
        created: UTC seconds.
    """

    request: str
    status: int
    body: bytes
    created: float


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A long piece of work.

    Attributes:
        task: its number.
        kind: what it does.
        subject: what it does it to.
        status: ``waiting``, ``running``, ``done``, ``failed``, ``cancelled`` or ``interrupted``.
        created: UTC seconds.
        updated: UTC seconds of the last change.
        done: units done.
        total: of so many; None while that is not known.
        message: the error of one that failed.
        result: what one that is done gave.
    """

    task: int
    kind: str
    subject: str
    status: str
    created: float
    updated: float
    done: int = 0
    total: int | None = None
    message: str = ""
    result: Any = None


def check_name(name: str) -> str:
    """Give back what can name an index or an alias, else raise InputError."""
    if NAME.fullmatch(name) is None:
        raise InputError(
            f"expected a name of 1 to 64 of a-z, 0-9, _ and -, the first no sign, found {name!r}; "
            "choose another"
        )
    return name


class Catalog(Closing):
    """One file, of one process; safe to use from many threads.

    Attributes:
        database: the file.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open or make the catalogue of a data folder; where that can only be read, to be read.

        Raises:
            FormatError: the file is no catalogue, or of another format.
            OSError: it cannot be opened.
        """
        self.database = Database(Path(folder) / CATALOG)
        try:
            if not self.database.read_only:
                self._make_tables()
        except BaseException:
            self.database.close()
            raise

    def _make_tables(self) -> None:
        """Make what is not there yet: nothing is written where all is."""
        ((found,),) = self.database.rows("PRAGMA user_version")
        if found == CATALOG_FORMAT:
            return
        if found != 0:
            raise FormatError(
                f"{self.database.path}: expected format {CATALOG_FORMAT}, found {found}; "
                "use the version of Tamis that wrote it"
            )
        with self.database.change() as connection:
            for table in _TABLES:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} "
                    "(key TEXT PRIMARY KEY, value BLOB NOT NULL, xxh3 TEXT NOT NULL) "
                    "WITHOUT ROWID"
                )
            connection.execute(f"PRAGMA user_version = {CATALOG_FORMAT}")

    def take_up(self) -> None:
        """Take changes where the disk could only be read before.

        Raises as construction, and OSError where it still can only be read.
        """
        if self.database.read_only:
            self.database.take_up()
            self._make_tables()

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def settings(self) -> dict[str, Any]:
        """All settings."""
        return {key: msgspec.json.decode(value) for key, value in self._rows("settings")}

    def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Set some settings in one step; a value of None removes one."""
        with self.database.change() as change:
            for key, value in changes.items():
                data = None if value is None else msgspec.json.encode(value)
                _put(change, "settings", key, data)

    def aliases(self) -> dict[str, str]:
        """The index that each alias stands for."""
        return {key: value.decode() for key, value in self._rows("aliases")}

    def point_aliases(self, changes: Mapping[str, str | None]) -> None:
        """Point aliases to indexes in one step; None removes one.

        Raises:
            InputError: a name cannot be one.
        """
        for alias, index in changes.items():
            check_name(alias)
            if index is not None:
                check_name(index)
        with self.database.change() as change:
            for alias, index in changes.items():
                _put(change, "aliases", alias, None if index is None else index.encode())

    def answer(self, key: str) -> Answer | None:
        """What the request with this idempotency key was answered; None for a new key."""
        data = self._get("answers", key)
        return None if data is None else msgspec.json.decode(data, type=Answer)

    def keep_answer(self, key: str, answer: Answer) -> None:
        """Remember an answer, so that the same request is not carried out twice."""
        with self.database.change() as change:
            _put(change, "answers", key, msgspec.json.encode(answer))

    def forget_answers(self, before: float) -> int:
        """Drop the answers created before a time; how many there were."""
        gone = 0
        for rows in self._pages("answers"):
            with self.database.change() as change:
                for key, _ in rows:
                    answer = self.answer(key)  # there may be a new one by now
                    if answer is not None and answer.created < before:
                        _put(change, "answers", key, None)
                        gone += 1
        return gone

    def new_task(self, kind: str, subject: str, created: float) -> TaskRecord:
        """Record a task that waits, and forget the oldest where there are too many."""
        with self.database.change() as change:
            keys = [key for key, _ in self._rows("tasks")]
            number = int(keys[-1]) + 1 if keys else 1
            for key in keys[: -MOST_TASKS + 1]:
                _put(change, "tasks", key, None)
            record = TaskRecord(number, kind, subject, "waiting", created, created)
            _put(change, "tasks", f"{number:012}", msgspec.json.encode(record))
        return record

    def keep_task(self, record: TaskRecord) -> None:
        """Record how a task stands."""
        with self.database.change() as change:
            _put(change, "tasks", f"{record.task:012}", msgspec.json.encode(record))

    def task(self, number: int) -> TaskRecord | None:
        """How a task stands; None for an unknown number."""
        data = self._get("tasks", f"{number:012}")
        return None if data is None else msgspec.json.decode(data, type=TaskRecord)

    def tasks(self) -> list[TaskRecord]:
        """The newest tasks, oldest first."""
        return [msgspec.json.decode(value, type=TaskRecord) for _, value in self._rows("tasks")]

    def verify(self) -> None:
        """Compare every row with its checksum, and let SQLite check its own structure.

        Raises:
            CorruptionError: something differs from what was written.
        """
        ((state,), *_) = self.database.rows("PRAGMA integrity_check")
        if state != "ok":
            raise CorruptionError(
                f"{self.database.path}: expected a whole database, found {state}; {RESTORE}"
            )
        for table in _TABLES:
            for _ in self._pages(table):
                pass

    def _rows(self, table: str) -> list[tuple[str, bytes]]:
        return [row for page in self._pages(table) for row in page]

    def _pages(self, table: str) -> Iterator[list[tuple[str, bytes]]]:
        """All rows by rising key, some at a time; others may write between two pages."""
        where, after = "", tuple[str, ...]()
        while True:
            rows = self.database.rows(
                f"SELECT key, value, xxh3 FROM {table} {where} ORDER BY key LIMIT {PAGE_ROWS}",
                after,
            )
            for key, value, checksum in rows:
                self._compare(table, key, value, checksum)
            if not rows:
                return
            yield [(key, value) for key, value, _ in rows]
            where, after = "WHERE key > ?", rows[-1][:1]

    def _get(self, table: str, key: str) -> bytes | None:
        for value, checksum in self.database.rows(
            f"SELECT value, xxh3 FROM {table} WHERE key = ?", (key,)
        ):
            self._compare(table, key, value, checksum)
            return value  # type: ignore[no-any-return]
        return None

    def _compare(self, table: str, key: Any, value: Any, checksum: Any) -> None:  # noqa: ANN401
        whole = isinstance(key, str) and isinstance(value, bytes)
        if not whole or _checksum(table, key, value) != checksum:
            raise CorruptionError(
                f"{self.database.path}: expected the row {key!r} of {table} as it was written, "
                f"found another; {RESTORE}"
            )


def _put(change: sqlite3.Connection, table: str, key: str, value: bytes | None) -> None:
    if value is None:
        change.execute(f"DELETE FROM {table} WHERE key = ?", (key,))
    else:
        change.execute(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)",
            (key, value, _checksum(table, key, value)),
        )


def _checksum(table: str, key: str, value: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(f"{table} {key} ".encode() + value)
