"""What a search answers, whoever asks: REST, ``tamis search --json`` and those who embed both.

orjson writes these dataclasses as they are.
"""

from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from tamis.index.interrupts import check_for_interrupts
from tamis.index.matches import Count
from tamis.retriever.first_stage.boosts import Boosts
from tamis.retriever.highlights import Span, highlight
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.stored import StoredDocument
from tamis.retriever.types import (
    MatchedTerm,
    Replacement,
    Reranked,
    ScorePart,
    StageTimes,
    Total,
    Understood,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.retriever.search_options import Syntax, Typos
    from tamis.retriever.searcher import Query, Searcher
    from tamis.retriever.types import Boost, Hit, SearchResult


@dataclass(frozen=True, slots=True)
class PassageAnswer:
    """One of the best passages of a group; its fields are those of a hit."""

    id: str
    score: float
    document: dict[str, Any]
    matched_terms: tuple[MatchedTerm, ...]
    highlights: dict[str, tuple[Span, ...]]


@dataclass(slots=True)  # not frozen: that would make ten of them cost as much as a search
class HitAnswer:
    """One document found.

    Attributes:
        id: the corpus's id.
        score: the sum of the contributions of all matched terms.
        rank: from 1.
        document: the stored record: ``_id``, ``title``, ``text`` and further fields; or those of
            them that ``fields`` names.
        matched_terms: largest contribution first; empty unless ``explain`` was asked for.
        highlights: by field, the text in spans that say which words matched; empty unless
            ``highlight`` was asked for.
        group: the value of the field that the search groups by; null without one.
        passages: where the search groups, the best of this hit's group, itself the first.
        score_parts: what a reranker's score is the sum of; empty unless ``explain`` was asked for,
            and the reranker has such parts.
    """

    id: str
    score: float
    rank: int
    document: dict[str, Any]
    matched_terms: tuple[MatchedTerm, ...]
    highlights: dict[str, tuple[Span, ...]]
    group: str | int | float | bool | None = None
    passages: tuple[PassageAnswer, ...] = ()
    score_parts: tuple[ScorePart, ...] = ()


@dataclass(frozen=True, slots=True)
class ShardsAnswer:
    """Of an index in shards, how many were asked, and answered in time."""

    asked: int
    answered: int


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The answer to one query.

    Attributes:
        took_ms: of the search and of making this answer, milliseconds.
        timings: of the search, by stage.
        generation: of the collection that was read.
        hits: best first; fewer than k where fewer documents share a term with the query.
        partial: ``timeout_ms`` came first: hits are missing, or not reranked.
        cursor: to go on after the last hit; null where no more can be had.
        unknown_terms: terms of the query that no document of the index has; they add nothing.
        terms_cut: how many terms of a long query, the lightest, were left out.
        understood: what the query's text was taken to mean; null for its words alone.
        total: how many documents match; null unless ``count``, ``facets`` or ``sort`` asked for it.
        facets: by field, how many of these documents have each value, or one in each range.
        facets_cut: by field, how many further values there are, where some are left out.
        corrections: words of the query that no document has, ``from``, and the words that were
            searched instead, ``to``.
        awaiting: documents that are found by words alone, their learned vectors still to come.
        shards: how many shards of the index were asked, and answered; null for an index in one.
        reranked: how many documents the reranker scored, and for how many of them it had nothing
            stored; null without one.
    """

    took_ms: float
    timings: StageTimes
    generation: int
    hits: tuple[HitAnswer, ...]
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


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the query and its weight."""

    term: str
    query_weight: float


@dataclass(frozen=True, slots=True)
class ExplainAnswer:
    """Why one document has its score for one query.

    Attributes:
        took_ms: milliseconds spent.
        generation: of the collection that was read.
        id: the document's.
        score: the sum of the contributions; 0 when nothing matches.
        matched_terms: largest contribution first.
        missing_terms: what the query has and the document lacks, heaviest first.
        unknown_terms: what the query has and no document of the index.
        terms_cut: how many terms of a long query, the lightest, were left out.
        understood: as `SearchAnswer` has it; whether the document meets it is not looked up.
        corrections: as `SearchAnswer` has them.
    """

    took_ms: float
    generation: int
    id: str
    score: float
    matched_terms: tuple[MatchedTerm, ...]
    missing_terms: tuple[QueryTerm, ...]
    unknown_terms: tuple[str, ...] = ()
    terms_cut: int = 0
    understood: Understood | None = None
    corrections: tuple[Replacement, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer shows of each hit.

    Attributes:
        explain: its matched terms.
        highlight: its words that were found.
        fields: of its document; None for all.
        parsed: whether documents are parsed, or stand as the JSON that they are stored as.
    """

    explain: bool = False
    highlight: bool = False
    fields: tuple[str, ...] | None = None
    parsed: bool = True

    def needed(self, options: SearchOptions) -> SearchOptions:
        """The options of a search that finds all that is shown: highlights need matched terms."""
        explain = self.explain or self.highlight
        return options if options.explain == explain else replace(options, explain=explain)


def search_answers(
    searcher: "Searcher",
    queries: "Sequence[Query]",
    options: SearchOptions,
    *,
    highlight: bool = False,
) -> tuple[SearchAnswer, ...]:
    """Search, and give each query's answer.

    Args:
        searcher: of the index.
        queries: as `Searcher.search` takes them.
        options: how to search; ``explain`` fills ``matched_terms``.
        highlight: fill ``highlights``.
    """
    shown = Shown(options.explain, highlight)
    results = searcher.search_with(queries, shown.needed(options))
    return tuple(search_answer(searcher, result, shown) for result in results)


def explain_answer(
    searcher: "Searcher",
    query: "str | Mapping[str, float]",
    doc: int,
    lexical_weight: float | None = None,
    syntax: "Syntax" = "plain",
    typos: "Typos" = "off",
    boosts: "Sequence[Mapping[str, Any] | Boost]" = (),
    text_boosts: "Mapping[str, float] | None" = None,
    language: str | None = None,
) -> ExplainAnswer:
    """Why document number ``doc`` has its score."""
    began = perf_counter()
    added = Boosts(searcher.collection.index, SearchOptions(boosts=boosts)) if boosts else None
    queries = searcher.read([query], lexical_weight, syntax, typos, text_boosts, language)
    matched = searcher.explain(queries.vectors, 0, doc, added)
    present = {term.term for term in matched}
    asked = by_weight(searcher, queries.vectors.to_dicts()[0])
    return ExplainAnswer(
        took_ms=_ms_since(began),
        generation=searcher.collection.generation,
        id=searcher.collection.doc_id(doc),
        score=sum(term.contribution for term in matched),
        matched_terms=matched,
        missing_terms=tuple(
            QueryTerm(term, weight) for term, weight in asked.items() if term not in present
        ),
        unknown_terms=queries.unknown_terms[0],
        terms_cut=int(queries.terms_cut[0]),
        understood=queries.read[0].understood,
        corrections=queries.read[0].corrections,
    )


def search_answer(
    searcher: "Searcher",
    result: "SearchResult",
    shown: Shown,
    *,
    cursor: str | None = None,
    partial: bool = False,
) -> SearchAnswer:
    """The answer that a result becomes; ``cursor`` and ``partial`` are those of `SearchAnswer`."""
    began = perf_counter()
    hits = tuple(hit_answer(searcher, hit, shown) for hit in result.hits)
    took_ms = result.times.total_ms + _ms_since(began)
    counts = result.counts
    return SearchAnswer(
        took_ms,
        result.times,
        result.generation,
        hits,
        partial,
        cursor,
        result.unknown_terms,
        result.terms_cut,
        result.understood,
        counts.total if counts else None,
        dict(counts.facets) if counts and counts.facets else None,
        dict(counts.facets_cut) if counts and counts.facets else None,
        result.corrections,
        searcher.collection.index.awaiting,
        reranked=result.reranked,
    )


def hit_answer(searcher: "Searcher", hit: "Hit", shown: Shown) -> HitAnswer:
    """What is shown of a hit."""
    check_for_interrupts()
    return HitAnswer(
        id=hit.doc_id,
        score=hit.score,
        rank=hit.rank,
        document=_chosen(hit.document, shown),
        matched_terms=hit.matched_terms if shown.explain else (),
        highlights=highlight(searcher, hit) if shown.highlight else {},
        group=hit.group,
        passages=tuple(_passage_answer(searcher, passage, shown) for passage in hit.passages),
        score_parts=hit.score_parts if shown.explain else (),
    )


def _passage_answer(searcher: "Searcher", passage: "Hit", shown: Shown) -> PassageAnswer:
    check_for_interrupts()
    return PassageAnswer(
        passage.doc_id,
        passage.score,
        _chosen(passage.document, shown),
        passage.matched_terms if shown.explain else (),
        highlight(searcher, passage) if shown.highlight else {},
    )


def _chosen(document: "Mapping[str, Any]", shown: Shown) -> Any:  # noqa: ANN401  orjson writes it
    """The fields to show; a fragment of JSON is copied as it is, never read and written again."""
    if shown.fields is not None:
        return {name: document[name] for name in shown.fields if name in document}
    if shown.parsed or not isinstance(document, StoredDocument):
        return dict(document)
    return orjson.Fragment(document.json)


def by_weight(searcher: "Searcher", row: "Mapping[int, float]") -> dict[str, float]:
    """A query's terms as they are printed, heaviest first."""
    vocabulary = searcher.vocabulary
    ordered = sorted(row.items(), key=lambda item: (-item[1], item[0]))
    return {vocabulary.name(term): weight for term, weight in ordered}


def _ms_since(began: float) -> float:
    return (perf_counter() - began) * 1000
