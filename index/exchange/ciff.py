"""CIFF, the Common Index File Format (Lin et al., SIGIR 2020): inverted lists of whole numbers.

A file is a row of protobuf messages, each after its length: a header, a list for each term in the
order of their spelling, a record for each document. Numbers are those of ciff.proto, version 1.
"""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

import numpy as np

from tamis.index.errors import FormatError, InputError
from tamis.index.exchange.ciff_postings import read_postings, write_postings
from tamis.index.vectors import SparseVectors, terms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CIFF = (".ciff", ".ciff.gz")
MAX_MESSAGE_BYTES = 1 << 31
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_VARINT_BITS = 63
_GZIP_LEVEL = 1


_Value = TypeVar("_Value")


class CiffVectors(NamedTuple):
    """What a file holds.

    Attributes:
        ids: of the documents, by number.
        terms: spelled out, by number in ``vectors``.
        vectors: ``[documents]``.
    """

    ids: list[str]
    terms: list[str]
    vectors: SparseVectors


def write_ciff(
    path: Path,
    vectors: SparseVectors,
    ids: Sequence[str],
    term_string: Callable[[int], str] = str,
    description: str = "",
) -> None:
    """Write documents as inverted lists.

    Args:
        path: a file ending in ``.ciff`` or ``.ciff.gz``.
        vectors: ``[documents]``, weights whole numbers below 2**31: those of `whole_numbers`.
        ids: of the documents.
        term_string: spells a term.
        description: of the collection.

    Raises:
        InputError: the file ends in something else, or a weight is no such number.
    """
    if not path.name.endswith(CIFF):
        raise InputError(f"{path}: expected a file ending in {' or '.join(CIFF)}; rename it")
    weights = vectors.weights.astype(np.int64)
    if not np.array_equal(weights, vectors.weights) or (weights >= 2**31).any():
        raise InputError(
            "expected whole weights below 2**31, which CIFF holds, found others; "
            "multiply and round them with --scale"
        )
    rows = np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets))
    lengths = np.bincount(rows, weights, len(vectors)).astype(np.int64)
    order = np.argsort(vectors.terms, kind="stable")
    used, starts = np.unique(vectors.terms[order], return_index=True)
    ends = np.append(starts[1:], order.size)
    spelled = sorted((term_string(int(term)), at) for at, term in enumerate(used))
    with _opened(path, "wb") as file:
        file.write(_framed(_header(len(spelled), lengths, description)))
        for term, at in spelled:
            places = order[starts[at] : ends[at]]
            file.write(_framed(_list(term, rows[places], weights[places])))
        for doc, (doc_id, length) in enumerate(zip(ids, lengths.tolist(), strict=True)):
            record = _number(1, doc) + _text(2, doc_id) + _number(3, min(length, 2**31 - 1))
            file.write(_framed(record))


def _header(lists: int, lengths: NDArray[np.int64], description: str) -> bytes:
    documents, words = lengths.size, int(lengths.sum())
    numbers = (1, lists, documents, lists, documents, words)
    mean = struct.pack("<d", words / max(documents, 1))
    written = b"".join(_number(field, value) for field, value in enumerate(numbers, start=1))
    return written + _tag(7, _FIXED64) + mean + _text(8, description)


def _list(term: str, docs: NDArray[np.int64], weights: NDArray[np.int64]) -> bytes:
    head = _text(1, term) + _number(2, docs.size) + _number(3, int(weights.sum()))
    postings: NDArray[np.uint8] = write_postings(docs, weights)
    return head + postings.tobytes()


