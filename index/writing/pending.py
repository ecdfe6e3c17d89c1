"""Pending: writes that are in the log but in no segment yet, held in memory.

Knows how a write is put into a frame of the log and read back.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tamis.index.errors import FormatError, InputError, MismatchError
from tamis.index.generations.parts import Origin
from tamis.index.segment.columns import Column
from tamis.index.segment.documents import encode_record
from tamis.index.segment.identifiers import check_id
from tamis.index.segment.values import value_in
from tamis.index.vectors import SparseVectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.segment.values import ColumnType

BATCH_ROWS = 4096  # rows of a batch that a segment is built from
MOST_BYTES = 64 << 20  # held in memory
OVERHEAD_BYTES = 200  # of one id in memory, about
_ORIGIN = {True: Origin.GIVEN, False: Origin.TEXT, None: Origin.UNKNOWN}
GIVEN = {origin: given for given, origin in _ORIGIN.items()}  # `Write.given` of an origin


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """A document as all writes so far have left it.

    Attributes:
        record: as JSON.
        vector: one row, over the terms that there were when it was written.
        origin: where the vector comes from, an `Origin`.
    """

    record: bytes
    vector: SparseVectors
    origin: int


class Write(msgspec.Struct, frozen=True, array_like=True):
    """One write: all of it happens, or nothing.

    Attributes:
        words: what it adds to the dictionary, in order.
        deleted: ids of documents to remove.
        ids: ids of documents to add or replace.
        records: their records as JSON.
        offsets: their vectors' offsets as bytes, int64.
        terms: their terms, int32.
        weights: their weights, float32.
        vocab_size: number of terms there are after it.
        given: whether the documents brought their vectors, which no text is to replace; None in
            logs of formats before 3, which do not say.
    """

    words: list[str]
    deleted: list[str]
    ids: list[str]
    records: list[bytes]
    offsets: bytes
    terms: bytes
    weights: bytes
    vocab_size: int
    given: bool | None = None

    @staticmethod
    def of(
        words: Sequence[str],
        deleted: Sequence[str],
        ids: Sequence[str],
        records: Sequence[bytes],
        vectors: SparseVectors,
        given: bool | None,
    ) -> Write:
        """A write of these documents and deletions."""
        return Write(
            list(words),
            list(deleted),
            list(ids),
            list(records),
            vectors.offsets.astype("<i8").tobytes(),
            vectors.terms.astype("<i4").tobytes(),
            vectors.weights.astype("<f4").tobytes(),
            vectors.vocab_size,
            given,
        )

    def vectors(self) -> SparseVectors:
        """The vectors ``[ids]``."""
        return SparseVectors(
            np.frombuffer(self.offsets, "<i8"),
            np.frombuffer(self.terms, "<i4"),
            np.frombuffer(self.weights, "<f4"),
            self.vocab_size,
        )

    def encoded(self) -> bytes:
        """The payload of its frame."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decoded(payload: bytes) -> Write:
        """The write of a frame.

        Raises:
            FormatError: the frame is whole, yet no write of this version.
        """
        try:
            return msgspec.msgpack.decode(payload, type=Write)
        except (msgspec.DecodeError, InputError) as error:
            raise FormatError(
                f"expected a write in the log, found something else ({error}); "
                "open the collection with the version of Tamis that wrote it"
            ) from error


def checked(
    records: Sequence[Mapping[str, Any]],
    vectors: SparseVectors,
    vocab_size: int,
    columns: Mapping[str, ColumnType],
) -> tuple[list[str], list[bytes]]:
    """The ids and the JSON of records that fit their vectors.

    Raises:
        InputError: a record, id or value of a declared field is faulty, or there are more or
            fewer vectors.
        MismatchError: the vectors use more than ``vocab_size`` terms.
    """
    if len(records) != len(vectors):
        raise InputError(
            f"expected one vector a document, found {len(records)} documents and "
            f"{len(vectors)} vectors; give both in the same order"
        )
    if vectors.vocab_size > vocab_size:
        raise MismatchError(
            f"expected vectors over at most {vocab_size} terms, found "
            f"{vectors.vocab_size}; encode with the collection's own encoder"
        )
    for name, kind in columns.items():
        Column.of(name, kind, [value_in(record, name) for record in records])  # refuses other types
    return [_id_of(record) for record in records], [encode_record(record) for record in records]


def _id_of(record: Mapping[str, Any]) -> str:
    doc_id = record.get("_id")
    if not isinstance(doc_id, str):
        raise InputError(
            f"expected a document with a string _id, found {doc_id!r}; give each document an id"
        )
    return check_id(doc_id)


class Pending:
    """The last state of each id that the writes touch. One thread at a time."""

    def __init__(self) -> None:
        self._rows: dict[str, int | None] = {}  # its row among all; None: deleted
        self._records: list[bytes] = []
        self._vectors: list[SparseVectors] = []
        self._firsts: list[int] = []  # the row that each of these begins with
        self._origins = bytearray()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._rows)

    @property
    def is_full(self) -> bool:
        """Whether they are committed unasked."""
        return self.size_bytes > MOST_BYTES

    def apply(self, write: Write) -> None:
        """Take a write; its deletions come before its documents."""
        for doc_id in write.deleted:
            self._rows[doc_id] = None
        for row, doc_id in enumerate(write.ids, len(self._records)):
            self._rows.pop(doc_id, None)  # so that the order is that of the last writes
            self._rows[doc_id] = row
        self._firsts.append(len(self._records))
        self._records += write.records
        self._vectors.append(write.vectors())
        self._origins += bytes([_ORIGIN[write.given]]) * len(write.ids)
        self.size_bytes += sum(map(len, write.records)) + len(write.terms) + len(write.weights)
        self.size_bytes += OVERHEAD_BYTES * (len(write.ids) + len(write.deleted))

    def state(self, doc_id: str) -> bool | None:
        """Whether an id is there after the writes; None when they do not touch it."""
        if doc_id not in self._rows:
            return None
        return self._rows[doc_id] is not None

    def present(self, doc_id: str) -> Present:
        """A document that is there after the writes."""
        row = self._rows[doc_id]
        assert row is not None
        write = bisect_right(self._firsts, row) - 1
        at = row - self._firsts[write]
        vector = self._vectors[write].rows(at, at + 1)
        return Present(self._records[row], vector, self._origins[row])

    def touched(self) -> Iterator[str]:
        """The ids whose former documents are gone."""
        return iter(self._rows)

    def ids(self) -> list[str]:
        """The ids of the documents to add, in their order."""
        return [doc_id for doc_id, row in self._rows.items() if row is not None]

    def records(self) -> Iterator[bytes]:
        """Their records as JSON."""
        return (self._records[row] for row in self._rows.values() if row is not None)

    def batches(self, vocab_size: int) -> Iterator[SparseVectors]:
        """Their vectors over ``vocab_size`` terms."""
        every = SparseVectors.concatenate([part.over(vocab_size) for part in self._vectors])
        rows = self._row_numbers()
        for first in range(0, rows.size, BATCH_ROWS):
            yield every.take(rows[first : first + BATCH_ROWS])

    def origins(self) -> NDArray[np.uint8]:
        """Where their vectors come from, an `Origin` each."""
        return np.frombuffer(bytes(self._origins), np.uint8)[self._row_numbers()]

    def _row_numbers(self) -> NDArray[np.int64]:
        return np.array([row for row in self._rows.values() if row is not None], np.int64)
