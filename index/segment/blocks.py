"""Blocks of a large segment: documents in an order in which like ones are near, and summaries.

They are made of the segment's records alone, and can be left out or made again at any time.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.files import system
from tamis.index.files.array_file import map_array, write_arrays
from tamis.index.segment.lists import open_lists, write_lists
from tamis.index.segment.loops.arrays import BLOCK, POSTING, Blocks, Records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage

PART = "blocks"  # what its files begin with, and the manifest calls it
FROM_DOCUMENTS = 16_000_000  # of a segment that has blocks; 8.8 million were faster without
SUMMARY_SHARE = 0.65  # entries of summaries to those of their documents, on real vectors
_BLOCKS_A_TASK = 8_192
_RANGES_A_CORE = 4  # that are ordered side by side


def write_blocks(
    storage: Storage, folder: str, records: Records, steps: NDArray[np.float32]
) -> dict[str, FileEntry]:
    """Write the blocks of a segment; the files written."""
    members = order_documents(records, steps.size)
    prefix = f"{folder}/{PART}."
    files = write_arrays(storage, prefix, {"members": members})
    return files | _write_summaries(storage, folder, prefix, records, steps, members)


def is_large(documents: int) -> bool:
    """Whether a segment of so many documents has blocks: in a smaller one lists take no longer."""
    return documents >= FROM_DOCUMENTS


def expected_bytes(documents: int, entries: float) -> float:
    """Bytes of the blocks of a segment of so many documents and entries."""
    if not is_large(documents):
        return 0.0
    return entries * SUMMARY_SHARE * POSTING.itemsize + documents * 4


def order_documents(records: Records, vocab_size: int) -> NDArray[np.int32]:
    """All documents, like ones near: ``[documents]`` int32. The same for any number of threads."""
    from tamis.index.segment.loops.ordering import bisect, split

    order = np.arange(records.starts.size - 1, dtype=np.int32)
    cores = system.usable_cores()

    def direction() -> NDArray[np.float32]:
        return np.zeros(vocab_size, np.float32)

    def halves(part: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        if part.size <= BLOCK:
            return [part]
        middle = split(records, part, BLOCK, direction())
        return [part[:middle], part[middle:]]

    ranges = [order]
    with ThreadPoolExecutor(cores) as pool:
        while len(ranges) < cores * _RANGES_A_CORE and ranges[0].size > BLOCK:
            ranges = [half for both in pool.map(halves, ranges) for half in both]
        list(pool.map(lambda part: bisect(records, part, BLOCK, direction()), ranges))
    return order


def open_blocks(mapped: Callable[[str], NDArray[Any]], steps: NDArray[np.float32]) -> Blocks:
    """The blocks of a segment whose files ``mapped`` gives by their names."""
    return Blocks(open_lists(mapped, f"{PART}.lists.", steps), mapped(f"{PART}.members"))


def has_blocks(folder: str, files: Mapping[str, FileEntry]) -> bool:
    """Whether a segment has blocks."""
    return f"{folder}/{PART}.members" in files


def add_blocks(
    storage: Storage, folder: str, files: Mapping[str, FileEntry], records: Records
) -> dict[str, FileEntry]:
    """Write the blocks of a segment that was written without; the files written."""
    steps = map_array(storage, f"{folder}/terms.steps", files[f"{folder}/terms.steps"])
    return write_blocks(storage, folder, records, steps)


def _term_type(vocab_size: int) -> str:
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


def _write_summaries(
    storage: Storage,
    folder: str,
    prefix: str,
    records: Records,
    steps: NDArray[np.float32],
    members: NDArray[np.int32],
) -> dict[str, FileEntry]:
    """Write the lists of the summaries, which lie in a file without a name meanwhile."""
    from tamis.index.segment.loops.summaries import count_terms, fill_summaries

    blocks = -(-members.size // BLOCK)
    lengths = np.zeros(blocks, np.int64)

    def count(first: int, last: int) -> None:
        seen = np.full(steps.size, -1, np.int32)
        count_terms(records, members, first, last, seen, lengths)

    _for_blocks(blocks, count)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    kind = np.dtype([("term", _term_type(steps.size)), ("impact", "u1")])
    with tempfile.TemporaryFile(dir=storage.path(folder)) as file:
        file.truncate(max(1, int(starts[-1]) * kind.itemsize))
        summaries = np.memmap(file, kind, "r+", shape=(int(starts[-1]),))

        def fill(first: int, last: int) -> None:
            places = np.full(steps.size, -1, np.int64)
            fill_summaries(records, steps, members, first, last, places, starts, summaries)

        _for_blocks(blocks, fill)
        frequencies = np.zeros(steps.size, np.int64)
        for first in range(0, summaries.size, 1 << 24):
            part = summaries["term"][first : first + (1 << 24)]
            frequencies += np.bincount(part, minlength=steps.size)
        vectors = Records(starts, summaries, steps)
        return write_lists(storage, f"{prefix}lists.", vectors, frequencies, steps)


def _for_blocks(blocks: int, work: Callable[[int, int], None]) -> None:
    """Work on all blocks, part by part, side by side."""
    firsts = range(0, blocks, _BLOCKS_A_TASK)
    with ThreadPoolExecutor(system.usable_cores()) as pool:
        list(pool.map(lambda first: work(first, min(first + _BLOCKS_A_TASK, blocks)), firsts))