def read_ciff(path: Path) -> CiffVectors:
    """Read a file; its lists may come in any order.

    Raises:
        InputError: there is no such file.
        FormatError: it is no CIFF, of another version, or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a CIFF file; check the path")
    try:
        with _opened(path, "rb") as file:
            return _read(path, _messages(file))
    except (ValueError, IndexError, OSError, EOFError, struct.error) as error:
        raise FormatError(
            f"{path}: expected CIFF, found something else ({error}); write or fetch it again"
        ) from error


def renumbered(
    found: CiffVectors, vocab_size: int | None, term_id: Callable[[str], int | None]
) -> SparseVectors:
    """The vectors over another numbering of their terms.

    Args:
        found: what a file held.
        vocab_size: number of terms there are; None takes the largest number and one.
        term_id: the number of a term, None where it is unknown.

    Raises:
        InputError: a term is unknown, or two terms have one number.
    """
    numbers = list[int]()
    for term in found.terms:
        number = term_id(term)
        if number is None:
            raise InputError(
                "expected a term that is a number, or a piece of the encoder named by --encoder, "
                f"found {term!r}; name the encoder that made the vectors"
            )
        numbers.append(number)
    if len(set(numbers)) < len(numbers):
        raise InputError(
            f"expected a number of its own for each term, found two for {_doubled(numbers)}; "
            "spell each term in one way"
        )
    terms = terms_of(numbers)[found.vectors.terms]
    rows = np.repeat(np.arange(len(found.vectors)), np.diff(found.vectors.offsets))
    order = np.lexsort((terms, rows))
    return SparseVectors(
        found.vectors.offsets,
        terms[order],
        found.vectors.weights[order],
        vocab_size or max(numbers, default=0) + 1,
    )


def _read(path: Path, messages: Iterator[bytes]) -> CiffVectors:
    header = {field: value for field, value, _ in _fields(_next(messages))}
    version, lists, documents = (_whole(header.get(field, 0)) for field in (1, 2, 3))
    if version != 1:
        raise FormatError(f"{path}: expected CIFF version 1, found {version}; convert the file")
    terms: list[str] = []
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for _ in range(lists):
        term, docs, weights = _read_list(_next(messages))
        terms.append(term)
        parts.append((docs, weights))
    ids: dict[int, str] = {}
    for _ in range(documents):
        record = {field: value for field, value, _ in _fields(_next(messages))}
        ids[_whole(record.get(1, 0))] = _spelled(record.get(2, b""))
    names = [ids[doc] for doc in sorted(ids)]
    if sorted(ids) != list(range(documents)):
        raise ValueError(f"{len(ids)} documents that are not numbered from 0 to {documents - 1}")
    if len(set(terms)) < len(terms):
        raise ValueError(f"two lists for term {_doubled(terms)!r}")
    if next(messages, None) is not None:
        raise ValueError(f"more than the {lists} lists and {documents} documents of its header")
    return CiffVectors(names, terms, _by_document(parts, documents))


def _doubled(values: Sequence[_Value]) -> _Value:
    return next(value for value, count in Counter(values).items() if count > 1)


def _read_list(message: bytes) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    term, df, postings_at = "", 0, len(message)
    for field, value, start in _fields(message):
        if field == 4:  # all that follows is postings
            postings_at = start
            break
        if field == 1:
            term = _spelled(value)
        elif field == 2:
            df = _whole(value)
    if df > len(message):
        raise ValueError(f"a list of {df} postings in {len(message)} bytes")
    docs, weights = np.zeros(df, np.int64), np.zeros(df, np.int64)
    found = read_postings(np.frombuffer(message, np.uint8)[postings_at:], docs, weights)
    if found != df:
        raise ValueError(f"{found} of {df} postings for term {term!r}")
    if (np.diff(docs) <= 0).any() or (weights < 0).any():
        raise ValueError(f"documents that do not rise, or negative weights, for term {term!r}")
    return term, docs, weights


def _by_document(
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]], documents: int
) -> SparseVectors:
    sizes = [docs.size for docs, _ in parts]
    terms = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    empty = np.zeros(0, np.int64)
    docs = np.concatenate([empty, *(docs for docs, _ in parts)])
    weights = np.concatenate([empty, *(weights for _, weights in parts)])
    if docs.size and not 0 <= docs.min() <= docs.max() < documents:
        raise ValueError(f"a posting of document {docs.max()} of {documents}")
    kept = np.flatnonzero(weights > 0)
    order = kept[np.argsort(docs[kept], kind="stable")]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(docs[order], minlength=documents))])
    return SparseVectors(
        offsets, terms[order], weights[order].astype(np.float32), max(len(parts), 1)
    )


def _messages(file: IO[bytes]) -> Iterator[bytes]:
    while (size := _message_size(file)) is not None:
        message = file.read(size)
        if len(message) < size:
            raise EOFError("the file ends within a message")
        yield message


def _next(messages: Iterator[bytes]) -> bytes:
    try:
        return next(messages)
    except StopIteration:
        raise EOFError("the file ends before its last document") from None


def _message_size(file: IO[bytes]) -> int | None:
    """Bytes of the next message; None at the end of the file."""
    size = shift = 0
    while byte := file.read(1):
        size |= (byte[0] & 127) << shift
        shift += 7
        if size > MAX_MESSAGE_BYTES or shift > _VARINT_BITS:
            raise ValueError(f"a message of {size} bytes")
        if byte[0] < 128:
            return size
    if shift:
        raise EOFError("the file ends within a message's length")
    return None


def _fields(message: bytes) -> Iterator[tuple[int, Any, int]]:
    """Number, value and place of each field of a protobuf message."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        wire = tag & 7
        value: int | bytes | float
        if wire == _VARINT:
            value, at = _read_varint(message, at)
        elif wire == _BYTES:
            size, at = _read_varint(message, at)
            value, at = _bytes(message, at, size), at + size
        elif wire == _FIXED64:
            (value,), at = struct.unpack_from("<d", message, at), at + 8
        elif wire == _FIXED32:
            value, at = _bytes(message, at, 4), at + 4
        else:
            raise ValueError(f"a field of wire type {wire}")
        yield tag >> 3, value, start


def _bytes(message: bytes, at: int, size: int) -> bytes:
    if at + size > len(message):
        raise ValueError("a field that is longer than its message")
    return message[at : at + size]


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} where a number should be")
    return value


def _spelled(value: object) -> str:
    if not isinstance(value, bytes):
        raise ValueError(f"{value!r} where a text should be")
    return value.decode()


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] >= 128:
        if shift > _VARINT_BITS:
            raise ValueError("a number of more than 64 bits")
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 128:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _tag(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + _varint(value)


def _text(field: int, value: str) -> bytes:
    data = value.encode()
    return _tag(field, _BYTES) + _varint(len(data)) + data


def _framed(message: bytes) -> bytes:
    return _varint(len(message)) + message


def _opened(path: Path, mode: Literal["rb", "wb"]) -> IO[bytes]:
    if path.name.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, mode, compresslevel=_GZIP_LEVEL))
    return path.open(mode)
