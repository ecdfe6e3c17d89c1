"""Systems made of systems: fused rankings, pseudo-relevance feedback, and both together.

The interpolations are those of Li, Wang, Zhuang, Mourad, Ma, Lin and Zuccon, "To Interpolate or
not to Interpolate: PRF, Dense and Sparse Retrievers" (SIGIR 2022): a second retriever is mixed in
before feedback (it helps to choose the feedback documents), after it, or both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, cast

from tamis.eval.ranker import Feedback, FeedbackRanker, Ranker, System
from tamis.index.errors import InputError
from tamis.retriever.fusion import rrf, weighted_sum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tamis.eval.datasets import Dataset


class Fusion(Protocol):
    """Joins the rankings of one query."""

    def __call__(self, rankings: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The fused scores, best first."""

    def settings(self) -> dict[str, Any]:
        """All that decides the result."""


@dataclass(frozen=True, slots=True)
class ByRank:
    """Reciprocal rank fusion."""

    k: int = 60

    def __call__(self, rankings: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """See `tamis.retriever.fusion.rankings.rrf`."""
        return rrf(rankings, k=self.k)

    def settings(self) -> dict[str, Any]:
        """The constant."""
        return {"rule": "reciprocal rank", **asdict(self)}


@dataclass(frozen=True, slots=True)
class ByScore:
    """The weighted sum of min-max normalised scores."""

    weights: tuple[float, ...] = (0.5, 0.5)

    def __call__(self, rankings: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """See `tamis.retriever.fusion.rankings.weighted_sum`."""
        return weighted_sum(rankings, self.weights)

    def settings(self) -> dict[str, Any]:
        """The weights."""
        return {"rule": "weighted sum of min-max normalised scores", **asdict(self)}


@dataclass(frozen=True)
class FusedSystem:
    """Several systems whose rankings are joined.

    Attributes:
        parts: at least two systems.
        fusion: how to join.
        name: as reports print it.
    """

    parts: tuple[System, ...]
    fusion: Fusion = field(default_factory=ByRank)
    name: str = "hybrid"

    def settings(self) -> dict[str, Any]:
        """The parts' settings and the rule."""
        return {
            "fusion": self.fusion.settings(),
            "parts": {part.name: part.settings() for part in self.parts},
        }

    def prepare(self, dataset: Dataset, work: Path) -> FusedRanker:
        """Prepare every part."""
        return FusedRanker(tuple(part.prepare(dataset, work) for part in self.parts), self.fusion)


@dataclass(frozen=True)
class FusedRanker:
    """Asks every part and joins the answers."""

    parts: tuple[Ranker, ...]
    fusion: Fusion

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """The fused rankings, each part asked for ``depth`` documents."""
        columns = [part.rank(queries, depth) for part in self.parts]
        return [_first(self.fusion(row), depth) for row in zip(*columns, strict=True)]

    def timed(self, query: str, k: int) -> dict[str, float]:
        """The parts one after the other; fusing itself counts as retrieval."""
        stages = Counter[str]()
        for part in self.parts:
            stages.update(part.timed(query, k))
        return dict(stages)

    def facts(self) -> dict[str, Any]:
        """Index bytes of all parts together."""
        return _summed([part.facts() for part in self.parts])

    def distributions(self) -> dict[str, list[int]]:
        """None of its own."""
        return {}


@dataclass(frozen=True)
class FeedbackSystem:
    """A system asked twice: its first answers move the query.

    Attributes:
        base: a system of vectors.
        rule: how far the query moves.
        before: mixed in to choose the feedback documents; None lets the base choose alone.
        fusion: how ``before`` is mixed in.
        name: as reports print it.
    """

    base: System
    rule: Feedback = field(default_factory=Feedback)
    before: System | None = None
    fusion: Fusion = field(default_factory=ByScore)
    name: str = "prf"

    def settings(self) -> dict[str, Any]:
        """The base's settings, the rule, and what is mixed in."""
        settings = {"base": self.base.settings(), "feedback": asdict(self.rule)}
        if self.before is not None:
            settings["before"] = {**self.before.settings(), "fusion": self.fusion.settings()}
        return settings

    def prepare(self, dataset: Dataset, work: Path) -> TwoRoundRanker:
        """Prepare the base and what is mixed in.

        Raises:
            InputError: the base cannot take feedback.
        """
        base = self.base.prepare(dataset, work)
        if not hasattr(base, "rank_with_feedback"):
            raise InputError(
                f"expected a system of vectors as the base of feedback, found {self.base.name}; "
                "use a dense or learned sparse one"
            )
        first: Ranker = base
        if self.before is not None:
            first = FusedRanker((base, self.before.prepare(dataset, work)), self.fusion)
        return TwoRoundRanker(cast("FeedbackRanker", base), first, self.rule)


@dataclass(frozen=True)
class TwoRoundRanker:
    """Ranks, moves the queries towards the first answers, and ranks again."""

    base: FeedbackRanker
    first: Ranker
    rule: Feedback

    def rank(self, queries: Sequence[str], depth: int) -> list[dict[str, float]]:
        """The rankings of the second round."""
        answers = self.first.rank(queries, max(self.rule.documents, 100))
        chosen = [list(_first(ranking, self.rule.documents)) for ranking in answers]
        return self.base.rank_with_feedback(queries, chosen, self.rule, depth)

    def timed(self, query: str, k: int) -> dict[str, float]:
        """Both rounds as one stage."""
        began = perf_counter()
        self.rank([query], k)
        return {"retrieve_ms": (perf_counter() - began) * 1000}

    def facts(self) -> dict[str, Any]:
        """Those of the first round's systems."""
        return self.first.facts()

    def distributions(self) -> dict[str, list[int]]:
        """None of its own."""
        return {}


def _first(ranking: Mapping[str, float], depth: int) -> dict[str, float]:
    best = sorted(ranking.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(best[:depth])


def _summed(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sizes = ("index_bytes", "index_bytes_per_document")
    return {key: sum(of[key] for of in facts) for key in sizes if all(key in of for of in facts)}
