"""What the service answers, and how a result becomes an answer. Knows nothing of HTTP.

``tamis search --json`` prints these same answers. orjson writes the dataclasses as they are, and
openapi.py describes them from these definitions.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from tamis.retriever.highlights import Span, highlight
from tamis.retriever.stored import StoredDocument
from tamis.retriever.types import MatchedTerm, StageTimes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Hit, SearchResult


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
    """

    id: str
    score: float
    rank: int
    document: dict[str, Any]
    matched_terms: tuple[MatchedTerm, ...]
    highlights: dict[str, tuple[Span, ...]]
    group: str | int | float | None = None
    passages: tuple[PassageAnswer, ...] = ()


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
    """

    took_ms: float
    timings: StageTimes
    generation: int
    hits: tuple[HitAnswer, ...]
    partial: bool = False
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The answers to a batch of queries, in their order."""

    took_ms: float
    results: tuple[SearchAnswer, ...]


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
    """

    took_ms: float
    generation: int
    id: str
    score: float
    matched_terms: tuple[MatchedTerm, ...]
    missing_terms: tuple[QueryTerm, ...]


@dataclass(frozen=True, slots=True)
class DocumentAnswer:
    """A stored document."""

    id: str
    generation: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncodeAnswer:
    """The query vectors of texts, in their order: weights by term, as a search takes them."""

    took_ms: float
    index: str
    vectors: tuple[dict[str, float], ...]


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """``ok`` or ``ready``."""

    status: str


@dataclass(frozen=True, slots=True)
class InfoAnswer:
    """What a server is, the limits it keeps, and the names of its indexes."""

    name: str
    version: str
    limits: dict[str, int]
    indexes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """What is known of one index.

    Attributes:
        name: as it stands in the paths.
        documents: how many there are.
        generation: counts the collection's changes, from 1.
        size_bytes: of all its files.
        vocab_size: terms of both channels.
        fields: those that searches can be filtered by, and their types.
        encoder: identity and licence of the encoder; null for words alone.
        lexical: settings of the lexical channel; null without it.
        writable: whether documents can be added and deleted through this server.
        aliases: other names that it is found by.
    """

    name: str
    documents: int
    generation: int
    size_bytes: int
    vocab_size: int
    fields: dict[str, str]
    encoder: dict[str, Any] | None
    lexical: dict[str, Any] | None
    writable: bool
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexesAnswer:
    """All indexes of this server."""

    indexes: tuple[IndexAnswer, ...]


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


def search_answers(
    searcher: "Searcher",
    queries: "Sequence[str | Mapping[str, float]]",
    k: int,
    *,
    exact: bool = False,
    recall: float = 0.99,
    lexical_weight: float | None = None,
    explain: bool = False,
    highlight: bool = False,
    rerank: int | None = None,
    filter: "Mapping[str, Any] | None" = None,  # noqa: A002  its name in a request
    group_by: str | None = None,
    group_size: int = 3,
) -> tuple[SearchAnswer, ...]:
    """Search, and give each query's answer; the arguments are those of `Searcher.search`.

    Args:
        searcher: of the index.
        queries: texts, or weights by term.
        k: how many hits.
        exact: ask for precisely the exhaustive top k.
        recall: share of the true top k to find at least.
        lexical_weight: factor on the words of text queries.
        explain: fill ``matched_terms``.
        highlight: fill ``highlights``.
        rerank: how many of the best documents the reranker orders anew.
        filter: which documents may be found, by declared fields.
        group_by: give one hit for each value of this declared field.
        group_size: most passages of a group.
    """
    results = searcher.search(
        queries,
        k,
        exact=exact,
        recall=recall,
        lexical_weight=lexical_weight,
        explain=explain or highlight,
        rerank=rerank,
        filter=filter,
        group_by=group_by,
        group_size=group_size,
    )
    shown = Shown(explain, highlight)
    return tuple(search_answer(searcher, result, shown) for result in results)


def explain_answer(
    searcher: "Searcher",
    query: "str | Mapping[str, float]",
    doc: int,
    lexical_weight: float | None = None,
) -> ExplainAnswer:
    """Why document number ``doc`` has its score."""
    began = perf_counter()
    vectors = searcher.encode([query], lexical_weight)
    matched = searcher.explain(vectors, 0, doc)
    present = {term.term for term in matched}
    asked = _by_weight(searcher, vectors.to_dicts()[0])
    return ExplainAnswer(
        took_ms=_ms_since(began),
        generation=searcher.collection.generation,
        id=searcher.collection.doc_id(doc),
        score=sum(term.contribution for term in matched),
        matched_terms=matched,
        missing_terms=tuple(
            QueryTerm(term, weight) for term, weight in asked.items() if term not in present
        ),
    )


def encode_answer(searcher: "Searcher", name: str, texts: "Sequence[str]") -> EncodeAnswer:
    """The query vectors of texts over the terms of one index."""
    began = perf_counter()
    rows = searcher.encode(texts).to_dicts()
    vectors = tuple(_by_weight(searcher, row) for row in rows)
    return EncodeAnswer(_ms_since(began), name, vectors)


def index_answer(
    name: str, searcher: "Searcher", *, writable: bool = False, aliases: "Sequence[str]" = ()
) -> IndexAnswer:
    """What is known of an index."""
    collection = searcher.collection
    encoder = collection.settings.get("encoder")
    lexical = collection.settings.get("lexical")
    words = len(collection.dictionary) if collection.dictionary is not None else 0
    return IndexAnswer(
        name=name,
        documents=len(collection),
        generation=collection.generation,
        size_bytes=collection.size_bytes,
        vocab_size=collection.index.vocab_size,
        fields=dict(collection.index.columns),
        encoder=_without(encoder, "location"),
        lexical=lexical and {**lexical, "words": words},
        writable=writable,
        aliases=tuple(sorted(aliases)),
    )


def _without(settings: "Mapping[str, Any] | None", name: str) -> dict[str, Any] | None:
    """Settings but for one, which tells of the server's disk."""
    if settings is None:
        return None
    return {key: value for key, value in settings.items() if key != name}


