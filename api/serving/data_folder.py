"""DataFolder: the collections that were made through the service, their names and their history.

One process at a time. Beside the folders that `places` describes lie ``LOCK``, which covers all
collections, and ``catalog.sqlite``.
"""

from __future__ import annotations

import errno
import logging
import threading
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from tamis.api.limits import MOST_AWAKE
from tamis.api.messages.write_requests import CreateRequest
from tamis.api.serving.background_tasks import Tasks
from tamis.api.serving.catalog import Catalog
from tamis.api.serving.faults import BusyError, ServerFault, told, told_by_faults
from tamis.api.serving.living_index import LivingIndex
from tamis.api.serving.places import Places
from tamis.api.serving.surroundings import Surroundings
from tamis.index.errors import TamisError
from tamis.index.files.lock import FolderLock
from tamis.index.files.storage import Storage
from tamis.index.writing.background import Background, Repeater
from tamis.retriever.editor import create_index
from tamis.retriever.models.encoder import load_query_encoder
from tamis.retriever.models.lazy_encoder import LazyEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tamis.index.files.progress import Progress
    from tamis.index.writing.build_process import BuildProcess
    from tamis.retriever.models.encoder import QueryEncoder
    from tamis.retriever.rerank.reranker import Reranker

LOG = logging.getLogger("tamis.api")
_MADE_AS = "made-as:"  # settings: what clients asked for
_LIFE = "life:"  # settings: drawn when a collection takes its place
_REMOVALS = "removals"  # settings: how many there were
UPKEEP_THREADS = 8  # so many indexes may be published at once
MERGE_THREADS = 2
WAKES_WITHIN_S = 20.0
LONGEST_IDLE_S = 300.0  # then an index is no longer open for writing


