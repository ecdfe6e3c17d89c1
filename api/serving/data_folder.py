"""DataFolder: the collections that were made through the service, their names and their history.

One process at a time. Layout::

    LOCK catalog.sqlite
    indexes/NAME/               a collection each
    snapshots/NAME/SNAPSHOT/    of the collection of that name
    removed/                    on its way out; emptied at the next start
"""

from __future__ import annotations

import logging
import shutil
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from tamis.api.messages.write_requests import CreateRequest
from tamis.api.serving.background_tasks import Tasks
from tamis.api.serving.catalog import Catalog, check_name
from tamis.api.serving.faults import Fault
from tamis.api.serving.living_index import LivingIndex
from tamis.index.errors import FormatError, InputError, TamisError
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import CURRENT
from tamis.retriever.editor import create_index
from tamis.retriever.models.encoder import load_query_encoder
from tamis.retriever.models.lazy_encoder import LazyEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tamis.index.writing.build_process import BuildProcess
    from tamis.retriever.models.encoder import QueryEncoder
    from tamis.retriever.reranker import Reranker

LOG = logging.getLogger("tamis.api")
INDEXES, SNAPSHOTS, REMOVED = "indexes", "snapshots", "removed"
_MADE_AS = "made-as:"  # settings: what clients asked for


class DataFolder:
    """Safe to use from many threads.

    Attributes:
        path: the folder.
        indexes: the collections that could be opened, by name.
        broken: why others could not, by name.
        catalog: aliases, answers and tasks.
        tasks: long work.
    """

    def __init__(
        self,
        path: Path,
        encoders: Mapping[str, str] | None = None,
        builder: BuildProcess | None = None,
        places: Mapping[str, str] = {},
    ) -> None:
        """Open all collections; one that is damaged does not keep the others from being served.

        Args:
            path: the folder, made if there is none.
            encoders: where the encoders that clients may name lie, beside ``default``.
            builder: writes segments in a process of its own, and is closed with this.
            places: where the own encoders of collections lie now, by fingerprint.

        Raises:
            InputError: it cannot be made or written to.
            LockedError: another process serves it.
            FormatError: the catalogue is none.
            InputError: the folder is a file, or an index itself.
        """
        _refuse_other(path)
        self.path = path
        self._locations = {"default": "default", **(encoders or {})}
        self._encoders: dict[tuple[str, str], LazyEncoder] = {}
        self._places = places
        self._changing = threading.RLock()
        self._builder = builder
        _make_folders(path)
        with ExitStack() as stack:
            stack.enter_context(FolderLock(Storage(path)))
            self.catalog = stack.enter_context(Catalog(path))
            if builder is not None:
                stack.enter_context(builder)
            self._open = stack.pop_all()
        self._in_work: set[str] = set()
        self.sweep()
        self._reranker: Reranker | None = None
        self.indexes: dict[str, LivingIndex] = {}
        self.broken: dict[str, Fault] = {}
        for place in sorted((path / INDEXES).iterdir()):
            self._open_index(place.name)
        self.tasks = Tasks(self.catalog)

    def use_reranker(self, reranker: Reranker) -> None:
        """Have all indexes, also those to come, searched with a second stage."""
        with self._changing:
            self._reranker = reranker
            for living in self.indexes.values():
                living.use_reranker(reranker)

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """What clients may call an encoder."""
        return tuple(self._locations)

    def folder(self, name: str) -> Path:
        """Where the collection of a name lies, or would."""
        return self.path / INDEXES / check_name(name)

    def snapshot_folder(self, name: str, snapshot: str) -> Path:
        """Where a snapshot lies, or would."""
        return self.path / SNAPSHOTS / check_name(name) / check_name(snapshot)

    def snapshots(self, name: str) -> list[str]:
        """The names of a collection's snapshots, finished or not, sorted."""
        folder = self.path / SNAPSHOTS / check_name(name)
        return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []

    def has_encoder(self, name: str) -> bool:
        """Whether clients may call an encoder so."""
        return name in self._locations

    def create(self, name: str, asked: CreateRequest) -> LivingIndex:
        """Make a collection without documents.

        Raises:
            InputError: the settings are none that a collection can have.
        """
        encoder: LazyEncoder | None = None
        if asked.encoder is not None:
            location = self._locations[asked.encoder]
            encoder = self._encoder(location, load_query_encoder(location))
        with self.workplace() as work:
            create_index(
                work,
                encoder=encoder,
                lexical=asked.lexical,
                fields=asked.fields,
                chunking=asked.chunk,
            )
            self.catalog.change_settings({_MADE_AS + name: msgspec.to_builtins(asked)})
            return self.adopt(name, work)

    def made_as(self, name: str) -> CreateRequest | None:
        """What `create` was asked for; None for a collection that came another way."""
        found = self.catalog.settings().get(_MADE_AS + name)
        return None if found is None else msgspec.convert(found, CreateRequest)

    def adopt(self, name: str, work: Path) -> LivingIndex:
        """Take a finished collection's folder into the place of a name that is free."""
        with self._changing:
            self.move(work, self.folder(name))
            self._open_index(name)
            if name in self.broken:
                raise FormatError(self.broken[name].detail)
            return self.indexes[name]

    def remove(self, name: str) -> None:
        """Remove a collection; its snapshots stay."""
        with self._changing:
            living = self.indexes.pop(name, None)
            self.broken.pop(name, None)
            if living is not None:
                living.abandon()
            self.discard(self.folder(name))
            self.catalog.change_settings({_MADE_AS + name: None})

    def discard(self, folder: Path) -> None:
        """Take a folder of this one out of sight in one step, then delete it."""
        with self.workplace() as gone:
            self.move(folder, gone)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Where a new folder may be made; at the end, what has not been moved away is removed.

        A stop leaves it where it is swept up.
        """
        place = self.path / REMOVED / uuid4().hex
        self._in_work.add(place.name)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            self._in_work.discard(place.name)

    def sweep(self) -> None:
        """Remove what was left by work that has ended."""
        for folder in (self.path / REMOVED).iterdir():
            if folder.name not in self._in_work:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """End the tasks, commit all writes, and let another process in."""
        self.tasks.close()
        with self._open:
            for name, living in self.indexes.items():
                try:
                    living.close()
                except (TamisError, OSError) as error:
                    LOG.error("index %s: its last writes stay in its log: %s", name, error)

    def _open_index(self, name: str) -> None:
        try:
            living = LivingIndex(
                name, self.folder(name), self._encoder, self._builder, self._places
            )
            if self._reranker is not None:
                living.use_reranker(self._reranker)
            self.indexes[name] = living
            self.broken.pop(name, None)
        except TamisError as error:
            LOG.error("index %s is not served: %s", name, error)
            self.broken[name] = Fault.of(error)

    def _encoder(self, location: str, query_side: QueryEncoder) -> LazyEncoder:
        """One for all collections of an encoder, so that its model is loaded once."""
        key = (location, query_side.description.fingerprint)
        return self._encoders.setdefault(key, LazyEncoder(location, query_side))

    def move(self, source: Path, target: Path) -> None:
        """Rename a folder of this one in one step, on disk when this returns."""
        storage = Storage(self.path)
        source.rename(target)
        for folder in {source.parent, target.parent}:
            storage.sync_folder(str(folder.relative_to(self.path)))


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
