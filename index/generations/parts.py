"""Parts: the segments of one generation, each with its place among all document numbers.

What a segment's folder holds never changes and may be shared by generations (`Stored`); which of
its documents are deleted, and their first number, belong to the generation (`Part`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tamis.index.errors import FormatError
from tamis.index.files.array_file import map_array
from tamis.index.files.wal import read_logs
from tamis.index.segment.builder import TERM_IDS
from tamis.index.segment.columns import columns_of, open_columns
from tamis.index.segment.documents import Documents, encode_record
from tamis.index.segment.filters import matching
from tamis.index.segment.identifiers import Identifiers
from tamis.index.segment.segment import Segment
from tamis.index.topk import TopK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.generations.manifest import Manifest, SegmentEntry
    from tamis.index.segment.columns import Column
    from tamis.index.segment.loops.arrays import Knobs
    from tamis.index.segment.quantize import Precision
    from tamis.index.segment.values import ColumnType
    from tamis.index.vectors import SparseVectors


_NO_DOCS = np.empty(0, np.int64)
_RECORDS_AHEAD = 1024  # documents whose records are asked for together
ORIGINS = "records.origins"  # of each document, an `Origin`; missing where all are of the text


class Origin(IntEnum):
    """Where the vector of a document comes from."""

    TEXT = 0  # made of the document's text, and made again when words change
    GIVEN = 1  # brought by the document, and kept as it is
    UNKNOWN = 2  # not told, as in formats before 3
    WORDS = 3  # of the text's words alone; its learned vector is still to come


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What the folder of a segment holds.

    Attributes:
        segment: vectors by local document number and local term.
        ids: the documents' ids.
        documents: their records; None in an index of vectors alone.
        terms: ``[local terms]`` int32, rising, the collection's term of each local one; None
            where they are the same.
        files: the folder's files.
        storage: where the folder lies.
        columns: the declared fields that were asked for so far.
    """

    segment: Segment
    ids: Identifiers
    documents: Documents | None
    terms: NDArray[np.int32] | None
    files: Mapping[str, FileEntry]
    storage: Storage
    columns: dict[str, Column] = field(default_factory=dict)

    @staticmethod
    def open(
        storage: Storage, entry: SegmentEntry, files: Mapping[str, FileEntry], precision: Precision
    ) -> Stored:
        """Map a segment's folder.

        Raises:
            FormatError: a file that belongs to a segment is not listed.
        """
        own = {name: files[name] for name in files if name.startswith(f"{entry.name}/")}
        try:
            return Stored(
                Segment(storage, entry.name, own, entry.documents, precision),
                mapped_identifiers(storage, entry.name, own),
                Documents(storage, entry.name, own)
                if f"{entry.name}/documents.bytes" in own
                else None,
                own_terms(storage, entry, own),
                own,
                storage,
            )
        except KeyError as error:
            raise FormatError(
                f"{storage.root}: expected the file {error} of a segment, found it nowhere in the "
                "manifest; rebuild it with `tamis index`"
            ) from error


def own_terms(
    storage: Storage, entry: SegmentEntry, files: Mapping[str, FileEntry]
) -> NDArray[np.int32] | None:
    """The collection's term of each that a segment numbers itself; None where they are the same."""
    return _map(storage, f"{entry.name}/{TERM_IDS}", files) if entry.compact else None


def local(
    vectors: SparseVectors, terms: NDArray[np.int32] | None, vocab_size: int
) -> SparseVectors:
    """Vectors over the collection's terms to the ``vocab_size`` ones of a segment's `own_terms`."""
    if terms is None:
        if vectors.vocab_size == vocab_size:
            return vectors
        return vectors.below(vocab_size)
    places = terms.searchsorted(vectors.terms)
    found = terms.take(places, mode="clip") == vectors.terms
    return vectors.where(found, places.astype(np.int32), vocab_size)


def documents_with_words(
    segment: Segment, terms: NDArray[np.int32] | None, first_word: int | None
) -> int:
    """How many documents of a segment with these `own_terms` hold a word of the lexical channel."""
    if first_word is None:
        return 0
    return segment.documents_from(_local_term(first_word, terms))


def _local_term(term: int, terms: NDArray[np.int32] | None) -> int:
    """The first of a segment's `own_terms` that is this term of the collection or a later one."""
    return term if terms is None else int(terms.searchsorted(term))


