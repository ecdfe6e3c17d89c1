"""CollectionBuild: a collection's first generation, written in steps; a stopped build goes on.

Documents are stored as they come, their vectors when all of them are known. A folder in work has
a subfolder ``build``. It has no ``CURRENT`` and does not open as an index, or it opens as one of
words alone, which nobody writes to until `CollectionBuild.publish` puts all vectors in their place.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.array_file import write_arrays
from tamis.index.files.file_entry import FileEntry  # noqa: TC001  msgspec reads it at run time
from tamis.index.files.lock import FolderLock, refuse_foreign
from tamis.index.files.storage import Storage, link_or_copy
from tamis.index.generations.build_plan import PLAN, begin_or_go_on
from tamis.index.generations.draft import DICTIONARY, FIRST_LOG, SEGMENTS, Draft, write_dictionary
from tamis.index.generations.garbage import remove_unused
from tamis.index.generations.manifest import BUILD, CURRENT, read_current, refuse_existing
from tamis.index.generations.part_writer import TextWriter, finished_part
from tamis.index.generations.parts import ORIGINS, Origin, mapped_identifiers
from tamis.index.generations.settings import CollectionSettings  # noqa: TC001  msgspec reads it
from tamis.index.generations.spool import LEARNED, Batches
from tamis.index.generations.words import open_dictionary
from tamis.index.params import IndexConfig
from tamis.index.segment.builder import write_segment
from tamis.index.segment.calibration import SMALL, Sample
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.segment.documents import Documents
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tamis.index.generations.manifest import SegmentEntry
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.segment.identifiers import Identifiers
    from tamis.index.segment.quantize import Precision
    from tamis.index.segment.values import ColumnType

STORED = f"{BUILD}/stored.json"  # written when all documents are stored
FOLDER = f"{SEGMENTS}/000001"
OF_WORDS = f"{SEGMENTS}/000002"  # of the same documents, found by their words until all is there


class StoredTexts(msgspec.Struct, frozen=True):
    """What storing the documents left behind.

    Attributes:
        documents: how many there are.
        files: of their segment, and of the dictionary.
        settings: of the collection.
        words: how many the documents hold together.
        with_words: how many documents hold any.
        of_fields: for each searched field, how many words it holds, and how many documents hold
            any there.
    """

    documents: int
    files: dict[str, FileEntry]
    settings: CollectionSettings
    words: int = 0
    with_words: int = 0
    of_fields: list[tuple[int, int]] = []


class CollectionBuild:
    """One build of one folder; `begin` is the way in.

    Attributes:
        storage: the folder.
        stored: what is stored; None until all documents are.
    """

    def __init__(self, storage: Storage, precision: Precision) -> None:
        self.storage = storage
        self._precision = precision
        self.stored: StoredTexts | None = None
        if storage.exists(STORED):
            self.stored = msgspec.json.decode(storage.read(STORED), type=StoredTexts)

    @staticmethod
    @contextmanager
    def begin(
        path: str | Path,
        plan: Mapping[str, Any],
        *,
        precision: Precision = "f32",
        resume: bool = False,
    ) -> Iterator[CollectionBuild]:
        """Build a collection in the ``with`` block, which nothing but `publish` makes an index.

        Args:
            path: a folder that does not hold an index yet.
            plan: what is built and how, as JSON; a build goes on with the same alone.
            precision: how weights are stored, see `IndexConfig`.
            resume: go on with an unfinished build; one is refused otherwise.

        Raises:
            InputError: the precision is unknown, or the folder holds an index, anything that is
                none, or an unfinished build without ``resume``.
            MismatchError: the unfinished build was begun with another plan.
            LockedError: another process builds there.
        """
        config, storage = IndexConfig(precision), Storage(path)
        if not is_unfinished(storage):
            refuse_existing(storage)
        refuse_foreign(storage)
        storage.make_folder()
        with FolderLock(storage) as lock:
            begin_or_go_on(storage, {**plan, "precision": config.precision}, resume)
            build = CollectionBuild(storage, config.precision)
            try:
                yield build
            except InputError:  # in the documents: nothing of them can be used
                if build.stored is None:
                    for folder in (BUILD, SEGMENTS, DICTIONARY):
                        storage.remove_folder(folder)
                    lock.remove_with_folder()
                raise

    def texts(self, columns: Mapping[str, ColumnType]) -> TextWriter:
        """Takes the documents, in a ``with`` block; ``columns`` are the declared fields."""
        self.storage.make_folder(FOLDER)
        return TextWriter(self.storage, FOLDER, columns)

    def store(
        self,
        texts: TextWriter,
        dictionary: DictionaryWriter | None,
        settings: CollectionSettings,
        words: int = 0,
        with_words: int = 0,
        of_fields: Sequence[tuple[int, int]] = (),
    ) -> None:
        """All documents have been taken, and this is recorded of them, see `StoredTexts`."""
        files = texts.files
        if dictionary is not None:
            files |= write_dictionary(self.storage, 1, dictionary.arrays())
        self.stored = StoredTexts(len(texts), files, settings, words, with_words, list(of_fields))
        self.storage.replace(STORED, msgspec.json.encode(self.stored))

    @staticmethod
    def new_dictionary(first_term: int) -> DictionaryWriter:
        """Takes the words; their terms begin with ``first_term``."""
        return DictionaryWriter(first_term)

    def batches(self, name: str) -> Batches:
        """Vectors that are kept until the collection is published."""
        return Batches(self.storage, name)

    def counts(self, name: str) -> Batches:
        """Counts of words, over the words of the dictionary."""
        return self.batches(name)

    @property
    def learned(self) -> Batches:
        """The learned vectors so far, which `Collection.encoded` counts."""
        return self.batches(LEARNED)

    @property
    def settings(self) -> CollectionSettings:
        """What is recorded of the collection."""
        return self._stored.settings

    @property
    def documents(self) -> Documents:
        """The stored documents."""
        return Documents(self.storage, FOLDER, self._stored.files)

    @property
    def ids(self) -> Identifiers:
        """The ids of the stored documents."""
        return mapped_identifiers(self.storage, FOLDER, self._stored.files)

    @property
    def words(self) -> int:
        """How many words the stored documents hold together."""
        return self._stored.words

    @property
    def of_fields(self) -> list[tuple[int, int]]:
        """For each searched field, its words, and the documents that hold any there."""
        return self._stored.of_fields

    @property
    def dictionary(self) -> Dictionary | None:
        """The words that are stored."""
        return open_dictionary(self.storage, self._stored.files)

    @property
    def with_words(self) -> int:
        """How many documents of the collection hold words."""
        return self._stored.with_words

    @property
    def is_published(self) -> bool:
        """Whether the folder is an index already, if only of words."""
        return self.storage.exists(CURRENT)

    def publish_words(
        self,
        batches: Callable[[], Iterable[SparseVectors]],
        vocab_size: int,
        files: Mapping[str, FileEntry],
    ) -> None:
        """Make the folder an index in which documents are found by their words, for the time being.

        Args:
            batches: gives the documents' words, the same at each call.
            vocab_size: number of terms, learned ones included.
            files: what lies in the folder already and belongs to the collection.
        """
        self.storage.remove_folder(OF_WORDS)
        self.storage.make_folder(OF_WORDS)
        found = self.give_documents(self.storage, OF_WORDS)
        found |= write_segment(self.storage, OF_WORDS, batches, vocab_size, self._precision)
        origins = np.full(self._stored.documents, Origin.WORDS, np.uint8)
        found |= write_arrays(self.storage, f"{OF_WORDS}/", {ORIGINS: origins})
        exact = Sample(SparseVectors.empty(vocab_size))  # is not worth a calibration
        draft = Draft.first(self.storage, self._precision)
        draft.insert(0, self._part(OF_WORDS, found, exact), found)
        self._take_rest(draft, files)
        draft.publish_first(vocab_size, self._stored.settings)

    def give_documents(self, storage: Storage, folder: str) -> dict[str, FileEntry]:
        """Give the stored documents to a segment in an empty folder, by links where that can be.

        Args:
            storage: where the segment is.
            folder: of the segment.

        Returns:
            Its files.
        """
        given = {}
        for name, entry in self._of_segment.items():
            own = f"{folder}{name.removeprefix(FOLDER)}"
            link_or_copy(storage, self.storage.path(name), own)
            given[own] = entry
        return given

    def publish(
        self,
        batches: Callable[[], Iterable[SparseVectors]],
        vocab_size: int,
        files: Mapping[str, FileEntry] = {},
        sample: Callable[[], Sample] | None = None,
    ) -> None:
        """Write the vectors, make the folder an index of them, and end the build.

        Args:
            batches: gives the documents' vectors, the same at each call.
            vocab_size: number of terms.
            files: what lies in the folder already and belongs to the collection.
            sample: gives queries like those to come, where there are so many documents that they
                are needed; without any, documents stand in for them.
        """
        draft = self._draft()
        if draft is not None:
            own = dict(self._of_segment)
            own |= write_segment(self.storage, FOLDER, batches, vocab_size, self._precision)
            needed = sample is not None and self._stored.documents >= SMALL
            queries = sample() if sample is not None and needed else None
            draft.insert(0, self._part(FOLDER, own, queries), own)
            self._take_rest(draft, files)
            if self.is_published:
                draft.publish(vocab_size, FIRST_LOG, self._stored.settings)
            else:
                draft.publish_first(vocab_size, self._stored.settings)
        self.storage.remove_folder(BUILD)
        remove_unused(self.storage, read_current(self.storage))

    def _draft(self) -> Draft | None:
        """What is to be published; None where an earlier run published all and was stopped then."""
        if not self.is_published:
            return Draft.first(self.storage, self._precision)
        draft = Draft(self.storage, read_current(self.storage))
        if [entry.name for entry in draft.segments] != [OF_WORDS]:
            return None
        draft.drop(OF_WORDS)
        return draft

    def _part(
        self, folder: str, files: Mapping[str, FileEntry], sample: Sample | None
    ) -> SegmentEntry:
        dictionary = self.dictionary
        first_word = dictionary.first_term if dictionary is not None else None
        return finished_part(self.storage, folder, files, self._precision, first_word, sample)

    @property
    def _of_segment(self) -> dict[str, FileEntry]:
        """The files of the stored documents."""
        files = self._stored.files.items()
        return {name: entry for name, entry in files if name.startswith(f"{FOLDER}/")}

    def _take_rest(self, draft: Draft, files: Mapping[str, FileEntry]) -> None:
        """Have the draft hold what is stored beside the documents, and these files."""
        of_segment = self._of_segment
        rest = {name: e for name, e in self._stored.files.items() if name not in of_segment}
        draft.take({**rest, **files})

    @property
    def _stored(self) -> StoredTexts:
        assert self.stored is not None, "documents come before their vectors"
        return self.stored


def is_unfinished(storage: Storage) -> bool:
    """Whether all documents of a build are stored, and it waits to be ended with their vectors."""
    return storage.exists(PLAN) and storage.exists(STORED)


def refuse_unfinished(storage: Storage) -> None:
    """Raise InputError for an index whose build is to be ended before anything else is written."""
    if is_unfinished(storage):
        raise InputError(
            f"{storage.root}: expected a finished index to write to, found one whose learned "
            "vectors are still to come; end its build with `tamis index ... --resume`"
        )
