"""Matches: all documents that a search finds, to count them, by values too, and to order them.

A search for the best k never looks at all of them. Here they are marked part by part: those that a
filter admits and, where words are given, that hold at least one of these.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from tamis.index.interrupts import check_for_interrupts
from tamis.index.segment.filters import matching
from tamis.index.segment.values import Value  # noqa: TC001  msgspec reads it at run time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.generations.parts import Part
    from tamis.index.index import Index
    from tamis.index.segment.columns import Column

    Marks = NDArray[np.bool_]
    _Row = tuple[int, list[Any]]  # a document and its values of the fields to order by

MOST_POSTINGS = 20_000_000  # read to count; beyond them a number is "at least"
FACET_VALUES, MOST_VALUES = 100, 10_000  # of a facet: unless it says otherwise, and at most
MOST_RANGES = 100

Limit = str | int | float | None
Ordered = TypeVar("Ordered", bound=tuple[Any, list[Any]])


class Facet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A declared field whose values are counted.

    Attributes:
        field: its name.
        ranges: numbers or dates ``[from, to]`` to count between, the first included, the second
            not; null leaves a side open. Without them single values are counted.
        limit: most values to give, the most frequent.
    """

    field: str
    ranges: Annotated[tuple[tuple[Limit, Limit], ...], Meta(max_length=MOST_RANGES)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_VALUES)] = FACET_VALUES


class SortKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A declared field to order documents by; those without a value come last.

    Attributes:
        field: its name; of a list the item counts that comes first in the order.
        order: ``asc`` or ``desc``.
    """

    field: str
    order: Literal["asc", "desc"] = "asc"


@dataclass(frozen=True, slots=True)
class Count:
    """How many documents have a value, or one within ``[from, to)``."""

    value: Value | tuple[Limit, Limit]
    count: int


@dataclass(frozen=True, eq=False)
class Matches:
    """Documents of an index.

    Attributes:
        index: where they are.
        marks: for each part ``[documents]``, whether a document is one of them.
        is_exact: False where there may be more, as reading all lists would take too long.
    """

    index: Index
    marks: tuple[Marks, ...]
    is_exact: bool

    @staticmethod
    def of(
        index: Index, where: Mapping[str, Any] | None = None, words: NDArray[np.int32] | None = None
    ) -> Matches:
        """The documents that a search finds.

        Args:
            index: what is searched.
            where: a filter; None admits all.
            words: terms of which a document holds at least one; None asks for none.

        Raises:
            InputError: the filter is faulty.
        """
        marks, left = [], MOST_POSTINGS
        for part in index.parts:
            allowed = part.allowed(where, index.columns)
            if words is None:
                found = np.ones(part.entry.documents, np.bool_)
            else:
                found, left = part.marked(words, left)
            marks.append(found if allowed is None else found & allowed)
        return Matches(index, tuple(marks), left >= 0)

    def __len__(self) -> int:
        return sum(int(np.count_nonzero(marks)) for marks in self.marks)

    def facet(self, facet: Facet) -> tuple[list[Count], int]:
        """The values of a field and how many documents have each, and how many values are left out.

        The most frequent come first, equally frequent ones in their own order; ranges come in the
        order asked. A document counts once for each distinct value of its list.

        Raises:
            InputError: the field is not declared, or a range cannot be of its type.
        """
        if facet.ranges is not None:
            return [Count(limits, self._within(facet.field, limits)) for limits in facet.ranges], 0
        total = Counter[Any]()
        for column, marks in self._columns(facet.field):
            counts = column.counts(marks)
            present = np.flatnonzero(counts)
            if len(self.marks) == 1:  # nothing to be added up: the others need no names
                present = present[np.argsort(-counts[present], kind="stable")]
                left_out = max(present.size - facet.limit, 0)
                best = present[: facet.limit]
                named = zip(column.distinct_values(best), counts[best].tolist(), strict=True)
                return [Count(*pair) for pair in named], left_out
            total.update(
                dict(zip(column.distinct_values(present), counts[present].tolist(), strict=True))
            )
        ordered = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
        return [Count(*pair) for pair in ordered[: facet.limit]], max(len(total) - facet.limit, 0)

    def first(self, keys: Sequence[SortKey], k: int) -> NDArray[np.int64]:
        """The first k of them by fields; where these are equal, and without any, by number.

        Raises:
            InputError: a field is not declared.
        """
        for key in keys:
            self.index.check_declared(key.field)
        rows: list[_Row] = []
        for part, marks in zip(self.index.parts, self.marks, strict=True):
            rows += _first_of(part, np.flatnonzero(marks), self.index, keys, k)
        if len(self.marks) > 1:
            rows = in_order(rows, keys)
        return np.array([doc for doc, _ in rows[:k]], np.int64)

    def _within(self, field: str, limits: tuple[Limit, Limit]) -> int:
        """How many have a value between two limits, either of which may be None."""
        named = zip(("gte", "lt"), limits, strict=True)
        bounds = {name: limit for name, limit in named if limit is not None}
        wanted = {"field": field, **({"range": bounds} if bounds else {"exists": True})}
        return sum(
            int(np.count_nonzero(marks & matching(wanted, {field: column}, marks.size)))
            for column, marks in self._columns(field)
        )

    def _columns(self, field: str) -> Iterator[tuple[Column, Marks]]:
        self.index.check_declared(field)
        schema = self.index.columns
        for part, marks in zip(self.index.parts, self.marks, strict=True):
            check_for_interrupts()
            yield part.columns(schema)[field], marks


def _first_of(
    part: Part, docs: NDArray[np.int64], index: Index, keys: Sequence[SortKey], k: int
) -> Iterator[_Row]:
    """The first k of a part's documents, each with its values of the fields."""
    columns = [part.columns(index.columns)[key.field] for key in keys]
    wanted = [key.order == "desc" for key in keys]
    values = [
        column.extremes(is_falling)[docs]
        for column, is_falling in zip(columns, wanted, strict=True)
    ]
    order: list[NDArray[Any]] = []  # the last is the first to be ordered by
    for column, held, is_falling in reversed(list(zip(columns, values, wanted, strict=True))):
        order += [_falling(held) if is_falling else held, column.missing[docs]]
    best = np.lexsort(order)[:k] if order else np.arange(docs.size)[:k]
    for at in best.tolist():
        doc = docs[at]
        yield (
            part.first + int(doc),
            [
                None if column.missing[doc] else column.comparable(held[at])
                for column, held in zip(columns, values, strict=True)
            ],
        )


