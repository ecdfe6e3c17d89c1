"""Streams of documents: bytes to lines to documents, never more in memory than a line may be.

Knows nothing of indexes. A faulty line becomes a problem, and the next one is read.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import zstandard

from tamis.api.problems import RequestError, of_error
from tamis.index.errors import InputError
from tamis.index.files.strict_json import parse_json
from tamis.index.segment.identifiers import check_id
from tamis.retriever.corpus.passages import Keys, passage_of
from tamis.retriever.types import content_of
from tamis.retriever.words.fields import check_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tamis.api.limits import Limits
    from tamis.retriever.types import Passage

VECTOR = "vector"
_PIECE_BYTES = 1 << 16  # unpacked at once
_PACKED_BYTES = 256  # of a zstd stream fed at once: unpacks to 8 MB at the very most
_WINDOW_BYTES = 8 << 20
_FREE_BYTES = 1 << 20  # unpacked before the ratio counts
_HEAVIEST = 1e9
_SEVERAL = re.compile(rb"}\s*{")
_JOINED = "send one document a line (curl -d joins the lines of a file, --data-binary keeps them)"
_LONGEST_ID = 512  # characters shown of the id of a faulty document


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a stream.

    Attributes:
        line: from 1.
        passage: its id, text, title and fields.
        weights: its vector, where it brings one.
    """

    line: int
    passage: Passage
    weights: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class LineFault:
    """A line that is no document: what is wrong, and the id if there was one."""

    line: int
    doc_id: str | None
    code: str
    detail: str


class Unpacker(Protocol):
    """Unpacks a stream piece by piece."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What more there is after these bytes, in small pieces."""

    def finish(self) -> None:
        """Raise RequestError 400 where the stream ends too soon."""


def unpacker(encoding: str, limits: Limits) -> Unpacker:
    """For a ``Content-Encoding``; raises RequestError 415 for an unknown one."""
    if encoding == "identity":
        return _Plain(limits)
    if encoding == "gzip":
        return _Gzip(limits)
    if encoding == "zstd":
        return _Zstd(limits)
    raise RequestError(
        415,
        "unsupported_encoding",
        f"expected a body as it is, in gzip or in zstd, found {encoding!r}",
        {"Accept-Encoding": "gzip, zstd"},
    )


class _Plain:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._in = self._out = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            yield self._counted(piece, len(piece))

    def finish(self) -> None:
        return

    def _counted(self, piece: bytes, taken: int) -> bytes:
        """A piece that ``taken`` more bytes gave.

        Raises:
            RequestError: 413 when all pieces are more than the limit, or than the ratio allows.
        """
        self._in += taken
        self._out += len(piece)
        if self._out > self._limits.body_bytes:
            raise RequestError(
                413,
                "body_too_large",
                f"expected at most {self._limits.body_bytes} bytes of documents, found more; "
                "send them in several requests",
            )
        most = max(_FREE_BYTES, self._in * self._limits.unpacked_ratio)
        if self._out > most:
            raise RequestError(
                413,
                "ratio_too_high",
                f"expected a body that unpacks to at most {self._limits.unpacked_ratio} times its "
                "size, found more; send it as it is",
            )
        return piece


class _Gzip(_Plain):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._new()

    def feed(self, data: bytes) -> Iterator[bytes]:
        taken = len(data)
        while data:
            self._begun = True
            try:
                piece = self._unpack.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise _damaged("gzip", error) from None
            yield self._counted(piece, taken)
            taken, data = 0, self._unpack.unconsumed_tail
            if self._unpack.eof:  # another member may follow
                data = self._unpack.unused_data
                self._new()

    def finish(self) -> None:
        if self._begun:
            raise _damaged("gzip", "its end is missing")

    def _new(self) -> None:
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._begun = False


class _Zstd(_Plain):
    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._new()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _PACKED_BYTES):
            yield from self._unpacked(data[at : at + _PACKED_BYTES])

    def finish(self) -> None:
        if self._begun:
            raise _damaged("zstd", "its end is missing")

    def _unpacked(self, some: bytes) -> Iterator[bytes]:
        taken = len(some)
        while some:
            self._begun = True
            try:
                piece = self._unpack.decompress(some)
            except zstandard.ZstdError as error:
                raise _damaged("zstd", error) from None
            yield self._counted(piece, taken)
            taken, some = 0, b""
            if self._unpack.eof:  # another frame may follow
                some = self._unpack.unused_data
                self._new()

    def _new(self) -> None:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        self._unpack = reader.decompressobj()
        self._begun = False


def _damaged(kind: str, error: object) -> RequestError:
    return RequestError(
        400, "invalid_compression", f"expected a whole {kind} stream, found a fault ({error})"
    )


