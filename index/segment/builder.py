"""Turning rows into a segment: the documents' records, then inverted lists, in bounded memory.

The batches are read twice, to measure the terms and to write the records; the lists are made from
the records, which are a mapped file. Memory holds one batch, 8 bytes a document, 50 bytes a term
that a document holds, however large its number, and 1 KB a common term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.array_file import create_array, map_array, seal, write_arrays
from tamis.index.segment.blocks import is_large, write_blocks
from tamis.index.segment.lists import write_common, write_lists
from tamis.index.segment.loops.arrays import Records
from tamis.index.segment.measured_terms import MeasuredTerms
from tamis.index.segment.quantize import impacts_of, record_entry, term_scales, term_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.segment.quantize import Precision
    from tamis.index.vectors import SparseVectors

    Batches = Callable[[], Iterable[SparseVectors]]

MAX_DOCUMENTS = 2**31 - 1
TERM_IDS = "terms.ids"
_COMPACT_SHARE = 2  # a segment that uses less than one in so many terms numbers its own


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
        The files written. ``terms.ids`` is among them where the segment uses few of the terms and
        numbers them itself: ``[local terms]`` int32, rising, the term of each local one.

    Raises:
        InputError: there are more documents, or more entries in a window, than can be numbered.
    """
    starts, measured = _measure(batches())
    used, frequencies, largest = measured.rising()
    terms = _few_terms(used, vocab_size)
    arrays: dict[str, NDArray[Any]] = {"records.starts": starts}
    if terms is not None:
        arrays[TERM_IDS] = terms
    places, count = (used, vocab_size) if terms is None else (slice(used.size), terms.size)
    frequencies, largest = _spread(frequencies, places, count), _spread(largest, places, count)
    steps = term_steps(largest, precision)
    arrays |= {"terms.frequencies": frequencies.astype(np.int32), "terms.steps": steps}
    files = write_arrays(storage, f"{folder}/", arrays)
    local = batches() if terms is None else _renumbered(batches(), terms)
    records = _write_records(storage, folder, local, starts, steps, precision, files)
    files |= write_lists(storage, f"{folder}/lists.", records, frequencies, steps)
    if is_large(starts.size - 1):
        files |= write_blocks(storage, folder, records, steps)
    return files


def _measure(batches: Iterable[SparseVectors]) -> tuple[NDArray[np.int64], MeasuredTerms]:
    """Where each document's entries begin, and the terms."""
    measured, lengths = MeasuredTerms(), [np.zeros(1, np.int64)]
    for batch in batches:
        measured.take(batch)
        lengths.append(np.diff(batch.offsets))
    starts = np.cumsum(np.concatenate(lengths))
    if starts.size - 1 > MAX_DOCUMENTS:
        raise InputError(
            f"expected at most {MAX_DOCUMENTS} documents in a segment, found {starts.size - 1}; "
            "build several indexes"
        )
    return starts, measured


def _few_terms(used: NDArray[np.int32], vocab_size: int) -> NDArray[np.int32] | None:
    """The terms that are used, at least one; None where they are not few of all there are."""
    if used.size * _COMPACT_SHARE >= vocab_size:
        return None
    return used if used.size else np.zeros(1, np.int32)


def _spread(values: NDArray[Any], places: NDArray[np.int32] | slice, count: int) -> NDArray[Any]:
    """``[count]``, values at their places and 0 elsewhere."""
    spread = np.zeros(count, values.dtype)
    spread[places] = values
    return spread


def _renumbered(
    batches: Iterable[SparseVectors], terms: NDArray[np.int32]
) -> Iterator[SparseVectors]:
    """The vectors over the places of their terms among ``terms``."""
    for batch in batches:
        places = terms.searchsorted(batch.terms).astype(np.int32)
        yield batch.renumbered(places, terms.size)


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
    entries = create_array(storage, name, record_entry(steps.size, precision), (int(starts[-1]),))
    scales, at = term_scales(steps, precision), 0
    for batch in batches:
        part = entries[at : at + batch.nnz]
        part["term"] = batch.terms
        part["impact"] = impacts_of(batch.weights, scales[batch.terms], precision)
        at += batch.nnz
    files[name] = seal(storage, name, entries)
    return Records(starts, entries, scales)


def rank_lists(
    storage: Storage, folder: str, files: Mapping[str, FileEntry], precision: Precision
) -> dict[str, FileEntry]:
    """Write the common terms' lists of a segment again, from its records; the files written.

    A segment of format 1 ordered them in another way.
    """

    def mapped(part: str) -> NDArray[Any]:
        return map_array(storage, f"{folder}/{part}", files[f"{folder}/{part}"])

    steps, rows, frequencies = (
        mapped(part) for part in ("terms.steps", "lists.rows", "terms.frequencies")
    )
    entries = mapped("records.entries").view(record_entry(steps.size, precision))
    records = Records(mapped("records.starts"), entries, term_scales(steps, precision))
    count = int(frequencies[rows >= 0].sum())
    return write_common(storage, f"{folder}/lists.", records, steps, rows, count)
