"""Filters: an expression over columns becomes a bitmap of the documents that may be found.

An expression is one of these, as JSON gives them::

    {"field": "year", "eq": 1999}
    {"field": "language", "in": ["en", "fr"]}                  one of them
    {"field": "tags", "all_of": ["red", "round"]}              a list that has each of them
    {"field": "year", "range": {"gte": 1999, "lt": 2005}}      also gt, lte
    {"field": "year", "exists": true}                          or false
    {"field": "path", "prefix": "docs/"}
    {"must": [expression, ...], "should": [expression, ...], "must_not": [expression, ...]}

``must`` holds where all its parts do, ``should`` where at least one does, ``must_not`` where none
does; one without parts says nothing. A missing value is in no range and among no values. Of a list
a condition holds where it does for one of the items.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import InputError
from tamis.index.segment.values import item_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tamis.index.segment.columns import Column

    Bitmap = NDArray[np.bool_]

MAX_DEPTH = 16
JOINS = ("must", "should", "must_not")
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}


def matching(
    expression: Mapping[str, Any], columns: Mapping[str, Column], documents: int, depth: int = 1
) -> Bitmap:
    """The documents that an expression admits: ``[documents]`` bool.

    Args:
        expression: see above.
        columns: the declared fields.
        documents: how many there are.
        depth: how deep this expression stands in others.

    Raises:
        InputError: a field is not declared, a value is of another type, or the expression is
            none of the above.
    """
    keys = set(expression) if isinstance(expression, dict) else set()
    if keys and keys <= set(JOINS) and depth <= MAX_DEPTH:
        return _joined(expression, columns, documents, depth)
    if "field" in keys and len(keys) == 2 and (condition := keys - {"field"}) <= set(CONDITIONS):
        (name,) = condition
        return CONDITIONS[name](_column(expression["field"], columns), expression[name])
    raise InputError(
        'expected a filter such as {"field": "year", "range": {"gte": 1999}}, a field with one of '
        f"{', '.join(CONDITIONS)}, or lists of filters in {', '.join(JOINS)} at most {MAX_DEPTH} "
        f"deep, found {str(expression)[:120]}; see the table of filters"
    )


def has_condition(expression: Mapping[str, Any]) -> bool:
    """Whether a filter that `matching` took says anything: an empty list does not."""
    if "field" in expression:
        return all(wanted != [] for wanted in expression.values())
    return any(has_condition(part) for parts in expression.values() for part in parts)


def _joined(
    expression: Mapping[str, Any], columns: Mapping[str, Column], documents: int, depth: int
) -> Bitmap:
    found = np.ones(documents, np.bool_)
    for key in JOINS:
        parts = _list(key, expression.get(key, []), "filters")
        each = [matching(part, columns, documents, depth + 1) for part in parts]
        if key == "should" and each:
            found &= np.logical_or.reduce(each)
        for admitted in each if key != "should" else ():
            found &= admitted if key == "must" else ~admitted
    return found


def _equal(column: Column, wanted: object) -> Bitmap:
    return column.any_of([wanted])


def _among(column: Column, wanted: object) -> Bitmap:
    return column.any_of(_list("in", wanted, "values"))


def _all_of(column: Column, wanted: object) -> Bitmap:
    found = np.ones(column.values.size, np.bool_)
    for value in _list("all_of", wanted, "values"):
        found &= column.any_of([value])
    return found


def _in_range(column: Column, limits: object) -> Bitmap:
    named = dict(limits) if isinstance(limits, dict) else {}
    if not named or set(named) - set(_COMPARISONS):
        raise InputError(
            f"expected {', '.join(_COMPARISONS)} in a range, found {str(limits)[:80]}; "
            "give at least one of them"
        )
    if item_kind(column.kind) in ("string", "boolean"):
        raise InputError(
            f"expected a number or date for a range, found the {item_kind(column.kind)} field "
            f"{column.name!r}; list the values with 'in'"
        )
    stored = {key: _limit(column, key, limit) for key, limit in named.items()}
    return column.holding(
        lambda held: np.logical_and.reduce(
            [_COMPARISONS[key](held, limit) for key, limit in stored.items()]
        )
    )


def _limit(column: Column, key: str, limit: object) -> Any:  # noqa: ANN401  a stored form
    """A limit as values are stored; a fraction bounds whole numbers by the next one."""
    if item_kind(column.kind) == "integer" and isinstance(limit, float) and abs(limit) < 2**53:
        limit = ceil(limit) if key in ("gte", "lt") else floor(limit)
    return column.stored(limit)


def _exists(column: Column, wanted: object) -> Bitmap:
    if not isinstance(wanted, bool):
        raise InputError(
            f"expected true or false after exists for field {column.name!r}, found "
            f"{str(wanted)[:80]}; true finds documents with a value"
        )
    return ~column.missing if wanted else column.missing


def _prefix(column: Column, wanted: object) -> Bitmap:
    if item_kind(column.kind) != "string" or not isinstance(wanted, str) or not wanted:
        raise InputError(
            "expected a field of strings and the beginning of one for a prefix, found the "
            f"{column.kind} field {column.name!r} and {str(wanted)[:80]!r}; use range or eq"
        )
    strings = column.items.strings

    def head(string: str) -> str:
        return string[: len(wanted)]

    first = bisect_left(strings, wanted, key=head)
    last = bisect_right(strings, wanted, key=head)
    return column.holding(lambda held: (held >= first) & (held < last))


CONDITIONS: dict[str, Callable[[Column, object], Bitmap]] = {
    "eq": _equal,
    "in": _among,
    "all_of": _all_of,
    "range": _in_range,
    "exists": _exists,
    "prefix": _prefix,
}


def _list(key: str, found: object, what: str) -> list[Any]:
    if not isinstance(found, list):
        raise InputError(
            f"expected a list of {what} in {key!r}, found {str(found)[:80]}; put it in a list"
        )
    return found


def _column(name: object, columns: Mapping[str, Column]) -> Column:
    if not isinstance(name, str) or name not in columns:
        declared = ", ".join(columns) or "none"
        raise InputError(
            f"expected a declared field ({declared}), found {name!r}; "
            "declare it, with `tamis patch DIR --fields` in an index that is there"
        )
    return columns[name]
