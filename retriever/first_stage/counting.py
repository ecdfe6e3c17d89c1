"""Counting: how many documents a search finds in all, how many of each value, and orders by fields.

What is counted are the documents that the filter admits and that hold at least one word of the
query. Learned terms do not count: through them nearly every document shares something with a query.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from tamis.index.errors import InputError
from tamis.index.matches import Facet, Matches, SortKey
from tamis.retriever.first_stage.retrieval import Found
from tamis.retriever.types import Counts, Total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.collection import Collection
    from tamis.index.index import Index
    from tamis.index.vectors import SparseVectors
    from tamis.retriever.first_stage.constraints import Constraints
    from tamis.retriever.first_stage.queries import EncodedQueries
    from tamis.retriever.first_stage.retrieval import Retrieval
    from tamis.retriever.search_options import SearchOptions
    from tamis.retriever.types import Counted, Relation

    Words = NDArray[np.int32] | None  # terms, of which a document holds one; None: anything

MOST_FIELDS = 32  # to count or order by
MOST_TEXTS = 10_000  # read to count the documents with a phrase; beyond them it is "at least"
_Asked = TypeVar("_Asked", Facet, SortKey)
_EXAMPLES: dict[type, str] = {
    Facet: '{"field": "price", "ranges": [[0, 10], [10, null]]}',
    SortKey: '{"field": "price", "order": "desc"}',
}


class Counting:
    """What a search asks to be counted, and ordered by, over one collection."""

    def __init__(
        self, collection: Collection, options: SearchOptions, *, is_listing: bool = False
    ) -> None:
        """Check the options.

        Args:
            collection: what is searched.
            options: how.
            is_listing: there is no query.

        Raises:
            InputError: a field is not declared or named twice, a bound cannot be one, or something
                that needs scores stands beside an order without them.
        """
        self._collection, self._options = collection, options
        self._facets = facets_of(options)
        self._keys = sort_keys_of(options)
        for field in [*(one.field for one in self._facets), *(key.field for key in self._keys)]:
            collection.index.check_declared(field)
        if options.min_score is not None and not isfinite(options.min_score):
            raise InputError(
                f"expected a finite min_score, found {options.min_score}; leave it out to have all "
                "hits"
            )
        self._orders = bool(self._keys) or is_listing
        if self._orders:
            self._refuse_scores("sort" if self._keys else "no query")

    @property
    def is_asked(self) -> bool:
        """Whether there is anything to count or order."""
        return bool(self._orders or self._options.count or self._facets)

    def find(
        self, retrieval: Retrieval, asked: EncodedQueries, words: Sequence[Words]
    ) -> tuple[list[Found], list[Counts | None]]:
        """What each query finds, and what is counted of all that it could.

        Args:
            retrieval: finds by score.
            asked: the queries.
            words: those of each; None where it has none to count by.
        """
        constraints = [one.constraints for one in asked.read]
        if not self._orders:
            found = retrieval.find(asked.vectors, constraints)
        else:
            found = [
                self._in_order(
                    self._matches(retrieval.index, of_query, constraint),
                    asked.vectors.rows(query, query + 1),
                )
                for query, (of_query, constraint) in enumerate(zip(words, constraints, strict=True))
            ]
        whole = self._collection.index
        return found, [
            self._counts(self._matches(whole, *each), each[0])
            for each in zip(words, constraints, strict=True)
        ]

    def _refuse_scores(self, what: str) -> None:
        for name in ("group_by", "rerank", "min_score", "boosts"):
            if getattr(self._options, name) not in (None, (), []):
                raise InputError(
                    f"expected a search by score for {name}, found one with {what}; leave {name} "
                    "out, or search by score"
                )

    def _counts(self, matches: Matches, words: Words) -> Counts:
        found = {facet.field: matches.facet(facet) for facet in self._facets}
        relation: Relation = "exact" if matches.is_exact else "at_least"
        count: Counted = "filter" if self._by_filter(words) else "words"
        return Counts(
            Total(len(matches), relation, count),
            {field: tuple(values) for field, (values, _) in found.items()},
            {field: left_out for field, (_, left_out) in found.items() if left_out},
        )

    def _in_order(self, matches: Matches, vectors: SparseVectors) -> Found:
        """The page of one query in the order of fields, or of the collection without any."""
        first, last = self._options.offset, self._options.offset + self._options.k
        docs = matches.first(self._keys, last).astype(np.int32)
        return Found.of((docs, _scores(self._collection.index, vectors, docs)), first)

    def _matches(self, index: Index, words: Words, constraints: Constraints) -> Matches:
        words, where = None if self._by_filter(words) else words, self._options.filter
        found = Matches.of(constraints.narrow(index), where, words)
        if not constraints.reads_texts:
            return found
        docs = found.first((), MOST_TEXTS)
        kept = docs[constraints.accepted(self._collection, docs.tolist(), docs.size)]
        is_exact = found.is_exact and docs.size == len(found)
        return replace(Matches.of(index.only(kept)), is_exact=is_exact)

    def _by_filter(self, words: Words) -> bool:
        if words is None and self._options.count == "words":
            raise InputError(
                "expected a query with words to count the documents that hold one, found none, or "
                'an index without words; ask for the count "filter"'
            )
        return words is None or self._options.count == "filter"


def facets_of(options: SearchOptions) -> tuple[Facet, ...]:
    """The fields to count the values of.

    Raises:
        InputError: something else is listed, or a field twice.
    """
    return _all(options.facets, Facet, "facets")


def sort_keys_of(options: SearchOptions) -> tuple[SortKey, ...]:
    """The fields to order by; raises as `facets_of`."""
    return _all(options.sort, SortKey, "sort")


def _scores(index: Index, vectors: SparseVectors, docs: NDArray[np.int32]) -> NDArray[np.float32]:
    """The scores ``[docs]`` of documents, 0 where one shares no term with the query."""
    scores = np.zeros(docs.size, np.float32)
    if vectors.nnz and docs.size:
        only = index.only(docs.astype(np.int64))
        held, of_held = only.search(vectors, docs.size, exact=True).row(0)
        by_doc = np.argsort(docs)
        scores[by_doc[np.searchsorted(docs[by_doc], held)]] = of_held
    return scores


def _all(given: Sequence[Any], kind: type[_Asked], option: str) -> tuple[_Asked, ...]:
    """What an option lists: names of fields, or objects that begin with one; each field once."""
    if isinstance(given, str) or len(given) > MOST_FIELDS:
        raise InputError(
            f"expected a list of at most {MOST_FIELDS} fields in {option}, found {str(given)[:80]}"
            "; put them in a list"
        )
    found = tuple(_one(one, kind, option) for one in given)
    fields = [one.field for one in found]
    if len(set(fields)) < len(fields):
        raise InputError(f"expected each field once in {option}, found {', '.join(fields)}")
    return found


def _one(given: str | Mapping[str, Any] | _Asked, kind: type[_Asked], option: str) -> _Asked:
    if isinstance(given, str):
        return kind(given)
    try:
        return msgspec.convert(msgspec.to_builtins(given), kind)
    except msgspec.ValidationError as error:
        raise InputError(
            f"expected a field or {_EXAMPLES[kind]} in {option}, found {str(given)[:80]} "
            f"({error}); correct it"
        ) from None