class DataFolder:
    """Safe to use from many threads.

    Attributes:
        path: the folder.
        places: what lies where in it.
        indexes: the collections that could be opened, by name.
        broken: why others could not, by name.
        catalog: aliases, answers and tasks.
        tasks: long work.
        upkeep: what the folder needs beside its indexes.
    """

    def __init__(
        self,
        path: Path,
        encoders: Mapping[str, str] | None = None,
        builder: BuildProcess | None = None,
        encoder_places: Mapping[str, str] = {},
        storage_of: Callable[[Path], Storage] = Storage,
        most_awake: int = MOST_AWAKE,
    ) -> None:
        """Open all collections; one that is damaged does not keep the others from being served.

        A disk that is full or can only be read does not either: what it refuses is tried again.

        Args:
            path: the folder, made if there is none.
            encoders: where the encoders that clients may name lie, beside ``default``.
            builder: writes segments in a process of its own, and is closed with this.
            encoder_places: where the own encoders of collections lie now, by fingerprint.
            storage_of: how to reach a folder's files.
            most_awake: indexes that may be open for writing at once.

        Raises:
            InputError: it cannot be made, or is a file, or an index itself.
            LockedError: another process serves it.
            FormatError: the catalogue is none.
        """
        self.path = path
        self.places = Places(storage_of(path))
        self._locations = {"default": "default", **(encoders or {})}
        self._encoders: dict[tuple[str, str], LazyEncoder] = {}
        self._reranker: Reranker | None = None
        self._most_awake = most_awake
        self._told: ServerFault | None = None
        self._claiming = threading.Condition()
        self._claimed: set[str] = set()
        self._waking = 0
        self._lock = FolderLock(storage_of(path))
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            self.catalog = stack.enter_context(Catalog(path))
            if builder is not None:
                stack.enter_context(builder)
            threads = stack.enter_context(
                Background("tamis-upkeep", min(UPKEEP_THREADS, most_awake))
            )
            merging = stack.enter_context(Background("tamis-merge", MERGE_THREADS))
            self._around = Surroundings(
                encoder_places=encoder_places,
                encoder_of=self._encoder,
                reranker=lambda: self._reranker,
                builder=builder,
                lock=self._lock,
                merging=merging,
                upkeep=threads,
                storage_of=storage_of,
                make_way=self._make_way,
            )
            self.tasks = Tasks(self.catalog)
            self.upkeep = Repeater(threads, self._look_after)
            self.indexes: dict[str, LivingIndex] = {}
            self.broken: dict[str, ServerFault] = {}
            for name in self.places.index_names():
                self._open_index(name)
            self._open = stack.pop_all()
        self.upkeep.wake()

    def use_reranker(self, reranker: Reranker) -> None:
        """Have all indexes, also those to come, searched with a second stage."""
        self._reranker = reranker
        for living in list(self.indexes.values()):
            living.use_reranker(reranker)

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """What clients may call an encoder."""
        return tuple(self._locations)

    def has_encoder(self, name: str) -> bool:
        """Whether clients may call an encoder so."""
        return name in self._locations

    @contextmanager
    def claimed(self, *names: str, waits: bool = False) -> Iterator[None]:
        """Keep others from making, removing or pointing to what has these names.

        Args:
            names: of indexes, aliases and snapshots.
            waits: for others to be done.

        Raises:
            BusyError: somebody else is at it.
        """
        with self._claiming:
            if waits:
                self._claiming.wait_for(lambda: self._claimed.isdisjoint(names))
            taken = self._claimed.intersection(names)
            if taken:
                raise BusyError(f"{min(taken)!r} is being made, removed or pointed to")
            self._claimed.update(names)
        try:
            yield
        finally:
            with self._claiming:
                self._claimed.difference_update(names)
                self._claiming.notify_all()

    def create(self, name: str, asked: CreateRequest) -> LivingIndex:
        """Make a collection without documents; its name is claimed.

        Raises:
            InputError: the settings are none that a collection can have.
        """
        encoder: LazyEncoder | None = None
        if asked.encoder is not None:
            location = self._locations[asked.encoder]
            encoder = self._encoder(location, load_query_encoder(location))
        with self.places.workplace() as work:
            create_index(
                work,
                encoder=encoder,
                lexical=asked.lexical,
                fields=asked.fields,
                chunking=asked.chunk,
                precision=asked.precision,
            )
            self.catalog.change_settings({_MADE_AS + name: msgspec.to_builtins(asked)})
            return self.adopt(name, work)

    def made_as(self, name: str) -> CreateRequest | None:
        """What `create` was asked for; None for a collection that came another way."""
        found = self.catalog.settings().get(_MADE_AS + name)
        return None if found is None else msgspec.convert(found, CreateRequest)

    def adopt(self, name: str, work: Path) -> LivingIndex:
        """Take a finished collection's folder into the place of a name that is free and claimed.

        Raises as `LivingIndex`; then the name is free still.
        """
        place = self.places.index(name)
        self.catalog.change_settings({_LIFE + name: uuid4().hex})
        try:
            self.places.move(work, place)
            self.indexes[name] = LivingIndex(name, place, self._around)
        except BaseException:
            with suppress(OSError):
                if place.exists():
                    self.places.discard(place)
            raise
        return self.indexes[name]

    def remove(self, name: str) -> None:
        """Remove a collection, whose name is claimed; its snapshots stay."""
        living, place = self.indexes.get(name), self.places.index(name)
        if living is not None:
            living.abandon()
        try:
            self.places.discard(place)
        finally:
            if place.exists():
                self._open_index(name)
            else:
                self.indexes.pop(name, None)
                self.broken.pop(name, None)
                self.upkeep.wake()
        removals = self.catalog.settings().get(_REMOVALS, 0) + 1
        gone = {_MADE_AS + name: None, _LIFE + name: None}
        self.catalog.change_settings({**gone, _REMOVALS: removals})

    def life(self, name: str | None) -> str:
        """What stays the same as long as a collection is there, or none of all is removed (None).

        Empty for what is older than the first of them.
        """
        settings = self.catalog.settings()
        return str(settings.get(_REMOVALS if name is None else _LIFE + name, ""))

    def reopen(self, name: str) -> None:
        """Open again what could not be opened, or not be written; raises what it meets."""
        if name in self.broken:
            living = LivingIndex(name, self.places.index(name), self._around)
            self.indexes[name] = living
            del self.broken[name]
        self.indexes[name].reopen()

    def faults(self) -> dict[str, ServerFault]:
        """What is wrong with which index, or with the folder itself."""
        found = dict(self.broken)
        for name, living in list(self.indexes.items()):
            for fault in living.faults()[:1]:
                found[name] = fault
        if self.upkeep.failure is not None:
            found["the data folder"] = ServerFault.of(self.upkeep.failure)
        return found

    def look_after(self) -> None:
        """Have published what has been written, and tried again what has failed."""
        self.upkeep.wake()
        for living in list(self.indexes.values()):
            if living.is_behind:
                living.upkeep.wake()

    def free_memory(self) -> None:
        """Drop the caches of writers, and close idle ones."""
        for living in list(self.indexes.values()):
            with told_by_faults():
                living.free_memory(LONGEST_IDLE_S)

    def close(self) -> None:
        """End the tasks, commit all writes, and let another process in."""
        self.tasks.close()
        with self._open:
            for name, living in self.indexes.items():
                try:
                    living.close()
                except Exception as error:  # noqa: BLE001  the others are to be closed too
                    LOG.error("index %s: its last writes stay in its log: %s", name, error)

    def _look_after(self, progress: Progress) -> bool:
        """What the folder needs now and then; raises the first thing that the machine refuses."""
        for name, fault in list(self.broken.items()):
            if fault.is_passing:
                self._open_index(name)
        refused = []
        for piece in (
            self.places.sweep,
            self.places.check_disk,
            self.catalog.take_up,
            self.tasks.save,
        ):
            try:
                piece()
            except (TamisError, OSError) as error:
                refused.append(error)
        self._told = told(self._told, refused[0] if refused else None, f"data folder {self.path}")
        if refused:
            raise refused[0]
        return False

    def _open_index(self, name: str) -> None:
        try:
            living = LivingIndex(name, self.places.index(name), self._around)
        except (TamisError, OSError, MemoryError) as error:
            self.indexes.pop(name, None)
            fault = ServerFault.of(error)
            if self.broken.get(name) != fault:
                LOG.error("index %s is not served: %s", name, error)
            self.broken[name] = fault
            return
        self.indexes[name] = living
        self.broken.pop(name, None)
        with told_by_faults():  # it is tried again
            living.publish()

    @contextmanager
    def _make_way(self, *, out_of_room: bool) -> Iterator[None]:
        """See `MakesWay`."""
        if out_of_room:
            self.places.try_room()
        end = monotonic() + WAKES_WITHIN_S
        while (awake := self._too_many_awake()) is not None:
            if not any(map(_is_closed, sorted(awake, key=lambda one: one.used))):
                if monotonic() > end:
                    told = f"{self._most_awake} indexes are open for writing and being written"
                    raise OSError(errno.EMFILE, told, str(self.path))
                sleep(0.01)
        try:
            yield
        finally:
            with self._claiming:
                self._waking -= 1

    def _too_many_awake(self) -> list[LivingIndex] | None:
        """Those open for writing where no more may be; else one more is expected to be."""
        with self._claiming:
            awake = [one for one in list(self.indexes.values()) if one.is_awake]
            if len(awake) + self._waking >= self._most_awake:
                return awake
            self._waking += 1
            return None

    def _encoder(self, location: str, query_side: QueryEncoder) -> LazyEncoder:
        """One for all collections of an encoder, so that its model is loaded once."""
        key = (location, query_side.description.fingerprint)
        return self._encoders.setdefault(key, LazyEncoder(location, query_side))


def _is_closed(index: LivingIndex) -> bool:
    """Close an index that nobody writes; whether that could be done."""
    with told_by_faults():
        return index.is_awake and index.doze()
    return False
