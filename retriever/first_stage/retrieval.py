"""Retrieval: which documents a search finds, page by page and group by group. Fetches none.

The pages of a search are slices of one list. Its first page is what the search finds, which may
miss a few; the rest of the list is an exact search of all documents but those.

A page after what was `Seen` is an exact search of all documents but those, whatever came, went or
moved in between. In an index that has changed it goes on after the last document seen that is still
there, and what now stands before that one comes last of all.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.index import MAX_K
from tamis.retriever.first_stage.boosts import Boosts
from tamis.retriever.first_stage.constraints import Constraints
from tamis.retriever.first_stage.grouping import GROWTH, Groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tamis.index.collection import Collection
    from tamis.index.index import Index
    from tamis.index.segment.values import Value
    from tamis.index.vectors import SparseVectors
    from tamis.retriever.first_stage.grouping import Row
    from tamis.retriever.search_options import SearchOptions

_NO_CONSTRAINTS = Constraints()
_ANCHORS = 16  # of the last documents seen, to find the place that a page goes on from


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The documents of one query's page, best first; of all pages so far where it is reranked.

    Attributes:
        docs: ``[n]`` int32 document numbers.
        scores: ``[n]`` float32.
        values: ``[n]``, what each is grouped by; None without a value, or where nothing is.
        passed: document numbers of the pages before.
    """

    docs: NDArray[np.int32]
    scores: NDArray[np.float32]
    values: list[Value]
    passed: NDArray[np.int32]

    @staticmethod
    def of(row: Row, passed: int = 0) -> Found:
        """Documents that are not grouped, without the first so many."""
        docs, scores = row
        kept = docs[passed:]
        return Found(kept, scores[passed:], [None] * kept.size, docs[:passed])


