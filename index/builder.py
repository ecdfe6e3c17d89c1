"""Turning rows into a segment: the documents' records, then inverted lists, in bounded memory.

The batches are read twice, to measure the terms and to write the records; the lists are made from
the records, which are a mapped file. Memory holds one batch, 8 bytes a document, 50 bytes a term,
and 1 KB a common term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import InputError
from tamis.index.loops.arrays import POSTING, RARE_POSTING, TIERS, WINDOW, Records
from tamis.index.loops.lists import count_images, count_slices, fill_window, measure, tier_bounds
from tamis.index.quantize import impacts_of, record_entry, term_scales, term_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from tamis.index.quantize import Precision
    from tamis.index.storage import FileEntry, Storage
    from tamis.index.vectors import SparseVectors

    Batches = Callable[[], Iterable[SparseVectors]]

MAX_DOCUMENTS = 2**31 - 1
COMMON = 64  # documents that make a term common; lists below are never cut
TIER_SHARES = (1 / 16, 1 / 4)  # of a common term's list: in the first tier, in the first two


def write_segment(
    storage: Storage,
    folder: str,
    batches: Batches,
    vocab_size: int,
    precision: Precision,
) -> dict[str, FileEntry]:
    """Write the records and lists of all batches.

    Args:
        storage: where to write.
        folder: the segment's folder, which exists.
        batches: gives the same batches at each call; rows are documents in order. A batch's
            vocabulary may be smaller than ``vocab_size``.
        vocab_size: number of terms, at least that of every batch.
        precision: how weights are stored.

    Returns:
        The files written.

    Raises:
        InputError: there are more documents, or more entries in a window, than can be numbered.
    """
    starts, frequencies, largest = _measure(batches(), vocab_size)
    steps = term_steps(largest, precision)
    files = storage.write_arrays(
        f"{folder}/",
        {
            "records.starts": starts,
            "terms.frequencies": frequencies.astype(np.int32),
            "terms.steps": steps,
        },
    )
    records = _write_records(storage, folder, batches(), starts, steps, precision, files)
    _write_lists(storage, folder, records, frequencies, steps, files)
    return files


def _measure(
    batches: Iterable[SparseVectors], vocab_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Where each document's entries begin, each term's documents, and its largest weight."""
    frequencies, largest = np.zeros(vocab_size, np.int64), np.zeros(vocab_size, np.float32)
    lengths = [np.zeros(1, np.int64)]
    for batch in batches:
        measure(batch.terms, batch.weights, frequencies, largest)
        lengths.append(np.diff(batch.offsets))
    starts = np.cumsum(np.concatenate(lengths))
    if starts.size - 1 > MAX_DOCUMENTS:
        raise InputError(
            f"expected at most {MAX_DOCUMENTS} documents in a segment, found {starts.size - 1}; "
            "build several indexes"
        )
    return starts, frequencies, largest


def _write_records(
    storage: Storage,
    folder: str,
    batches: Iterable[SparseVectors],
    starts: NDArray[np.int64],
    steps: NDArray[np.float32],
    precision: Precision,
    files: dict[str, FileEntry],
) -> Records:
    name = f"{folder}/records.entries"
    entries = storage.create_array(name, record_entry(steps.size, precision), (int(starts[-1]),))
    scales, at = term_scales(steps, precision), 0
    for batch in batches:
        part = entries[at : at + batch.nnz]
        part["term"] = batch.terms
        part["impact"] = impacts_of(batch.weights, scales[batch.terms], precision)
        at += batch.nnz
    files[name] = storage.seal(name, entries)
    return Records(starts, entries, scales)


def _write_lists(
    storage: Storage,
    folder: str,
    records: Records,
    frequencies: NDArray[np.int64],
    steps: NDArray[np.float32],
    files: dict[str, FileEntry],
) -> None:
    common = frequencies >= COMMON
    rows = np.where(common, np.cumsum(common) - 1, -1).astype(np.int32)
    rare_starts = np.concatenate([[0], np.cumsum(np.where(common, 0, frequencies))])
    names = [f"{folder}/lists.{part}" for part in ("postings", "rare_postings", "slices")]
    windows, rows_count = -(-(records.starts.size - 1) // WINDOW), int(common.sum())
    arrays: list[NDArray[Any]] = [
        storage.create_array(names[0], POSTING, (int(frequencies[common].sum()),)),
        storage.create_array(names[1], RARE_POSTING, (int(rare_starts[-1]),)),
        storage.create_array(names[2], np.uint32, (windows, rows_count * TIERS + 1)),
    ]
    bases = _fill(records, steps, rows, rare_starts, arrays)
    for name, array in zip(names, arrays, strict=True):
        files[name] = storage.seal(name, array)
    files |= storage.write_arrays(
        f"{folder}/lists.", {"rows": rows, "bases": bases, "rare_starts": rare_starts}
    )


def _fill(
    records: Records,
    steps: NDArray[np.float32],
    rows: NDArray[np.int32],
    rare_starts: NDArray[np.int64],
    arrays: list[NDArray[Any]],
) -> NDArray[np.int64]:
    """Fill postings and slices window by window; where each window's postings begin."""
    postings, rare_postings, slices = arrays
    documents, rare_cursors = records.starts.size - 1, rare_starts[:-1].copy()
    bounds = _tier_bounds(records, steps, rows, documents)
    bases = np.zeros(len(slices) + 1, np.int64)
    for window in range(len(slices)):
        first, last = window * WINDOW, min((window + 1) * WINDOW, documents)
        ends = np.zeros(slices.shape[1], np.int64)
        count_slices(records, steps, rows, bounds, first, last, ends)
        np.cumsum(ends, out=ends)
        slices[window] = _checked_slices(ends)
        cursors = bases[window] + ends[:-1]
        fill_window(
            records,
            steps,
            rows,
            bounds,
            first,
            last,
            cursors,
            rare_cursors,
            postings,
            rare_postings,
        )
        bases[window + 1] = bases[window] + ends[-1]
    return bases


def _tier_bounds(
    records: Records, steps: NDArray[np.float32], rows: NDArray[np.int32], documents: int
) -> NDArray[np.uint8]:
    counts = np.zeros((int(rows.max(initial=-1)) + 1, 256), np.uint32)
    count_images(records, steps, rows, 0, documents, counts)
    bounds: NDArray[np.uint8] = tier_bounds(counts, np.array(TIER_SHARES), COMMON)
    return bounds


def _checked_slices(ends: NDArray[np.int64]) -> NDArray[np.uint32]:
    if ends[-1] >= 2**32:
        raise InputError(
            f"expected fewer than 2**32 entries in {WINDOW} documents, found {ends[-1]}; "
            "prune the documents' vectors"
        )
    return ends.astype(np.uint32)
