"""Places: the folders of a data folder, and what moves between them. Knows nothing of indexes.

Layout::

    indexes/NAME/               a collection each
    snapshots/NAME/SNAPSHOT/    of the collection of that name
    removed/                    in the making, or on its way out; what a stop leaves is swept up
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from tamis.api.serving.catalog import NAME, check_name
from tamis.index.errors import InputError
from tamis.index.files import system
from tamis.index.generations.manifest import CURRENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tamis.index.files.storage import Storage

LOG = logging.getLogger("tamis.api")
INDEXES, SNAPSHOTS, REMOVED = "indexes", "snapshots", "removed"
LEAST_FREE_BYTES = 1 << 20  # with less a disk counts as full: no commit would fit


class Places:
    """Safe to use from many threads."""

    def __init__(self, storage: Storage) -> None:
        """Make the folders where there are none.

        Args:
            storage: of the data folder.

        Raises:
            InputError: it is a file, an index, or cannot be made.
        """
        self.path = storage.root
        self._storage = storage
        self._in_work: set[str] = set()
        _refuse_other(self.path)
        _make_folders(self.path)

    def index(self, name: str) -> Path:
        """Where the collection of a name lies, or would."""
        return self.path / INDEXES / check_name(name)

    def index_names(self) -> list[str]:
        """The names of all collections, sorted; what can be none is told and passed over."""
        with os.scandir(self.path / INDEXES) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        names = []
        for entry in entries:
            if NAME.fullmatch(entry.name) and entry.is_dir() and not _is_empty(entry.path):
                names.append(entry.name)
            else:
                LOG.warning("%s is no index: it is passed over", entry.path)
        return names

    def snapshot(self, name: str, snapshot: str) -> Path:
        """Where a snapshot lies, or would."""
        return self.path / SNAPSHOTS / check_name(name) / check_name(snapshot)

    def snapshots(self, name: str) -> list[str]:
        """The names of a collection's snapshots, sorted."""
        folder = self.path / SNAPSHOTS / check_name(name)
        if not folder.is_dir():
            return []
        return sorted(one.name for one in folder.iterdir() if NAME.fullmatch(one.name))

    def move(self, source: Path, target: Path) -> None:
        """Rename a folder in one step, on disk when this returns."""
        names = [os.fspath(place.relative_to(self.path)) for place in (source, target)]
        if not target.parent.exists():
            self._storage.make_folder(os.path.dirname(names[1]))
        self._storage.rename(*names)
        for folder in dict.fromkeys(map(os.path.dirname, names)):
            self._storage.sync_folder(folder)

    def discard(self, folder: Path) -> None:
        """Take a folder out of sight in one step; `sweep` deletes it."""
        self.move(folder, self.path / REMOVED / uuid4().hex)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Where a new folder may be made; at the end, what has not been moved away is removed."""
        with self._new_name() as name:
            try:
                yield self.path / name
            finally:
                with suppress(OSError):  # it is swept up later
                    self._storage.remove_folder(name)

    def sweep(self) -> None:
        """Remove what was discarded, or left by work that has ended; raises OSError."""
        for name in self._storage.names(REMOVED):
            if name in self._in_work:
                continue
            if (self.path / REMOVED / name).is_dir():
                self._storage.remove_folder(f"{REMOVED}/{name}")
            else:
                with suppress(FileNotFoundError):  # by who has just ended work with it
                    self._storage.remove(f"{REMOVED}/{name}")

    def check_disk(self) -> None:
        """Raise OSError where the disk is full or can only be read, as far as the system says."""
        if system.is_only_read(self.path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.path))
        self._storage.refuse_without_room(LEAST_FREE_BYTES)

    def try_room(self) -> None:
        """Raise OSError unless so much can be written that a commit is worth a try."""
        self.check_disk()
        with self._new_name() as name:
            handle = self._storage.create(name)
            try:
                self._storage.reserve(handle, LEAST_FREE_BYTES)  # a quota is met here
            finally:
                self._storage.close(handle)
                self._storage.remove(name)

    @contextmanager
    def _new_name(self) -> Iterator[str]:
        """A name that `sweep` passes over until the block ends."""
        name = uuid4().hex
        self._in_work.add(name)
        try:
            yield f"{REMOVED}/{name}"
        finally:
            self._in_work.discard(name)


def _is_empty(folder: str) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:  # something is there, of which more is told when it is opened
        return False


def _refuse_other(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected a folder for data, found a file; choose another")
    if (path / CURRENT).exists():
        raise InputError(
            f"{path}: expected a folder for many indexes, found an index; serve it with "
            "`tamis serve DIR`, or choose another"
        )


def _make_folders(path: Path) -> None:
    try:
        for folder in (INDEXES, SNAPSHOTS, REMOVED):
            (path / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: expected a folder to keep indexes in, found none that can be had "
            f"({error.strerror}); choose another with --data"
        ) from error