class Retrieval:
    """Searches of one collection with the same options."""

    def __init__(self, collection: Collection, options: SearchOptions) -> None:
        """Check the options.

        Raises:
            InputError: a page beyond the 10,000th hit, an offset beside what was seen, or groups
                that cannot be.
        """
        k, offset = options.k, options.offset
        if offset and (offset < 0 or offset + k > MAX_K or options.seen is not None):
            raise InputError(
                f"expected k and an offset of at most {MAX_K} together, and no offset beside hits "
                f"that were seen, found k {k} and offset {offset}; go on after what was seen"
            )
        self._options, self._page = options, max(k, options.rerank or 0)
        self._collection, self._constraints = collection, _NO_CONSTRAINTS
        self.groups = None
        if options.group_by is not None:
            self.groups = Groups(collection, options.group_by, options.group_size)
        self._whole = self._index = collection.index
        self.boosts = Boosts(collection.index, options) if options.boosts else None
        self._changed = False  # since the first page
        if options.seen is not None:
            self._changed = options.seen.generation != collection.generation
            docs = self._whole.docs_hashed(options.seen.hashes)
            self._index = self._whole.without(self._with_groups(docs))

    @property
    def index(self) -> Index:
        """Where documents may be found: without what was seen."""
        return self._index

    def find(self, vectors: SparseVectors, constraints: Sequence[Constraints] = ()) -> list[Found]:
        """What each query finds, of the documents that its constraints admit."""
        if not any(constraints):
            return self._find(vectors)
        return [
            found
            for query, of_query in enumerate(constraints)
            for found in self._under(of_query)._find(vectors.rows(query, query + 1))
        ]

    def _under(self, constraints: Constraints) -> Retrieval:
        """The same search among the documents that constraints admit."""
        if not constraints:
            return self
        under = copy(self)
        under._constraints = constraints
        under._whole = under._index = constraints.narrow(self._whole)
        if self._index is not self._whole:
            under._index = constraints.narrow(self._index)
        return under

    def _find(self, vectors: SparseVectors) -> list[Found]:
        options, depth = self._options, self._depth(self._page)
        if self._constraints:
            row = self._exact(vectors, self._index, depth)
            return [self._found(self._listed(vectors, row, depth))]
        if self.boosts is not None:
            exact = options.exact or options.seen is not None
            queries = [vectors.rows(query, query + 1) for query in range(len(vectors))]
            boosted = [(one, self._row(one, self._index, depth, exact=exact)) for one in queries]
            return [self._found(self._listed(*each, depth)) for each in boosted]
        top = self._index.search(
            vectors,
            depth,
            recall=options.recall,
            exact=options.exact or options.seen is not None,
            threads=options.threads,
            where=options.filter,
        )
        rows = (
            self._listed(vectors.rows(query, query + 1), top.row(query), depth)
            for query in range(len(top))
        )
        return [self._found(row) for row in rows]

    def _listed(self, vectors: SparseVectors, row: Row, depth: int) -> Row:
        """The first page of one query and, for a later one, the exact rest up to its end."""
        options = self._options
        if self._changed and self.groups is None:
            row = self._resumed(vectors, row, depth)
        first = self._grouped(vectors, self._index, row, depth, self._page)
        if options.rerank is not None and self.groups is not None:
            first = _joined(first, (row[0][: options.rerank], row[1][: options.rerank]))
        further = options.offset + options.k - self._page
        if further <= 0:
            return first
        index, depth = self._index.without(self._with_groups(first[0])), self._depth(further)
        row = self._exact(vectors, index, depth)
        rest = self._grouped(vectors, index, row, depth, further)
        return np.concatenate([first[0], rest[0]]), np.concatenate([first[1], rest[1]])

    def _resumed(self, vectors: SparseVectors, row: Row, depth: int) -> Row:
        """A page of a changed index: after the last document seen, and what stands before last."""
        last = self._last_seen(vectors)
        while last is not None:
            (docs, scores), (doc, score) = row, last
            after = (scores < score) | ((scores == score) & (docs > doc))
            if after.sum() >= self._page or docs.size < depth or depth == MAX_K:
                page = np.sort(np.argsort(~after, kind="stable")[: self._page])
                return docs[page], scores[page]
            depth = min(depth * GROWTH, MAX_K)
            row = self._exact(vectors, self._index, depth)
        return row

    def _last_seen(self, vectors: SparseVectors) -> tuple[int, float] | None:
        """The last document seen that is still found, and its score; None where none is."""
        seen = self._options.seen
        assert seen is not None
        for one in seen.hashes[: -_ANCHORS - 1 : -1]:
            found = self._whole.only(self._whole.docs_hashed(one[None]))
            docs, scores = self._exact(vectors, found, 1)
            if docs.size:
                return int(docs[0]), float(scores[0])
        return None

    def _grouped(self, vectors: SparseVectors, index: Index, row: Row, depth: int, k: int) -> Row:
        """What `Groups.best` makes of a row; the row itself where nothing is grouped."""
        if self.groups is None:
            return row
        return self.groups.best(index, partial(self._exact, vectors), k, row, depth)

    def _exact(self, vectors: SparseVectors, index: Index, depth: int) -> Row:
        """The best so many documents of one query, or all there are."""
        row = self._row(vectors, index, depth, exact=True)
        return self._read(vectors, index, row, depth) if self._constraints.reads_texts else row

    def _row(self, vectors: SparseVectors, index: Index, depth: int, *, exact: bool) -> Row:
        """The best so many documents of one query, by score and boosts."""
        recall, where = self._options.recall, self._options.filter

        def search(depth: int) -> Row:
            return index.search(vectors, depth, recall=recall, exact=exact, where=where).row(0)

        return search(depth) if self.boosts is None else self.boosts.best(search, depth)

    def _read(self, vectors: SparseVectors, index: Index, row: Row, depth: int) -> Row:
        """As `_exact`, of the documents whose texts do: it goes on until there are enough."""
        accepted: list[Row] = []
        wanted = asked = depth
        while True:
            docs, scores = row
            places = self._constraints.accepted(self._collection, docs.tolist(), wanted)
            accepted.append((docs[places], scores[places]))
            wanted -= len(places)
            if wanted == 0 or docs.size < asked:
                docs, scores = map(np.concatenate, zip(*accepted, strict=True))
                return docs, scores
            index, asked = index.without(docs.astype(np.int64)), min(asked * GROWTH, MAX_K)
            row = self._row(vectors, index, asked, exact=True)

    def _found(self, row: Row) -> Found:
        """What is fetched of a list: the page, but all of it where it is reranked first."""
        docs, scores = row
        first = 0 if self._options.rerank is not None else self._options.offset
        if self.groups is None:
            return Found.of(row, first)
        keys = self.groups.keys(docs)
        values = [None if isinstance(key, tuple) else key for key in keys]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        hit_of = np.array([places[key] for key in keys], np.int64)
        kept = np.flatnonzero(hit_of >= first)
        return Found(docs[kept], scores[kept], [values[at] for at in kept], docs[hit_of < first])

    def _depth(self, hits: int) -> int:
        """How many documents to look for first, so many hits being wanted."""
        return hits if self.groups is None else min(hits * GROWTH, MAX_K)

    def _with_groups(self, docs: NDArray[np.integer]) -> NDArray[np.int64]:
        """These documents, and all others of their groups."""
        if self.groups is None:
            return docs.astype(np.int64)
        return np.union1d(docs, self.groups.docs_of(set(self.groups.keys(docs)))).astype(np.int64)


def _joined(first: Row, second: Row) -> Row:
    """The documents of both, best first."""
    docs, at = np.unique(np.concatenate([first[0], second[0]]), return_index=True)
    scores = np.concatenate([first[1], second[1]])[at]
    order = np.lexsort((docs, -scores))
    return docs[order], scores[order]
