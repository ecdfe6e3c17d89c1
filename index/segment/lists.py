"""Writing and opening inverted lists: of a segment's documents, or of its blocks' summaries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files import system
from tamis.index.files.array_file import create_array, seal, write_arrays
from tamis.index.segment.loops.arrays import POSTING, RARE_POSTING, WINDOW, Lists, Records

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage

COMMON = 64  # documents that make a term common


def write_lists(
    storage: Storage,
    prefix: str,
    records: Records,
    frequencies: NDArray[np.int64],
    steps: NDArray[np.float32],
) -> dict[str, FileEntry]:
    """Write the lists of all records, as files that begin with ``prefix``; the files written."""
    from tamis.index.segment.loops.lists import fill_rare

    common = frequencies >= COMMON
    rows = np.where(common, np.cumsum(common) - 1, -1).astype(np.int32)
    rare_starts = np.concatenate([[0], np.cumsum(np.where(common, 0, frequencies))])
    files = write_arrays(storage, prefix, {"rows": rows, "rare_starts": rare_starts})
    files |= write_common(storage, prefix, records, steps, rows, int(frequencies[common].sum()))
    name = f"{prefix}rare_postings"
    rare = create_array(storage, name, RARE_POSTING, (int(rare_starts[-1]),))
    fill_rare(records, steps, rows, rare_starts[:-1].copy(), rare)
    files[name] = seal(storage, name, rare)
    return files


def open_lists(
    mapped: Callable[[str], NDArray[Any]], prefix: str, steps: NDArray[np.float32]
) -> Lists:
    """The lists whose files begin with ``prefix``, which ``mapped`` gives by their names.

    Raises:
        KeyError: a file is not there.
    """
    bases, slices, postings = (mapped(f"{prefix}{name}") for name in ("bases", "starts", "ranked"))
    postings = postings.view(POSTING)
    try:
        weaker = mapped(f"{prefix}weaker")
    except KeyError:  # only later indexes of format 2 have it
        weaker = _weaker(postings, bases, slices)
    return Lists(
        rows=mapped(f"{prefix}rows"),
        bases=bases,
        slices=slices,
        postings=postings,
        weaker=weaker,
        rare_starts=mapped(f"{prefix}rare_starts"),
        rare_postings=mapped(f"{prefix}rare_postings").view(RARE_POSTING),
        steps=steps,
    )


def _weaker(
    postings: NDArray[Any], bases: NDArray[np.int64], slices: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """What earlier indexes do not hold; see `count_weaker`."""
    from tamis.index.segment.loops.lists import count_weaker

    counted: NDArray[np.uint32] = count_weaker(postings, bases, slices)
    return counted


def write_common(
    storage: Storage,
    prefix: str,
    records: Records,
    steps: NDArray[np.float32],
    rows: NDArray[np.int32],
    count: int,
) -> dict[str, FileEntry]:
    """Write the ``count`` postings of the common terms, which have ``rows``; as `write_lists`."""
    from tamis.index.segment.loops.lists import count_weaker

    windows = -(-(records.starts.size - 1) // WINDOW)
    ranked, starts = f"{prefix}ranked", f"{prefix}starts"
    postings = create_array(storage, ranked, POSTING, (count,))
    slices = create_array(storage, starts, np.uint32, (windows, int(rows.max(initial=-1)) + 2))
    bases = _fill_common(records, steps, rows, postings, slices)
    weaker = count_weaker(postings, bases, slices)
    return {
        ranked: seal(storage, ranked, postings),
        starts: seal(storage, starts, slices),
        **write_arrays(storage, prefix, {"bases": bases, "weaker": weaker}),
    }


def _fill_common(
    records: Records,
    steps: NDArray[np.float32],
    rows: NDArray[np.int32],
    postings: NDArray[Any],
    slices: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Fill postings and slices, windows side by side; where each window's postings begin."""
    from tamis.index.segment.loops.lists import count_slices, fill_window, sort_slices

    documents, windows = records.starts.size - 1, range(len(slices))
    bases = np.zeros(len(slices) + 1, np.int64)

    def span(window: int) -> tuple[int, int]:
        return window * WINDOW, min((window + 1) * WINDOW, documents)

    def count(window: int) -> None:
        ends = np.zeros(slices.shape[1], np.int64)
        count_slices(records, rows, *span(window), ends)
        slices[window] = _checked_slices(np.cumsum(ends))

    def fill(window: int) -> None:
        begins = slices[window].astype(np.int64)
        fill_window(records, steps, rows, *span(window), bases[window] + begins[:-1], postings)
        sort_slices(postings, bases[window], begins)

    _for_each(count, windows)
    np.cumsum(slices[:, -1], out=bases[1:], dtype=np.int64)
    _for_each(fill, windows)
    return bases


def _for_each(work: Callable[[int], None], windows: range) -> None:
    """Work on all windows, side by side if there are several."""
    if len(windows) == 1:
        work(0)
        return
    with ThreadPoolExecutor(system.usable_cores()) as pool:
        list(pool.map(work, windows))


def _checked_slices(ends: NDArray[np.int64]) -> NDArray[np.uint32]:
    if ends[-1] >= 2**32:
        raise InputError(
            f"expected fewer than 2**32 entries in {WINDOW} documents, found {ends[-1]}; "
            "prune the documents' vectors"
        )
    return ends.astype(np.uint32)
