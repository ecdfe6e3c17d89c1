"""Assembly: a collection is put together from pieces, each of which becomes a segment.

A piece is an unfinished `CollectionBuild` of a share of the documents. Words are numbered anew: in
the order in which the pieces hold them, as if one build had read all documents. A stopped assembly
goes on: a segment that is written is kept. Segments may be written by several processes at once.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tamis.index.files.file_entry import FileEntry  # noqa: TC001  msgspec reads it at run time
from tamis.index.files.lock import FolderLock, refuse_foreign
from tamis.index.files.storage import Storage
from tamis.index.generations.build_plan import PLAN, begin_or_go_on
from tamis.index.generations.draft import SEGMENTS, Draft, write_dictionary
from tamis.index.generations.garbage import remove_unused
from tamis.index.generations.manifest import (
    BUILD,
    CURRENT,
    SegmentEntry,
    read_current,
    refuse_existing,
)
from tamis.index.generations.part_writer import finished_part
from tamis.index.generations.settings import CollectionSettings  # noqa: TC001  msgspec reads it
from tamis.index.generations.spool import Batches
from tamis.index.generations.words import open_dictionary
from tamis.index.segment.builder import write_segment
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.index.vectors import SparseVectors
from tamis.index.writing.collection_build import CollectionBuild

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tamis.index.segment.calibration import Sample
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.segment.quantize import Precision

_WHOLE = f"{BUILD}/whole.json"  # written when the words of all pieces are one dictionary


class _Shared(msgspec.Struct, frozen=True):
    """What all segments share."""

    files: dict[str, FileEntry]
    settings: CollectionSettings
    with_words: int


class _Segment(msgspec.Struct, frozen=True):
    """A segment that is written."""

    entry: SegmentEntry
    files: dict[str, FileEntry]


class Assembly:
    """One assembly in one folder; `begin` is the way in for its driver.

    Attributes:
        storage: the folder.
    """

    def __init__(self, path: str | Path, precision: Precision) -> None:
        self.storage = Storage(path)
        self._precision = precision

    @staticmethod
    @contextmanager
    def begin(
        path: str | Path, plan: Mapping[str, Any], precision: Precision, *, resume: bool = False
    ) -> Iterator[Assembly]:
        """Assemble a collection in the ``with`` block; `publish` alone makes it an index.

        Args:
            path: a folder that does not hold an index yet.
            plan: what is assembled, as JSON; a stopped assembly goes on with the same alone.
            precision: how weights are stored.
            resume: go on with a stopped assembly; one is refused otherwise.

        Raises:
            InputError: the folder holds an index, anything that is none, or a stopped assembly
                without ``resume``.
            MismatchError: the stopped assembly was begun with another plan.
            LockedError: another process writes there.
        """
        found = Assembly(path, precision)
        if not (found.storage.exists(CURRENT) and found.storage.exists(PLAN)):
            refuse_existing(found.storage)
        refuse_foreign(found.storage)
        found.storage.make_folder()
        with FolderLock(found.storage):
            begin_or_go_on(found.storage, plan, resume)
            yield found

    def share(
        self,
        pieces: Sequence[CollectionBuild],
        first_word: int | None,
        describe: Callable[[Dictionary | None], CollectionSettings],
    ) -> None:
        """Write what all segments share; what is written already is kept.

        Args:
            pieces: in the order of their documents, which are all stored.
            first_word: the first term of the lexical channel; None without it.
            describe: what is to be recorded of a collection with these words.
        """
        if self.storage.exists(_WHOLE):
            return
        files: dict[str, FileEntry] = {}
        if first_word is not None:
            words = DictionaryWriter(first_word)
            for piece in pieces:
                if piece.dictionary is not None:
                    words.take(piece.dictionary)
            files = write_dictionary(self.storage, 1, words.arrays())
        settings = describe(open_dictionary(self.storage, files))
        with_words = sum(piece.with_words for piece in pieces)
        found = _Shared(files, settings, with_words)
        self.storage.replace(_WHOLE, msgspec.json.encode(found))

    @property
    def whole(self) -> Whole:
        """What `share` wrote."""
        found = self._shared
        dictionary = open_dictionary(self.storage, found.files)
        return Whole(dictionary, found.settings, found.with_words)

    def __contains__(self, number: int) -> bool:
        """Whether the segment of this number is written."""
        return self.storage.exists(_written(number))

    def write(
        self,
        number: int,
        piece: PieceOfWhole,
        batches: Callable[[], Iterable[SparseVectors]],
        vocab_size: int,
        sample: Sample | None,
    ) -> None:
        """Write the segment of a piece. Processes may write several at once.

        Args:
            number: of the segment, from 1.
            piece: whose documents it holds.
            batches: gives their vectors, the same at each call.
            vocab_size: number of the collection's terms.
            sample: queries like those to come; None where documents stand in for them.
        """
        folder = f"{SEGMENTS}/{number:06}"
        self.storage.remove_folder(folder)
        self.storage.make_folder(folder)
        files = piece.give_documents(self.storage, folder)
        files |= write_segment(self.storage, folder, batches, vocab_size, self._precision)
        dictionary = piece.dictionary
        first_word = dictionary.first_term if dictionary is not None else None
        entry = finished_part(self.storage, folder, files, self._precision, first_word, sample)
        self.storage.replace(_written(number), msgspec.json.encode(_Segment(entry, files)))

    def publish(self, segments: int, vocab_size: int, files: Mapping[str, FileEntry] = {}) -> None:
        """Make the folder an index of so many segments, and end the assembly.

        Args:
            segments: how many, all of them written.
            vocab_size: number of the collection's terms.
            files: what lies in the folder already and belongs to the collection.
        """
        if not self.storage.exists(CURRENT):
            draft = Draft.first(self.storage, self._precision)
            for number in range(segments):
                data = self.storage.read(_written(number + 1))
                found = msgspec.json.decode(data, type=_Segment)
                draft.insert(number, found.entry, found.files)
            draft.take({**self._shared.files, **files})
            draft.publish_first(vocab_size, self._shared.settings)
        self.storage.remove_folder(BUILD)
        remove_unused(self.storage, read_current(self.storage))

    @property
    def _shared(self) -> _Shared:
        return msgspec.json.decode(self.storage.read(_WHOLE), type=_Shared)


def _written(number: int) -> str:
    """Where it is said that a segment is written."""
    return f"{BUILD}/segment-{number:06}.json"


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """What the pieces of a collection share.

    Attributes:
        dictionary: the words of all pieces; None without the lexical channel.
        settings: of the collection.
        with_words: how many of its documents hold words.
    """

    dictionary: Dictionary | None
    settings: CollectionSettings
    with_words: int


class PieceOfWhole(CollectionBuild):
    """A piece whose words are numbered as those of the whole collection, which it speaks for."""

    def __init__(self, storage: Storage, precision: Precision, whole: Whole) -> None:
        super().__init__(storage, precision)
        self._whole = whole
        self._terms: NDArray[np.int32] | None = None

    @property
    def settings(self) -> CollectionSettings:
        """What is recorded of the whole."""
        return self._whole.settings

    @property
    def dictionary(self) -> Dictionary | None:
        """The words of the whole."""
        return self._whole.dictionary

    @property
    def with_words(self) -> int:
        """How many documents of the whole hold words."""
        return self._whole.with_words

    def counts(self, name: str) -> Batches:
        """The piece's counts of words, over the words of the whole."""
        return _Renumbered(self.storage, name, self._terms_of_whole())

    def _terms_of_whole(self) -> tuple[int, NDArray[np.int32]]:
        """The first term of words, and the term in the whole of each word of the piece."""
        own, whole = super().dictionary, self._whole.dictionary
        assert own is not None
        assert whole is not None
        if self._terms is None:
            words = map(own.word, range(own.first_term, own.vocab_size))
            self._terms = whole.lookup_many(list(words))
        return own.first_term, self._terms


class _Renumbered(Batches):
    """Counts of words whose terms are others."""

    def __init__(self, storage: Storage, name: str, terms: tuple[int, NDArray[np.int32]]) -> None:
        super().__init__(storage, name)
        self._first, self._terms = terms

    def __getitem__(self, number: int) -> SparseVectors:
        found = super().__getitem__(number)
        terms = self._terms[found.terms - self._first]
        rows = np.repeat(np.arange(len(found)), np.diff(found.offsets))
        order = np.lexsort((terms, rows))
        size = int(terms.max(initial=0)) + 1
        return SparseVectors.trusted(found.offsets, terms[order], found.weights[order], size)
