"""Writes: what one request writes to an index, acknowledged as a whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.index.segment.values import ColumnType
    from tamis.index.writing.durability import Wait
    from tamis.retriever.editor import Editor
    from tamis.retriever.types import Passage


class Written(Protocol):
    """The index that is written."""

    @property
    def fields(self) -> dict[str, Any]:
        """The declared fields and their types."""

    def enter(self, failures: int | None, *, tries: bool) -> tuple[Editor, int]:
        """Begin to write.

        Args:
            failures: how many there had been when the request began; None for one that begins.
            tries: to open a writer although the last one failed.
        """

    def leave(self, editor: Editor, *, has_written: bool) -> None:
        """End what `enter` began."""

    def commit(self, editor: Editor) -> None:
        """Make all writes so far searchable, between the two."""


class Writes:
    """What one request writes, on one thread at a time, in one ``with`` block or several.

    Where the disk fails between two blocks, the second one raises: what the first one wrote may
    be lost, so that nothing may be acknowledged.

    Raises, on entering:
        BusyError: something has the index to itself; nothing has been written, enter again.
        StoppedError: the disk has failed.
        RequestError: the index is being removed.
    """

    def __init__(self, index: Written, *, tries: bool = False) -> None:
        """Begin with the first block.

        Args:
            index: what is written.
            tries: to open a writer although the last one failed.
        """
        self._index, self._tries = index, tries
        self._failures: int | None = None
        self._editor: Editor | None = None
        self._has_written = False

    def __enter__(self) -> Writes:
        self._editor, self._failures = self._index.enter(self._failures, tries=self._tries)
        return self

    def __exit__(self, *error: object) -> None:
        editor, self._editor = self.editor, None
        self._index.leave(editor, has_written=self._has_written)

    @property
    def editor(self) -> Editor:
        """Of the block's writer."""
        assert self._editor is not None  # inside a block
        return self._editor

    @property
    def fields(self) -> dict[str, Any]:
        """The declared fields and their types."""
        return self._index.fields

    def has(self, doc_id: str) -> bool:
        """Whether a document is there, all writes so far included."""
        return self.editor.writer.has(doc_id)

    def put(self, passages: Sequence[Passage]) -> None:
        """Add documents, encoded here; `settle` says when they are kept."""
        self._has_written = True
        self.editor.put(passages, wait="none")

    def put_weighted(
        self, passages: Sequence[Passage], weights: Sequence[Mapping[str, float]]
    ) -> None:
        """Add documents with vectors of their own; `settle` says when they are kept."""
        self._has_written = True
        self.editor.put_weighted(passages, weights, wait="none")

    def patch(self, changes: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Change fields of documents; the ids that are not there. `settle` says when it is kept."""
        self._has_written = True
        return self.editor.patch(changes, wait="none")

    def add_fields(self, fields: Mapping[str, ColumnType]) -> None:
        """Declare further fields; found by the index's searcher once it is settled."""
        self._has_written = True
        self.editor.add_fields(fields)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove documents; how many there were. `settle` says when that is kept."""
        self._has_written = True
        return self.editor.delete(ids, wait="none")

    def delete_where(self, expression: Mapping[str, Any]) -> int:
        """Remove the documents that a filter admits; how many there were."""
        self._has_written = True
        return self.editor.delete_where(expression, wait="none")

    def delete_all(self) -> int:
        """Remove every document; how many there were."""
        self._has_written = True
        return self.editor.delete_all(wait="none")

    def settle(self, wait: Wait) -> None:
        """Wait for all writes so far: until they are durable, or found by the index's searcher."""
        if wait != "searchable":
            self.editor.delete((), wait=wait)
            return
        self._has_written = True  # until it is published
        self._index.commit(self.editor)
        self._has_written = False

    def forget_words(self) -> None:
        """Drop the cache of texts whose words are counted; later documents fill it again."""
        self.editor.forget_words()
