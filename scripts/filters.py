"""Options that hold JSON: the filter, which several commands share, and the vector of a query."""

from typing import Annotated, Any

import typer

FilterOption = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="JSON",
        help='Only documents such as {"field": "year", "range": {"gte": 1999}}; also eq, in, '
        'all_of, exists, prefix; joined as {"must": [...], "should": [...], "must_not": [...]}.',
    ),
]


VectorOption = Annotated[
    str | None,
    typer.Option(
        "--vector",
        metavar="JSON",
        help='Weights by term in place of a text, such as {"owl": 1.5, "=night": 1}; numbers as '
        'terms, {"2003": 1.5}, where the index holds imported vectors.',
    ),
]


def parse_filter(text: str | None) -> dict[str, Any] | None:
    """The filter that an option holds; None without one.

    Raises:
        InputError: it is no JSON object.
    """
    example = '{"field": ..., "in": [...]} or {"field": ..., "range": {...}}'
    return None if text is None else _parsed("--filter", text, example)


def parse_facet(text: str) -> str | dict[str, Any]:
    """A field to count the values of, or what JSON says of one."""
    if not text.startswith("{"):
        return text
    return _parsed("--facet", text, '{"field": "price", "ranges": [[0, 10]]}')


def parse_boost(text: str) -> dict[str, Any]:
    """What JSON says that a field adds to scores."""
    return _parsed("--boost", text, '{"field": "published", "recency": {"half_life_days": 30}}')


def parse_sort(text: str) -> dict[str, str]:
    """A field to order by, as ``price`` or ``price:desc``."""
    field, _, order = text.rpartition(":")
    return {"field": field, "order": order} if order in ("asc", "desc") else {"field": text}


def parse_vector(text: str) -> dict[str, float]:
    """The weights by term that an option holds.

    Raises:
        InputError: it is no JSON object of terms and numbers above 0.
    """
    from tamis.index.errors import InputError
    from tamis.index.vectors import checked_weight

    found = _parsed("--vector", text, '{"owl": 1.5}')
    if not found:
        raise InputError('expected a term in --vector, found none; write {"owl": 1.5}')
    return {term: checked_weight(weight, term) for term, weight in found.items()}


def _parsed(option: str, text: str, example: str) -> dict[str, Any]:
    from tamis.index.errors import InputError
    from tamis.index.files.strict_json import parse_json

    try:
        found = parse_json(text)
    except InputError as error:
        raise InputError(
            f"expected JSON after {option}, found {text!r} ({error}); "
            "put it in single quotes, and its names in double ones"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"expected a JSON object after {option}, found {text!r}; write {example}")
    return found
