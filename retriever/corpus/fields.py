"""Fields: values of documents that searches are filtered by. Their types are given or inferred.

Files say little of types: a CSV holds text alone. A document stores what it was given; a filter
takes that for a value of the field's type, see `tamis.index.segment.values`.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

from tamis.index.errors import InputError
from tamis.index.segment.values import (
    BOOLEANS,
    KINDS,
    LIST,
    REAL,
    WHOLE,
    ColumnType,
    is_missing,
    item_kind,
    typed_value,
    value_in,
)
from tamis.retriever.corpus.faults import Fault, refuse
from tamis.retriever.words.fields import check_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tamis.retriever.types import Passage

    FieldTypes = Mapping[str, ColumnType | None]  # None where a type is to be inferred

SAMPLE = 1024  # documents that types are inferred from
_OWN = ("_id", "title", "text")
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


def check_fields(fields: FieldTypes) -> None:
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


def with_texts(
    passages: Iterable[Passage], names: Sequence[str], fault: Fault = refuse
) -> Iterator[Passage]:
    """The passages whose searched fields hold texts.

    Args:
        passages: a corpus.
        names: of the fields.
        fault: told of a passage that holds something else there, which is then left out.
    """
    for passage in passages:
        try:
            if names:
                check_texts(passage.record(), names)
        except InputError as error:
            fault(InputError(f"{passage.place}{error}"))
        else:
            yield passage


def typed(
    passages: Iterable[Passage],
    fields: FieldTypes,
    fault: Fault = refuse,
) -> tuple[dict[str, ColumnType], Iterator[Passage]]:
    """The types of declared fields, and the passages, whose values are of these types.

    Args:
        passages: a corpus.
        fields: names, and types where they are known; others are inferred from the first 1,024
            documents, which all later ones have to follow.
        fault: told of a passage with a value of another type, which is then left out.

    Raises:
        InputError: a field is in none of these documents; or, through ``fault`` while the
            passages are read, a value is of another type: the message names file and line.
    """
    check_fields(fields)
    stream = iter(passages)
    if None not in fields.values():
        schema = {name: kind for name, kind in fields.items() if kind is not None}
        return schema, _all_checked(stream, schema, fault)
    head = list(islice(stream, SAMPLE))
    schema = {name: kind or inferred(name, head) for name, kind in fields.items()}
    return schema, _all_checked(chain(head, stream), schema, fault)


def _all_checked(
    passages: Iterable[Passage], schema: Mapping[str, ColumnType], fault: Fault
) -> Iterator[Passage]:
    for passage in passages:
        try:
            checked(passage, schema)
        except InputError as error:
            fault(error)
        else:
            yield passage


def checked(passage: Passage, schema: Mapping[str, ColumnType]) -> Passage:
    """The passage, whose declared fields hold values of their types.

    Raises:
        InputError: a value is of another type; the message names file and line.
    """
    for name, kind in schema.items():
        given = value_in(passage.fields, name)
        where = f"document {passage.doc_id!r}"
        try:
            is_list = isinstance(given, list | tuple)
            takes_lists = kind == "string" or kind.endswith(LIST)
            if isinstance(given, dict) or (is_list and not takes_lists):
                raise _not_plain(name, kind, given, where)
            typed_value(name, kind, given, where)
        except InputError as error:
            raise InputError(f"{passage.place}{error}") from None
    return passage


def _not_plain(name: str, kind: ColumnType, given: object, where: str) -> InputError:
    if isinstance(given, dict):
        what, remedy = (
            "an object",
            f"name the value within it, such as {name}.{next(iter(given), 'x')}",
        )
    else:
        what, remedy = "a list", f"declare lists by their items: {name}:{kind}{LIST}"
    return InputError(
        f"expected a {kind} for field {name!r}, found {what} in {where}; {remedy}, or leave the "
        "field out of those: it is stored as it is"
    )


def kind_of(value: object) -> ColumnType | None:
    """The narrowest type a value fits; None where there is no value.

    Text that is spelled as a whole number, a number or an ISO 8601 date counts as one.
    """
    if is_missing(value):
        return None
    if isinstance(value, list | tuple):
        kinds = {kind for item in value if (kind := kind_of(item))}
        return _list_of(common_kind(kinds)) if kinds else None
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, date):  # a datetime is one
        return "date"
    if isinstance(value, int):
        return "integer" if abs(value) < 2**63 else "float"
    return "float" if isinstance(value, float) else "string"


def leaves(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a document and those within them, by the names that filters know them by."""
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{inner}", each) for inner, each in leaves(value))
        else:
            yield name, value


def common_kind(kinds: set[ColumnType]) -> ColumnType:
    """The type that values of all these types fit; text where there is none.

    Lists and values alone fit a type of lists.
    """
    if len(kinds) == 1:
        return next(iter(kinds))
    if any(kind.endswith(LIST) for kind in kinds):
        return _list_of(common_kind(set(map(item_kind, kinds))))
    return "float" if kinds == {"integer", "float"} else "string"


def inferred(name: str, passages: list[Passage]) -> ColumnType:
    """The type of a field, from the first documents.

    Raises:
        InputError: none of them has it.
    """
    values = [value_in(passage.fields, name) for passage in passages]
    if passages and all(value is None for value in values) and not _has(name, passages):
        there = sorted({key for passage in passages for key in passage.fields})
        raise InputError(
            f"expected the field {name!r} in the first {len(passages):,} documents, found "
            f"{', '.join(there) or 'no fields'}; correct the name, or give its type if it "
            f"comes later: {name}:integer"
        )
    kinds = {kind_of(value) for value in values} - {None}
    return common_kind(cast("set[ColumnType]", kinds))


def _has(name: str, passages: list[Passage]) -> bool:
    return any(name in passage.fields for passage in passages)


def _list_of(kind: ColumnType) -> ColumnType:
    return cast("ColumnType", item_kind(kind) + LIST)


def _kind_of_text(text: str) -> ColumnType:
    text = text.strip()
    if text.lower() in BOOLEANS:
        return "boolean"
    if WHOLE.fullmatch(text):
        return "integer"
    if REAL.fullmatch(text) and math.isfinite(float(text)):
        return "float"
    if _DATE.fullmatch(text):
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return "string"
        return "date"
    return "string"
