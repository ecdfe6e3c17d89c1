"""Reading a corpus: every input format becomes a stream of passages. Nothing is held in memory.

A mistake in the corpus raises InputError, whose message begins with the file and the line.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import orjson
import zstandard

from tamis.index.errors import InputError
from tamis.index.identifiers import check_id
from tamis.retriever.types import Passage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STDIN = "-"
MAX_LINE_BYTES = 64 << 20
ID_KEYS = ("_id", "id", "docid", "doc_id")
TEXT_KEYS = ("text", "contents", "body", "segment", "passage")
TEXT_FILES = (".txt", ".md")
FORMATS = (
    "a BEIR folder (corpus.jsonl), .jsonl, .tsv (id, text) or .csv, each also with .gz or .zst, "
    ".parquet, a folder of .txt or .md files, or - for JSON lines on standard input"
)


def read_passages(source: str | Path) -> Iterator[Passage]:
    """Read a corpus, passage by passage.

    Args:
        source: a BEIR folder, ``.jsonl``, ``.tsv`` (MS MARCO: id, text) or ``.csv`` (with a
            header), each also compressed (``.gz``, ``.zst``), ``.parquet``, a folder of text
            files, or ``-`` for JSON lines on standard input.

    Raises:
        InputError: no such corpus, or a line that is not a passage: broken JSON, a missing id,
            an empty text, bytes that are not UTF-8.
    """
    if str(source) == STDIN:
        return _from_objects("standard input", _json_lines("standard input", sys.stdin.buffer))
    path = corpus_file(Path(source))
    if path.is_dir():
        return _from_text_files(path)
    kind = _kind(path)
    if kind == ".parquet":
        return _from_objects(str(path), enumerate(_parquet_rows(path), start=1))
    return _from_stream(path, kind)


def corpus_file(source: Path) -> Path:
    """The file to read for a source: in a BEIR folder its corpus, else the source itself."""
    if not source.exists():
        raise InputError(f"{source}: expected {FORMATS}; found nothing; check the path")
    if source.is_dir():
        for name in ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"):
            if (source / name).is_file():
                return source / name
    return source


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


def text_lines(name: str, stream: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 stream, without their ends; blank lines are left out.

    Raises:
        InputError: a line is longer than 64 MiB or not UTF-8, or the compression is damaged.
    """
    number = 0
    while True:
        try:
            line = stream.readline(MAX_LINE_BYTES + 1)
        except (OSError, EOFError, zstandard.ZstdError) as error:
            raise InputError(
                f"{name}:{number + 1}: expected a readable line, found {error}; "
                "check that the file is whole"
            ) from error
        if not line:
            return
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InputError(
                f"{name}:{number}: expected lines of at most {MAX_LINE_BYTES >> 20} MiB, found a "
                "longer one; split the document"
            )
        if line.strip():
            yield number, _decode(name, number, line.rstrip(b"\r\n"))


def _from_stream(path: Path, kind: str) -> Iterator[Passage]:
    with open_bytes(path) as stream:
        if kind == ".jsonl":
            yield from _from_objects(str(path), _json_lines(str(path), stream))
        elif kind == ".tsv":
            yield from _from_tsv(str(path), text_lines(str(path), stream))
        else:
            yield from _from_objects(str(path), _csv_rows(str(path), stream))


def _kind(path: Path) -> str:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    suffix = Path(name).suffix
    kind = {".json": ".jsonl", ".ndjson": ".jsonl"}.get(suffix, suffix)
    if kind not in (".jsonl", ".tsv", ".csv", ".parquet"):
        raise InputError(
            f"{path}: expected {FORMATS}; found a file ending in {suffix!r}; rename it"
        )
    return kind


def _decode(name: str, number: int, line: bytes) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}:{number}: expected UTF-8, found byte 0x{line[error.start]:02x} at position "
            f"{error.start}; convert the file to UTF-8"
        ) from error
    return text.removeprefix("\ufeff") if number == 1 else text


