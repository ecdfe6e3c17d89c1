"""One search in several indexes, whose hits become one list."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tamis.index.errors import InputError, TamisError
from tamis.index.matches import MOST_VALUES, Count, in_order, values_to_order_by
from tamis.retriever.answers import HitAnswer, hit_answer
from tamis.retriever.corpus.chunking import PARENT
from tamis.retriever.first_stage.counting import facets_of, sort_keys_of
from tamis.retriever.fusion.shared_statistics import sharing, why_scores_differ
from tamis.retriever.types import NOTHING_SEEN, Replacement, Total, Understood

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.index.matches import Facet, SortKey
    from tamis.retriever.answers import Shown
    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.searcher import Query, Searcher
    from tamis.retriever.types import Hit, SearchResult, Seen

RRF_K = 60  # Cormack, Clarke and Büttcher, SIGIR 2009
Merged = Literal["score", "rrf", "reranker", "sort"]


@dataclass(slots=True)
class FoundAnswer(HitAnswer):
    """One document found in one of several indexes.

    Attributes:
        index: the name of the one that holds it.
        score_in_index: its score there, to which the contributions of its terms sum.
    """

    index: str = ""
    score_in_index: float = 0.0


@dataclass(frozen=True, slots=True)
class IndexShare:
    """What one of several indexes has to do with an answer.

    Attributes:
        index: its name.
        generation: of it that was read.
        hits: how many of the answer are its own.
        unknown_terms: terms of the query that no document of it has.
        terms_cut: how many terms of a long query, the lightest, were left out.
        understood: what the query's text was taken to mean here.
        corrections: words that no document here has, and what was searched instead.
        awaiting: documents that are found by words alone, their learned vectors still to come.
    """

    index: str
    generation: int
    hits: int
    unknown_terms: tuple[str, ...]
    terms_cut: int
    understood: Understood | None
    corrections: tuple[Replacement, ...]
    awaiting: int


@dataclass(frozen=True, slots=True)
class SeveralAnswer:
    """The answer of several indexes to one query.

    Attributes:
        took_ms: of all of it, milliseconds.
        merged: what the hits are ordered by: their ``score``, where scores of these indexes
            compare; reciprocal ranks (``rrf``) where not, which give each index its turn; the score
            of the ``reranker``; or the fields to ``sort`` by.
        why: for ``rrf``, why scores do not compare.
        hits: best first.
        indexes: in the order that they were asked for.
        unknown_terms: terms of the query that no document of any index has.
        total: how many documents match in all; null unless it was asked for.
        facets: by field, how many of these have each value, or one in each range.
        facets_cut: by field, how many further values there are, where some are left out.
        cursor: where the next page goes on; null where there is none, or an offset was asked for.
    """

    took_ms: float
    merged: Merged
    why: str | None
    hits: tuple[FoundAnswer, ...]
    indexes: tuple[IndexShare, ...]
    unknown_terms: tuple[str, ...] = ()
    total: Total | None = None
    facets: dict[str, tuple[Count, ...]] | None = None
    facets_cut: dict[str, int] | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class _Ranked:
    score: float  # in the list
    index: str
    hit: Hit


def search_several(
    searchers: Mapping[str, Searcher],
    query: Query,
    options: SearchOptions,
    shown: Shown,
    seen: Mapping[str, Seen] | None = None,
) -> SeveralAnswer:
    """The best documents of several indexes for one query.

    Words are weighed by the documents of all indexes where their scores compare, see
    `tamis.retriever.fusion.shared_statistics`.

    Args:
        searchers: by the name of the index, in the order that equal scores come in.
        query: as `Searcher.search` takes it.
        options: how to search each; k and offset are those of the merged list.
        shown: what of each hit.
        seen: by index, what earlier pages gave (`seen_with`): this one holds the best of the rest.

    Raises:
        InputError: an option is of one index alone, or wrong for one of them, which is named.
    """
    began = perf_counter()
    if not searchers:
        raise InputError("expected at least one index to search, found none; name one")
    why = why_scores_differ(searchers, options.lexical_weight)
    merged: Merged = "score" if why is None else "rrf"
    if options.rerank or options.sort:
        merged = "reranker" if options.rerank else "sort"
    _check(searchers, options, merged, why)
    if why is None:
        searchers = sharing(searchers)
    wanted = options.k + options.offset
    facets = facets_of(options)
    each = replace(
        shown.needed(options),
        k=wanted,
        offset=0,
        facets=[msgspec.structs.replace(one, limit=MOST_VALUES) for one in facets],
    )
    before = seen or {}
    results = {
        name: _search(name, one, query, replace(each, seen=before.get(name)))
        for name, one in searchers.items()
    }
    keys = sort_keys_of(options)
    ranked = _in_order(searchers, results, keys) if keys else _by_score(results, merged)
    page = ranked[options.offset : wanted]
    passed = options.offset + sum(one.hits for one in before.values())
    hits = tuple(
        _answer(searchers[one.index], one, rank, shown)
        for rank, one in enumerate(page, start=passed + 1)
    )
    of_index = Counter(hit.index for hit in hits)
    shares = tuple(
        _share(name, one, searchers[name], of_index[name]) for name, one in results.items()
    )
    total, of_field, cut = _counted(results, facets)
    unknown = [set(one.unknown_terms) for one in results.values()]
    return SeveralAnswer(
        (perf_counter() - began) * 1000,
        merged,
        why if merged == "rrf" else None,
        hits,
        shares,
        tuple(term for term in shares[0].unknown_terms if all(term in one for one in unknown)),
        total,
        of_field,
        cut,
    )


def seen_with(answer: SeveralAnswer, before: Mapping[str, Seen] | None = None) -> dict[str, Seen]:
    """What a page and those before it gave of each index, for the search of the next page."""
    found = dict(before or {})
    for share in answer.indexes:
        hits = [hit for hit in answer.hits if hit.index == share.index]
        if hits:
            ids = [one.id for hit in hits for one in (hit.passages or (hit,))]
            seen = found.get(share.index, NOTHING_SEEN)
            started = seen.generation or share.generation
            found[share.index] = replace(seen.passing(ids, len(hits)), generation=started)
    return found


def _check(
    searchers: Mapping[str, Searcher], options: SearchOptions, merged: Merged, why: str | None
) -> None:
    """Refuse what cannot be had of several indexes (InputError)."""
    if options.seen is not None:
        raise InputError(
            "expected what was seen by index, found it of one; give search_several its seen"
        )
    if options.group_by not in (None, PARENT):
        raise InputError(
            f"expected groups by {PARENT!r} alone over several indexes, found "
            f"{options.group_by!r}; groups of other fields may lie in several"
        )
    if options.min_score is not None and merged == "rrf":
        raise InputError(
            f"expected no min_score, as {why} and their scores do not compare; leave it out, or "
            "search one index"
        )
    if options.rerank is not None and options.reranker != "block":
        raise InputError(
            f"expected the reranker block over several indexes, found {options.reranker!r}, whose "
            "scores are of one list; search one index"
        )
    if options.rerank is not None and options.rerank < options.k + options.offset:
        raise InputError(
            f"expected a depth to rerank of at least k and offset together, "
            f"{options.k + options.offset}, found {options.rerank}; hits that are not reranked do "
            "not compare"
        )
    asked = [("facets", one.field) for one in facets_of(options)]
    asked += [("sort", key.field) for key in sort_keys_of(options)]
    for option, field in asked:
        kinds = {one.collection.index.columns.get(field) for one in searchers.values()}
        if len(kinds) > 1:
            found = ", ".join(sorted(str(kind or "undeclared") for kind in kinds))
            raise InputError(
                f"expected the field {field!r} to be of one type in all indexes, found {found}; "
                f"leave it out of {option}"
            )


def _search(name: str, searcher: Searcher, query: Query, options: SearchOptions) -> SearchResult:
    try:
        return searcher.search_with([query], options)[0]
    except TamisError as error:
        raise type(error)(f"index {name}: {error}") from error


def _by_score(results: Mapping[str, SearchResult], merged: Merged) -> list[_Ranked]:
    """The hits of all, best first; equal ones in the order of the indexes."""
    every = [
        _Ranked(1 / (RRF_K + hit.rank) if merged == "rrf" else hit.score, name, hit)
        for name, result in results.items()
        for hit in result.hits
    ]
    return sorted(every, key=lambda one: -one.score)


def _in_order(
    searchers: Mapping[str, Searcher],
    results: Mapping[str, SearchResult],
    keys: Sequence[SortKey],
) -> list[_Ranked]:
    """The hits of all by fields; equal ones in the order of the indexes."""
    rows: list[tuple[_Ranked, list[Any]]] = []
    for name, result in results.items():
        collection = searchers[name].collection
        docs = [collection.doc(hit.doc_id) for hit in result.hits]
        values = values_to_order_by(
            collection.index, [doc for doc in docs if doc is not None], keys
        )
        ranked = [_Ranked(hit.score, name, hit) for hit in result.hits]
        rows += zip(ranked, values, strict=True)
    return [one for one, _ in in_order(rows, keys)]


def _answer(searcher: Searcher, found: _Ranked, rank: int, shown: Shown) -> FoundAnswer:
    one = hit_answer(searcher, found.hit, shown)
    return FoundAnswer(
        one.id,
        found.score,
        rank,
        one.document,
        one.matched_terms,
        one.highlights,
        one.group,
        one.passages,
        one.score_parts,
        found.index,
        one.score,
    )


def _share(name: str, result: SearchResult, searcher: Searcher, hits: int) -> IndexShare:
    return IndexShare(
        name,
        result.generation,
        hits,
        result.unknown_terms,
        result.terms_cut,
        result.understood,
        result.corrections,
        searcher.collection.index.awaiting,
    )


def _counted(
    results: Mapping[str, SearchResult], facets: Sequence[Facet]
) -> tuple[Total | None, dict[str, tuple[Count, ...]] | None, dict[str, int] | None]:
    """The counts of all indexes, added up."""
    counts = [one.counts for one in results.values() if one.counts is not None]
    if not counts:
        return None, None, None
    if len({one.total.count for one in counts}) > 1:
        raise InputError(
            "expected one way to count, found indexes with words and without; ask for the count "
            '"filter"'
        )
    is_exact = all(one.total.relation == "exact" for one in counts)
    total = Total(
        sum(one.total.value for one in counts),
        "exact" if is_exact else "at_least",
        counts[0].total.count,
    )
    if not facets:
        return total, None, None
    of_field: dict[str, tuple[Count, ...]] = {}
    cut: dict[str, int] = {}
    for facet in facets:
        if any(facet.field in one.facets_cut for one in counts):
            raise InputError(
                f"expected at most {MOST_VALUES} values of the field {facet.field!r} in each index "
                "to add up, found more; count it in one index, or in ranges"
            )
        values = added_up([one.facets[facet.field] for one in counts], facet)
        of_field[facet.field] = values[: facet.limit] if facet.ranges is None else values
        if facet.ranges is None and len(values) > facet.limit:
            cut[facet.field] = len(values) - facet.limit
    return total, of_field, cut


def added_up(of_indexes: Sequence[tuple[Count, ...]], facet: Facet) -> tuple[Count, ...]:
    """The counts of one field: ranges as asked, values by how frequent they are."""
    if facet.ranges is not None:
        return tuple(
            Count(same[0].value, sum(one.count for one in same))
            for same in zip(*of_indexes, strict=True)
        )
    added = Counter[Any]()
    for values in of_indexes:
        added.update({one.value: one.count for one in values})
    ordered = sorted(added.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Count(value, count) for value, count in ordered)
