"""The queries that a system answers worst, with the reasons that its terms give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamis.eval.systems import SearcherRanker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.eval.datasets import Dataset
    from tamis.eval.ranker import Ranker
    from tamis.eval.run import Run
    from tamis.retriever.types import MatchedTerm

EXCERPT = 240  # characters


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A document beside a failing query.

    Attributes:
        doc_id: the corpus's id.
        rank: in the system's answer; 0 where it is not in it.
        grade: as judged; None where it was not judged.
        excerpt: how its text begins.
        terms: why it matches, largest contribution first.
    """

    doc_id: str
    rank: int
    grade: int | None
    excerpt: str
    terms: tuple[MatchedTerm, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A query with a low value.

    Attributes:
        query: its id.
        text: what was asked.
        value: of the measure.
        found: the first answer.
        wanted: the relevant document with the highest grade.
    """

    query: str
    text: str
    value: float
    found: ShownDocument | None
    wanted: ShownDocument | None


def failures(
    ranker: Ranker, dataset: Dataset, run: Run, values: Mapping[str, float], count: int
) -> list[Failure]:
    """The ``count`` queries of the lowest values, explained; none for systems without terms."""
    if not isinstance(ranker, SearcherRanker):
        return []
    worst = sorted(values, key=lambda query: (values[query], query))[:count]
    return [_failure(ranker, dataset, run, query, values[query]) for query in worst]


def _failure(
    ranker: SearcherRanker, dataset: Dataset, run: Run, query: str, value: float
) -> Failure:
    text, grades = dataset.queries[query], dataset.qrels[query]
    ranks = {doc_id: rank for rank, (doc_id, _) in enumerate(run.ordered(query), 1)}
    first = next(iter(ranks), None)
    best = max(grades, key=lambda doc_id: grades[doc_id], default=None)

    def shown(doc_id: str | None) -> ShownDocument | None:
        doc = None if doc_id is None else ranker.searcher.collection.doc(doc_id)
        if doc_id is None or doc is None:
            return None
        record = ranker.searcher.collection.document(doc)
        content = " ".join(f"{record.get('title') or ''} {record.get('text') or ''}".split())
        terms = ranker.searcher.explain(ranker.encode([text]), 0, doc)
        rank = ranks.get(doc_id, 0)
        return ShownDocument(doc_id, rank, grades.get(doc_id), content[:EXCERPT], terms[:8])

    return Failure(query, text, value, shown(first), shown(best))
