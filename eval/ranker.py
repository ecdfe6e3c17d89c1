"""What can be evaluated: a system prepares a corpus and gives a ranker of text queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tamis.eval.datasets import Dataset


class Ranker(Protocol):
    """Answers text queries over one corpus."""

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """The ``depth`` best documents of each query, with their scores, best first."""

    def timed(self, query: str, k: int) -> dict[str, float]:
        """Answer one query as a service would and give the milliseconds of each stage."""

    def facts(self) -> dict[str, Any]:
        """Sizes and speeds: ``index_bytes``, ``documents_per_s``, ``document_terms``, ..."""

    def distributions(self) -> dict[str, list[int]]:
        """Counts to draw histograms of, one number an item: "terms of a query", say."""


class FeedbackRanker(Ranker, Protocol):
    """A ranker whose query vectors can be moved towards documents."""

    def rank_with_feedback(
        self,
        queries: Sequence[str],
        feedback: Sequence[Sequence[str]],
        rule: Feedback,
        depth: int,
    ) -> list[dict[str, float]]:
        """Rank again after adding the vectors of each query's feedback documents."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """Rocchio's rule for pseudo-relevance feedback.

    Attributes:
        documents: first answers that are taken for relevant.
        alpha: weight of the query.
        beta: weight of the mean of the documents.
        terms: most terms that a sparse query may gain.
    """

    documents: int = 5
    alpha: float = 1.0
    beta: float = 0.4
    terms: int = 64


class System(Protocol):
    """A way to search, not yet bound to a corpus."""

    @property
    def name(self) -> str:
        """As reports print it."""

    def settings(self) -> dict[str, Any]:
        """All that decides its rankings, as JSON values."""

    def prepare(self, dataset: Dataset, work: Path) -> Ranker:
        """Index the corpus, or open what an earlier run left in ``work``."""
