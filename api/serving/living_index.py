"""LivingIndex: one collection of a data folder, always searched, written when there is need.

Nothing is open for writing until the first write. A writer that has been idle is closed again, so
that many indexes cost few open files. One that has met a failing disk is let go of; then the
`upkeep` of the index opens another one, again and again until the disk works, and takes up what
the log holds. Searches go on with the generation that there is.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from tamis.api.problems import RequestError
from tamis.api.serving.faults import BusyError, ServerFault, told_by_faults
from tamis.api.serving.writes import Writes
from tamis.index.errors import StoppedError, without_frames
from tamis.index.files.wal import has_writes
from tamis.index.writing.background import Repeater
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever.editor import Editor
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tamis.api.serving.surroundings import Surroundings
    from tamis.index.files.progress import Progress
    from tamis.retriever.rerank.reranker import Reranker

LOG = logging.getLogger("tamis.api")


class LivingIndex:
    """Safe to use from many threads.

    Attributes:
        name: of the collection.
        path: its folder.
        searcher: of the newest generation that this process has opened.
        upkeep: publishes what has been written, and opens a writer again that has failed.
        used: when it was last written to, by the monotonic clock.
    """

    def __init__(self, name: str, path: Path, surroundings: Surroundings) -> None:
        """Open the newest generation to be searched.

        Raises:
            FormatError: no index of this version.
            CorruptionError: a file or the log is damaged.
            OSError: a file cannot be read.
        """
        self.name = name
        self.path = path
        self.used = monotonic()
        self._around = surroundings
        self._storage = surroundings.storage_of(path)
        self._encoder_place = surroundings.encoder_place(path)
        self.searcher = Searcher.open(
            path, "lazy", surroundings.reranker(), self._encoder_place, self._storage
        )
        with self.searcher.collection as collection:  # nobody writes yet
            self._unpublished = has_writes(self._storage, collection.index.manifest.log)
        self._changed = threading.Condition()
        self._publishing = threading.Lock()
        self._editor: Editor | None = None
        self._lost: Editor | None = None  # has failed, while writes that began with it go on
        self._failure: BaseException | None = None
        self._failures = 0
        self._writing = 0
        self._held_for = ""  # what has the index to itself
        self._closed = False
        self.upkeep = Repeater(surroundings.upkeep, self._look_after)

    @property
    def fields(self) -> dict[str, Any]:
        """The declared fields and their types."""
        return dict(self.searcher.collection.index.columns)

    @property
    def is_awake(self) -> bool:
        """Whether it is open for writing."""
        return self._editor is not None

    @property
    def pending_bytes(self) -> int:
        """About how much memory the writes take that searches do not find yet."""
        editor = self._editor
        return editor.writer.pending_bytes if editor is not None else 0

    @property
    def is_behind(self) -> bool:
        """Whether there is something for `upkeep` to do."""
        editor = self._editor
        if self._unpublished or editor is None:
            return self._unpublished
        writer = editor.writer  # which a merge may have stopped, that nobody waits for
        newest = writer.index.manifest.generation
        return writer.failure is not None or newest != self.searcher.collection.generation

    def use_reranker(self, reranker: Reranker) -> None:
        """Give `searcher`, and those that follow it, a second stage."""
        with self._publishing:
            self.searcher = self.searcher.with_reranker(reranker)

    def faults(self) -> list[ServerFault]:
        """What is wrong with it."""
        editor = self._editor
        merging = editor.writer.merge_failure if editor is not None else None
        found = (self._failure, self.upkeep.failure, merging)
        return list(dict.fromkeys(ServerFault.of(error) for error in found if error is not None))

    def writes(self) -> Writes:
        """What one request is to write."""
        return Writes(self)

    def publish(self, *, waits: bool = False) -> None:
        """Make all writes so far searchable, those that a failure has left in the log too.

        Args:
            waits: until nothing has the index to itself; else that is a BusyError.
        """
        while self.is_behind:
            try:
                with Writes(self, tries=True) as writes:
                    writes.settle("searchable")
                    return
            except BusyError:
                if not waits:
                    raise
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._held_for)

    def optimize(self, progress: Progress) -> None:
        """Rebuild as one segment, words and average length counted again."""

        def watched(step: str, done: int, total: int | None) -> None:
            if self._closed:
                raise self._gone()
            progress(step, done, total)

        with self._alone("optimized", waits=True):
            editor = self._editor or self._wake()
            try:
                editor.optimize(watched)
                self.refresh(editor)
            finally:
                self._notice(editor)

    def reopen(self) -> None:
        """Open a writer now instead of when its next try is due; raises what it meets."""
        with Writes(self, tries=True) as writes:
            writes.settle("searchable")

    def free_memory(self, longest_idle_s: float) -> None:
        """Drop the writer's caches, or close the writer where it has been idle for so long."""
        if monotonic() - self.used > longest_idle_s:
            self.doze()
        elif self._editor is not None:
            with suppress(BusyError), Writes(self) as writes:
                writes.forget_words()

    def doze(self) -> bool:
        """Close the writer if nobody uses it and all is well; whether it is closed."""
        with suppress(BusyError), self._alone("put to rest"):
            editor = self._editor
            if editor is None:
                return True
            if editor.writer.merge_failure is not None:
                return False
            self._unpublished = True  # until what the writer has left is searched
            try:
                editor.close()
            finally:
                self._notice(editor)
                self._editor = None
            self.refresh()
            self.searcher.collection.index.close()
            self._unpublished = False
            return True
        return False

    def close(self) -> None:
        """Commit, and let go of the folder, once the writes under way are done."""
        editor = self._end_writes()
        try:
            if editor is not None:
                editor.close()
        finally:
            self.searcher.collection.index.close()

    def abandon(self) -> None:
        """Let go of a folder that is to be removed."""
        editor = self._end_writes()
        if editor is not None:
            with told_by_faults():  # what is lost is to be removed
                editor.writer.abandon()
        self.searcher.collection.index.close()

    def enter(self, failures: int | None, *, tries: bool) -> tuple[Editor, int]:
        """Begin to write; see `Writes`, which also ends it by `leave`.

        Args:
            failures: how many there had been when the request began; None for one that begins.
            tries: to open a writer although the last one failed.
        """
        while True:
            with self._changed:
                self._refuse_held()
                if failures is not None and failures != self._failures:
                    raise self._stopped()
                if self._editor is not None:
                    self._writing += 1
                    return self._editor, self._failures
                if self._lost is not None or (self._failure is not None and not tries):
                    raise self._stopped()
            with self._alone("opened for writing"):
                if self._editor is None:  # nobody was faster
                    self._wake()

    def leave(self, editor: Editor, *, has_written: bool) -> None:
        """End a write; a writer that has failed is let go of by the last one."""
        with self._changed:
            self._writing -= 1
            if has_written:
                self._unpublished, self.used = True, monotonic()
            self._changed.notify_all()
        self._notice(editor)
        self._let_go()

    def refresh(self, editor: Editor | None = None) -> None:
        """Search the newest generation; ``editor`` has its files open."""
        known = editor.writer.index if editor is not None else None
        with self._publishing:
            self.searcher = self.searcher.refresh("lazy", known)

    def commit(self, editor: Editor) -> None:
        """Make all writes so far searchable, in a write that has begun; then all is well again."""
        self._unpublished = False  # what comes from now on is published later
        editor.commit()
        self.refresh(editor)
        if self._failure is not None:
            LOG.warning("index %s takes writes again", self.name)
            self._failure = None

    def _look_after(self, progress: Progress) -> bool:
        with suppress(BusyError, RequestError):  # it has just been removed
            self.publish()
        return False

    def _wake(self) -> Editor:
        """Open a writer; the caller has the index to itself."""
        collection = self.searcher.collection
        try:
            with self._around.make_way(out_of_room=_is_out_of_room(self._failure)):
                collection.index.pin()
                self._editor = editor = self._opened()
        except BaseException as error:
            collection.index.close()
            self._fail(error)
            raise
        return editor

    def _opened(self) -> Editor:
        around, searcher = self._around, self.searcher
        writer = CollectionWriter.open(
            self.path,
            builder=around.builder,
            storage=self._storage,
            background=around.merging,
            lock=around.lock,
            known=searcher.collection,
        )
        try:
            recorded, encoder = writer.settings.encoder, None
            if recorded is not None and searcher.encoder is not None:
                place = self._encoder_place or recorded.location
                encoder = around.encoder_of(place, searcher.encoder)
            return Editor(writer, encoder)
        except BaseException:
            writer.abandon()
            raise

    def _notice(self, editor: Editor) -> None:
        """Give a writer no more to do that has failed."""
        failure = editor.writer.failure
        with self._changed:
            if failure is not None and self._editor is editor:
                self._editor, self._lost = None, editor
                self._fail(failure)

    def _let_go(self) -> None:
        """Close a writer that has failed, with the last write under way."""
        with self._changed:
            if self._lost is None or self._writing or self._held_for:
                return
            self._held_for = "let go of by a writer that has failed"
        self._close_lost()
        with self._changed:
            self._held_for = ""
            self._changed.notify_all()

    def _close_lost(self) -> None:
        """Close a writer that has failed; the caller has the index to itself."""
        if self._lost is not None:
            with told_by_faults():
                self._lost.writer.abandon()
            without_frames(self._lost.writer.failure)
            self._lost = None

    def _fail(self, error: BaseException) -> None:
        if self._failure is None or ServerFault.of(self._failure) != ServerFault.of(error):
            LOG.warning("index %s takes no writes: %s", self.name, error)
        self._failure, self._unpublished = error, True
        self._failures += 1

    @contextmanager
    def _alone(self, what: str, *, waits: bool = False) -> Iterator[None]:
        """Keep others from writing while the block runs, once the writes under way are done."""
        with self._changed:
            if waits:
                self._changed.wait_for(lambda: self._closed or not self._held_for)
            self._refuse_held()
            self._held_for = what
            if not waits and self._writing:
                self._held_for = ""
                raise BusyError(f"index {self.name!r} is being written")
            self._changed.wait_for(lambda: not self._writing)
        try:
            self._close_lost()  # before another one is opened
            yield
        finally:
            with self._changed:
                self._held_for = ""
                self._changed.notify_all()
            self._let_go()

    def _refuse_held(self) -> None:
        if self._closed:
            raise self._gone()
        if self._held_for:
            raise BusyError(f"index {self.name!r} is being {self._held_for}")

    def _end_writes(self) -> Editor | None:
        """Wait for the end of what is under way; what is left to be closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not (self._writing or self._held_for or self._lost is not None)
            )
            editor, self._editor = self._editor, None
        with told_by_faults():
            self.upkeep.close()
        return editor

    def _gone(self) -> RequestError:
        return RequestError(
            404, "unknown_index", f"expected an index, found {self.name!r} being removed"
        )

    def _stopped(self) -> StoppedError:
        error = StoppedError(
            f"{self.path}: expected a disk that works, found {self._failure}; it is tried again "
            "by itself, see to its cause"
        )
        error.__cause__ = self._failure
        return error


def _is_out_of_room(error: BaseException | None) -> bool:
    return error is not None and ServerFault.of(error).code == "out_of_room"
