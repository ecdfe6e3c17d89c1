"""Run: what a system answered to each query, and TREC's file form of it.

Knows nothing of judgements or of the systems that made it.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError, TamisWarning
from tamis.index.files.lines import columns, number, numbered_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


MOST_SCORE = float(np.finfo(np.float32).max)  # trec_eval reads 32-bit floats


class RunWarning(TamisWarning):
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

    @property
    def size(self) -> int:
        """Documents of all queries together."""
        return sum(map(len, self.scores.values()))

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

        Blanks stand between the columns, or tabs where an id holds blanks; those of the tag
        become hyphens. Scores are written as the 32-bit floats that trec_eval compares.

        Raises:
            InputError: an id that `read_run` could not read back, or a score that is no finite
                32-bit float; nothing is written.

        Warns:
            RunWarning: ids hold blanks, which other tools do not read, or no query has an answer.
        """
        self._check_writable(path)
        if not any(self.scores.values()):
            warnings.warn(
                f"{path}: no query has an answer, so the run is empty and measures nothing",
                RunWarning,
                stacklevel=2,
            )
        spaced = sum(
            " " in query or " " in doc for query, ranking in self.scores.items() for doc in ranking
        )
        if spaced:
            warnings.warn(
                f"{path}: {spaced} lines have ids with spaces, so tabs are between the columns; "
                "this package reads them back, trec_eval does not",
                RunWarning,
                stacklevel=2,
            )
        half = path.with_name(path.name + ".part")
        with half.open("w", encoding="utf-8") as file:
            file.writelines(self._lines("\t" if spaced else " "))
        os.replace(half, path)

    def _check_writable(self, path: Path) -> None:
        for query, ranking in self.scores.items():
            for one, what in [(query, "query"), *((doc, "document") for doc in ranking)]:
                if not one or one != one.strip(" ") or any(ord(sign) < 32 for sign in one):
                    raise InputError(
                        f"{path}: expected ids without control characters and blanks at their "
                        f"ends, found the {what} {one!r}; rename it"
                    )
            for doc, score in ranking.items():
                if not abs(score) <= MOST_SCORE:  # NaN is not
                    raise InputError(
                        f"{path}: expected finite 32-bit scores, found {score} of {doc!r} for the "
                        f"query {query!r}; correct the system that gave it"
                    )

    def _lines(self, between: str) -> Iterator[str]:
        tag = "-".join(self.tag.split()) or "tamis"
        for query in self.scores:
            for rank, (doc, score) in enumerate(self.ordered(query), 1):
                shown = f"{np.float32(score):.9g}"
                yield between.join((query, "Q0", doc, str(rank), shown, tag)) + "\n"


def read_run(path: Path) -> Run:
    """Read a TREC run, repairing what can be repaired.

    A line has six columns, between tabs where it has tabs (so that ids may hold blanks), else
    between blanks. Ranks are recomputed from scores, as trec_eval does. Of a document that comes
    twice for a query the higher score stays.

    Raises:
        InputError: a line of another number of columns, a score that is no finite 32-bit float, or
            no line at all.

    Warns:
        RunWarning: how many lines were repaired.
    """
    scores: dict[str, dict[str, float]] = {}
    last: dict[str, tuple[float, float]] = {}  # query -> rank and score of its latest line
    repeated, unsorted, tag = 0, set[str](), "run"
    for at, line in numbered_lines(path):
        query, doc, rank, score, tag = _parse(path, at, line)
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


def _parse(path: Path, at: int, line: str) -> tuple[str, str, float, float, str]:
    cells = columns(line)
    if len(cells) != 6:
        raise InputError(
            f"{path}:{at}: expected six columns, 'query Q0 document rank score tag', found "
            f"{len(cells)} in {line[:80]!r}; write all of them, with tabs where an id holds blanks"
        )
    query, _, doc, *values, tag = cells
    try:
        rank, score = map(number, values)
    except ValueError as error:
        raise InputError(
            f"{path}:{at}: expected finite numbers in the fourth and fifth of six columns, found "
            f"{' and '.join(map(repr, values))}; correct or remove the line"
        ) from error
    if not query or not doc or abs(score) > MOST_SCORE:
        raise InputError(
            f"{path}:{at}: expected a query, a document and a finite 32-bit score, found "
            f"{line[:80]!r}; correct or remove the line"
        )
    return query, doc, rank, score, tag


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
