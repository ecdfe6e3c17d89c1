"""A segment: an immutable set of documents as inverted lists and records, mapped from disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.files.array_file import map_array
from tamis.index.files.maps import read_ahead
from tamis.index.interrupts import check_for_interrupts
from tamis.index.segment.blocks import has_blocks, open_blocks
from tamis.index.segment.lists import open_lists
from tamis.index.segment.loops.arrays import WINDOW, Knobs, Records
from tamis.index.segment.plain_search import loops_spared, search_all
from tamis.index.segment.quantize import (
    Precision,
    image_error,
    numbers,
    record_entry,
    term_scales,
)
from tamis.index.segment.scratch import own_scratch
from tamis.index.topk import TopK
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage

EXACT = Knobs(cut=0.0, slack=1.0)
_ALL = np.zeros(0, np.bool_)  # stands for "every document is allowed"
_FEW = 100  # documents to each allowed one
_LEAST_ROOM = 2  # documents: candidates among blocks stand there twice
_ROWS_A_TASK = 16  # queries that a thread takes at a time


class Segment:
    """Documents ``0 .. documents-1`` of one segment; safe to search from many threads."""

    def __init__(
        self,
        storage: Storage,
        folder: str,
        files: Mapping[str, FileEntry],
        documents: int,
        precision: Precision,
    ) -> None:
        def mapped(part: str) -> NDArray[Any]:
            name = f"{folder}/{part}"
            return map_array(storage, name, files[name])

        self.documents = documents
        self.precision = precision
        self._frequencies: NDArray[np.int32] = mapped("terms.frequencies")
        steps: NDArray[np.float32] = mapped("terms.steps")
        self._records = Records(
            mapped("records.starts"),
            mapped("records.entries").view(record_entry(steps.size, precision)),
            term_scales(steps, precision),
        )
        self._lists = open_lists(mapped, "lists.", steps)
        self._blocks = open_blocks(mapped, steps) if has_blocks(folder, files) else None

    @property
    def has_blocks(self) -> bool:
        """Whether it can be searched by blocks."""
        return self._blocks is not None

    @property
    def vocab_size(self) -> int:
        """Number of terms with a (possibly empty) posting list."""
        return self._frequencies.size

    @property
    def records(self) -> Records:
        """The documents' own vectors, as they are stored."""
        return self._records

    def search(
        self,
        queries: SparseVectors,
        k: int,
        knobs: Knobs = EXACT,
        threads: int = 1,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[TopK, NDArray[np.int64]]:
        """The best documents of each query.

        Args:
            queries: over this segment's vocabulary, at most `MAX_QUERY_TERMS` terms each.
            k: at least 1.
            knobs: how much to read, for all queries or ``[queries]`` for each; `EXACT` gives
                precisely the exhaustive result.
            threads: how many queries to answer at once.
            allowed: ``[documents]``, whether a document may be found; None for all. Whatever the
                knobs, k documents are found if so many allowed ones match.

        Returns:
            The result, and the postings read for each query: ``[queries]`` int64.
        """
        if knobs is EXACT and self.spares_loops(len(queries)):
            return search_all(queries, k, self._records, allowed)
        top, postings = _empty_result(len(queries), k)
        arrays = tuple(np.array(a) for a in (queries.offsets, queries.terms, queries.weights))
        of_each = Knobs(*(np.full(len(queries), knob) for knob in knobs))
        answer = self._answering(k, allowed)

        def answer_some(rows: slice) -> None:
            check_for_interrupts()
            answer(
                (arrays[0][rows.start : rows.stop + 1], *arrays[1:]),
                Knobs(*(knob[rows] for knob in of_each)),
                *(part[rows] for part in (top.docs, top.scores, top.work, postings)),
            )

        if len(queries) == 1:  # a query alone: the views would take a good part of its time
            check_for_interrupts()
            answer(arrays, of_each, top.docs, top.scores, top.work, postings)
            return top, postings
        tasks = _tasks(of_each.blocks)
        if threads == 1 or len(tasks) == 1:
            for rows in tasks:
                answer_some(rows)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(answer_some, tasks))
        return top, postings

    def _answering(self, k: int, allowed: NDArray[np.bool_] | None) -> Callable[..., None]:
        """What answers some queries, with knobs that ask for blocks for all of them or for none."""
        permitted = _ALL if allowed is None else allowed
        few, error = _few(permitted), image_error(self.precision)
        admitted = int(np.count_nonzero(permitted)) if permitted.size else self.documents
        depth = -(-k * self.documents // max(1, admitted))
        blocks, lists, records = self._blocks, self._lists, self._records

        def answer(queries: tuple[NDArray[Any], ...], knobs: Knobs, *found: NDArray[Any]) -> None:
            scratch = own_scratch(max(self.documents, _LEAST_ROOM), self.vocab_size)
            if blocks is not None and knobs.blocks[0]:
                from tamis.index.segment.loops.block_search import search_blocks

                search_blocks(queries, knobs, blocks, records, depth, permitted, scratch, *found)
                return
            from tamis.index.segment.loops.search import search

            search(queries, knobs, error, lists, records, permitted, few, scratch, *found)

        return answer

    def spares_loops(self, queries: int = 1) -> bool:
        """Whether an exact search for so many queries does without the compiled loops."""
        return loops_spared(self._records.entries.size * queries)

    def documents_from(self, term: int) -> int:
        """How many documents hold this term or a later one."""
        starts = self._records.starts
        ends = starts[1:][starts[1:] > starts[:-1]]
        return int(np.count_nonzero(self._records.entries["term"][ends - 1] >= term))

    def row(self, doc: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The terms, rising, and stored weights of one document."""
        start, stop = self._records.starts[doc], self._records.starts[doc + 1]
        entries = self._records.entries[start:stop]
        terms = entries["term"].astype(np.int32)
        weights = numbers(entries["impact"]) * self._records.scales[terms]
        return terms, weights.astype(np.float32)

    def rows(self, docs: NDArray[np.int64]) -> SparseVectors:
        """The stored vectors ``[docs]`` of several documents."""
        starts = self._records.starts[docs]
        if docs.size and docs[-1] - docs[0] < 2 * docs.size:  # most of a stretch
            read_ahead(self._records.entries[starts[0] : self._records.starts[docs[-1] + 1]])
        offsets = np.concatenate([[0], np.cumsum(self._records.starts[docs + 1] - starts)])
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))
        entries = self._records.entries[places]
        terms = entries["term"].astype(np.int32)
        weights = (numbers(entries["impact"]) * self._records.scales[terms]).astype(np.float32)
        return SparseVectors(offsets.astype(np.int64), terms, weights, self.vocab_size)

    def some_docs_with(self, term: int, most: int) -> NDArray[np.int64]:
        """A few documents that hold a term, deleted ones too: its first, or its strongest."""
        docs: NDArray[np.int64] = np.empty(0, np.int64)
        lists, row = self._lists, int(self._lists.rows[term])
        if row < 0:
            start, stop = lists.rare_starts[term], lists.rare_starts[term + 1]
            docs = lists.rare_postings["doc"][start:stop][:most].astype(np.int64)
        bounds = lists.slices[:, row : row + 2].astype(np.int64) + lists.bases[:-1, None]
        held = bounds[:, 0] < bounds[:, 1] if row >= 0 else np.zeros(0, np.bool_)
        for window in np.flatnonzero(held)[:1].tolist():
            start, stop = bounds[window]
            docs = lists.postings["place"][start:stop][:most].astype(np.int64) + window * WINDOW
        return docs

    def docs_with(self, term: int) -> NDArray[np.int64]:
        """The documents that hold a term, rising; deleted ones too."""
        lists, row = self._lists, int(self._lists.rows[term])
        if row < 0:
            start, stop = lists.rare_starts[term], lists.rare_starts[term + 1]
            docs: NDArray[np.int64] = lists.rare_postings["doc"][start:stop].astype(np.int64)
            return docs
        marks = np.zeros(self.documents, np.bool_)
        self.mark(term, marks)
        return np.flatnonzero(marks)

    def mark(self, term: int, marks: NDArray[np.bool_]) -> None:
        """Set ``marks[doc]`` of the documents that hold a term, deleted ones too."""
        lists, row = self._lists, int(self._lists.rows[term])
        if row < 0:
            start, stop = lists.rare_starts[term], lists.rare_starts[term + 1]
            marks[lists.rare_postings["doc"][start:stop]] = True
            return
        for window, base in enumerate(lists.bases[:-1].tolist()):
            start, stop = (base + int(at) for at in lists.slices[window, row : row + 2])
            marks[window * WINDOW :][lists.postings["place"][start:stop]] = True

    def document_frequency(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many documents hold each of ``terms``: ``[n]`` int64."""
        return self._frequencies[terms].astype(np.int64)


def _tasks(by_blocks: NDArray[np.bool_]) -> list[slice]:
    """Runs of at most `_ROWS_A_TASK` queries that are all searched by blocks, or none of them."""
    turns = np.flatnonzero(by_blocks[1:] != by_blocks[:-1]) + 1
    runs = np.unique([0, *turns.tolist(), *range(0, by_blocks.size, _ROWS_A_TASK), by_blocks.size])
    return [slice(a, b) for a, b in zip(runs[:-1].tolist(), runs[1:].tolist(), strict=True)]


def _few(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The allowed documents, if they are so few that scoring them beats reading lists."""
    if np.count_nonzero(allowed) * _FEW > allowed.size:
        return np.empty(0, np.int32)
    return np.flatnonzero(allowed).astype(np.int32)


def _empty_result(queries: int, k: int) -> tuple[TopK, NDArray[np.int64]]:
    top = TopK(
        np.empty((queries, k), np.int32),
        np.empty((queries, k), np.float32),
        np.empty(queries, np.int64),
    )
    return top, np.empty(queries, np.int64)
