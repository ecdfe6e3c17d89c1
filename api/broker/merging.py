"""Merging: the answers of all shards become one. Documents pass through as the JSON they are.

Equal scores come in the order of the shards, then in the order of each, as in one index whose
documents stand in that order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from tamis.api.problems import RequestError
from tamis.index.matches import MOST_VALUES, Count, in_order
from tamis.retriever.answers import ShardsAnswer  # noqa: TC001  msgspec reads these at run time
from tamis.retriever.fusion.several_indexes import added_up
from tamis.retriever.types import (
    Replacement,
    Reranked,
    ScorePart,
    StageTimes,
    Total,
    Understood,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.index.matches import Facet, SortKey

Group = str | int | float | bool | None


class ShardPassage(Struct):
    """One of the best passages of a group."""

    id: str
    score: float
    document: Raw
    matched_terms: Raw
    highlights: Raw


class ShardHit(ShardPassage, kw_only=True):
    """One document found; as `HitAnswer`."""

    rank: int
    group: Group = None
    passages: list[ShardPassage] = []
    score_parts: tuple[ScorePart, ...] = ()


class ShardAnswer(Struct):
    """What is read of the answer of a shard."""

    generation: int
    hits: list[ShardHit]
    unknown_terms: tuple[str, ...]
    terms_cut: int
    understood: Understood | None
    total: Total | None
    facets: dict[str, tuple[Count, ...]] | None
    facets_cut: dict[str, int] | None
    awaiting: int


class ShardFound(Struct):
    """`ShardSearchAnswer`, read."""

    answer: ShardAnswer
    order: list[list[Any]]


class MergedAnswer(Struct, kw_only=True):
    """`SearchAnswer`, of hits that are JSON."""

    took_ms: float
    timings: StageTimes
    generation: int
    hits: list[ShardHit]
    partial: bool = False
    cursor: str | None = None
    unknown_terms: tuple[str, ...] = ()
    terms_cut: int = 0
    understood: Understood | None = None
    total: Total | None = None
    facets: dict[str, tuple[Count, ...]] | None = None
    facets_cut: dict[str, int] | None = None
    corrections: tuple[Replacement, ...] = ()
    awaiting: int = 0
    shards: ShardsAnswer | None = None
    reranked: Reranked | None = None


def read_found(body: bytes) -> ShardFound:
    """What a shard found."""
    return msgspec.json.decode(body, type=ShardFound)


def merged_hits(found: Sequence[ShardFound], keys: Sequence[SortKey]) -> list[ShardHit]:
    """The hits of all shards in one order: that of fields, or else of scores."""
    if keys:
        rows = [row for one in found for row in zip(one.answer.hits, one.order, strict=True)]
        return [hit for hit, _ in in_order(rows, keys)]
    return sorted((hit for one in found for hit in one.answer.hits), key=_falling_score)


def merged_groups(found: Sequence[ShardFound], size: int) -> list[ShardHit]:
    """One hit a group, its best, best first, with the best of its passages in all shards."""
    passages: dict[Any, list[ShardPassage]] = {}
    best: dict[Any, ShardHit] = {}
    for hit in (hit for one in found for hit in one.answer.hits):
        passages.setdefault(_group_of(hit), []).extend(hit.passages)
    for hit in merged_hits(found, ()):
        best.setdefault(_group_of(hit), hit)
    for key, hit in best.items():
        hit.passages = sorted(passages[key], key=_falling_score)[:size]
    return list(best.values())


def _group_of(hit: ShardHit) -> Any:  # noqa: ANN401  a value, or the hit itself
    return (hit.group,) if hit.group is not None else hit.id


def merged_total(found: Sequence[ShardFound]) -> Total | None:
    """How many documents match in all shards; at least so many where one of them says so."""
    totals = [one.answer.total for one in found if one.answer.total is not None]
    if not totals:
        return None
    is_exact = all(one.relation == "exact" for one in totals)
    value = sum(one.value for one in totals)
    return Total(value, "exact" if is_exact else "at_least", totals[0].count)


def merged_facets(
    found: Sequence[ShardFound], facets: Sequence[Facet]
) -> tuple[dict[str, tuple[Count, ...]] | None, dict[str, int] | None]:
    """The counts of all shards added up, and how many values are left out, by field.

    Raises:
        RequestError: 422 where a shard has more values than it tells.
    """
    if not facets or not found:
        return None, None
    of_field: dict[str, tuple[Count, ...]] = {}
    cut: dict[str, int] = {}
    for facet in facets:
        if any(facet.field in (one.answer.facets_cut or {}) for one in found):
            raise RequestError(
                422,
                "limit_exceeded",
                f"expected at most {MOST_VALUES} values of the field {facet.field!r} in each shard "
                "to add up, found more; count it in ranges",
            )
        counts = [one.answer.facets[facet.field] for one in found if one.answer.facets]
        values = added_up(counts, facet)
        of_field[facet.field] = values if facet.ranges is not None else values[: facet.limit]
        if len(values) > len(of_field[facet.field]):
            cut[facet.field] = len(values) - facet.limit
    return of_field, cut


def _falling_score(one: ShardPassage) -> float:
    return -one.score