class Lines:
    """Cuts a stream into lines; one that is too long is passed over to its end."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.line_bytes
        self._held = bytearray()
        self._too_long = False
        self._number = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that end in these bytes, numbered; None for one that is too long."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._hold(part)
            yield self._line()
        self._hold(rest)

    def finish(self) -> Iterator[tuple[int, bytes | None]]:
        """The last line, where the stream does not end with a line's end."""
        if self._held or self._too_long:
            yield self._line()

    def _hold(self, part: bytes) -> None:
        if self._too_long or len(self._held) + len(part) > self._most + 1:  # a final \r is none
            self._too_long = True
            self._held.clear()
        else:
            self._held += part

    def _line(self) -> tuple[int, bytes | None]:
        line = None if self._too_long else bytes(self._held).removesuffix(b"\r")
        self._number += 1
        self._too_long = False
        self._held.clear()
        return self._number, line


def read_line(
    number: int, line: bytes | None, limits: Limits, fields: Sequence[str] = ()
) -> Document | LineFault | None:
    """The document of a line; None for a blank one. ``fields`` are those that are searched."""
    row = _parsed(number, line, limits)
    if row is None or isinstance(row, LineFault):
        return row
    try:
        return read_document(number, row, limits, fields)
    except RequestError as error:
        return LineFault(number, _id_of(row), error.code, error.detail)


def read_change(
    number: int, line: bytes | None, limits: Limits
) -> tuple[str, dict[str, Any]] | LineFault | None:
    """The id of a line and the fields to change; None for a blank one."""
    row = _parsed(number, line, limits)
    if row is None or isinstance(row, LineFault):
        return row
    if isinstance(row, dict):
        key = "_id" if "_id" in row else "id"
        if isinstance(row.get(key), str):
            return row.pop(key), row
    detail = "expected an object with an _id and the fields to change, found another; name one"
    return LineFault(number, None, "invalid_value", detail)


def _parsed(number: int, line: bytes | None, limits: Limits) -> Any:  # noqa: ANN401  any JSON
    """What a line holds, or its fault; None where it is blank."""
    if line is None or len(line) > limits.line_bytes:
        detail = (
            f"expected a line of at most {limits.line_bytes} bytes, found a longer one; {_JOINED}"
        )
        return LineFault(number, None, "line_too_long", detail)
    if not line.strip():
        return None
    try:
        found = parse_json(line)
    except InputError as error:
        hint = f"; {_JOINED}" if _SEVERAL.search(line) else ""
        return LineFault(number, None, "invalid_json", f"{error}{hint}")
    return found if found is not None else []  # null is no object, and no blank line


def read_document(
    number: int,
    row: Any,  # noqa: ANN401  any JSON
    limits: Limits,
    fields: Sequence[str] = (),
) -> Document:
    """The document of a JSON value; ``fields`` are those that are searched.

    Raises:
        RequestError: 422 when it is none.
    """
    if not isinstance(row, dict):
        found = type(row).__name__
        raise RequestError(422, "invalid_value", f"expected a JSON object, found {found}")
    weights = row.pop(VECTOR, None)
    if weights is not None:
        _check_weights(weights, limits)
    return Document(number, _passage(row, fields, blank=weights is not None), weights)


def _passage(row: Mapping[str, Any], fields: Sequence[str], *, blank: bool) -> Passage:
    """The passage of a JSON object; with a vector, its text may be blank or left out."""
    keys = Keys(searched=tuple(fields))
    _, text_key = keys.pick(key for key, value in row.items() if value is not None)
    try:
        passage = passage_of({**row, "text": ""} if blank and text_key is None else row, keys)
        check_texts(passage.record(), fields)
    except InputError as error:
        raise RequestError(422, "invalid_value", str(error)) from None
    try:
        check_id(passage.doc_id)
    except InputError as error:
        raise of_error(error) from None
    if not blank and not content_of(passage.record(), fields).strip():
        raise RequestError(
            422, "invalid_value", "expected a document with some text, found a blank one"
        )
    return passage


def _check_weights(weights: Any, limits: Limits) -> None:  # noqa: ANN401  any JSON
    good = isinstance(weights, dict) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight <= _HEAVIEST
        for weight in weights.values()
    )
    if not good:
        raise RequestError(
            422,
            "invalid_value",
            f"expected {VECTOR} to give each term a weight above 0 and at most {_HEAVIEST:g}, "
            f"found {str(weights)[:80]}",
        )
    if len(weights) > limits.document_terms:
        raise RequestError(
            422,
            "limit_exceeded",
            f"expected at most {limits.document_terms} terms in a {VECTOR}, found {len(weights)}",
        )


def _id_of(row: Any) -> str | None:  # noqa: ANN401  any JSON
    found = row.get("_id", row.get("id")) if isinstance(row, dict) else None
    return found[:_LONGEST_ID] if isinstance(found, str) else None
