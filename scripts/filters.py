"""The option that filters documents, which several commands share."""

from typing import Annotated, Any

import typer

FilterOption = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="JSON",
        help='Only documents such as {"field": "year", "range": {"gte": 1999}}, '
        '{"field": "language", "in": ["en"]}, {"must": [...], "must_not": [...]}.',
    ),
]


def parse_filter(text: str | None) -> dict[str, Any] | None:
    """The filter that an option holds; None without one.

    Raises:
        InputError: it is no JSON object.
    """
    from tamis.index.errors import InputError
    from tamis.index.files.strict_json import parse_json

    if text is None:
        return None
    try:
        found = parse_json(text)
    except InputError as error:
        raise InputError(
            f"expected JSON after --filter, found {text!r} ({error}); "
            "put it in single quotes, and its names in double ones"
        ) from None
    if not isinstance(found, dict):
        raise InputError(
            f"expected a JSON object after --filter, found {text!r}; "
            'write {"field": ..., "in": [...]} or {"field": ..., "range": {...}}'
        )
    return found