def _json_lines(name: str, stream: IO[bytes]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in text_lines(name, stream):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(
                f"{name}:{number}: expected one JSON object on the line, found broken JSON "
                f"({error}); correct or remove the line"
            ) from error
        if not isinstance(value, dict):
            raise InputError(
                f"{name}:{number}: expected a JSON object, found {type(value).__name__}; "
                'write {"_id": ..., "text": ...}'
            )
        yield number, value


def _from_tsv(name: str, lines: Iterable[tuple[int, str]]) -> Iterator[Passage]:
    for number, line in lines:
        doc_id, tab, text = line.partition("\t")
        if not tab:
            raise InputError(
                f"{name}:{number}: expected id, tab, text; found no tab; separate them by a tab"
            )
        yield _passage(name, number, doc_id, text)


def _csv_rows(name: str, stream: IO[bytes]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = (line + "\n" for _, line in text_lines(name, stream))
    reader = csv.DictReader(lines, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{name}:{reader.line_num}: expected CSV, found {error}; quote the field"
            ) from error
        if row is None:
            return
        yield reader.line_num, {key: value for key, value in row.items() if key is not None}


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(
            f"{path}: expected pyarrow for a Parquet file, found it missing; "
            "install it with `pip install pyarrow`"
        ) from error
    try:
        table = ParquetFile(path)
    except ArrowInvalid as error:
        raise InputError(f"{path}: expected Parquet, found {error}; check the file") from error
    for batch in table.iter_batches(batch_size=1024):
        yield from batch.to_pylist()


def _from_objects(name: str, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Passage]:
    for number, row in rows:
        id_key = _first_key(name, number, row, ID_KEYS, "an id")
        text_key = _first_key(name, number, row, TEXT_KEYS, "a text")
        known = {id_key, text_key, "title"}
        fields = {key: value for key, value in row.items() if key not in known}
        yield _passage(name, number, row[id_key], row[text_key], row.get("title"), fields)


def _first_key(
    name: str, number: int, row: Mapping[str, Any], keys: tuple[str, ...], what: str
) -> str:
    for key in keys:
        if row.get(key) is not None:
            return key
    raise InputError(
        f"{name}:{number}: expected {what} under one of {', '.join(keys)}; found the keys "
        f"{', '.join(map(str, row)) or 'none'}; add it or rename a key"
    )


def _passage(
    name: str,
    number: int,
    doc_id: Any,  # noqa: ANN401  whatever the file holds
    text: Any,  # noqa: ANN401
    title: Any = None,  # noqa: ANN401
    fields: Mapping[str, Any] | None = None,
) -> Passage:
    title = "" if title is None else title
    if isinstance(doc_id, int) and not isinstance(doc_id, bool):
        doc_id = str(doc_id)
    for what, value in (("id", doc_id), ("text", text), ("title", title)):
        if not isinstance(value, str):
            raise InputError(
                f"{name}:{number}: expected a string as {what}, found "
                f"{type(value).__name__}; write it as a string"
            )
    if not text.strip() and not title.strip():
        raise InputError(
            f"{name}:{number}: expected some text, found none for id {doc_id!r}; "
            "remove the document or give it a text"
        )
    try:
        check_id(doc_id)
    except InputError as error:
        raise InputError(f"{name}:{number}: {error}") from None
    return Passage(doc_id, text, title, fields or {}, number, name)


def _from_text_files(folder: Path) -> Iterator[Passage]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXT_FILES)
    if not files:
        raise InputError(f"{folder}: expected {FORMATS}; found a folder without any of them")
    for path in files:
        text = path.read_bytes()
        try:
            decoded = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            raise InputError(
                f"{path}:{line}: expected UTF-8, found byte 0x{text[error.start]:02x}; "
                "convert the file to UTF-8"
            ) from error
        yield _passage(str(path), 1, path.relative_to(folder).as_posix(), decoded)
