"""Queries, with and without ids: JSON lines (BEIR), tables (MS MARCO) and topics (TREC).

Every reader takes plain, ``.gz`` and ``.zst`` files, and names the file and the line of whatever
it cannot use.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.index.files.lines import find_file, json_lines, numbered_lines, open_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

JSON_LINES = (".jsonl", ".ndjson")
_TOPIC_FIELD = re.compile(
    r"<(num|title|desc|narr|description|narrative)>\s*(?:Number:|Description:|Narrative:|Topic:)?",
    re.IGNORECASE,
)


def read_queries(path: Path) -> dict[str, str]:
    """Queries of a ``.jsonl`` (BEIR), ``.tsv`` (MS MARCO) or topics file (TREC), by id.

    Raises:
        InputError: a line that cannot be read, an id that comes twice, or no query at all.
    """
    queries: dict[str, str] = {}
    for number, query_id, text in _rows(path):
        if query_id in queries:
            raise InputError(
                f"{path}:{number}: expected distinct query ids, found {query_id!r} again; "
                "remove or rename one of them"
            )
        queries[query_id] = text
    if not queries:
        raise InputError(f"{path}: expected at least one query, found none; check the file")
    return queries


def read_query_texts(path: Path) -> list[str]:
    """The texts of a file of queries, which need no ids: JSON lines, or one query a line.

    A ``.tsv`` has ids before its texts and topics have numbers: these are left out.

    Raises:
        InputError: as `read_queries`, or a text of a JSON line is blank.
    """
    if _kind(path) in JSON_LINES:
        return [_text(path, number, row, blank=False) for number, row in _json_rows(path)]
    if _kind(path) == ".tsv" or _is_topics(path):
        return [text for _, _, text in _rows(path)]
    return [line for _, line in numbered_lines(path)]


def beir_queries(folder: Path) -> dict[str, str]:
    """The queries of a BEIR folder, by id.

    Raises:
        InputError: as `read_queries`, or there is no such file.
    """
    path = find_file(folder, "queries.jsonl")
    if path is None:
        raise InputError(f"{folder}: expected queries.jsonl of a BEIR collection, found none")
    return read_queries(path)


def _kind(path: Path) -> str:
    return (path.with_suffix("") if path.suffix in (".gz", ".zst") else path).suffix


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, id and text of each query."""
    if _kind(path) in JSON_LINES:
        return _json_queries(path)
    if _kind(path) in (".tsv", ".txt") and not _is_topics(path):
        return _table(path)
    return _topics(path)


def _json_queries(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, row in _json_rows(path):
        query_id = row.get("_id")
        if not isinstance(query_id, str | int) or isinstance(query_id, bool):
            raise InputError(
                f"{path}:{number}: expected a string as _id of a query, found "
                f"{type(query_id).__name__}; give each query one"
            )
        yield number, str(query_id), _text(path, number, row, blank=True)


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open_bytes(path) as stream:
        yield from json_lines(str(path), stream)


def _text(path: Path, number: int, row: Mapping[str, Any], *, blank: bool) -> str:
    """The text of a query, which may be ``blank`` where nobody need ask it."""
    text = row.get("text")
    if not isinstance(text, str) or not (blank or text.strip()):
        found = "a blank text" if isinstance(text, str) else f"{text!r} under 'text'"
        raise InputError(
            f'{path}:{number}: expected a query such as {{"_id": "...", "text": "..."}}, found '
            f"{found if 'text' in row else 'no text'}; correct or remove the line"
        )
    return text


def _table(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in numbered_lines(path):
        query_id, tab, text = line.partition("\t")
        if not tab:
            raise InputError(
                f"{path}:{number}: expected 'query id, tab, text', found {line[:60]!r}; "
                "separate the columns by a tab"
            )
        yield number, query_id, text


def _is_topics(path: Path) -> bool:
    first = next((line for _, line in numbered_lines(path)), "")
    return first.lstrip().lower().startswith(("<top", "<?xml"))


def _topics(path: Path) -> Iterator[tuple[int, str, str]]:
    """Topics between ``<top>`` and ``</top>``: the number and the title, tags closed or not."""
    fields: dict[str, str] = {}
    field, start = "", 0
    for number, line in numbered_lines(path):
        lowered = line.strip().lower()
        if lowered.startswith("<top"):
            fields, field, start = {}, "", number
        elif lowered.startswith("</top"):
            yield start, *_topic(path, start, fields)
        elif match := _TOPIC_FIELD.match(line.strip()):
            field = match[1].lower()
            fields[field] = line.strip()[match.end() :]
        elif field:
            fields[field] += " " + line.strip()


def _topic(path: Path, number: int, fields: Mapping[str, str]) -> tuple[str, str]:
    plain = {name: re.sub(r"<[^>]*>", " ", value).split() for name, value in fields.items()}
    if not plain.get("num") or not plain.get("title"):
        raise InputError(
            f"{path}:{number}: expected a topic with <num> and <title>, found {sorted(fields)}; "
            "give TREC topics, or queries as .jsonl or .tsv"
        )
    return plain["num"][0], " ".join(plain["title"])
