"""CollectionBuild: a collection's first generation, written in steps; a stopped build goes on.

Documents are stored as they come, their vectors when all of them are known. A folder in work has
a subfolder ``build`` and no ``CURRENT``: it does not open as an index.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from tamis.index.errors import InputError
from tamis.index.files.file_entry import FileEntry  # noqa: TC001  msgspec reads it at run time
from tamis.index.files.lock import FolderLock, refuse_foreign
from tamis.index.files.storage import Storage
from tamis.index.generations.build_plan import begin_or_go_on
from tamis.index.generations.draft import DICTIONARY, SEGMENTS, Draft, write_dictionary
from tamis.index.generations.manifest import BUILD, refuse_existing
from tamis.index.generations.part_writer import TextWriter, finished_part
from tamis.index.generations.settings import CollectionSettings  # noqa: TC001  msgspec reads it
from tamis.index.generations.spool import Batches
from tamis.index.generations.words import open_dictionary
from tamis.index.params import IndexConfig
from tamis.index.segment.builder import write_segment
from tamis.index.segment.calibration import SMALL
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.segment.documents import Documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tamis.index.segment.calibration import Sample
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.segment.quantize import Precision
    from tamis.index.segment.values import ColumnType
    from tamis.index.vectors import SparseVectors

STORED = f"{BUILD}/stored.json"  # written when all documents are stored
FOLDER = f"{SEGMENTS}/000001"


class StoredTexts(msgspec.Struct, frozen=True):
    """What storing the documents left behind.

    Attributes:
        documents: how many there are.
        files: of their segment, and of the dictionary.
        settings: of the collection.
    """

    documents: int
    files: dict[str, FileEntry]
    settings: CollectionSettings


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
        self, texts: TextWriter, dictionary: DictionaryWriter | None, settings: CollectionSettings
    ) -> None:
        """All documents have been taken, and this is recorded of the collection."""
        files = texts.files
        if dictionary is not None:
            files |= write_dictionary(self.storage, 1, dictionary.arrays())
        self.stored = StoredTexts(len(texts), files, settings)
        self.storage.replace(STORED, msgspec.json.encode(self.stored))

    @staticmethod
    def new_dictionary(first_term: int) -> DictionaryWriter:
        """Takes the words; their terms begin with ``first_term``."""
        return DictionaryWriter(first_term)

    def batches(self, name: str) -> Batches:
        """Vectors that are kept until the collection is published."""
        return Batches(self.storage, name)

    @property
    def settings(self) -> CollectionSettings:
        """What is recorded of the collection."""
        return self._stored.settings

    @property
    def documents(self) -> Documents:
        """The stored documents."""
        return Documents(self.storage, FOLDER, self._stored.files)

    @property
    def dictionary(self) -> Dictionary | None:
        """The words that are stored."""
        return open_dictionary(self.storage, self._stored.files)

    def publish(
        self,
        batches: Callable[[], Iterable[SparseVectors]],
        vocab_size: int,
        files: Mapping[str, FileEntry] = {},
        sample: Callable[[], Sample] | None = None,
    ) -> None:
        """Write the vectors, and make the folder an index.

        Args:
            batches: gives the documents' vectors, the same at each call.
            vocab_size: number of terms.
            files: what lies in the folder already and belongs to the collection.
            sample: gives queries like those to come, where there are so many documents that they
                are needed; without any, documents stand in for them.
        """
        stored, precision = self._stored, self._precision
        draft = Draft.first(self.storage, precision)
        of_segment = {n: e for n, e in stored.files.items() if n.startswith(f"{FOLDER}/")}
        of_segment |= write_segment(self.storage, FOLDER, batches, vocab_size, precision)
        queries = sample() if sample is not None and stored.documents >= SMALL else None
        dictionary = self.dictionary
        first_word = dictionary.first_term if dictionary is not None else None
        entry = finished_part(self.storage, FOLDER, of_segment, precision, first_word, queries)
        draft.insert(0, entry, of_segment)
        draft.take({**stored.files, **files})
        draft.publish_first(vocab_size, stored.settings)

    @property
    def _stored(self) -> StoredTexts:
        assert self.stored is not None, "documents come before their vectors"
        return self.stored
