"""Lines and JSON of a corpus's files, decompressed as they stream. Knows nothing of documents.

Every mistake is an `InputError` that begins with the file and the line, and is handed to a
``fault`` function: `refuse` raises it, a check counts it and goes on.
"""

from __future__ import annotations

import gzip
import io
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import orjson
import zstandard

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Fault = Callable[[InputError], None]
    Rows = Iterator[tuple[int, Mapping[str, Any]]]

MAX_LINE_BYTES = 64 << 20
MAX_JSON_BYTES = 1 << 30  # of a file that is one JSON value, which is read at once
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def refuse(error: InputError) -> None:
    """The usual ``fault``: the first mistake ends the reading."""
    raise error


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressing ``.gz`` and ``.zst``."""
    if path.suffix == ".gz":
        with gzip.open(path) as unpacked:
            yield cast("IO[bytes]", unpacked)
    elif path.suffix == ".zst":
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            yield io.BufferedReader(stream)
    else:
        with path.open("rb") as stream:
            yield stream


def text_lines(name: str, stream: IO[bytes], fault: Fault = refuse) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 stream, without their ends; blank lines are left out.

    Raises:
        InputError: a line is longer than 64 MiB, or the compression is damaged; or, through
            ``fault``, a line is not UTF-8: if that returns, replacement characters stand there.
    """
    return ((number, line) for number, line in every_line(name, stream, fault) if line.strip())


def every_line(name: str, stream: IO[bytes], fault: Fault = refuse) -> Iterator[tuple[int, str]]:
    """As `text_lines`, blank ones among them."""
    number = 0
    while line := _line(name, number + 1, stream):
        number += 1
        yield number, decoded(name, number, line.rstrip(b"\r\n"), fault)


def _line(name: str, number: int, stream: IO[bytes]) -> bytes:
    try:
        line = stream.readline(MAX_LINE_BYTES + 1)
    except (OSError, EOFError, zstandard.ZstdError) as error:
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
        InputError: through ``fault``, they are not UTF-8; see `text_lines`.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + data.count(b"\n", 0, error.start)
        position = error.start - data.rfind(b"\n", 0, error.start) - 1
        guess = "UTF-16" if data[:2] in _UTF16_MARKS else "WINDOWS-1252"
        fault(
            InputError(
                f"{name}:{line}: expected UTF-8, found byte 0x{data[error.start]:02x} at position "
                f"{position}; convert it, perhaps with `iconv -f {guess} -t UTF-8`"
            )
        )
        text = data.decode("utf-8", errors="replace")
    return text.removeprefix("\ufeff") if number == 1 else text


def json_lines(name: str, stream: IO[bytes], fault: Fault = refuse) -> Rows:
    """Numbered JSON objects, one a line.

    Raises:
        InputError: through ``fault``, a line is something else.
    """
    for number, line in text_lines(name, stream, fault):
        try:
            yield number, _object(name, number, orjson.loads(line))
        except orjson.JSONDecodeError as error:
            fault(
                InputError(
                    f"{name}:{number}: expected one JSON object on the line, found broken JSON "
                    f"({error}); correct or remove the line"
                )
            )
        except InputError as error:
            fault(error)


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
            yield number, _object(str(path), number, item)
        except InputError as error:
            fault(error)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _whole(path: Path) -> Any:  # noqa: ANN401  anything JSON can hold
    with open_bytes(path) as stream:
        data = stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise InputError(
            f"{path}:1: expected JSON of at most {MAX_JSON_BYTES >> 20} MiB in one value, found "
            "more; write one object a line (`jq -c '.[]'`), which streams"
        )
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: expected JSON objects, found broken JSON ({error}); "
            "correct the file"
        ) from error


def _object(name: str, number: int, value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise InputError(
            f"{name}:{number}: expected a JSON object, found {type(value).__name__}; "
            'write {"_id": ..., "text": ...}'
        )
    return value
