"""Groups of hits: the best of each, so that one document appears once with its best passages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.index import MAX_K
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.corpus.chunking import PARENT, parent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tamis.index.collection import Collection
    from tamis.index.segment.columns import Value
    from tamis.index.topk import TopK
    from tamis.retriever.types import Hit

DOCS_AT_ONCE = 256  # whose values are looked up between two checks for interrupts
GROWTH = 4  # of the depth of a search that found too few groups


class Groups:
    """The k best groups of a search, each with its best members."""

    def __init__(self, collection: Collection, by: str, k: int, size: int) -> None:
        """Group by a declared field, or passages by their document.

        Args:
            collection: what is searched.
            by: the field, or ``parent`` in a collection of passages; documents without a value
                are groups of their own.
            k: groups to find.
            size: most members of a group to keep.

        Raises:
            InputError: the field is not declared, or the size below 1.
        """
        if size < 1:
            raise InputError(f"expected groups of at least 1 hit, found {size}; ask for more")
        self._by_parent = by == PARENT and collection.settings.chunk is not None
        if not self._by_parent:
            collection.index.check_declared(by)
        self._collection, self._by, self._k, self._size = collection, by, k, size

    def search(self, find: Callable[[int], TopK], depth: int) -> TopK:
        """The result of a search deep enough for k groups, or of all there are to find.

        Args:
            find: searches for so many documents a query.
            depth: to begin with.
        """
        depth = min(depth * GROWTH, MAX_K)
        while True:
            best = find(depth)
            rows = (best.row(query)[0] for query in range(len(best)))
            if depth == MAX_K or all(
                docs.size < depth or len(set(self.keys(docs))) >= self._k for docs in rows
            ):
                return best
            depth = min(depth * GROWTH, MAX_K)

    def keys(self, docs: NDArray[np.int32]) -> list[Value | tuple[int]]:
        """The group of each document: the field's value, or the document's own number."""
        return [
            value if value is not None else (doc,)
            for doc, value in zip(docs.tolist(), self.values(docs), strict=True)
        ]

    def values(self, docs: NDArray[np.int32]) -> list[Value]:
        """What each document is grouped by; None where it has no value."""
        found: list[Value] = []
        for first in range(0, docs.size, DOCS_AT_ONCE):
            check_for_interrupts()
            some = docs[first : first + DOCS_AT_ONCE]
            if self._by_parent:  # no column of all parents is held
                found += [parent_of(self._collection.doc_id(doc)) for doc in some.tolist()]
            else:
                found += self._collection.index.values_of(self._by, some)
        return found

    def chosen(self, docs: NDArray[np.int32]) -> NDArray[np.int64]:
        """Places, rising, of the members to keep of the k best groups."""
        sizes: dict[Value | tuple[int], int] = {}
        places = []
        for place, key in enumerate(self.keys(docs)):
            if key in sizes or len(sizes) < self._k:
                sizes[key] = sizes.get(key, 0) + 1
                if sizes[key] <= self._size:
                    places.append(place)
        return np.array(places, np.int64)

    def collect(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """One hit a group, its best, with all that are kept of the group in ``passages``."""
        members: dict[Value | tuple[str], list[Hit]] = {}
        for hit in hits:
            members.setdefault(hit.group if hit.group is not None else (hit.doc_id,), []).append(
                hit
            )
        return tuple(
            replace(group[0], rank=rank, passages=tuple(group[: self._size]))
            for rank, group in enumerate(list(members.values())[: self._k], start=1)
        )
