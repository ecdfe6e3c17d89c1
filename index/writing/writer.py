"""CollectionWriter: the write side of a collection. Vectors and records in, generations out.

A write goes into the log, and is durable when the log is synced. `commit` turns all since the last
one into a segment and marks what they replace or remove as deleted; readers see that, or nothing of
it. Segments are merged in the background. The next writer puts right what a stop leaves behind.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.closing import Closing
from tamis.index.files.lock import FolderLock, refuse_locked
from tamis.index.files.progress import Progress, silent
from tamis.index.files.storage import Storage
from tamis.index.files.wal import Log
from tamis.index.generations.manifest import BUILD, read_current_line
from tamis.index.segment.columns import columns_of
from tamis.index.segment.filters import has_condition, matching
from tamis.index.vectors import SparseVectors
from tamis.index.writing.background import Background, Repeater
from tamis.index.writing.build_here import BuildHere
from tamis.index.writing.durability import Place, check_wait
from tamis.index.writing.logged_words import LoggedWords
from tamis.index.writing.patching import present_in, rewrites
from tamis.index.writing.pending import Pending, Present, Write, checked
from tamis.index.writing.publisher import Publisher
from tamis.index.writing.recovery import newest, recover

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tamis.index.collection import Collection
    from tamis.index.generations.settings import CollectionSettings
    from tamis.index.index import Index
    from tamis.index.segment.dictionary import DictionaryWriter
    from tamis.index.segment.values import ColumnType
    from tamis.index.writing.build_process import BuildProcess
    from tamis.index.writing.durability import Wait
    from tamis.index.writing.revision import Revision


class CollectionWriter(Closing):
    """The one writer of a collection; safe to use from many threads.

    ``wait`` says when a write returns: "none", at once; "durable", when a power cut cannot lose
    it; "searchable", when readers that refresh find it. Writes are applied in one order, and what
    a stop keeps is a beginning of it that holds every acknowledged write.

    A step of the disk that fails stops the writer: it raises `StoppedError` from then on, readers
    go on with the generation they have, and the next writer goes on from what is on disk.
    """

    @staticmethod
    def open(
        path: str | Path,
        *,
        verify: Literal["full", "lazy"] = "lazy",
        merge: bool = True,
        gather: bool | None = None,
        builder: BuildProcess | BuildHere | None = None,
        storage: Storage | None = None,
        background: Background | None = None,
        lock: FolderLock | None = None,
        known: Collection | None = None,
    ) -> CollectionWriter:
        """Become the writer of a folder and take up what is in its log.

        Args:
            path: the folder.
            verify: as for `Index.open`.
            merge: merge segments in the background; else call `merge`.
            gather: let a commit take small segments before it into its own; None: as ``merge``.
            builder: writes the segments, and clears away, in a process of its own, so that
                searches in this one go on undisturbed; None: in this one.
            storage: how to reach the folder's files, when not in the plain way.
            background: whose threads merge; None: one of its own.
            lock: held for as long as this writer is open, on a folder above that covers this one.
            known: an open generation of this collection, by the same storage: what it has read is
                not read again.

        Raises:
            LockedError: another writer is there; the message names its process.
            FormatError: no collection, or one of another format.
            CorruptionError: a file or the log is damaged.
        """
        storage = storage or Storage(path)
        read_current_line(storage)  # no lock is left in a folder that is no index
        with ExitStack() as held:
            if lock is None:
                lock = held.enter_context(FolderLock(storage))
            else:
                refuse_locked(storage)
            if merge and background is None:
                background = held.enter_context(Background())
            collection = newest(path, verify, storage, known)
            try:
                return CollectionWriter(
                    storage,
                    collection,
                    lock,
                    builder or BuildHere(),
                    background if merge else None,
                    merge if gather is None else gather,
                    held,
                )
            except BaseException:
                collection.close()
                raise

    def __init__(
        self,
        storage: Storage,
        collection: Collection,
        lock: FolderLock,
        builder: BuildProcess | BuildHere,
        background: Background | None,
        gather: bool,
        held: ExitStack,
    ) -> None:
        """Take over an open collection, and what is ``held`` with it; `open` is the way in."""
        self._storage, self._lock = storage, lock
        self._mutex = threading.RLock()  # the pending writes, the log and the words
        self._committing = threading.RLock()  # taken before the mutex by who needs both
        self._pending, self._frozen = Pending(), Pending()
        self._publisher = Publisher(
            storage,
            collection.index,
            collection.dictionary,
            lambda error: self._log.stop(error),
            gather,
            builder,
            lock.handle,
        )
        self._publisher.remove_unused()
        storage.remove_folder(BUILD)
        self._words = LoggedWords(collection.dictionary)
        self._log = recover(storage, self._publisher.manifest.log, self._words, self._pending)
        self._merger = Repeater(background, self.merge) if background is not None else None
        self._held = held.pop_all()  # what is let go of, the last first
        self._held.callback(self._publisher.close)
        self._held.callback(self._publisher.remove_unused)
        self._held.callback(lambda: self._log.close())
        if self._merger is not None:
            self._merger.wake()

    @property
    def index(self) -> Index:
        """The generation of the last commit."""
        return self._publisher.index

    @property
    def settings(self) -> CollectionSettings:
        """How the collection was made."""
        return self._publisher.manifest.settings

    @property
    def failure(self) -> BaseException | None:
        """What has stopped this writer; None while it takes writes."""
        return self._log.failure

    @property
    def merge_failure(self) -> Exception | None:
        """What the last merge in the background failed with, while it is to be tried again."""
        return self._merger.failure if self._merger is not None else None

    @property
    def pending_bytes(self) -> int:
        """About how much memory the writes take that are in no segment yet."""
        return self._pending.size_bytes + self._frozen.size_bytes

    @property
    def dictionary(self) -> DictionaryWriter | None:
        """The words; add to them in a ``with words_held()`` block. None without any."""
        return self._words.dictionary

    @property
    def vocab_size(self) -> int:
        """Number of terms that vectors may use."""
        if self.dictionary is None:
            return self._publisher.manifest.vocab_size
        return max(self.dictionary.vocab_size, 1)

    def put(
        self,
        records: Sequence[Mapping[str, Any]],
        vectors: SparseVectors,
        *,
        wait: Wait = "durable",
    ) -> None:
        """Add documents, replacing those of the same ids, all or none.

        Args:
            records: each with its id as ``_id``; of two with one id the later counts.
            vectors: ``[records]``, over at most `vocab_size` terms.
            wait: when to return.

        Raises:
            InputError: a record or id is faulty, or there are more or fewer vectors.
            MismatchError: the vectors use more terms than there are.
            StoppedError: the disk has failed.
        """
        check_wait(wait)
        self.wait(self.stage(records, vectors, given=True), wait)

    def stage(
        self,
        records: Sequence[Mapping[str, Any]],
        vectors: SparseVectors,
        gone: Sequence[str] = (),
        *,
        given: bool,
    ) -> Place:
        """Begin a `put`, which `wait` ends.

        Args:
            records: as for `put`.
            vectors: as for `put`.
            gone: ids that are removed in the same step.
            given: whether the vectors came with the documents; `rewrite` makes again those that
                were made of their texts alone.
        """
        ids, encoded = checked(records, vectors, self.vocab_size, self.index.columns)
        with self.words_held():
            return self._append(gone, ids, encoded, vectors, given)

    def wait(self, place: Place, wait: Wait) -> None:
        """Wait for what `stage` began. Holding the words meanwhile would be a deadlock."""
        if wait == "searchable" or self._pending.is_full:
            self.commit()
        elif wait == "durable":
            place.log.sync(place.end)

    def words_held(self) -> threading.RLock:  # type: ignore[valid-type]
        """Keeps others from adding words and writing while its ``with`` block runs."""
        return self._mutex

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Commit, and keep others from writing while the ``with`` block runs."""
        with self._committing, self._mutex:
            self.commit()
            yield

    def add(
        self,
        records: Sequence[Mapping[str, Any]],
        vectors: SparseVectors,
        *,
        wait: Wait = "durable",
    ) -> None:
        """Add documents whose ids are new, all or none; arguments and errors are those of `put`.

        Raises:
            InputError: an id is there already, or twice among these.
        """
        check_wait(wait)
        ids, encoded = checked(records, vectors, self.vocab_size, self.index.columns)
        with self._mutex:
            seen = set[str]()
            for doc_id in ids:
                if doc_id in seen or self.has(doc_id):
                    raise InputError(
                        f"expected new ids, found {doc_id!r}, which is there already; "
                        "use `put` to replace documents"
                    )
                seen.add(doc_id)
            place = self._append([], ids, encoded, vectors, given=True)
        self.wait(place, wait)

    def patch(
        self, changes: Mapping[str, Mapping[str, Any]], *, wait: Wait = "durable"
    ) -> list[str]:
        """Change values of documents, all or none; their vectors stay. The ids that are not there.

        Args:
            changes: by id, see `patched`.
            wait: when to return.

        Raises:
            InputError: a value is not of its field's type; nothing is changed.
            StoppedError: the disk has failed.
        """
        check_wait(wait)
        with self._mutex:
            found = {doc_id: self._present(doc_id) for doc_id in changes}
            present = {doc_id: one for doc_id, one in found.items() if one is not None}
            place = Place(self._log, self._log.size_bytes)
            for again in rewrites(present, changes, self.vocab_size, self.index.columns):
                place = self._append([], *again)
        self.wait(place, wait)
        return [doc_id for doc_id, one in found.items() if one is None]

    def _present(self, doc_id: str) -> Present | None:
        """A document after all writes so far; None where it is not there."""
        for writes in (self._pending, self._frozen):
            state = writes.state(doc_id)
            if state is not None:
                return writes.present(doc_id) if state else None
        return present_in(self.index, doc_id)

    def add_columns(self, columns: Mapping[str, ColumnType]) -> None:
        """Declare further fields, whose values are read from the stored documents.

        Raises:
            InputError: a field is declared as another type, or a document holds a value of another.
        """
        with self.alone():
            self._publisher.add_columns(columns)

    def delete(self, ids: Iterable[str], *, wait: Wait = "durable") -> int:
        """Remove the documents of these ids; how many there were. Unknown ids are passed over."""
        check_wait(wait)
        with self._mutex:
            found = [doc_id for doc_id in dict.fromkeys(ids) if self.has(doc_id)]
            if found:
                place = self._append(found, [], [], SparseVectors.empty(self.vocab_size), False)
            else:
                place = Place(self._log, self._log.size_bytes)  # of what says they are not there
        self.wait(place, wait)
        return len(found)

    def delete_where(self, where: Mapping[str, Any], *, wait: Wait = "durable") -> int:
        """Remove the documents that a filter admits; how many there were.

        Args:
            where: a filter over declared columns, see filters.py.
            wait: when to return.

        Raises:
            InputError: the filter is faulty, or has no condition and so admits all documents.
        """
        matching(where, columns_of(None, self.index.columns, 0), 0)
        if not has_condition(where):
            raise InputError(
                f"expected a filter with at least one condition, found {str(where)[:80]}; to "
                "delete every document, say all"
            )
        return self._delete_admitted(where, wait)

    def delete_all(self, *, wait: Wait = "durable") -> int:
        """Remove every document; how many there were."""
        return self._delete_admitted(None, wait)

    def _delete_admitted(self, where: Mapping[str, Any] | None, wait: Wait) -> int:
        with self.alone():
            picked = list[str]()
            for part in self.index.parts:
                admitted = part.allowed(where, self.index.columns)
                docs = part.live_docs if admitted is None else np.flatnonzero(admitted)
                picked += map(part.stored.ids.doc_id, docs.tolist())
            return self.delete(picked, wait=wait)

    def has(self, doc_id: str) -> bool:
        """Whether an id is there, all writes so far included."""
        with self._mutex:
            for writes in (self._pending, self._frozen):
                state = writes.state(doc_id)
                if state is not None:
                    return state
            return self.index.doc(doc_id) is not None

    def commit(self) -> int:
        """Make all writes so far searchable; the generation that holds them."""
        with self._committing:
            with self._mutex:
                if not self._pending:
                    return self._publisher.manifest.generation
                self._log.refuse_if_stopped()
                self._begin_log()
                self._frozen, self._pending = self._pending, Pending()
                words, vocab_size = self._words.to_commit(), self.vocab_size
            try:
                self._publisher.commit(self._frozen, words, vocab_size, self._log.number)
            except BaseException as error:
                self._log.stop(error)
                raise
            with self._mutex:
                self._frozen = Pending()
                generation = self._publisher.manifest.generation
        if self._merger is not None:
            self._merger.wake()
        return generation

    def merge(self, progress: Progress = silent) -> bool:
        """Merge segments of like size, or one with many deletions; whether any were due."""
        return self._publisher.merge_next(progress)

    def optimize(self, progress: Progress = silent) -> None:
        """Commit, and make one segment without deleted documents of all.

        Args:
            progress: told of each step, and may stop the work; see `Progress`.
        """
        self.commit()
        self._publisher.merge_all(progress)

    def rewrite(self, revision: Revision, progress: Progress = silent) -> None:
        """Commit, and give all documents other vectors and words, as one segment, in one step.

        Args:
            revision: works them out, of a collection with words.
            progress: told of each step, and may stop the work; see `Progress`.
        """
        with self.alone():
            self._words = LoggedWords(self._publisher.rewrite(revision, progress))

    def change_settings(self, settings: CollectionSettings) -> None:
        """Publish a generation with other settings."""
        self._publisher.change_settings(settings)

    def remove_unused(self) -> None:
        """Remove the files of generations that nobody reads any more."""
        self._publisher.remove_unused()

    def close(self) -> None:
        """Commit, and let another writer in.

        Raises:
            StoppedError: the disk has failed. The lock is let go of all the same.
        """
        with ExitStack() as stack:
            stack.callback(self._held.close)
            if self._merger is not None:
                stack.callback(self._merger.close)
            self.commit()

    def abandon(self) -> None:
        """Let another writer in; writes that are not searchable yet stay in the log."""
        with ExitStack() as stack:
            stack.callback(self._held.close)
            if self._merger is not None:
                stack.callback(self._merger.close)
            self._log.sync_all()

    def __exit__(self, *error: object) -> None:
        (self.abandon if any(error) else self.close)()

    def _append(
        self,
        deleted: Sequence[str],
        ids: Sequence[str],
        records: Sequence[bytes],
        vectors: SparseVectors,
        given: bool | None,
    ) -> Place:
        """Put a write into the log and among the pending ones, its new words with it."""
        write = Write.of(self._words.to_log(), deleted, ids, records, vectors, given)
        end = self._log.append(write.encoded())
        self._words.logged(len(write.words))
        self._pending.apply(write)
        return Place(self._log, end)

    def _begin_log(self) -> None:
        """Go on in a new log; the old one is whole on disk before the new one begins."""
        old = self._log
        old.finish()
        try:
            self._log = Log.create(self._storage, old.number + 1)
        except BaseException as error:
            old.stop(error)
            raise
        old.close()
