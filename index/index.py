"""Index: the vector-level face of a collection. Sparse vectors in, document numbers out."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tamis.index.errors import InputError, MismatchError
from tamis.index.files.array_file import map_array, write_arrays
from tamis.index.files.lock import FolderLock, refuse_foreign
from tamis.index.files.storage import Storage
from tamis.index.generations.draft import SEGMENTS, Draft, dictionary_part
from tamis.index.generations.manifest import BUILD, Pin, pin_current, refuse_existing
from tamis.index.generations.part_writer import finished_part
from tamis.index.generations.parts import best_of, check_files, frequencies_of, open_parts
from tamis.index.generations.settings import CollectionSettings
from tamis.index.generations.spool import spooled
from tamis.index.params import IndexConfig, SearchParams
from tamis.index.segment.builder import write_segment
from tamis.index.segment.calibration import LONG, Calibration, Sample
from tamis.index.segment.columns import write_columns
from tamis.index.segment.identifiers import Identifiers
from tamis.index.segment.loops.arrays import MAX_QUERY_TERMS, Knobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.generations.manifest import Manifest
    from tamis.index.generations.parts import Part
    from tamis.index.segment.columns import Column
    from tamis.index.segment.values import ColumnType, Value
    from tamis.index.topk import TopK
    from tamis.index.vectors import SparseVectors


MAX_K = 10_000
_SCARCE = 10  # documents to each one that a filter allows


class Index:
    """Searches one generation of a collection's folder; safe to use from many threads.

    Documents are numbered by their segments' order; the numbers of deleted documents stay unused
    until a merge. The generation's files stay in place until `close`, or until the index is
    forgotten.
    """

    def __init__(self, path: Path, manifest: Manifest, parts: Sequence[Part], pin: Pin) -> None:
        self.path = path
        self.manifest = manifest
        self.parts = tuple(parts)
        self._pin = pin
        self._firsts = [part.first for part in parts]

    def __len__(self) -> int:
        return self.manifest.documents

    @property
    def calibration(self) -> Calibration:
        """Which knobs reach which recall, in the largest segment; each has a table of its own."""
        return self.manifest.calibration

    @property
    def vocab_size(self) -> int:
        """Number of terms a query vector may use."""
        return self.manifest.vocab_size

    @property
    def columns(self) -> dict[str, ColumnType]:
        """The declared fields and their types."""
        return self.manifest.settings.columns

    @property
    def awaiting(self) -> int:
        """How many documents are found by their words alone: their learned vectors are to come."""
        return sum(part.awaiting for part in self.parts)

    @cached_property
    def first_word(self) -> int | None:
        """The first term of the lexical channel, whose terms are the last; None without it."""
        for name, entry in self.manifest.files.items():
            if dictionary_part(name) == "first_term":
                return int(map_array(Storage(self.path), name, entry)[0])
        return None

    @staticmethod
    def build(
        path: str | Path,
        vectors: SparseVectors | Iterable[SparseVectors],
        ids: Iterable[str] | None = None,
        config: IndexConfig = IndexConfig(),  # noqa: B008  frozen
        calibration: SparseVectors | None = None,
        columns: Sequence[Column] = (),
    ) -> Index:
        """Write an index of sparse vectors and open it.

        Args:
            path: a folder that does not hold an index yet.
            vectors: the documents, in one batch or many; many are spooled to disk.
            ids: one id for each document; None numbers them from 0.
            config: how to store the vectors.
            calibration: queries like those to come, for the table from recall to knobs; without
                any, documents stand in for them.
            columns: values of the documents to filter searches by.

        Raises:
            InputError: ids or columns and vectors differ in number, an id is there twice, or the
                folder holds an index already.
            LockedError: another process builds there.
            MismatchError: the calibration's queries use another vocabulary.
        """
        storage = Storage(path)
        refuse_existing(storage)
        refuse_foreign(storage)
        storage.make_folder()
        with FolderLock(storage):
            batches, rows, vocab_size = spooled(storage, vectors)
            if calibration is not None:
                check_queries(calibration, vocab_size)
            draft, folder = Draft.first(storage, config.precision), f"{SEGMENTS}/000001"
            storage.make_folder(folder)
            files = _write_ids(storage, folder, rows, ids) | _write_columns(
                storage, folder, rows, columns
            )
            files |= write_segment(storage, folder, batches, vocab_size, config.precision)
            sample = Sample(calibration) if calibration is not None else None
            entry = finished_part(storage, folder, files, config.precision, sample=sample)
            draft.insert(0, entry, files)
            kinds = {column.name: column.kind for column in columns}
            draft.publish_first(vocab_size, CollectionSettings(columns=kinds))
            storage.remove_folder(BUILD)
        return Index.open(path)

    @staticmethod
    def open(path: str | Path, verify: Literal["full", "lazy"] = "full") -> Index:
        """Map the index of a folder.

        Args:
            path: a folder written by `Index.build` or ``tamis index``. Its files are mapped, not
                copied: they must not be changed in place while the index is open.
            verify: "full" compares every file's checksum now; "lazy" leaves the documents' text
                to be compared record by record, each time before it is used.

        Raises:
            FormatError: no index, an unfinished one, or one of another format version.
            CorruptionError: a file is missing or differs from what was written.
        """
        storage = Storage(path)
        manifest, pin = pin_current(storage)
        with pin:
            check_files(storage, manifest, verify)
            return Index(Path(path), manifest, open_parts(storage, manifest), pin)

    def close(self) -> None:
        """Let the generation's files be removed when another has taken its place."""
        self._pin.release()

    def pin(self) -> None:
        """Keep the generation's files in place again, after `close`, before anybody writes.

        A generation that nobody keeps in place costs no open file. It may be searched all the
        same while it is the current one and nobody writes.
        """
        self._pin = Pin.of(Storage(self.path), self.manifest.generation)

    def again(self) -> Index:
        """The same generation, which stays open when this one is closed."""
        return Index(self.path, self.manifest, self.parts, self._pin.again())

    def locate(self, doc: int) -> tuple[Part, int]:
        """The part that holds a document number, and the number there."""
        part = self.parts[bisect_right(self._firsts, doc) - 1]
        return part, doc - part.first

    def live_docs(self) -> NDArray[np.int64]:
        """The numbers of all documents that are not deleted, rising."""
        found = [part.first + part.live_docs for part in self.parts]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def doc_id(self, doc: int) -> str:
        """The corpus's id of a document number."""
        part, at = self.locate(doc)
        return part.stored.ids.doc_id(at)

    def doc(self, doc_id: str) -> int | None:
        """The document number of an id, or None."""
        for part in reversed(self.parts):
            at = part.doc(doc_id)
            if at is not None:
                return part.first + at
        return None

    def docs_hashed(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The documents whose ids have one of these xxh3-64 (`hashes_of`), in no order."""
        found = [
            part.first + part.among_live(part.stored.ids.hashed(hashes)) for part in self.parts
        ]
        return np.concatenate([np.empty(0, np.int64), *found])

    def docs_holding(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """The documents that hold any of ``terms``, rising."""
        found = [part.first + part.docs_with(terms) for part in self.parts]
        return np.concatenate([np.empty(0, np.int64), *found])

    def some_docs_holding(self, term: int, most: int) -> list[int]:
        """At most so many documents that hold a term; none where those looked at are deleted."""
        found: list[int] = []
        for part in self.parts:
            if len(found) < most:
                found += (part.first + part.some_docs_with(term, most)).tolist()
        return found[:most]

    def docs_with(self, field: str, values: Sequence[Value]) -> NDArray[np.int64]:
        """The documents that have one of these values in a declared field, rising.

        Raises:
            InputError: the field is not declared, or a value is of another type.
        """
        self.check_declared(field)
        found = [np.empty(0, np.int64)]
        for part in self.parts:
            column = part.columns(self.columns)[field]
            having = np.isin(column.values, column.places_of_whole(values)) & ~column.missing
            found.append(part.first + part.among_live(np.flatnonzero(having)))
        return np.concatenate(found)

    def without(self, docs: NDArray[np.int64]) -> Index:
        """This index for a search that finds none of these documents; it counts them still."""
        parts = [part.without(own) if (own := part.own(docs)).size else part for part in self.parts]
        return Index(self.path, self.manifest, parts, self._pin)

    def only(self, docs: NDArray[np.int64]) -> Index:
        """This index for a search that finds none but these documents; it counts all still."""
        parts = [part.only(part.own(docs)) for part in self.parts]
        return Index(self.path, self.manifest, parts, self._pin)

    def row(self, doc: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The terms, rising, and stored weights of one document."""
        part, at = self.locate(doc)
        return part.row(at)

    def weights_of(self, doc: int, terms: NDArray[np.int32]) -> NDArray[np.float32]:
        """The stored weights ``[n]`` of ``terms`` in one document, 0 where it lacks the term."""
        held, weights = self.row(doc)
        places = np.minimum(np.searchsorted(held, terms), max(held.size - 1, 0))
        found = np.zeros(len(terms), np.float32)
        if held.size:
            np.copyto(found, weights[places], where=held[places] == terms)
        return found

    def values_of(self, field: str, docs: Iterable[int]) -> list[Value]:
        """The values of a declared field, None where a document has none.

        Raises:
            InputError: the field is not declared.
        """
        self.check_declared(field)
        found = []
        for doc in docs:
            part, at = self.locate(int(doc))
            found.append(part.columns(self.columns)[field].value(at))
        return found

    def check_declared(self, field: str) -> None:
        """Refuse a field that is not declared (InputError)."""
        if field not in self.columns:
            raise InputError(
                f"expected a declared field ({', '.join(self.columns) or 'none'}), found "
                f"{field!r}; declare it, with `tamis patch DIR --fields` in an index that is there"
            )

    def frequencies(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The terms that documents hold, rising, and how many hold each.

        Reads every deleted document.
        """
        return frequencies_of(self.parts)

    def holds(self, terms: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether any document holds each of ``terms``: ``[n]``; deleted ones do until a merge."""
        held = np.zeros(terms.size, np.bool_)
        for part in self.parts:
            held |= part.holds(terms)
        return held

    def document_frequency(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many documents hold each of ``terms``: ``[n]``. Reads every deleted document."""
        held, counts = self.frequencies()
        if held.size == 0:
            return np.zeros(len(terms), np.int64)
        places = held.searchsorted(terms)
        found = held.take(places, mode="clip") == terms
        return np.where(found, counts.take(places, mode="clip"), 0)

    @property
    def spares_loops(self) -> bool:
        """Whether a search answers at once, without the compiled loops that others load."""
        return all(
            not part.entry.calibration.rows and part.stored.segment.spares_loops()
            for part in self.parts
        )

    def search(
        self,
        queries: SparseVectors,
        k: int = 10,
        *,
        recall: float | None = 0.99,
        exact: bool = False,
        threads: int = 1,
        params: SearchParams | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> TopK:
        """The k best documents of each query by dot product.

        Args:
            queries: over this index's vocabulary. A query without terms finds nothing.
            k: 1 to 10,000.
            recall: the share of the true top k to find at least, above 0 and at most 1, on
                average over queries like those of the calibration; None for all.
            exact: ask for precisely the exhaustive top k.
            threads: how many queries to answer at once.
            params: the weight of the lexical channel, and knobs to use in place of those that
                ``recall`` stands for.
            where: a filter over declared columns, see filters.py. As many documents are found
                as match it and share a term with the query, up to k.

        Raises:
            InputError: k, recall or threads is out of range, the filter is faulty, or words are
                to be weighed where there is no lexical channel.
            MismatchError: the queries use another vocabulary.
        """
        self._check_search(queries, k, recall, threads)
        if params is not None and params.lexical_weight is not None:
            queries = self._weigh_words(queries, params.lexical_weight)
        share = 1.0 if recall is None else recall
        found = []
        for part in self.parts:
            allowed = part.allowed(where, self.columns)
            depth = k if where is None else _depth(k, allowed)
            by_blocks = where is None and not _has_knobs(params)
            if exact:
                share, params = 1.0, None
            knobs = _knobs(part, queries, depth, share, params, by_blocks)
            found.append((part.first, part.search(queries, k, knobs, threads, allowed)[0]))
        return best_of(found, len(queries), k)

    def _weigh_words(self, queries: SparseVectors, factor: float) -> SparseVectors:
        """The queries with the lexical channel's weights times a factor."""
        if self.first_word is None:
            raise InputError(
                "expected an index with the lexical channel to weigh its words, found one without; "
                "leave lexical_weight out"
            )
        return queries.scaled(np.where(queries.terms < self.first_word, 1.0, factor))

    def _check_search(
        self, queries: SparseVectors, k: int, recall: float | None, threads: int
    ) -> None:
        if not 1 <= k <= MAX_K:
            raise InputError(f"expected k from 1 to {MAX_K}, found {k}; ask for fewer results")
        if recall is not None and not 0 < recall <= 1:
            raise InputError(
                f"expected recall above 0 and at most 1, found {recall}; use exact=True for all"
            )
        if threads < 1:
            raise InputError(f"expected at least one thread, found {threads}; use threads=1")
        check_queries(queries, self.vocab_size)


def _depth(k: int, allowed: NDArray[np.bool_] | None) -> int:
    """How many of all documents hold about k of the allowed ones: knobs must reach so deep.

    Deeper than any table where few are allowed: an exact search, which has few to score, then
    reads less than knobs for so many results.
    """
    if allowed is None or allowed.size == 0:
        return k
    depth = -(-k * allowed.size // max(int(np.count_nonzero(allowed)), 1))
    return depth if depth <= _SCARCE * k else MAX_K + 1


def _has_knobs(params: SearchParams | None) -> bool:
    return params is not None and (params.cut is not None or params.slack is not None)


def _knobs(
    part: Part,
    queries: SparseVectors,
    k: int,
    recall: float,
    params: SearchParams | None,
    by_blocks: bool,
) -> Knobs:
    """The knobs of each query: those of its class in the part's table, or the caller's own."""
    table = part.entry.calibration
    short, long = (table.knobs(recall, k, kind, by_blocks) for kind in (False, True))
    if params is not None:
        short, long = params.over(short), params.over(long)
    if short == long:
        return short
    is_long = np.diff(queries.offsets) > LONG
    return Knobs(*(np.where(is_long, b, a) for a, b in zip(short, long, strict=True)))


def check_queries(queries: SparseVectors, vocab_size: int) -> None:
    """Refuse queries over another vocabulary (MismatchError) or of too many terms (InputError)."""
    if queries.vocab_size != vocab_size:
        raise MismatchError(
            f"expected query vectors over {vocab_size} terms, found "
            f"{queries.vocab_size}; encode the queries with the index's own encoder"
        )
    longest = int(np.diff(queries.offsets).max(initial=0))
    if longest > MAX_QUERY_TERMS:
        raise InputError(
            f"expected queries of at most {MAX_QUERY_TERMS} terms, found {longest}; "
            "keep the terms with the largest weights"
        )


def _write_ids(
    storage: Storage, folder: str, rows: int, ids: Iterable[str] | None
) -> dict[str, FileEntry]:
    names = list(ids) if ids is not None else [str(row) for row in range(rows)]
    if len(names) != rows:
        raise InputError(
            f"expected one id a vector, found {len(names)} ids and {rows} vectors; "
            "give both in the same order"
        )
    return write_arrays(storage, f"{folder}/ids.", Identifiers.of(names).arrays())


def _write_columns(
    storage: Storage, folder: str, rows: int, columns: Sequence[Column]
) -> dict[str, FileEntry]:
    for column in columns:
        if column.values.size != rows:
            raise InputError(
                f"expected {rows} values of field {column.name!r}, found {column.values.size}; "
                "give one a vector, None where it is missing"
            )
    return write_columns(storage, folder, columns)
