"""Groups of hits: the best of each, so that one document appears once with its best passages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.index import MAX_K
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.corpus.chunking import PARENT, chunk_id, parent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from tamis.index.collection import Collection
    from tamis.index.index import Index
    from tamis.index.segment.values import Value
    from tamis.retriever.types import Hit

    Key = Value | tuple[int]  # a value, or the number of a document without one
    Row = tuple[NDArray[np.int32], NDArray[np.float32]]  # documents and scores of one query
    Find = Callable[[Index, int], Row]  # the best so many documents of an index, exactly

DOCS_AT_ONCE = 256  # whose values are looked up between two checks for interrupts
GROWTH = 4  # of the depth of a search that found too few groups


class Groups:
    """What the documents of a collection are grouped by."""

    def __init__(self, collection: Collection, by: str, size: int) -> None:
        """Group by a declared field, or passages by their document.

        Args:
            collection: what is searched.
            by: the field, or ``parent`` in a collection of passages; documents without a value
                are groups of their own.
            size: most members of a group to keep.

        Raises:
            InputError: the field is not declared, or the size below 1.
        """
        if size < 1:
            raise InputError(f"expected groups of at least 1 hit, found {size}; ask for more")
        self._by_parent = by == PARENT and collection.settings.chunk is not None
        if not self._by_parent:
            collection.index.check_declared(by)
        self._collection, self._by, self.size = collection, by, size

    def keys(self, docs: NDArray[np.integer]) -> list[Key]:
        """The group of each document: the field's value, or the document's own number."""
        return [
            value if value is not None else (doc,)
            for doc, value in zip(docs.tolist(), self.values(docs), strict=True)
        ]

    def values(self, docs: NDArray[np.integer]) -> list[Value]:
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

    def docs_of(self, keys: Iterable[Key]) -> NDArray[np.int64]:
        """All documents of some groups, in no order."""
        alone = [key[0] for key in keys if isinstance(key, tuple)]
        values = [key for key in keys if not isinstance(key, tuple)]
        if self._by_parent:
            together = np.array([doc for one in values for doc in self._passages(str(one))])
        else:
            together = self._collection.index.docs_with(self._by, values)
        return np.concatenate([np.array(alone, np.int64), together.astype(np.int64)])

    def _passages(self, parent: str) -> Iterable[int]:
        """The passages of a document, or the document that has none."""
        doc, number = self._collection.doc(parent), 0
        while doc is not None or number == 0:
            if doc is not None:
                yield doc
            number += 1
            doc = self._collection.doc(chunk_id(parent, number))

    def best(self, index: Index, find: Find, k: int, first: Row, depth: int) -> Row:
        """The best documents of the k best groups of one query, as many of each as are kept.

        Every group is found, however many documents of others stand before its own, and every
        member that is to be kept.

        Args:
            index: where documents may be found.
            find: searches it.
            k: groups.
            first: the best documents, ``depth`` of them or all there are.
            depth: of the search that found them.

        Returns:
            Documents and their scores, best first.
        """
        found, rest, row = _Members(self, k), index, first
        while found.take(row) < k and row[0].size == depth:  # those not looked at may bring more
            full = self.docs_of(found.full())
            rest, depth = rest.without(np.concatenate([row[0], full])), min(depth * GROWTH, MAX_K)
            row = find(rest, depth)
        while row[0].size == depth and (lacking := found.lacking()):
            others = np.setdiff1d(self.docs_of(lacking), found.docs())
            depth = min(sum(lacking.values()), MAX_K)
            row = find(index.only(others), depth)
            found.take(row)
        return found.row()

    def collect(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """One hit a group, its best, with all that are kept of the group in ``passages``."""
        members: dict[Value | tuple[str], list[Hit]] = {}
        for hit in hits:
            members.setdefault(hit.group if hit.group is not None else (hit.doc_id,), []).append(
                hit
            )
        return tuple(
            replace(group[0], rank=rank, passages=tuple(group[: self.size]))
            for rank, group in enumerate(members.values(), start=1)
        )


class _Members:
    """The groups of one query as they fill."""

    def __init__(self, groups: Groups, k: int) -> None:
        self._groups, self._k = groups, k
        self._members: dict[Key, list[tuple[float, int]]] = {}  # scores negated: best first

    def take(self, row: Row) -> int:
        """Put documents, best first, into groups that lack some; how many groups there are."""
        docs, scores = row
        for key, doc, score in zip(
            self._groups.keys(docs), docs.tolist(), scores.tolist(), strict=True
        ):
            if key in self._members or len(self._members) < self._k:
                of_group = self._members.setdefault(key, [])
                if len(of_group) < self._groups.size:
                    of_group.append((-score, doc))
        return len(self._members)

    def full(self) -> list[Key]:
        """The groups that need no more members."""
        return [key for key in self._members if not self._wanted(key)]

    def lacking(self) -> dict[Key, int]:
        """How many members each of the others may still take."""
        return {key: wanted for key in self._members if (wanted := self._wanted(key))}

    def _wanted(self, key: Key) -> int:
        most = 1 if isinstance(key, tuple) else self._groups.size
        return most - len(self._members[key])

    def docs(self) -> NDArray[np.int64]:
        """All members."""
        return np.array([doc for group in self._members.values() for _, doc in group], np.int64)

    def row(self) -> Row:
        """All members and their scores, best first."""
        best = sorted(one for group in self._members.values() for one in group)
        docs = np.array([doc for _, doc in best], np.int32)
        return docs, np.array([-score for score, _ in best], np.float32)
