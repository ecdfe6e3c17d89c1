"""Filters: an expression over columns becomes a bitmap of the documents that may be found.

An expression is one of these, as JSON gives them::

    {"field": "year", "range": {"gte": 1999, "lt": 2005}}      also gt, lte
    {"field": "language", "in": ["en", "fr"]}
    {"must": [expression, ...], "must_not": [expression, ...]}

``must`` holds where all its parts do, ``must_not`` where none does. A missing value is in no
range and among no values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tamis.index.segment.columns import Column

    Bitmap = NDArray[np.bool_]

MAX_DEPTH = 16
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
    if keys and keys <= {"must", "must_not"} and depth <= MAX_DEPTH:
        return _combined(expression, columns, documents, depth)
    if keys == {"field", "range"} and isinstance(expression["range"], dict):
        return _in_range(_column(expression["field"], columns), expression["range"])
    if keys == {"field", "in"} and isinstance(expression["in"], list):
        column = _column(expression["field"], columns)
        return np.isin(column.values, column.places(expression["in"])) & ~column.missing
    raise InputError(
        'expected a filter such as {"field": "year", "range": {"gte": 1999}}, {"field": "language",'
        f' "in": ["en"]}} or {{"must": [...], "must_not": [...]}} at most {MAX_DEPTH} deep, found '
        f"{str(expression)[:120]}; see the table of filters"
    )


def has_condition(expression: Mapping[str, Any]) -> bool:
    """Whether a filter that `matching` took says anything: an empty list does not."""
    if "field" in expression:
        return all(wanted != [] for wanted in expression.values())
    return any(has_condition(part) for parts in expression.values() for part in parts)


def _combined(
    expression: Mapping[str, Any], columns: Mapping[str, Column], documents: int, depth: int
) -> Bitmap:
    found = np.ones(documents, np.bool_)
    for key in ("must", "must_not"):
        parts = expression.get(key, [])
        if not isinstance(parts, list):
            raise InputError(
                f"expected a list of filters in {key!r}, found {str(parts)[:80]}; put it in a list"
            )
        for part in parts:
            admitted = matching(part, columns, documents, depth + 1)
            found &= admitted if key == "must" else ~admitted
    return found


def _in_range(column: Column, limits: Mapping[str, Any]) -> Bitmap:
    unknown = set(limits) - set(_COMPARISONS)
    if unknown or not limits:
        raise InputError(
            f"expected {', '.join(_COMPARISONS)} in a range, found {sorted(limits)}; "
            "give at least one of them"
        )
    if column.kind == "string":
        raise InputError(
            f"expected a number or date for a range, found the string field {column.name!r}; "
            "list the strings with 'in'"
        )
    found = ~column.missing
    for key, limit in limits.items():
        found &= _COMPARISONS[key](column.values, column.number(limit))
    return found


def _column(name: object, columns: Mapping[str, Column]) -> Column:
    if not isinstance(name, str) or name not in columns:
        declared = ", ".join(columns) or "none"
        raise InputError(
            f"expected a declared field ({declared}), found {name!r}; "
            "declare fields when the index is made"
        )
    return columns[name]
