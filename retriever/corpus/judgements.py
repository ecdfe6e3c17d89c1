"""Judgements of relevance, as BEIR and TREC write them: one reader for training and evaluation.

A line is query, document and grade, with TREC's iteration in second place or without it, and the
first line may name the columns. Files are plain, ``.gz`` or ``.zst``; an error names file and line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tamis.index.errors import InputError
from tamis.index.files.lines import columns, find_file, number, numbered_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_GRADE = 1_000_000  # trec_eval counts up to the highest one for each query
_GRADE_NAMES = ("score", "relevance", "rel", "label", "grade", "judgement", "judgment")


class Judgement(NamedTuple):
    """A grade that somebody gave a document for a query, and the line where it stands."""

    line: int
    query_id: str
    doc_id: str
    grade: int


@dataclass(slots=True)
class Judgements:
    """Judgements by query.

    Attributes:
        grades: query id -> document id -> grade, in the order in which they came.
        repeated: judgements of a pair that was judged before; the higher grade stays.
    """

    grades: dict[str, dict[str, int]] = field(default_factory=dict)
    repeated: int = 0

    def add(self, query_id: str, doc_id: str, grade: int) -> None:
        """Take one more."""
        judged = self.grades.setdefault(query_id, {})
        self.repeated += doc_id in judged
        judged[doc_id] = max(grade, judged.get(doc_id, grade))


def read_judgements(path: Path) -> Judgements:
    """All judgements of a file, one for each pair of query and document.

    Raises:
        InputError: as `judgement_lines`, or there is none.
    """
    found = Judgements()
    for _, query_id, doc_id, grade in judgement_lines(path):
        found.add(query_id, doc_id, grade)
    if not found.grades:
        raise InputError(f"{path}: expected at least one judgement, found none; check the file")
    return found


def judgement_lines(path: Path) -> Iterator[Judgement]:
    """The judgements of a file, line by line.

    Three columns are query, document and grade, four have TREC's iteration in second place. A
    line with a tab is split at tabs, so ids may hold blanks. A grade is a whole number, which
    may be written as 1.0.

    Raises:
        InputError: there is no such file, or a line of another form.
    """
    first = True
    for at, line in numbered_lines(path):
        cells = columns(line)
        if not (first and _is_header(cells)):
            yield _judgement(path, at, cells)
        first = False


def beir_judgements(folder: Path, split: str) -> Path:
    """The file of a split of a BEIR folder.

    Raises:
        InputError: there is none; the message names the splits that are there.
    """
    path = find_file(folder / "qrels", f"{split}.tsv")
    if path is None:
        splits = sorted({one.name.split(".")[0] for one in folder.glob("qrels/*.tsv*")})
        raise InputError(
            f"{folder / 'qrels' / split}.tsv: expected judgements, found no file; splits there: "
            f"{', '.join(splits) or 'none'}"
        )
    return path


def _is_header(cells: list[str]) -> bool:
    """Whether a first line names the columns: its last cell does, or no cell holds a digit."""
    return cells[-1].lower() in _GRADE_NAMES or re.search(r"\d", "".join(cells)) is None


def _judgement(path: Path, line: int, cells: list[str]) -> Judgement:
    if len(cells) not in (3, 4):
        raise InputError(
            f"{path}:{line}: expected 3 columns (query, document, grade) or TREC's 4, found "
            f"{len(cells)}; separate the columns by tabs"
        )
    query_id, doc_id = cells[0], cells[-2]
    if not query_id or not doc_id:
        raise InputError(
            f"{path}:{line}: expected ids of a query and a document, found {query_id!r} and "
            f"{doc_id!r}; write both"
        )
    return Judgement(line, query_id, doc_id, _grade(path, line, cells[-1]))


def _grade(path: Path, line: int, text: str) -> int:
    try:
        return whole_grade(text)
    except ValueError as error:
        raise InputError(
            f"{path}:{line}: expected a whole number up to {MAX_GRADE:,} as grade, found "
            f"{text!r}; map grades to 0, 1, 2, ..."
        ) from error


def whole_grade(text: str) -> int:
    """The grade that a column holds, such as 1 or 1.0.

    Raises:
        ValueError: it is no whole number, or beyond `MAX_GRADE`.
    """
    grade = number(text)
    if not grade.is_integer() or abs(grade) > MAX_GRADE:
        raise ValueError(f"no grade: {text!r}")
    return int(grade)
