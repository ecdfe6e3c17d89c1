"""Writing a segment's folder: vectors, ids and records of documents from anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.array_file import write_arrays
from tamis.index.generations.manifest import SegmentEntry
from tamis.index.generations.parts import ORIGINS, documents_with_words, local, own_terms
from tamis.index.segment.builder import TERM_IDS, write_segment
from tamis.index.segment.calibration import calibrate
from tamis.index.segment.columns import columns_of, write_columns
from tamis.index.segment.documents import Documents, DocumentWriter, encode_record
from tamis.index.segment.identifiers import IdentifiersBuilder
from tamis.index.segment.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.progress import Progress
    from tamis.index.files.storage import Storage
    from tamis.index.segment.calibration import Sample
    from tamis.index.segment.quantize import Precision
    from tamis.index.segment.values import ColumnType
    from tamis.index.vectors import SparseVectors


@dataclass(frozen=True, slots=True)
class Rows:
    """Documents in order; each attribute but the first gives all of them again at each call.

    Attributes:
        count: how many there are.
        ids: their ids.
        records: their records as JSON.
        batches: their vectors over the collection's terms.
        origins: ``[count]``, the `Origin` of each vector.
    """

    count: int
    ids: Callable[[], Iterable[str]]
    records: Callable[[], Iterable[bytes]]
    batches: Callable[[], Iterable[SparseVectors]]
    origins: Callable[[], NDArray[np.uint8]]

    def then(self, more: Rows) -> Rows:
        """These documents, and others after them."""
        return Rows(
            self.count + more.count,
            lambda: chain(self.ids(), more.ids()),
            lambda: chain(self.records(), more.records()),
            lambda: chain(self.batches(), more.batches()),
            lambda: np.concatenate([self.origins(), more.origins()]),
        )

    def told_to(self, progress: Progress) -> Rows:
        """The same documents, whose reading is told of."""

        def records() -> Iterator[bytes]:
            for done, record in enumerate(self.records()):
                progress("read", done, self.count)
                yield record

        def batches() -> Iterator[SparseVectors]:
            done = 0
            for batch in self.batches():
                progress("build", done, self.count)
                yield batch
                done += len(batch)

        return replace(self, records=records, batches=batches)


class TextWriter:
    """Writes ids, records and columns of a segment's documents, one document after the other.

    A context manager; afterwards `files` names what was written.
    """

    files: dict[str, FileEntry]

    def __init__(self, storage: Storage, folder: str, columns: Mapping[str, ColumnType]) -> None:
        """Begin in a segment's folder, which exists; ``columns`` are the declared fields."""
        self._storage, self._folder, self._columns = storage, folder, columns
        self._ids, self._documents = IdentifiersBuilder(), DocumentWriter(storage, folder)

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, doc_id: str, record: Mapping[str, Any], place: str = "") -> None:
        """Store the next document.

        Raises:
            InputError: its id can be none, or JSON cannot hold its record; the message begins
                with ``place``.
        """
        try:
            self.append_encoded(doc_id, encode_record(record))
        except InputError as error:
            raise InputError(f"{place}{error}") from None

    def append_encoded(self, doc_id: str, record: bytes) -> None:
        """As `append`, of a record that is JSON."""
        self._ids.append(doc_id)
        self._documents.append_encoded(record)

    def __enter__(self) -> Self:
        self._documents.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:  # noqa: ANN401
        """Finish the files; raises InputError where an id is there twice."""
        self._documents.__exit__(kind, *rest)
        if kind is None:
            ids = self._ids.identifiers().arrays()
            files = self._documents.entries
            files |= write_arrays(self._storage, f"{self._folder}/ids.", ids)
            if self._columns:
                documents = Documents(self._storage, self._folder, files)
                columns = list(columns_of(documents, self._columns, len(documents)).values())
                files |= write_columns(self._storage, self._folder, columns)
            self.files = files


def write_part(
    storage: Storage,
    folder: str,
    rows: Rows,
    vocab_size: int,
    precision: Precision,
    columns: Mapping[str, ColumnType],
    first_word: int | None = None,
) -> tuple[SegmentEntry, dict[str, FileEntry]]:
    """Write the documents as a new segment, all on disk when this returns.

    Args:
        storage: where to write.
        folder: of the segment; it does not exist.
        rows: the documents.
        vocab_size: number of the collection's terms.
        precision: how weights are stored.
        columns: the declared fields of the records, which hold values of these types.
        first_word: the first term of the lexical channel; None without it.

    Returns:
        What the manifest says of the segment, and its files.
    """
    storage.make_folder(folder)
    with storage.together():
        with TextWriter(storage, folder, columns) as texts:
            for doc_id, record in zip(rows.ids(), rows.records(), strict=True):
                texts.append_encoded(doc_id, record)
        vectors = write_segment(storage, folder, rows.batches, vocab_size, precision)
        origins = rows.origins()
        if origins.any():
            vectors |= write_arrays(storage, f"{folder}/", {ORIGINS: origins})
    files = texts.files | vectors
    return finished_part(storage, folder, files, precision, first_word), files


def finished_part(
    storage: Storage,
    folder: str,
    files: Mapping[str, FileEntry],
    precision: Precision,
    first_word: int | None = None,
    sample: Sample | None = None,
) -> SegmentEntry:
    """What the manifest says of a segment whose files are all on disk.

    Args:
        storage: where they are.
        folder: of the segment.
        files: the segment's.
        precision: how weights are stored.
        first_word: as for `write_part`.
        sample: queries like those to come, over the collection's terms; without any, documents
            stand in for them.
    """
    storage.sync_folder(folder)
    count = files[f"{folder}/ids.docs"].shape[0]  # type: ignore[index]
    entry = SegmentEntry(folder, count, compact=f"{folder}/{TERM_IDS}" in files, tells_origins=True)
    segment, terms = (
        Segment(storage, folder, files, count, precision),
        own_terms(storage, entry, files),
    )
    entry = replace(entry, with_words=documents_with_words(segment, terms, first_word))
    if sample is not None:
        sample = replace(sample, queries=local(sample.queries, terms, segment.vocab_size))
    return replace(entry, calibration=calibrate(segment, sample))
