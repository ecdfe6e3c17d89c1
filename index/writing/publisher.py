"""Publisher: makes one generation of a collection after the other.

Knows nothing of the log, nor of who writes: it is given what changed, and publishes it in one step.
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import structs

from tamis.index.errors import InputError, StoppedError
from tamis.index.files.progress import Progress, silent
from tamis.index.generations.draft import FREQUENCY, SEGMENTS, Draft, dictionary_prefix
from tamis.index.generations.manifest import pin_current
from tamis.index.generations.parts import Part, Stored, open_parts
from tamis.index.generations.words import open_dictionary
from tamis.index.index import Index
from tamis.index.segment.columns import write_columns
from tamis.index.segment.identifiers import hashes_of
from tamis.index.writing.merging import choose, small_tail
from tamis.index.writing.segment_request import SegmentRequest, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.generations.manifest import Manifest, SegmentEntry
    from tamis.index.generations.settings import CollectionSettings
    from tamis.index.segment.dictionary import Dictionary
    from tamis.index.segment.values import ColumnType
    from tamis.index.vectors import SparseVectors
    from tamis.index.writing.build_here import BuildHere
    from tamis.index.writing.build_process import BuildProcess
    from tamis.index.writing.pending import Pending
    from tamis.index.writing.revision import Revision


class Publisher:
    """The generations of one folder, whose only writer is the caller.

    Commits and merges may come from different threads: a commit does not wait for a merge.

    Attributes:
        index: the current generation.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        dictionary: Dictionary | None,
        on_failure: Callable[[BaseException], None],
        gather: bool,
        builder: BuildProcess | BuildHere,
        lock: int,
    ) -> None:
        """Begin with the current generation.

        Args:
            storage: the folder.
            index: its current generation, which is taken over.
            dictionary: its words; None without the lexical channel.
            on_failure: told when a step of publishing fails, after which nobody knows which
                generation is the current one until the folder is opened again.
            gather: whether a commit takes small segments before it into its own.
            builder: writes segments and clears away.
            lock: a handle that holds the folder's lock.
        """
        self.index = index
        self._storage = storage
        self._on_failure = on_failure
        self._gather = gather
        self._builder, self._lock = builder, lock
        self._publishing = threading.RLock()
        self._merging = threading.Lock()
        self._busy: set[str] = set()
        self._opened: list[Part] = []  # of the draft
        self._failure: BaseException | None = None
        self._last_folder = max((int(name) for name in storage.names(SEGMENTS)), default=0)
        self._first_word = dictionary.first_term if dictionary is not None else None
        self._frequency: NDArray[np.int64] | None = None
        if dictionary is not None:
            self._frequency = _frequency(dictionary)

    @property
    def manifest(self) -> Manifest:
        """That of the current generation."""
        return self.index.manifest

    def commit(
        self, pending: Pending, words: Mapping[str, NDArray[Any]], vocab_size: int, log: int
    ) -> None:
        """Publish writes.

        Args:
            pending: the writes.
            words: the dictionary's arrays if it has grown.
            vocab_size: number of terms with them.
            log: the first log whose writes are not among these.
        """
        with self._publishing:
            draft = self._draft()
            change = _Change(self._first_word or 0, self._words(words))
            with self._storage.together():
                ids = pending.ids()
                left = self._without(pending.touched())
                kept = len(left) - (self._tail(len(ids)) if ids else 0)
                self._mark_deleted(draft, left[:kept], change)
                if ids:
                    self._take_out(draft, self.index.parts[kept:], change)
                    logs = range(self.manifest.log, log)
                    request = self._request(self._new_folder(), left[kept:], vocab_size)
                    self._append(draft, replace(request, pending=pending, logs=logs), change)
                if self._frequency is not None:
                    frequency = change.counts
                    frequency[: self._frequency.size] += self._frequency
                    draft.put_dictionary({**words, FREQUENCY: frequency.astype(np.int32)})
                    self._frequency = frequency
            self._publish(draft, vocab_size, log, self.manifest.settings)

    def _words(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        """How many words there are with those of the dictionary's arrays, if it has grown."""
        if arrays:
            return arrays["offsets"].size - 1
        return self._frequency.size if self._frequency is not None else 0

    def change_settings(self, settings: CollectionSettings) -> None:
        """Publish the same documents with other settings."""
        with self._publishing:
            draft = self._draft()
            self._publish(draft, self.manifest.vocab_size, self.manifest.log, settings)

    def add_columns(self, columns: Mapping[str, ColumnType]) -> None:
        """Publish the same documents with further fields declared.

        Raises:
            InputError: a field is declared as another type, or a document holds a value of another.
        """
        with self._merging, self._publishing:
            declared = self.manifest.settings.columns
            for name, kind in columns.items():
                if declared.get(name, kind) != kind:
                    raise InputError(
                        f"expected the field {name!r} as it is declared, {declared[name]}, found "
                        f"{kind}; declare another name, or build the index anew"
                    )
            new = {name: kind for name, kind in columns.items() if name not in declared}
            draft = self._draft()
            with self._storage.together():
                for part in self.index.parts:
                    found = list(part.read_columns(new).values())
                    name = part.entry.name
                    draft.take(write_columns(self._storage, name, found, len(declared)))
            settings = structs.replace(self.manifest.settings, columns={**declared, **new})
            if new:
                self._publish(draft, self.manifest.vocab_size, self.manifest.log, settings)

    def rewrite(self, revision: Revision, progress: Progress) -> Dictionary:
        """Publish the same documents with other vectors and words, as one segment; the words.

        Args:
            revision: works them out.
            progress: told of each step, and may stop the work; see `Progress`.
        """
        with self._merging, self._publishing:
            draft = self._draft()
            request = self._request(self._new_folder(), self.index.parts, self.manifest.vocab_size)
            prefix = dictionary_prefix(draft.generation)
            written = self._written_next(
                replace(request, revision=revision, words=prefix), progress
            )
            for entry in tuple(draft.segments):
                draft.drop(entry.name)
            if written.entry.documents:
                draft.insert(0, written.entry, written.files)
            draft.take_dictionary(written.words)
            dictionary = open_dictionary(self._storage, written.words)
            assert dictionary is not None
            self._frequency = _frequency(dictionary)
            settings = structs.replace(self.manifest.settings, lexical=written.lexical)
            self._publish(draft, max(dictionary.vocab_size, 1), self.manifest.log, settings)
            return dictionary

    def merge_next(self, progress: Progress) -> bool:
        """Merge what is due; whether there was something.

        Args:
            progress: told of each step, and may stop the work; see `Progress`.
        """
        with self._merging, closing(self._held()) as held:
            due = choose(held.manifest.segments)
            if due is not None:
                self._merge(held, held.parts[due], progress)
            return due is not None

    def merge_all(self, progress: Progress) -> None:
        """Make one segment without deleted documents of all."""
        with self._merging, closing(self._held()) as held:
            if len(held.parts) > 1 or any(part.entry.deleted for part in held.parts):
                self._merge(held, held.parts, progress)

    def remove_unused(self) -> None:
        """Remove the files of generations that nobody reads any more."""
        with self._publishing:
            if self._failure is None:  # else the current generation may be another
                self._builder.remove_unused(self._storage, self._lock, self.manifest, self._busy)

    def close(self) -> None:
        """Let go of the current generation, and of the caller, who would be kept by this."""
        self._on_failure = _pass_over
        self.index.close()

    def _held(self) -> Index:
        """The present generation, whose files stay in place until it is closed."""
        with self._publishing:
            return self.index.again()

    def _merge(self, held: Index, parts: Sequence[Part], progress: Progress) -> None:
        """Put one segment in place of parts of a generation, which is let go of."""
        folder = self._new_folder()
        request = self._request(folder, parts, self.manifest.vocab_size)
        try:
            self._storage.refuse_without_room(sum(map(_size_bytes, parts)))
            written = self._written(request, progress)
            held.close()  # so that what is replaced can go
            with self._publishing:
                draft = self._draft()
                live = np.concatenate([self._still_live(part) for part in parts])
                left = [part.entry.name for part in parts if self._has(part)]
                place = draft.place_of(left[0]) if left else 0
                for name in left:
                    draft.drop(name)
                draft.insert(place, written.entry, written.files)
                if not live.all():
                    part = self._part(written.entry, written.files)
                    rows = part.rows(np.flatnonzero(~live), self.manifest.vocab_size)
                    draft.set_live(folder, live, self._with_words(rows))
                self._publish(
                    draft, self.manifest.vocab_size, self.manifest.log, self.manifest.settings
                )
        finally:
            self._busy.discard(folder)

    def _has(self, part: Part) -> bool:
        return any(entry.name == part.entry.name for entry in self.manifest.segments)

    def _still_live(self, part: Part) -> NDArray[np.bool_]:
        """Which of the documents that were in a part when its merge began are left."""
        for now in self.index.parts:
            if now.entry.name == part.entry.name:
                if now.live is None:
                    return np.ones(part.live_docs.size, np.bool_)
                return now.live[part.live_docs]
        return np.zeros(part.live_docs.size, np.bool_)

    def _without(self, ids: Iterable[str]) -> list[Part]:
        """The parts without the documents of these ids; those that hold none are the same."""
        names, left = list(ids), []
        hashes = hashes_of(names)
        for part in self.index.parts:
            places = np.flatnonzero(part.stored.ids.may_hold(hashes)).tolist()
            found = [part.doc(names[place]) for place in places]
            gone = [doc for doc in found if doc is not None]
            left.append(part.without(gone) if gone else part)
        return left

    def _tail(self, documents: int) -> int:
        """How many of the last parts are rewritten with a commit of so many documents.

        None where weights are rounded: each time they are written could round them once more.
        """
        if not self._gather or self.manifest.precision in ("u8", "u16"):
            return 0
        return small_tail(self.index.parts, documents)

    def _mark_deleted(self, draft: Draft, left: Sequence[Part], change: _Change) -> None:
        """Mark what parts have lost; take it off the terms' frequencies."""
        for before, now in zip(self.index.parts, left, strict=False):
            if now is not before:
                gone = np.setdiff1d(before.live_docs, now.live_docs, assume_unique=True)
                rows = before.rows(gone, self.manifest.vocab_size)
                change.take(rows.terms, -1)
                assert now.live is not None
                draft.set_live(now.entry.name, now.live, self._with_words(rows))

    def _take_out(self, draft: Draft, parts: Sequence[Part], change: _Change) -> None:
        """Leave parts out, whose documents are rewritten; take them off the frequencies."""
        for part in parts:
            draft.drop(part.entry.name)
            terms, counts = part.frequencies()
            change.take(terms, -counts)

    def _request(self, folder: str, parts: Sequence[Part], vocab_size: int) -> SegmentRequest:
        precision, columns = self.manifest.precision, self.index.columns
        return SegmentRequest(folder, vocab_size, precision, columns, self._first_word, parts)

    def _written(self, request: SegmentRequest, progress: Progress) -> Written:
        """Write a segment; where that fails, what there is of it takes no room."""
        try:
            return self._builder.write(request, self._storage, self._lock, progress)
        except BaseException:
            with suppress(OSError):  # it is removed with the next generation
                self._storage.remove_folder(request.folder)
            raise

    def _written_next(self, request: SegmentRequest, progress: Progress) -> Written:
        """Write a segment that is published next, under the same lock."""
        try:
            return self._written(request, progress)
        finally:
            self._busy.discard(request.folder)

    def _append(self, draft: Draft, request: SegmentRequest, change: _Change) -> None:
        """Write a segment; add it to the draft and its documents to the terms' frequencies."""
        entry, files, *_ = self._written_next(request, silent)
        draft.insert(len(draft.segments), entry, files)
        part = self._part(entry, files)
        self._opened.append(part)
        change.take(*part.frequencies())

    def _part(self, entry: SegmentEntry, files: Mapping[str, FileEntry]) -> Part:
        """A new segment, none of whose documents is deleted."""
        stored = Stored.open(self._storage, entry, files, self.manifest.precision)
        return Part(stored, entry, 0, None)

    def _with_words(self, rows: SparseVectors) -> int:
        return 0 if self._first_word is None else rows.rows_from(self._first_word)

    def _publish(
        self, draft: Draft, vocab_size: int, log: int, settings: CollectionSettings
    ) -> None:
        try:
            draft.publish(vocab_size, log, settings)
            index = self._newest()
        except BaseException as error:
            self._failure = error
            self._on_failure(error)
            raise
        old, self.index = self.index, index
        old.close()
        self.remove_unused()

    def _newest(self) -> Index:
        """The generation that has just been published."""
        known = [*self.index.parts, *self._opened]
        self._opened.clear()
        manifest, pin = pin_current(self._storage)
        with pin:
            parts = open_parts(self._storage, manifest, known)
            return Index(self._storage.root, manifest, parts, pin)

    def _draft(self) -> Draft:
        if self._failure is not None:
            raise StoppedError(
                f"{self._storage.root}: expected to know the current generation, found a failed "
                f"publication ({self._failure}); open the collection for writing again"
            ) from self._failure
        return Draft(self._storage, self.manifest)

    def _new_folder(self) -> str:
        with self._publishing:
            self._last_folder += 1
            folder = f"{SEGMENTS}/{self._last_folder:06}"
            self._busy.add(folder)
        return folder


def _pass_over(error: BaseException) -> None:
    """Told of what fails when nobody is there any more."""


def _size_bytes(part: Part) -> int:
    return sum(file.size_bytes for file in part.stored.files.values())


class _Change:
    """How many more documents hold each word than before.

    Attributes:
        counts: ``[words]``.
    """

    def __init__(self, first_term: int, words: int) -> None:
        self._first_term = first_term
        self.counts = np.zeros(words, np.int64)

    def take(self, terms: NDArray[np.int32], counts: NDArray[np.int64] | int) -> None:
        """So many more documents hold these terms; those that are no words are passed over."""
        if self.counts.size:
            words = terms >= self._first_term
            more = np.broadcast_to(counts, terms.shape)[words]
            np.add.at(self.counts, terms[words] - self._first_term, more)


def _frequency(dictionary: Dictionary) -> NDArray[np.int64]:
    """How many documents hold each word, ``[words]``."""
    return dictionary.document_frequency(np.arange(dictionary.first_term, dictionary.vocab_size))
