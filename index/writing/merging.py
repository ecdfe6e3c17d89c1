"""Merging: which segments become one, and how.

Segments are merged with their neighbours alone, so the order of documents, which settles ties,
stays that of their last writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.index.generations.part_writer import Rows
from tamis.index.writing.pending import BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.generations.manifest import SegmentEntry
    from tamis.index.generations.parts import Part
    from tamis.index.segment.values import ColumnType
    from tamis.index.vectors import SparseVectors

FAN = 8  # neighbours of one size that are merged; the next size is so many times larger
SMALLEST = 1000  # documents: smaller segments count as this large
GATHERED = 128  # documents of the last segments that a commit takes into its own
GATHERED_BYTES = 1 << 20  # and of their files
MOST_DELETED = 1 / 3  # share of deleted documents above which a segment is rewritten


def choose(entries: Sequence[SegmentEntry]) -> slice | None:
    """The neighbours to merge next; None when all is well."""
    levels = [_level(entry.live) for entry in entries]
    for level in sorted(set(levels)):
        first = 0
        for at in range(len(levels) + 1):
            if at < len(levels) and levels[at] <= level:
                continue
            if levels[first:at].count(level) >= FAN:  # smaller ones between them come along
                return slice(first, at)
            first = at + 1
    for at, entry in enumerate(entries):
        if entry.deleted > MOST_DELETED * entry.documents:
            return slice(at, at + 1)
    return None


def small_tail(parts: Sequence[Part], documents: int) -> int:
    """How many parts at the end a commit of so many documents rewrites with its own.

    One small segment after the other would have to be searched, each by itself, until a merge.
    """
    size_bytes, count = 0, 0
    for part in reversed(parts):
        documents += part.entry.live
        size_bytes += sum(file.size_bytes for file in part.stored.files.values())
        if documents > GATHERED or size_bytes > GATHERED_BYTES:
            break
        count += 1
    return count


def _level(live: int) -> int:
    level, size = 0, SMALLEST
    while live > size:
        level, size = level + 1, size * FAN
    return level


def rows_of(parts: Sequence[Part], vocab_size: int, columns: Mapping[str, ColumnType]) -> Rows:
    """The documents of parts that are not deleted, in order.

    Args:
        parts: of one collection.
        vocab_size: number of its terms.
        columns: its declared fields.
    """

    def ids() -> Iterator[str]:
        for part in parts:
            yield from map(part.stored.ids.doc_id, part.live_docs.tolist())

    def records() -> Iterator[bytes]:
        for part in parts:
            yield from part.records(part.live_docs, columns)

    def batches() -> Iterator[SparseVectors]:
        for part in parts:
            for first in range(0, part.live_docs.size, BATCH_ROWS):
                yield part.rows(part.live_docs[first : first + BATCH_ROWS], vocab_size)

    def origins() -> NDArray[np.uint8]:
        every = [part.origins()[part.live_docs] for part in parts]
        return np.concatenate([np.zeros(0, np.uint8), *every])

    return Rows(sum(part.live_docs.size for part in parts), ids, records, batches, origins)
