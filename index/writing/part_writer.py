"""Writing a segment's folder: vectors, ids and records of documents from anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.generations.manifest import SegmentEntry
from tamis.index.generations.parts import TERM_IDS
from tamis.index.segment.builder import write_segment
from tamis.index.segment.calibration import calibrate
from tamis.index.segment.columns import columns_of, write_columns
from tamis.index.segment.documents import Documents, DocumentWriter
from tamis.index.segment.identifiers import Identifiers
from tamis.index.segment.segment import Segment
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from tamis.index.files.progress import Progress
    from tamis.index.files.storage import FileEntry, Storage
    from tamis.index.segment.columns import ColumnType
    from tamis.index.segment.quantize import Precision

_COMPACT_SHARE = 2  # a segment that uses less than one in so many terms numbers its own


@dataclass(frozen=True, slots=True)
class Rows:
    """Documents in order; each attribute but the first gives all of them anew at each call.

    Attributes:
        count: how many there are.
        ids: their ids.
        records: their records as JSON.
        batches: their vectors over the collection's terms.
    """

    count: int
    ids: Callable[[], Iterable[str]]
    records: Callable[[], Iterable[bytes]]
    batches: Callable[[], Iterable[SparseVectors]]

    def then(self, more: Rows) -> Rows:
        """These documents, and others after them."""
        return Rows(
            self.count + more.count,
            lambda: chain(self.ids(), more.ids()),
            lambda: chain(self.records(), more.records()),
            lambda: chain(self.batches(), more.batches()),
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


def write_part(
    storage: Storage,
    folder: str,
    rows: Rows,
    vocab_size: int,
    precision: Precision,
    columns: Mapping[str, ColumnType],
) -> tuple[SegmentEntry, dict[str, FileEntry]]:
    """Write the documents as a new segment, all on disk when this returns.

    Args:
        storage: where to write.
        folder: of the segment; it does not exist.
        rows: the documents.
        vocab_size: number of the collection's terms.
        precision: how weights are stored.
        columns: the declared fields of the records, which hold values of these types.

    Returns:
        What the manifest says of the segment, and its files.
    """
    storage.make_folder(folder)
    with storage.together():
        files = _write_texts(storage, folder, rows, columns)
        files |= _write_vectors(storage, folder, rows, vocab_size, precision)
    storage.sync_folder(folder)
    count = files[f"{folder}/ids.docs"].shape[0]  # type: ignore[index]
    segment = Segment(storage, folder, files, count, precision)
    compact = f"{folder}/{TERM_IDS}" in files
    return SegmentEntry(folder, count, compact=compact, calibration=calibrate(segment)), files


def _write_texts(
    storage: Storage, folder: str, rows: Rows, columns: Mapping[str, ColumnType]
) -> dict[str, FileEntry]:
    files = storage.write_arrays(f"{folder}/ids.", Identifiers.of(rows.ids()).arrays())
    with DocumentWriter(storage, folder) as documents:
        for record in rows.records():
            documents.append_encoded(record)
    files |= documents.entries
    if columns:
        read = columns_of(Documents(storage, folder, files), columns)
        files |= write_columns(storage, folder, list(read.values()))
    return files


def _write_vectors(
    storage: Storage, folder: str, rows: Rows, vocab_size: int, precision: Precision
) -> dict[str, FileEntry]:
    files: dict[str, FileEntry] = {}
    terms = _distinct_terms(rows.batches(), vocab_size)
    if terms.size * _COMPACT_SHARE < vocab_size:
        name = f"{folder}/{TERM_IDS}"
        files[name] = storage.write_array(name, terms)
        files |= write_segment(
            storage, folder, lambda: _renumbered(rows.batches(), terms), terms.size, precision
        )
    else:
        files |= write_segment(storage, folder, rows.batches, vocab_size, precision)
    return files


def _distinct_terms(batches: Iterable[SparseVectors], vocab_size: int) -> NDArray[np.int32]:
    """All terms of the batches, rising; at least one."""
    used = np.zeros(vocab_size, np.bool_)
    for batch in batches:
        used[batch.terms] = True
    used[0] |= not used.any()
    return np.flatnonzero(used).astype(np.int32)


def _renumbered(
    batches: Iterable[SparseVectors], terms: NDArray[np.int32]
) -> Iterator[SparseVectors]:
    for batch in batches:
        places = np.searchsorted(terms, batch.terms).astype(np.int32)
        yield SparseVectors(batch.offsets, places, batch.weights, terms.size)
