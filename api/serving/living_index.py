"""LivingIndex: one collection of a data folder, searched and written by this process alone."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tamis.api.problems import RequestError
from tamis.index.writing.writer import CollectionWriter
from tamis.retriever.editor import Editor
from tamis.retriever.searcher import Searcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tamis.index.files.progress import Progress
    from tamis.index.writing.build_process import BuildProcess
    from tamis.index.writing.durability import Wait
    from tamis.retriever.models.encoder import Encoder, QueryEncoder
    from tamis.retriever.reranker import Reranker
    from tamis.retriever.types import Passage


class LivingIndex:
    """Safe to use from many threads.

    Attributes:
        name: of the collection.
        path: its folder.
        searcher: of the newest generation that this process has opened.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        encoder_of: Callable[[str, QueryEncoder], Encoder],
        builder: BuildProcess | None = None,
        places: Mapping[str, str] = {},
    ) -> None:
        """Take up the folder; what its log holds becomes searchable.

        Args:
            name: of the collection.
            path: its folder.
            encoder_of: the document side of a location and query side.
            builder: writes the segments in a process of its own.
            places: where encoders lie now, by fingerprint; others lie where they lay.

        Raises:
            LockedError: another process writes there.
            FormatError: no index of this version.
            CorruptionError: a file or the log is damaged.
        """
        self.name = name
        self.path = path
        writer = CollectionWriter.open(path, builder=builder)
        try:
            writer.commit()
            recorded = writer.settings.encoder
            place = places.get(recorded.fingerprint) if recorded is not None else None
            self.searcher, encoder = Searcher.open(path, "lazy", encoder=place), None
            if recorded is not None and self.searcher.encoder is not None:
                encoder = encoder_of(place or recorded.location, self.searcher.encoder)
            self._editor = Editor(writer, encoder)
        except BaseException:
            writer.abandon()
            raise
        self._changed = threading.Condition()
        self._writing = 0
        self._closed = False
        self._publishing = threading.Lock()

    def use_reranker(self, reranker: Reranker) -> None:
        """Give `searcher`, and those that follow it, a second stage."""
        with self._publishing:
            self.searcher = self.searcher.with_reranker(reranker)

    @property
    def fields(self) -> dict[str, Any]:
        """The declared fields and their types."""
        return dict(self._editor.writer.index.columns)

    def has(self, doc_id: str) -> bool:
        """Whether a document is there, all writes so far included."""
        return self._editor.writer.has(doc_id)

    def put(self, passages: Sequence[Passage]) -> None:
        """Add documents, encoded here; `settle` says when they are kept."""
        with self._write():
            self._editor.put(passages, wait="none")

    def put_weighted(
        self, passages: Sequence[Passage], weights: Sequence[Mapping[str, float]]
    ) -> None:
        """Add documents with vectors of their own; `settle` says when they are kept."""
        with self._write():
            self._editor.put_weighted(passages, weights, wait="none")

    def delete(self, ids: Sequence[str]) -> int:
        """Remove documents; how many there were. `settle` says when that is kept."""
        with self._write():
            return self._editor.delete(ids, wait="none")

    def delete_where(self, expression: Mapping[str, Any]) -> int:
        """Remove the documents that a filter admits; how many there were."""
        with self._write():
            return self._editor.delete_where(expression, wait="none")

    def settle(self, wait: Wait) -> None:
        """Wait for all writes so far: until they are durable, or found by `searcher`."""
        with self._write():
            if wait == "searchable":
                self._publish()
            else:
                self._editor.delete((), wait=wait)

    def publish(self) -> None:
        """Make all writes so far searchable; does nothing where there are none."""
        with self._write():
            self._publish()

    def optimize(self, progress: Progress) -> None:
        """Rebuild as one segment, words and average length counted anew."""
        with self._write():
            self._editor.optimize(progress)
            self._publish()

    def rest(self) -> None:
        """Let go of what is remembered for the next documents' sake alone."""
        with self._write():
            self._editor.rest()

    def close(self) -> None:
        """Commit, and let go of the folder, once the writes under way are done."""
        self._end_writes()
        self._editor.close()

    def abandon(self) -> None:
        """Let go of a folder that is to be removed."""
        self._end_writes()
        self._editor.writer.abandon()

    def check(self) -> None:
        """Raise what keeps this collection from being written; StoppedError for a bad disk."""
        self.settle("durable")

    def _publish(self) -> None:
        self._editor.commit()
        with self._publishing:
            self.searcher = self.searcher.refresh("lazy", self._editor.writer.index)

    @contextmanager
    def _write(self) -> Iterator[None]:
        with self._changed:
            if self._closed:
                raise RequestError(
                    404, "unknown_index", f"expected an index, found {self.name!r} being removed"
                )
            self._writing += 1
        try:
            yield
        finally:
            with self._changed:
                self._writing -= 1
                self._changed.notify_all()

    def _end_writes(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._writing)
