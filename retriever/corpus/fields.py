"""Fields: values of documents that searches are filtered by. Their types are given or inferred.

Files say little of types: a CSV holds text alone. A value becomes one of its field's type when it
is read, so that the stored record, the filter and the answer agree.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import date, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast, get_args

from tamis.index.errors import InputError
from tamis.index.segment.columns import ColumnType, check_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tamis.retriever.types import Passage

SAMPLE = 1024  # documents that types are inferred from
KINDS: tuple[ColumnType, ...] = get_args(ColumnType)
_OWN = ("_id", "title", "text")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # "007" is no number
_REAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?")


def parse_fields(text: str) -> dict[str, ColumnType | None]:
    """Read ``name[:type],...``; the type is None where it is to be inferred.

    Raises:
        InputError: a name is empty, there twice or one of a document's own, or a type unknown.
    """
    fields: dict[str, ColumnType | None] = {}
    for part in text.split(","):
        name, _, kind = part.strip().partition(":")
        if not name or name in fields:
            raise InputError(
                f"expected fields such as year:integer,language, found {text!r}; "
                "name each field once"
            )
        fields[name] = cast("ColumnType", kind) if kind else None
    check_fields(fields)
    return fields


def check_fields(fields: Mapping[str, ColumnType | None]) -> None:
    """Refuse a type that is unknown, and names that documents use for themselves.

    Raises:
        InputError: as said.
    """
    for name, kind in fields.items():
        if kind is not None and kind not in KINDS:
            raise InputError(
                f"expected a type of {', '.join(KINDS)} for field {name!r}, found {kind!r}; "
                "leave it out to have it inferred"
            )
        if name in _OWN:
            raise InputError(
                f"expected fields beside {', '.join(_OWN)}, found {name!r}; "
                "store the value under another name to filter by it"
            )


def typed(
    passages: Iterable[Passage], fields: Mapping[str, ColumnType | None]
) -> tuple[dict[str, ColumnType], Iterator[Passage]]:
    """The types of declared fields, and the passages with values of these types.

    Args:
        passages: a corpus.
        fields: names, and types where they are known; others are inferred from the first 1,024
            documents, which all later ones have to follow.

    Raises:
        InputError: a field is in none of these documents; or, while the passages are read, a
            value is of another type: the message names file and line.
    """
    check_fields(fields)
    stream = iter(passages)
    if None not in fields.values():
        schema = {name: kind for name, kind in fields.items() if kind is not None}
        return schema, (converted(passage, schema) for passage in stream)
    head = list(islice(stream, SAMPLE))
    schema = {name: kind or _inferred(name, head) for name, kind in fields.items()}
    return schema, (converted(passage, schema) for passage in chain(head, stream))


def converted(passage: Passage, schema: Mapping[str, ColumnType]) -> Passage:
    """The passage with values of these types in its declared fields.

    Raises:
        InputError: a value is of another type; the message names file and line.
    """
    changed = {
        name: _converted(passage, name, kind, passage.fields[name])
        for name, kind in schema.items()
        if passage.fields.get(name) is not None
    }
    return replace(passage, fields={**passage.fields, **changed}) if changed else passage


def kind_of(value: object) -> ColumnType | None:
    """The narrowest type a value fits; None where there is no value.

    Text that is spelled as a whole number, a number or an ISO 8601 date counts as one.
    """
    if _is_missing(value):
        return None
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, date):  # a datetime is one
        return "date"
    if isinstance(value, int) and not isinstance(value, bool):
        return "integer" if abs(value) < 2**63 else "float"
    return "float" if isinstance(value, float) else "string"


def common_kind(kinds: set[ColumnType]) -> ColumnType:
    """The type that values of all these types fit; text where there is none."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float" if kinds == {"integer", "float"} else "string"


def _inferred(name: str, passages: list[Passage]) -> ColumnType:
    if passages and not any(name in passage.fields for passage in passages):
        there = sorted({key for passage in passages for key in passage.fields})
        outer, _, inner = name.partition(".")
        if inner and outer in there:
            raise InputError(
                f"expected the field {name!r} at the top level of documents, found {outer!r} "
                f"alone; write what it holds beside it, as {outer}_{inner}, to filter by it"
            )
        raise InputError(
            f"expected the field {name!r} in the first {len(passages):,} documents, found "
            f"{', '.join(there) or 'no fields'}; correct the name, or give its type if it "
            f"comes later: {name}:integer"
        )
    kinds = {kind_of(passage.fields.get(name)) for passage in passages} - {None}
    return common_kind(cast("set[ColumnType]", kinds))


def _kind_of_text(text: str) -> ColumnType:
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return "integer"
    if _REAL.fullmatch(text) and math.isfinite(float(text)):
        return "float"
    if _DATE.fullmatch(text):
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return "string"
        return "date"
    return "string"


def _converted(passage: Passage, name: str, kind: ColumnType, value: Any) -> Any:  # noqa: ANN401
    """A value as its type is stored; raises InputError where it is none."""
    if isinstance(value, dict | list | tuple):
        what = "an object" if isinstance(value, dict) else "a list"
        raise InputError(
            f"{passage.place}expected a {kind} for field {name!r}, found {what} in document "
            f"{passage.doc_id!r}; put the value to filter by at the top level of the document, "
            "or leave the field out of those: it is stored as it is"
        )
    found = None if _is_missing(value) else _as(kind, value)
    try:
        if found is not None:
            check_value(name, kind, found, f"document {passage.doc_id!r}")
    except InputError as error:
        raise InputError(f"{passage.place}{error}") from None
    return found


def _as(kind: ColumnType, value: Any) -> Any:  # noqa: ANN401
    """The value in the type's form where it has one, else as it is."""
    if isinstance(value, date):
        value = value.isoformat()
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and kind != "string":
        text = value.strip()
        if kind == "integer" and _WHOLE.fullmatch(text):
            return int(text)
        if kind == "float" and _REAL.fullmatch(text):
            return float(text)
        return text
    return value


def _is_missing(value: object) -> bool:
    """Nothing: null, blank text, or the "not a number" of a table's empty cell."""
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )
