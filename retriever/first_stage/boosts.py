"""Boosts: what values of a document's fields add to its score, by a declared function.

Each adds ``weight * f(value)``, with f from 0 to 1, and 0 where there is no value, so that no boost
is ever more than its weight:

- recency: ``2 ** -(age / half-life)``, the age being 0 for what is yet to come;
- saturation: ``v / (v + pivot)``, a half at the pivot;
- log: ``min(1, ln(1 + v) / ln(1 + full))``, whole from ``full`` on.

The best by score are looked at, more and more of them, until no other document can come before the
last hit: its score and all weights together would have to do. So hits are those of the whole list.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tamis.index.errors import InputError
from tamis.index.index import MAX_K
from tamis.index.segment.values import typed_item
from tamis.retriever.first_stage.grouping import GROWTH
from tamis.retriever.types import Boost, MatchedTerm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tamis.index.index import Index
    from tamis.retriever.first_stage.grouping import Row
    from tamis.retriever.search_options import SearchOptions

    Scale = Callable[[NDArray[Any]], NDArray[np.float64]]

MOST_BOOSTS = 16
FIRST_DEPTH = 128  # documents looked at first, if not more hits are wanted
PREFIX = "boost:"  # of the names under which boosts are explained
_DAY_US = 86_400e6
_EXAMPLE = '{"field": "published", "recency": {"half_life_days": 30}, "weight": 2}'


class Boosts:
    """The boosts of one search in one index.

    Attributes:
        is_cut: whether others than the 10,000 best by score, which were looked at, might be hits.
    """

    def __init__(self, index: Index, options: SearchOptions) -> None:
        """Check them.

        Raises:
            InputError: one is none, not finite, of an undeclared field or one of another type; a
                field is boosted twice in one way.
        """
        if isinstance(options.boosts, str) or len(options.boosts) > MOST_BOOSTS:
            raise InputError(
                f"expected a list of at most {MOST_BOOSTS} boosts, found "
                f"{str(options.boosts)[:80]}; give fewer"
            )
        self._index, self.is_cut = index, False
        self._boosts = [_checked(one, index) for one in options.boosts]
        ways = [(boost.field, _way(boost)) for boost, _ in self._boosts]
        if len(set(ways)) < len(ways):
            raise InputError(
                f"expected each field boosted once in one way, found {ways}; leave one out"
            )
        self._most = sum(boost.weight for boost, _ in self._boosts)

    def best(self, search: Callable[[int], Row], depth: int) -> Row:
        """The best documents by score and boosts.

        Args:
            search: gives the best so many by score alone.
            depth: how many are wanted.
        """
        looked = min(max(depth, FIRST_DEPTH), MAX_K)
        while True:
            docs, scores = search(looked)
            boosted = scores + self._added(docs)
            order = np.lexsort((docs, -boosted))[:depth]
            row = docs[order], boosted[order].astype(np.float32)
            if docs.size < looked or boosted[order[-1]] > scores[-1] + self._most:
                return row
            if looked == MAX_K:
                self.is_cut = True
                return row
            looked = min(looked * GROWTH, MAX_K)

    def explained(self, doc: int) -> list[MatchedTerm]:
        """What each boost adds to a document's score, as a term of it; none where it adds nothing.

        The term's name is that of the field after ``boost:``, its weight in the query that of the
        boost, its weight in the document the value of the function.
        """
        found = []
        for boost, scale in self._boosts:
            value = float(self._values(boost, scale, np.array([doc]))[0])
            name, added = f"{PREFIX}{boost.field}", boost.weight * value
            found.append(MatchedTerm(name, boost.weight, value, added, expansion=False))
        return [term for term in found if term.contribution]

    def _added(self, docs: NDArray[np.integer]) -> NDArray[np.float64]:
        """What all boosts together add, ``[docs]``."""
        added = np.zeros(docs.size)
        for boost, scale in self._boosts:
            added += boost.weight * self._values(boost, scale, docs)
        return added

    def _values(self, boost: Boost, scale: Scale, docs: NDArray[np.integer]) -> NDArray[np.float64]:
        """The function of each document's value, ``[docs]`` from 0 to 1."""
        found = np.zeros(docs.size)
        for part in self._index.parts:
            last = part.first + part.entry.documents
            places = np.flatnonzero((docs >= part.first) & (docs < last))
            if not places.size:
                continue
            column = part.columns(self._index.columns)[boost.field]
            at = docs[places] - part.first
            there = ~column.missing[at]
            found[places[there]] = scale(column.values[at[there]])
        return found


def _checked(given: Mapping[str, Any] | Boost, index: Index) -> tuple[Boost, Scale]:
    """A boost and its function; raises InputError."""
    try:
        boost = msgspec.convert(msgspec.to_builtins(given), Boost)
    except msgspec.ValidationError as error:
        raise InputError(
            f"expected a boost such as {_EXAMPLE}, found {str(given)[:80]} ({error}); correct it"
        ) from None
    way = _way(boost)
    if way is None:
        raise InputError(
            f"expected one of recency, saturation and log in the boost of {boost.field!r}, found "
            f"{str(given)[:80]}; give one way alone, such as {_EXAMPLE}"
        )
    index.check_declared(boost.field)
    kind = index.columns[boost.field]
    wanted = ("date",) if way == "recency" else ("integer", "float")
    if kind not in wanted:
        raise InputError(
            f"expected a field of type {' or '.join(wanted)} to boost by {way}, found "
            f"{boost.field!r} of type {kind}; choose another"
        )
    return boost, _scale(boost)


def _way(boost: Boost) -> str | None:
    """How a boost follows its value; None where not just one way is given."""
    ways = [name for name in ("recency", "saturation", "log") if getattr(boost, name) is not None]
    return ways[0] if len(ways) == 1 else None


def _scale(boost: Boost) -> Scale:
    if (recency := boost.recency) is not None:
        now_us = datetime.now(UTC).timestamp() * 1e6
        if recency.origin is not None:
            now_us = float(typed_item(boost.field, "date", recency.origin, "the boost's origin"))
        half_life_us = recency.half_life_days * _DAY_US
        return lambda values: np.exp2(-np.maximum(now_us - values, 0) / half_life_us)
    if (pivot := boost.saturation) is not None:
        return lambda values: _above(values) / (_above(values) + pivot)
    assert boost.log is not None
    full = math.log1p(boost.log)
    return lambda values: np.minimum(np.log1p(_above(values)) / full, 1.0)


def _above(values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers as floats, those below 0 as 0."""
    return np.maximum(values.astype(np.float64), 0.0)