def search_answer(searcher: "Searcher", result: "SearchResult", shown: Shown) -> SearchAnswer:
    """The answer that a result becomes."""
    began = perf_counter()
    hits = tuple(_hit_answer(searcher, hit, shown) for hit in result.hits)
    took_ms = result.times.total_ms + _ms_since(began)
    return SearchAnswer(took_ms, result.times, result.generation, hits)


def _hit_answer(searcher: "Searcher", hit: "Hit", shown: Shown) -> HitAnswer:
    return HitAnswer(
        id=hit.doc_id,
        score=hit.score,
        rank=hit.rank,
        document=_chosen(hit.document, shown),
        matched_terms=hit.matched_terms if shown.explain else (),
        highlights=highlight(searcher, hit) if shown.highlight else {},
        group=hit.group,
        passages=tuple(_passage_answer(searcher, passage, shown) for passage in hit.passages),
    )


def _passage_answer(searcher: "Searcher", passage: "Hit", shown: Shown) -> PassageAnswer:
    return PassageAnswer(
        passage.doc_id,
        passage.score,
        _chosen(passage.document, shown),
        passage.matched_terms if shown.explain else (),
        highlight(searcher, passage) if shown.highlight else {},
    )


def _chosen(document: "Mapping[str, Any]", shown: Shown) -> Any:  # noqa: ANN401  orjson writes it
    """The fields to show; a fragment is written as it is, and no JSON is read to write it anew."""
    if shown.fields is not None:
        return {name: document[name] for name in shown.fields if name in document}
    if shown.parsed or not isinstance(document, StoredDocument):
        return dict(document)
    return orjson.Fragment(document.json)


def _by_weight(searcher: "Searcher", row: "Mapping[int, float]") -> dict[str, float]:
    ordered = sorted(row.items(), key=lambda item: (-item[1], item[0]))
    return {searcher.term_string(term): weight for term, weight in ordered}


def _ms_since(began: float) -> float:
    return (perf_counter() - began) * 1000
