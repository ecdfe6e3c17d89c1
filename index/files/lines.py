"""Lines and JSON of a user's files, decompressed as they stream. Knows nothing of documents.

Every mistake is an `InputError` that begins with the file and the line, and is handed to a
``fault`` function: `refuse` raises it, a check counts it and goes on.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import sys
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, cast

import orjson
import zstandard

from tamis.index.errors import InputError
from tamis.index.files.strict_json import BYTE_ORDER_MARK, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Fault = Callable[[InputError], None]
    Rows = Iterator[tuple[int, Mapping[str, Any]]]

MAX_LINE_BYTES = 64 << 20
MAX_JSON_BYTES = 1 << 30  # of a file that is one JSON value, which is read at once
_PACKED_BYTES = 1 << 10  # of a zstd stream unpacked at once: 32 MB at the very most
_BLOCK_BYTES = 1 << 20
_BLANKS = " \t\v\f\r"
ALL_LINES = range(1, sys.maxsize)
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def refuse(error: InputError) -> None:
    """The usual ``fault``: the first mistake ends the reading."""
    raise error


class Told:
    """A ``fault`` that remembers whether it was told anything since it was last asked."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._told = False

    def __call__(self, error: InputError) -> None:
        """Pass a mistake on."""
        self._told = True
        self._fault(error)

    def anything(self) -> bool:
        """Whether it was, since the last time."""
        told, self._told = self._told, False
        return told


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressing ``.gz`` and ``.zst``.

    Reading raises OSError or EOFError where the compression is damaged or its end is missing.

    Raises:
        InputError: there is no such file.
    """
    if path.is_dir() or not path.exists():
        raise InputError(f"{path}: expected a file, found none; check the path")
    if path.suffix == ".gz":
        with gzip.open(path) as unpacked:
            yield cast("IO[bytes]", unpacked)
    elif path.suffix == ".zst":
        with path.open("rb") as packed:
            yield io.BufferedReader(_Zstd(packed))
    else:
        with path.open("rb") as stream:
            yield stream


class _Zstd(io.RawIOBase):
    """Unpacks frame after frame; zstandard's own reader takes a file that was cut for whole."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._unpacked = b""
        self._begin_frame()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  any writable memory
        while not self._unpacked:
            some = self._packed.read(_PACKED_BYTES)
            if not some:
                return self._end()
            self._unpacked = b"".join(self._pieces(some))
        size = min(len(buffer), len(self._unpacked))
        buffer[:size] = self._unpacked[:size]
        self._unpacked = self._unpacked[size:]
        return size

    def _pieces(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            self._is_within_frame = True
            try:
                yield self._frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            packed = b""
            if self._frame.eof:  # another frame may follow
                packed = self._frame.unused_data
                self._begin_frame()

    def _begin_frame(self) -> None:
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._is_within_frame = False

    def _end(self) -> int:
        if self._is_within_frame:
            raise EOFError("the end of its compression missing")
        return 0


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line of a UTF-8 file that is not blank, with its number from 1.

    Raises:
        InputError: there is no such file, its compression is broken, or a line is not UTF-8.
    """
    with open_bytes(path) as stream:
        yield from text_lines(str(path), stream)


def count_lines(path: Path) -> int:
    """How many lines a file has, one without an end among them; 0 where it cannot be read.

    Raises:
        InputError: there is no such file.
    """
    count, last = 0, b"\n"
    with open_bytes(path) as stream, suppress(OSError, EOFError):
        while block := stream.read(_BLOCK_BYTES):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of ``names`` that lies in ``folder``, as it is or with ``.gz`` or ``.zst``."""
    for name in names:
        for ending in ("", ".gz", ".zst"):
            if (folder / (name + ending)).is_file():
                return folder / (name + ending)
    return None


def columns(line: str) -> list[str]:
    """The columns of a line: between its tabs, or between its blanks where it has no tab.

    Ids may hold blanks where tabs stand between the columns. Blanks are those of ASCII, as for
    trec_eval: an id may hold a no-break space.
    """
    if "\t" in line:
        return [column.strip(_BLANKS) for column in line.split("\t")]
    return [column for column in re.split(f"[{_BLANKS}]", line) if column]


def number(column: str) -> float:
    """The finite number that a column holds.

    Raises:
        ValueError: it holds something else; Python's own ``1_000`` is no number of a file.
    """
    value = float(column)
    if "_" in column or not math.isfinite(value):
        raise ValueError(f"not a finite number: {column!r}")
    return value


def text_lines(
    name: str, stream: IO[bytes], fault: Fault = refuse, wanted: range = ALL_LINES
) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 stream, without their ends; blank lines are left out.

    Args:
        name: of the stream.
        stream: its bytes.
        fault: told of a line that is not UTF-8.
        wanted: the numbers of the lines to read; the others are passed over unread.

    Raises:
        InputError: a line is longer than 64 MiB, or the compression is damaged; or, through
            ``fault``, a line is not UTF-8: if that returns, the line is left out.
    """
    told = Told(fault)
    for number, line in every_line(name, stream, told, wanted):
        if not told.anything() and line.strip():
            yield number, line


def every_line(
    name: str, stream: IO[bytes], fault: Fault = refuse, wanted: range = ALL_LINES
) -> Iterator[tuple[int, str]]:
    """As `text_lines`, blank ones among them, and replacement characters for what is not UTF-8."""
    number = 0
    while number + 1 < wanted.stop and (line := _line(name, number + 1, stream)):
        number += 1
        if number in wanted:
            yield number, decoded(name, number, line.rstrip(b"\r\n"), fault)


def _line(name: str, number: int, stream: IO[bytes]) -> bytes:
    try:
        line = stream.readline(MAX_LINE_BYTES + 1)
    except (OSError, EOFError) as error:
        raise InputError(
            f"{name}:{number}: expected a readable line, found {error}; "
            "check that the file is whole"
        ) from error
    if len(line) > MAX_LINE_BYTES:
        raise InputError(
            f"{name}:{number}: expected lines of at most {MAX_LINE_BYTES >> 20} MiB, found a "
            "longer one; split the document"
        )
    return line


def decoded(name: str, number: int, data: bytes, fault: Fault = refuse) -> str:
    """UTF-8 bytes that begin in line ``number`` as text, without a byte order mark.

    Raises:
        InputError: through ``fault``, they are not UTF-8; if that returns, replacement characters
            stand there.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + data.count(b"\n", 0, error.start)
        position = error.start - data.rfind(b"\n", 0, error.start) - 1
        guess = "UTF-16" if data[:2] in UTF16_MARKS else "WINDOWS-1252"
        fault(
            InputError(
                f"{name}:{line}: expected UTF-8, found byte 0x{data[error.start]:02x} at position "
                f"{position}; convert it, perhaps with `iconv -f {guess} -t UTF-8`"
            )
        )
        text = data.decode("utf-8", errors="replace")
    return text.removeprefix("\ufeff") if number == 1 else text


def json_lines(
    name: str, stream: IO[bytes], fault: Fault = refuse, wanted: range = ALL_LINES
) -> Rows:
    """Numbered JSON objects, one a line; arguments as of `text_lines`.

    Raises:
        InputError: through ``fault``, a line is something else, or has a name twice.
    """
    for number, line in text_lines(name, stream, fault, wanted):
        try:
            row = _object(parse_json(line))
        except InputError as error:
            fault(InputError(f"{name}:{number}: {error}"))
        else:
            yield number, row


def json_file(path: Path, fault: Fault = refuse) -> Rows:
    """The objects of a ``.json`` file: JSON lines, an array of objects, or one object.

    Objects of an array are numbered from 1. Raises as `json_lines`.
    """
    with open_bytes(path) as stream:
        first = _line(str(path), 1, stream)
    if _is_object(first):
        with open_bytes(path) as stream:
            yield from json_lines(str(path), stream, fault)
        return
    value = _whole(path)
    for number, item in enumerate(value if isinstance(value, list) else [value], start=1):
        try:
            row = _object(item)
        except InputError as error:
            fault(InputError(f"{path}:{number}: {error}"))
        else:
            yield number, row


def _is_object(line: bytes) -> bool:
    """Whether a line is a whole object, faulty or not; an object may take many lines too."""
    try:
        return isinstance(orjson.loads(line.removeprefix(BYTE_ORDER_MARK)), dict)
    except orjson.JSONDecodeError:
        return False


def _whole(path: Path) -> Any:  # noqa: ANN401  anything JSON can hold
    data = _read(path, MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise InputError(
            f"{path}:1: expected JSON of at most {MAX_JSON_BYTES >> 20} MiB in one value, found "
            "more; write one object a line (`jq -c '.[]'`), which streams"
        )
    try:
        return parse_json(data)
    except InputError as error:
        line = getattr(error.__cause__, "lineno", 1)
        raise InputError(f"{path}:{line}: {error}") from error


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with open_bytes(path) as stream:
            return stream.read(most_bytes)
    except (OSError, EOFError) as error:
        raise InputError(
            f"{path}: expected a readable file, found {error}; check that it is whole"
        ) from error


def _object(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise InputError(
            f"expected a JSON object, found {type(value).__name__}; write an object such as "
            '{"_id": "7", ...}'
        )
    return value