def values_to_order_by(
    index: Index, docs: Sequence[int], keys: Sequence[SortKey]
) -> list[list[Any]]:
    """For each document its values of fields, as `Matches.first` compares them; None for none.

    Raises:
        InputError: a field is not declared.
    """
    for key in keys:
        index.check_declared(key.field)
    held: dict[tuple[int, int], NDArray[Any]] = {}
    rows: list[list[Any]] = []
    for doc in docs:
        part, at = index.locate(doc)
        row: list[Any] = []
        for number, key in enumerate(keys):
            column, place = part.columns(index.columns)[key.field], (part.first, number)
            if place not in held:
                held[place] = column.extremes(key.order == "desc")
            missing = column.missing[at]
            row.append(None if missing else column.comparable(held[place][at]))
        rows.append([value.item() if isinstance(value, np.generic) else value for value in row])
    return rows


def _falling(values: NDArray[Any]) -> NDArray[Any]:
    return -values if values.dtype.kind == "f" else ~values  # -(-2**63) would not fit


def in_order(rows: list[Ordered], keys: Sequence[SortKey]) -> list[Ordered]:
    """Rows, each something and its values to order by, in their order; equal ones as they were."""
    for at, key in reversed(list(enumerate(keys))):
        rows = _by_value(rows, at, key)
    return rows


def _by_value(rows: list[Ordered], at: int, key: SortKey) -> list[Ordered]:
    """Rows in the order of one value, those without it last; equal ones as they were."""
    present = [row for row in rows if row[1][at] is not None]
    present.sort(key=lambda row: row[1][at], reverse=key.order == "desc")
    return present + [row for row in rows if row[1][at] is None]
