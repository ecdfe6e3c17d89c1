"""Values: what documents and filters hold, read as a field's type.

Documents keep what they were given. A text that is spelled as a number, a date or ``true`` is one
in a field of these, where a blank text is no value; in a field of strings a text is a value
whatever it holds, and a number is its text. Filters are read by the same rules.
"""

from __future__ import annotations

import json
import math
import re
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ColumnType = Literal[
    "string",
    "integer",
    "float",
    "boolean",
    "date",
    "string[]",
    "integer[]",
    "float[]",
    "boolean[]",
    "date[]",
]
Value = str | int | float | bool | None
KINDS: tuple[ColumnType, ...] = get_args(ColumnType)
LIST = "[]"  # what the name of a type of lists ends with

NO_INTEGER = -(2**63)  # stands for a missing integer or date
WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # "007" is no number
REAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
BOOLEANS = {"true": True, "false": False}
_LARGEST = sys.float_info.max
_EXPECTED = {
    "string": "a string",
    "integer": "a whole number between -2**63 and 2**63",
    "float": "a finite number",
    "boolean": "true or false",
    "date": "an ISO 8601 date such as 2024-05-31 or 2024-05-31T12:00:00Z",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def item_kind(kind: ColumnType) -> ColumnType:
    """The type of the items of a type of lists; any other type itself."""
    return kind.removesuffix(LIST)  # type: ignore[return-value]


def typed_value(name: str, kind: ColumnType, given: object, where: str) -> Value:
    """What a document's value is in a field's type, a date in microseconds; None where it is none.

    A list is the text that spells its distinct items as JSON; a value alone, in a field of lists,
    is a list of it. In a field of strings a list of one string is that string.

    Args:
        name: of the field.
        kind: its type.
        given: what the document holds.
        where: it stands, for the message.

    Raises:
        InputError: it is of another type.
    """
    if kind.endswith(LIST):
        return _typed_list(name, item_kind(kind), given, where)
    if is_missing(given, kind):
        return None
    if kind == "string" and isinstance(given, list | tuple):
        return _spelled_list(name, given, where)
    found = typed_item(name, kind, given, where)
    if isinstance(found, str) and found.startswith("["):  # which looks like a list
        return _spelled_list(name, [found], where)
    return found


def typed_item(name: str, kind: ColumnType, given: object, where: str) -> str | int | float:
    """A single value of a document or a filter in a type that is no list; raises InputError."""
    given = given.isoformat() if isinstance(given, date) else given  # a datetime is one too
    if kind == "string":
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        if not is_number and not isinstance(given, str):
            raise refusal(name, kind, given, where)
        return str(given)
    given = _read(kind, given)
    if kind == "date" and isinstance(given, str):
        return _microseconds(name, given, where)
    if kind == "boolean" and isinstance(given, bool):
        return given
    if isinstance(given, int | float) and not isinstance(given, bool):
        whole = isinstance(given, int)
        if kind == "integer" and whole and NO_INTEGER < given < 2**63:
            return given
        if kind == "float" and abs(given) <= _LARGEST:
            return float(given)
    raise refusal(name, kind, given, where)


def value_of_item(kind: ColumnType, stored: Any) -> Value:  # noqa: ANN401  of an array
    """What a stored item stands for; a date as ISO 8601 in UTC."""
    if kind == "date":
        return (_EPOCH + timedelta(microseconds=int(stored))).isoformat()
    if kind == "boolean":
        return bool(stored)
    return float(stored) if kind == "float" else int(stored) if kind == "integer" else str(stored)


def items_of(kind: ColumnType, stored: str) -> list[Any]:
    """The items of a stored string: itself, or those of the list that it spells."""
    if kind.endswith(LIST):
        found: list[Any] = json.loads(stored)  # as `typed_value` wrote it
        return found
    if stored.startswith("["):
        try:
            found = json.loads(stored)
        except (ValueError, RecursionError):
            return [stored]
        if all(isinstance(item, str) for item in found):
            return list(found)
    return [stored]


def value_in(record: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401  whatever it holds
    """What a record holds under a name; under ``author.name`` also within its ``author``."""
    if name in record:
        return record[name]
    outer, _, inner = name.partition(".")
    within = record.get(outer) if inner else None
    return value_in(within, inner) if isinstance(within, dict) else None


def is_missing(given: object, kind: ColumnType | None = None) -> bool:
    """Whether this is no value: null, or the "not a number" of a table's empty cell.

    A blank text is one in a field of strings alone; without a ``kind`` it says nothing.
    """
    if isinstance(given, str):
        return kind not in ("string", "string[]") and not given.strip()
    return given is None or (isinstance(given, float) and math.isnan(given))


def refusal(name: str, kind: ColumnType, value: object, where: str) -> InputError:
    """What to say of a value of another type."""
    return InputError(
        f"expected {_EXPECTED[kind]} for field {name!r}, found {value!r} in {where}; "
        "correct the value, or declare the field with another type"
    )


def _typed_list(name: str, kind: ColumnType, given: object, where: str) -> str | None:
    items = given if isinstance(given, list | tuple) else [given]
    kept = [typed_item(name, kind, item, where) for item in items if not is_missing(item, kind)]
    return _json(list(dict.fromkeys(kept))) if kept else None


def _spelled_list(name: str, given: Sequence[Any], where: str) -> str | None:
    """How a field of strings stores a list: one item as it is, several as JSON; None without."""
    present = [item for item in given if not is_missing(item, "string")]
    kept = [str(typed_item(name, "string", item, where)) for item in present]
    kept = list(dict.fromkeys(kept))
    if len(kept) == 1 and not kept[0].startswith("["):
        return kept[0]
    return _json(kept) if kept else None


def _json(items: Sequence[Any]) -> str:
    return json.dumps(items, ensure_ascii=False, separators=(",", ":"))


def _read(kind: ColumnType, given: Any) -> Any:  # noqa: ANN401
    """A text that is spelled as a value of the type as that value; else as it is."""
    if kind == "integer" and isinstance(given, float) and given.is_integer():
        return int(given)  # a table with gaps holds floats
    if not isinstance(given, str):
        return given
    text = given.strip()
    if kind == "integer" and WHOLE.fullmatch(text):
        return int(text)
    if kind == "float" and REAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if kind == "boolean":
        return BOOLEANS.get(text.lower(), text)
    return text


def _microseconds(name: str, value: str, where: str) -> int:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise refusal(name, "date", value, where) from None
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
