"""Run: what a system answered to each query, and TREC's file form of it.

Knows nothing of judgements or of the systems that made it.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.lines import numbered_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


class RunWarning(UserWarning):
    """A run file had to be repaired, or other tools will read it differently."""


@dataclass(frozen=True, slots=True)
class Run:
    """The ranking of each query.

    Attributes:
        scores: query id -> document id -> score, higher is better. Ranks follow from scores
            alone: equal scores are ordered as trec_eval orders them, see `ordered`.
        tag: the system's name in TREC's last column.
        repairs: what was changed on reading, one sentence each.
    """

    scores: Mapping[str, Mapping[str, float]]
    tag: str = "tamis"
    repairs: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.scores)

    def ordered(self, query: str) -> list[tuple[str, float]]:
        """Documents of one query, best first, in trec_eval's order.

        trec_eval compares scores as 32-bit floats and puts the higher document id first where
        they are equal (``comp_sim_docno`` in its ``form_res_rels.c``).
        """
        ranking = sorted(self.scores.get(query, {}).items(), reverse=True)
        return sorted(ranking, key=lambda pair: -np.float32(pair[1]))

    def without_self(self) -> Run:
        """This run without the documents whose id is the query's own (ArguAna, Quora)."""
        return Run(
            {
                query: {doc: score for doc, score in ranking.items() if doc != query}
                for query, ranking in self.scores.items()
            },
            self.tag,
            self.repairs,
        )

    def cut(self, depth: int) -> Run:
        """The first ``depth`` documents of each query."""
        return Run(
            {
                query: ranking if len(ranking) <= depth else dict(self.ordered(query)[:depth])
                for query, ranking in self.scores.items()
            },
            self.tag,
            self.repairs,
        )

    def tied(self) -> int:
        """Documents whose score, as a 32-bit float, another document of the query has as well."""
        count = 0
        for ranking in self.scores.values():
            scores = np.fromiter(ranking.values(), np.float32, len(ranking))
            _, counts = np.unique(scores, return_counts=True)
            count += int(counts[counts > 1].sum())
        return count

    def write(self, path: Path) -> None:
        """Write ``query Q0 document rank score tag`` lines, best first, whole or not at all.

        Warns:
            RunWarning: document ids hold spaces, which other tools do not read.
        """
        spaced = sum(" " in doc for ranking in self.scores.values() for doc in ranking)
        if spaced:
            warnings.warn(
                f"{path}: {spaced} lines have document ids with spaces; this package reads them "
                "back, trec_eval does not",
                RunWarning,
                stacklevel=2,
            )
        half = path.with_name(path.name + ".part")
        with half.open("w", encoding="utf-8") as file:
            file.writelines(self._lines())
        os.replace(half, path)

    def _lines(self) -> Iterator[str]:
        for query in self.scores:
            for rank, (doc, score) in enumerate(self.ordered(query), 1):
                yield f"{query} Q0 {doc} {rank} {score:.9g} {self.tag}\n"


def read_run(path: Path) -> Run:
    """Read a TREC run, repairing what can be repaired.

    Ranks are recomputed from scores, as trec_eval does. Of a document that comes twice for a
    query the higher score stays. Document ids may hold spaces: the first two and the last three
    columns are split off.

    Raises:
        InputError: a line of fewer than six columns, a score that is no finite number, or no
            line at all.

    Warns:
        RunWarning: how many lines were repaired.
    """
    scores: dict[str, dict[str, float]] = {}
    last: dict[str, tuple[float, float]] = {}  # query -> rank and score of its latest line
    repeated, unsorted, tag = 0, set[str](), "run"
    for number, line in numbered_lines(path):
        query, doc, rank, score, tag = _parse(path, number, line)
        ranking = scores.setdefault(query, {})
        repeated += doc in ranking
        before_rank, before_score = last.get(query, (rank, score))
        if (rank - before_rank) * (score - before_score) > 0:
            unsorted.add(query)
        last[query] = (rank, score)
        ranking[doc] = max(score, ranking.get(doc, score))
    if not scores:
        raise InputError(f"{path}: expected at least one line, found none; check the file")
    return Run(scores, tag, tuple(_repairs(path, repeated, len(unsorted))))


def _parse(path: Path, number: int, line: str) -> tuple[str, str, float, float, str]:
    head, tail = line.split(None, 2), line.rsplit(None, 3)
    try:
        query, _, rest = head
        before, rank, score, tag = tail
        doc = rest[: len(rest) - (len(line.rstrip()) - len(before))].strip()
        values = float(rank), float(score)
    except ValueError as error:
        raise InputError(
            f"{path}:{number}: expected 'query Q0 document rank score tag', found {line[:80]!r}; "
            "write six columns with numbers in the fourth and fifth"
        ) from error
    if not doc or not math.isfinite(values[1]):
        raise InputError(
            f"{path}:{number}: expected a document and a finite score, found {line[:80]!r}; "
            "correct or remove the line"
        )
    return query, doc, *values, tag


def _repairs(path: Path, repeated: int, unsorted: int) -> Iterable[str]:
    if repeated:
        yield f"{repeated} repeated documents merged, each with its higher score"
    if unsorted:
        yield f"{unsorted} queries whose ranks disagree with their scores sorted by score"
    if repeated or unsorted:
        warnings.warn(
            f"{path}: repaired {repeated} repeated documents and the order of {unsorted} queries",
            RunWarning,
            stacklevel=3,
        )


def read_candidates(path: Path) -> dict[str, list[str]]:
    """MS MARCO's ``top1000`` file (query id, document id, query, passage) as id lists.

    Raises:
        InputError: a line with fewer than two tab-separated columns.
    """
    candidates: dict[str, list[str]] = {}
    for number, line in numbered_lines(path):
        columns = line.split("\t", 2)
        if len(columns) < 2:
            raise InputError(
                f"{path}:{number}: expected query id, tab, document id, found {line[:60]!r}; "
                "separate the columns by tabs"
            )
        candidates.setdefault(columns[0], []).append(columns[1])
    return candidates
