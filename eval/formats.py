"""Readers of documents, queries, topics and judgements: text files in, plain records out.

Knows nothing of systems or measures. Every reader takes plain, ``.gz`` and ``.zst``
files, and names the file and the line of whatever it cannot use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tamis.index.errors import InputError
from tamis.index.files.lines import open_bytes, text_lines
from tamis.index.files.strict_json import parse_json
from tamis.retriever.types import Passage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Grades = dict[str, dict[str, int]]  # query id -> document id -> relevance

_HEADERS = ("score", "relevance", "rel", "label", "grade")
_TOPIC_FIELD = re.compile(
    r"<(num|title|desc|narr|description|narrative)>\s*(?:Number:|Description:|Narrative:|Topic:)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Judgements:
    """What a judgement file holds.

    Attributes:
        grades: query id -> document id -> relevance, in file order.
        repeated: lines whose (query, document) was judged before; the higher grade stays.
    """

    grades: Grades
    repeated: int


class _Document(msgspec.Struct):
    id: str | int = msgspec.field(name="_id")
    text: str
    title: str | None = None


class _Query(msgspec.Struct):
    id: str | int = msgspec.field(name="_id")
    text: str


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line of a UTF-8 file that is not blank, with its number from 1.

    Raises:
        InputError: there is no such file, its compression is broken, or a line is not UTF-8.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found none; check the path")
    with open_bytes(path) as stream:
        yield from text_lines(str(path), stream)


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of ``names`` that lies in ``folder``, as it is or with ``.gz`` or ``.zst``."""
    for name in names:
        for ending in ("", ".gz", ".zst"):
            if (folder / (name + ending)).is_file():
                return folder / (name + ending)
    return None


def read_corpus(path: Path) -> Iterator[Passage]:
    """Documents of a BEIR ``corpus.jsonl`` or an MS MARCO ``collection.tsv``, as a stream.

    Unlike `read_passages` this keeps documents without text, which published collections have:
    judgements may name them.

    Raises:
        InputError: a line that is no document.
    """
    if ".tsv" in path.suffixes:
        for _, doc_id, text in _tsv_rows(path):
            yield Passage(doc_id, text)
        return
    for number, line in numbered_lines(path):
        try:
            document = msgspec.convert(parse_json(line), _Document)
        except (msgspec.MsgspecError, InputError) as error:
            raise InputError(
                f'{path}:{number}: expected {{"_id", "title", "text"}}, found {line[:60]!r} '
                f"({error}); write one JSON object a line"
            ) from error
        yield Passage(str(document.id), document.text, document.title or "", line=number)


def read_queries(path: Path) -> dict[str, str]:
    """Queries of a ``.jsonl`` (BEIR), ``.tsv`` (MS MARCO) or topics file (TREC), by id.

    Raises:
        InputError: a line that cannot be read, an id that comes twice, or no query at all.
    """
    stem = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    if stem.suffix == ".jsonl":
        rows = _jsonl_queries(path)
    elif stem.suffix in (".tsv", ".txt") and not _is_topics(path):
        rows = _tsv_rows(path)
    else:
        rows = _trec_topics(path)
    queries: dict[str, str] = {}
    for number, query_id, text in rows:
        if query_id in queries:
            raise InputError(
                f"{path}:{number}: expected distinct query ids, found {query_id!r} again; "
                "remove or rename one of them"
            )
        queries[query_id] = text
    if not queries:
        raise InputError(f"{path}: expected at least one query, found none; check the file")
    return queries


def _jsonl_queries(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in numbered_lines(path):
        try:
            query = msgspec.convert(parse_json(line), _Query)
        except (msgspec.MsgspecError, InputError) as error:
            raise InputError(
                f'{path}:{number}: expected {{"_id": "...", "text": "..."}}, found {line[:60]!r} '
                f"({error}); write one JSON object a line"
            ) from error
        yield number, str(query.id), query.text


def _tsv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in numbered_lines(path):
        query_id, tab, text = line.partition("\t")
        if not tab:
            raise InputError(
                f"{path}:{number}: expected 'query id, tab, text', found {line[:60]!r}; "
                "separate the columns by a tab"
            )
        yield number, query_id, text


def _is_topics(path: Path) -> bool:
    first = next((line for _, line in numbered_lines(path) if line.strip()), "")
    return first.lstrip().lower().startswith(("<top", "<?xml"))


def _trec_topics(path: Path) -> Iterator[tuple[int, str, str]]:
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


def _topic(path: Path, number: int, fields: dict[str, str]) -> tuple[str, str]:
    plain = {name: re.sub(r"<[^>]*>", " ", value).split() for name, value in fields.items()}
    if not plain.get("num") or not plain.get("title"):
        raise InputError(
            f"{path}:{number}: expected a topic with <num> and <title>, found {sorted(fields)}; "
            "give TREC topics, or queries as .jsonl or .tsv"
        )
    return plain["num"][0], " ".join(plain["title"])


def read_qrels(path: Path) -> Judgements:
    """Judgements of a BEIR ``.tsv`` (with or without header) or a TREC qrels file.

    Three columns are query, document and grade, four have TREC's iteration in second place. A
    line with a tab is split at tabs, so ids may hold spaces.

    Raises:
        InputError: a line of another form, a grade that is no whole number, or no line at all.
    """
    grades: Grades = {}
    repeated = 0
    for number, line in numbered_lines(path):
        columns = line.split("\t") if "\t" in line else line.split()
        if not columns or (number == 1 and _is_header(columns)):
            continue
        query_id, doc_id, grade = _judgement(path, number, columns)
        judged = grades.setdefault(query_id, {})
        repeated += doc_id in judged
        judged[doc_id] = max(grade, judged.get(doc_id, grade))
    if not grades:
        raise InputError(f"{path}: expected at least one judgement, found none; check the file")
    return Judgements(grades, repeated)


def _is_header(columns: list[str]) -> bool:
    return columns[-1].strip().lower() in _HEADERS


def _judgement(path: Path, number: int, columns: list[str]) -> tuple[str, str, int]:
    if len(columns) not in (3, 4):
        raise InputError(
            f"{path}:{number}: expected 3 columns (query, document, grade) or TREC's 4, found "
            f"{len(columns)}; separate the columns by tabs"
        )
    try:
        grade = float(columns[-1])
        if not grade.is_integer():
            raise ValueError
    except ValueError as error:
        raise InputError(
            f"{path}:{number}: expected a whole number as grade, found {columns[-1]!r}; "
            "map grades to 0, 1, 2, ..."
        ) from error
    return columns[0].strip(), columns[-2].strip(), int(grade)