def mapped_identifiers(
    storage: Storage, folder: str, files: Mapping[str, FileEntry]
) -> Identifiers:
    """The ids of a segment's documents."""
    parts = Identifiers.__slots__
    return Identifiers(**{part: _map(storage, f"{folder}/ids.{part}", files) for part in parts})


def _map(storage: Storage, name: str, files: Mapping[str, FileEntry]) -> NDArray[Any]:
    return map_array(storage, name, files[name])


@dataclass(frozen=True, eq=False)
class Part:
    """One segment as a generation sees it. Document numbers here are local, from 0.

    Attributes:
        stored: the folder's contents.
        entry: what the manifest says of it.
        first: the number of its first document in the collection.
        live: ``[documents]`` bool, False where a document is deleted; None when none is.
    """

    stored: Stored
    entry: SegmentEntry
    first: int
    live: NDArray[np.bool_] | None

    def without(self, docs: Sequence[int] | NDArray[np.int64]) -> Part:
        """The same segment with these documents deleted too."""
        live = np.ones(self.entry.documents, np.bool_) if self.live is None else self.live.copy()
        live[np.asarray(docs, np.int64)] = False
        return replace(self, live=live)

    def only(self, docs: NDArray[np.int64]) -> Part:
        """The same segment with all but these documents deleted."""
        live = np.zeros(self.entry.documents, np.bool_)
        live[docs] = True if self.live is None else self.live[docs]
        return replace(self, live=live)

    def own(self, docs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the collection's documents are here, by their numbers here."""
        here = docs - self.first
        return here[(here >= 0) & (here < self.entry.documents)]

    def among_live(self, docs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of these documents that are not deleted."""
        return docs if self.live is None else docs[self.live[docs]]

    @cached_property
    def live_docs(self) -> NDArray[np.int64]:
        """The documents that are not deleted, rising."""
        if self.live is None:
            return np.arange(self.entry.documents)
        return np.flatnonzero(self.live)

    def origins(self) -> NDArray[np.uint8]:
        """``[documents]``, the `Origin` of each vector."""
        file = self.stored.files.get(f"{self.entry.name}/{ORIGINS}")
        if file is not None:
            return map_array(self.stored.storage, f"{self.entry.name}/{ORIGINS}", file)
        of_all = Origin.TEXT if self.entry.tells_origins else Origin.UNKNOWN
        return np.full(self.entry.documents, of_all, np.uint8)

    @cached_property
    def awaiting(self) -> int:
        """How many documents are found by their words alone: their learned vectors are to come."""
        if f"{self.entry.name}/{ORIGINS}" not in self.stored.files:
            return 0
        of_words = self.origins() == Origin.WORDS
        return int(np.count_nonzero(of_words if self.live is None else of_words & self.live))

    def doc(self, doc_id: str) -> int | None:
        """The document of an id, or None when there is none or it is deleted."""
        doc = self.stored.ids.doc(doc_id)
        return doc if doc is not None and (self.live is None or self.live[doc]) else None

    def allowed(
        self, wanted: Mapping[str, Any] | None, schema: Mapping[str, ColumnType]
    ) -> NDArray[np.bool_] | None:
        """``[documents]``: not deleted, and admitted by a filter; None when all are.

        Raises:
            InputError: the filter is faulty, see filters.py.
        """
        if wanted is None:
            return self.live
        admitted = matching(wanted, self.columns(schema), self.entry.documents)
        return admitted if self.live is None else admitted & self.live

    def record(self, doc: int, schema: Mapping[str, ColumnType]) -> bytes:
        """The record of a document as JSON; its id and fields where vectors alone are stored."""
        if self.stored.documents is not None:
            return self.stored.documents.encoded(doc)
        values = {name: column.given(doc) for name, column in self.columns(schema).items()}
        given = {name: value for name, value in values.items() if value is not None}
        return encode_record({"_id": self.stored.ids.doc_id(doc), **given})

    def records(self, docs: NDArray[np.int64], schema: Mapping[str, ColumnType]) -> Iterator[bytes]:
        """The records of documents whose numbers rise, read ahead; as `record`."""
        for first in range(0, docs.size, _RECORDS_AHEAD):
            some = docs[first : first + _RECORDS_AHEAD]
            if self.stored.documents is not None:
                self.stored.documents.read_ahead(int(some[0]), int(some[-1]))
            for doc in some.tolist():
                yield self.record(doc, schema)

    def columns(self, schema: Mapping[str, ColumnType]) -> Mapping[str, Column]:
        """The declared fields; a segment that was written without them has them read once."""
        stored = self.stored
        if stored.columns.keys() != schema.keys():
            folder, names = self.entry.name, list(schema)
            files = (f"{folder}/columns.{at}.values" for at in range(len(names)))
            count = sum(1 for _ in takewhile(stored.files.__contains__, files))
            written = {name: schema[name] for name in names[:count]}
            stored.columns.update(open_columns(stored.storage, folder, stored.files, written))
            further = {name: schema[name] for name in names[count:]}
            documents = self.entry.documents
            stored.columns.update(columns_of(stored.documents, further, documents))
        return stored.columns

    def read_columns(self, schema: Mapping[str, ColumnType]) -> dict[str, Column]:
        """Columns of the stored documents; a deleted one has no values there.

        Raises:
            InputError: a value is of another type than the schema says.
        """
        stored = self.stored
        count = self.entry.documents
        return columns_of(stored.documents, schema, count, self.live, stored.ids.doc_id)

    def search(
        self,
        queries: SparseVectors,
        k: int,
        knobs: Knobs,
        threads: int,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[TopK, NDArray[np.int64]]:
        """The best of its allowed documents, by local number; as `Segment.search`."""
        return self.stored.segment.search(self.local(queries), k, knobs, threads, allowed)

    def local(self, vectors: SparseVectors) -> SparseVectors:
        """Vectors over the collection's terms to those this segment knows."""
        return local(vectors, self.stored.terms, self.stored.segment.vocab_size)

    def rows(self, docs: NDArray[np.int64], vocab_size: int) -> SparseVectors:
        """The stored vectors ``[docs]`` over the collection's terms."""
        found = self.stored.segment.rows(docs)
        terms = found.terms if self.stored.terms is None else self.stored.terms[found.terms]
        return replace(found, terms=terms, vocab_size=vocab_size)

    def row(self, doc: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The terms, rising, and stored weights of one document."""
        terms, weights = self.stored.segment.row(doc)
        return (terms if self.stored.terms is None else self.stored.terms[terms]), weights

    def with_words(self, first_word: int | None) -> int:
        """How many of its documents that are not deleted hold a word of the lexical channel."""
        segment, terms = self.stored.segment, self.stored.terms
        held = documents_with_words(segment, terms, first_word)
        if self.live is None or first_word is None:
            return held
        gone = segment.rows(np.flatnonzero(~self.live))
        return held - gone.rows_from(_local_term(first_word, terms))

    def holds(self, terms: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether any of its documents, deleted ones too, holds each of ``terms``: ``[n]``."""
        places, known = self._places(terms)
        held = np.zeros(terms.size, np.bool_)
        held[known] = self.stored.segment.document_frequency(places[known]) > 0
        return held

    def docs_with(self, terms: NDArray[np.int32]) -> NDArray[np.int64]:
        """The documents that are not deleted and hold any of ``terms``, rising."""
        places, known = self._places(terms)
        lists = [self.stored.segment.docs_with(place) for place in places[known].tolist()]
        found = lists[0] if len(lists) == 1 else np.unique(np.concatenate([_NO_DOCS, *lists]))
        return self.among_live(found)

    def marked(self, terms: NDArray[np.int32], most: int) -> tuple[NDArray[np.bool_], int]:
        """``[documents]``, which hold any of ``terms``, deleted ones too.

        Args:
            terms: of the collection.
            most: postings to read. Lists beyond them, the longest, are left out.

        Returns:
            The marks, and how many postings more may be read; below 0 where lists were left out.
        """
        places, known = self._places(terms)
        segment, marks = self.stored.segment, np.zeros(self.entry.documents, np.bool_)
        lengths = segment.document_frequency(places[known])
        order = np.argsort(lengths)
        left = most - np.cumsum(lengths[order])
        for term in places[known][order[left >= 0]].tolist():
            segment.mark(term, marks)
        return marks, int(left[-1]) if left.size else most

    def some_docs_with(self, term: int, most: int) -> NDArray[np.int64]:
        """A few documents that are not deleted and hold a term."""
        places, known = self._places(np.array([term], np.int32))
        if not known[0]:
            return _NO_DOCS
        return self.among_live(self.stored.segment.some_docs_with(int(places[0]), most))

    def _places(self, terms: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """The segment's own numbers of terms, and which of them it knows."""
        if self.stored.terms is None:
            return terms, terms < self.stored.segment.vocab_size
        places = self.stored.terms.searchsorted(terms).astype(np.int32)
        return places, self.stored.terms.take(places, mode="clip") == terms

    def frequencies(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Terms, rising, and how many of its documents that are not deleted hold each."""
        segment = self.stored.segment
        numbers = np.arange(segment.vocab_size, dtype=np.int32)
        counts = segment.document_frequency(numbers)
        if self.live is not None:
            gone = segment.rows(np.flatnonzero(~self.live))
            counts -= np.bincount(gone.terms, minlength=counts.size)
        terms = numbers if self.stored.terms is None else self.stored.terms
        return terms[counts > 0], counts[counts > 0]


def frequencies_of(parts: Sequence[Part]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """`Part.frequencies` of several parts together."""
    found = [part.frequencies() for part in parts]
    every = np.concatenate([np.zeros(0, np.int32), *(terms for terms, _ in found)])
    terms, places = np.unique(every, return_inverse=True)
    counts = np.zeros(terms.size, np.int64)
    np.add.at(counts, places, np.concatenate([np.zeros(0, np.int64), *(c for _, c in found)]))
    return terms, counts


def check_files(
    storage: Storage,
    manifest: Manifest,
    verify: Literal["full", "lazy"],
    known: Mapping[str, FileEntry] | None = None,
    *,
    logs: bool = True,
) -> None:
    """Compare the files of a generation with their checksums; those in ``known`` are trusted.

    Raises:
        CorruptionError: a file or a log differs from what was written. "lazy" leaves the
            documents' text to be compared record by record.
    """
    for name, entry in manifest.files.items():
        if known is not None and known.get(name) == entry:
            continue
        if verify == "lazy" and name.endswith("/documents.bytes"):
            storage.check_size(name, entry)
        else:
            storage.check(name, entry)
    if known is None and logs:
        read_logs(storage, manifest.log)


def open_parts(storage: Storage, manifest: Manifest, known: Iterable[Part] = ()) -> list[Part]:
    """The parts of a generation; files that ``known`` parts have open are not opened again."""
    by_name, parts, first = {part.entry.name: part for part in known}, list[Part](), 0
    for entry in manifest.segments:
        same = by_name.get(entry.name)
        last = f"{entry.name}/columns.{len(manifest.settings.columns) - 1}.values"
        if (
            same is None
            or (last in manifest.files) != (last in same.stored.files)
            or any(manifest.files.get(name) != file for name, file in same.stored.files.items())
        ):
            stored = Stored.open(storage, entry, manifest.files, manifest.precision)
            parts.append(Part(stored, entry, first, _live(storage, entry, manifest.files)))
        elif same.entry.deletions == entry.deletions:
            parts.append(replace(same, entry=entry, first=first))
        else:
            live = _live(storage, entry, manifest.files)
            parts.append(Part(same.stored, entry, first, live))
        first += entry.documents
    return parts


def _live(
    storage: Storage, entry: SegmentEntry, files: Mapping[str, FileEntry]
) -> NDArray[np.bool_] | None:
    if entry.deletions is None:
        return None
    bits = _map(storage, entry.deletions, files)
    live: NDArray[np.bool_] = np.unpackbits(bits, count=entry.documents) == 0
    return live


def best_of(found: Sequence[tuple[int, TopK]], queries: int, k: int) -> TopK:
    """The k best of several parts' results.

    Args:
        found: for each part the number of its first document and its result, parts rising.
        queries: how many queries there were.
        k: how many to keep.
    """
    if len(found) == 1 and found[0][0] == 0:
        return found[0][1]
    if not found:
        nothing = np.full((queries, k), -1, np.int32), np.zeros((queries, k), np.float32)
        return TopK(*nothing, np.zeros(queries, np.int64))
    firsts, tops = zip(*found, strict=True)
    docs = np.concatenate([top.docs for top in tops], axis=1)
    scores = np.concatenate([top.scores for top in tops], axis=1)
    missing = docs < 0
    docs += np.repeat(np.array(firsts, np.int32), k)
    docs[missing] = -1
    # A column's place rises with the document number, so a stable sort settles ties.
    order = np.where(missing, np.inf, -scores).argsort(axis=1, kind="stable")[:, :k]
    rows = np.arange(queries)[:, None]
    work = sum((top.work for top in tops[1:]), tops[0].work)
    return TopK(docs[rows, order], scores[rows, order], work)
