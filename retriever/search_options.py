"""SearchOptions: what a search may be asked for beside its queries, in one record.

Python, REST and the command line pass it whole. A new option stands in three files: here, in
api/messages/requests.py for bodies and URLs, and in scripts/search.py for the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.index.matches import Facet, SortKey
    from tamis.retriever.rerank.named import RerankerName
    from tamis.retriever.types import Boost, Seen

Syntax = Literal["plain", "operators"]
Typos = Literal["auto", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How to search, and what to find.

    `Searcher.search` checks them: what is out of range raises InputError.

    Attributes:
        k: how many hits, 1 to 10,000.
        recall: share of the true top k to find at least, above 0 and at most 1; None for all.
        exact: ask for precisely the exhaustive top k.
        lexical_weight: factor on the words of text queries; None takes the collection's own,
            0 turns them off.
        explain: fill `Hit.matched_terms`.
        threads: how many queries to answer at once.
        rerank: how many of the best documents the reranker scores; None for none. The others
            stand below them; see `tamis.retriever.rerank.reranker.with_others_below`.
        reranker: which one: ``block``, the searcher's own, reads the documents; ``dense`` adds
            the scores of dense vectors that are stored beside the collection.
        filter: which documents may be found, by declared fields, such as
            ``{"field": "year", "range": {"gte": 1999}}``; see `tamis.index.segment.filters`. As
            many are found as match it and share a term with the query, up to k.
        group_by: give one hit for each value of this declared field, its best, with the best
            of its group in `Hit.passages`; ``parent`` is the document of a passage (MaxP).
        group_size: most passages of a group.
        offset: hits to pass over. Pages of one k are slices of one list while the index does not
            change: the first is found with ``recall``, the others hold the exact rest.
        syntax: ``operators`` gives quotes, ``+``, ``-`` and ``*`` in a text their meaning, see
            `tamis.retriever.words.syntax`; ``plain`` takes them as text, and `SearchResult` says
            where they look meant.
        count: fill `SearchResult.counts`: ``words`` counts the documents that pass the filter and
            hold at least one word of the query, ``filter`` all that pass it. None counts words
            where there are any, if facets or an order ask for it.
        facets: declared fields whose values are counted over these documents: names, or
            ``{"field": "price", "ranges": [[0, 10], [10, None]]}``; ``limit`` gives more values.
        sort: declared fields to order these documents by in place of scores: names, or
            ``{"field": "price", "order": "desc"}``. Those without a value come last.
        boosts: what values of fields add to scores, such as ``{"field": "published", "recency":
            {"half_life_days": 30}, "weight": 2}``; see `tamis.retriever.first_stage.boosts`. A
            reranker orders what they found by its own scores.
        min_score: leave out hits of lower scores. Scores compare within one query only: no bound
            suits all queries.
        typos: ``auto`` takes words of a text that no document has as typing errors of others, see
            `tamis.retriever.words.typing_errors`, and `SearchResult` says which; ``off`` does not.
        text_boosts: searched fields in which the words of a query count again, and how many times:
            ``{"title": 3}`` adds three times their weight where a title holds them.
        seen: what earlier pages gave (`SearchResult.seen`): this one holds the best of all other
            documents, or groups, whatever has come, gone or changed since.
        language: that texts are in, by name or code (``french``, ``fr``): one of the languages of
            the collection's words. None takes words in all of them.
    """

    k: int = 10
    recall: float | None = 0.99
    exact: bool = False
    lexical_weight: float | None = None
    explain: bool = False
    threads: int = 1
    rerank: int | None = None
    reranker: RerankerName = "block"
    filter: Mapping[str, Any] | None = None
    group_by: str | None = None
    group_size: int = 3
    offset: int = 0
    syntax: Syntax = "plain"
    count: Literal["words", "filter"] | None = None
    facets: Sequence[str | Mapping[str, Any] | Facet] = ()
    sort: Sequence[str | Mapping[str, Any] | SortKey] = ()
    boosts: Sequence[Mapping[str, Any] | Boost] = ()
    min_score: float | None = None
    typos: Typos = "off"
    text_boosts: Mapping[str, float] | None = None
    seen: Seen | None = None
    language: str | None = None


class Option(TypedDict, total=False):
    """The options but for k as keyword arguments, for type checkers."""

    recall: float | None
    exact: bool
    lexical_weight: float | None
    explain: bool
    threads: int
    rerank: int | None
    reranker: RerankerName
    filter: Mapping[str, Any] | None
    group_by: str | None
    group_size: int
    offset: int
    syntax: Syntax
    count: Literal["words", "filter"] | None
    facets: Sequence[str | Mapping[str, Any] | Facet]
    sort: Sequence[str | Mapping[str, Any] | SortKey]
    boosts: Sequence[Mapping[str, Any] | Boost]
    min_score: float | None
    typos: Typos
    text_boosts: Mapping[str, float] | None
    seen: Seen | None
    language: str | None
