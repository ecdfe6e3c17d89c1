"""Queries that are read once, for the shards of a collection that each hold some documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamis.retriever.first_stage.queries import PreparedQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import Replacement, Understood


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query that was read, and what is told of it.

    Attributes:
        query: for the shards; None finds all documents.
        text: what a reranker reads.
        unknown_terms: terms that no document has; of a query of weights, those that none can have
            or that each shard is to say.
        terms_cut: how many lighter terms were left out.
        understood: as `SearchResult` has it.
        corrections: as said.
    """

    query: PreparedQuery | None
    text: str
    unknown_terms: tuple[str, ...]
    terms_cut: int
    understood: Understood | None
    corrections: tuple[Replacement, ...]


def prepare(
    searcher: Searcher, query: str | Mapping[str, float] | None, options: SearchOptions
) -> Prepared:
    """Read a query with the words and frequencies of a searcher, which needs no documents.

    Raises:
        InputError: as `Searcher.search_with`.
    """
    asked = searcher.read(
        [query],
        options.lexical_weight,
        options.syntax,
        options.typos,
        options.text_boosts,
        options.language,
    )
    read, prepared = asked.read[0], None
    if query is not None:
        terms, weights = asked.vectors.row(0)
        by_name = dict(zip(_names(searcher, terms.tolist()), weights.tolist(), strict=True))
        words, text = None, ""
        if options.count or options.facets or options.sort:
            (found,) = searcher.words_of([query], asked, options)
            words = None if found is None else tuple(_names(searcher, found.tolist()))
        if isinstance(query, Mapping):
            vocabulary = searcher.vocabulary
            by_name |= {name: query[name] for name in query if vocabulary.term(name) is None}
        elif read.constraints:
            text = query
        prepared = PreparedQuery(by_name, text, words)
    return Prepared(
        prepared,
        read.text,
        tuple(asked.unknown_terms[0]),
        int(asked.terms_cut[0]),
        read.understood,
        read.corrections,
    )


def _names(searcher: Searcher, terms: Iterable[int]) -> Sequence[str]:
    return list(map(searcher.vocabulary.name, terms))
