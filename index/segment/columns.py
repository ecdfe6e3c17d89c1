"""Columns: typed values of documents, one array a field, to filter a search by.

Documents keep what they were given; a column holds what that is in the field's type. A text that is
spelled as a number is one in a field of numbers, where a blank text is no value; in a field of
strings a text is a value whatever it holds, and a number is its text. A value may be missing. A
string is stored as its place among the field's distinct strings; a list of strings is one of them,
spelled as JSON, and holds where a filter names any of its items. A dot in a field's name leads
into objects.
"""

from __future__ import annotations

import json
import math
import re
import sys
from array import array
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tamis.index.errors import InputError
from tamis.index.files.array_file import map_array, write_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.segment.documents import Documents

ColumnType = Literal["string", "integer", "float", "date"]
Value = str | int | float | None

_NO_INTEGER = -(2**63)  # stands for a missing integer or date
_NO_STRING = -1
_LARGEST = sys.float_info.max
_EXPECTED = {
    "string": "a string",
    "integer": "a whole number between -2**63 and 2**63",
    "float": "a finite number",
    "date": "an ISO 8601 date such as 2024-05-31 or 2024-05-31T12:00:00Z",
}
WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")  # "007" is no number
REAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Column:
    """One field of all documents.

    Attributes:
        name: of the field.
        kind: its type.
        values: ``[documents]``: int32 places among ``strings``; int64 integers, or microseconds
            since 1970 for dates; float64.
        strings: the distinct strings, sorted; empty for other types.
    """

    name: str
    kind: ColumnType
    values: NDArray[Any]
    strings: tuple[str, ...] = ()

    @staticmethod
    def of(name: str, kind: ColumnType, values: Sequence[Any]) -> Column:
        """A column of documents' values as they were given, None where one is missing.

        Raises:
            InputError: a value is of another type; the message names field and document.
        """
        building = _Building(name, kind)
        for value in values:
            building.append(value)
        return building.column()

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """``[documents]``, where there is no value."""
        found: NDArray[np.bool_] = (
            np.isnan(self.values)
            if self.kind == "float"
            else self.values == (_NO_STRING if self.kind == "string" else _NO_INTEGER)
        )
        return found

    def value(self, doc: int) -> Value:
        """The value of a document, None where it is missing; a date as ISO 8601 in UTC.

        A list is the text that spells it as JSON.
        """
        if self.missing[doc]:
            return None
        stored = self.values[doc]
        if self.kind == "string":
            return self.value_of_string(self.strings[int(stored)])
        if self.kind == "date":
            return (_EPOCH + timedelta(microseconds=int(stored))).isoformat()
        return float(stored) if self.kind == "float" else int(stored)

    def number(self, value: Value) -> float | int:
        """A value of a filter as it is stored.

        Raises:
            InputError: it is of another type.
        """
        return _number(self.name, self.kind, value, "the filter")

    def places(self, values: Sequence[Value]) -> NDArray[Any]:
        """Stored forms of a filter's values, lists that hold one of them among them.

        Strings that no document has are left out.
        """
        if self.kind != "string":
            return np.array([self.number(value) for value in values], self.values.dtype)
        wanted = [_string(self.name, value, "the filter") for value in values]
        found = [place for string in wanted for place in self._places_by_item.get(string, ())]
        return np.array(found, np.int32)

    def places_of_whole(self, values: Sequence[Value]) -> NDArray[Any]:
        """Stored forms of values as `value` gives them: a list is itself, not its items."""
        if self.kind != "string":
            return self.places(values)
        whole = {self.value_of_string(string): at for at, string in enumerate(self.strings)}
        return np.array([whole[value] for value in values if value in whole], np.int32)

    @staticmethod
    def value_of_string(string: str) -> str:
        """What a stored string stands for: itself, or a list as JSON."""
        items = _items(string)
        return items[0] if len(items) == 1 else string

    @cached_property
    def _places_by_item(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for at, string in enumerate(self.strings):
            for item in _items(string):
                found.setdefault(item, []).append(at)
        return found


class _Building:
    """A column that grows by a few bytes a document."""

    def __init__(self, name: str, kind: ColumnType) -> None:
        self._name = name
        self._kind = kind
        self._numbers: array[Any] = array({"float": "d", "string": "i"}.get(kind, "q"))
        self._missing: float | int = math.nan if kind == "float" else _NO_INTEGER
        self._strings: dict[str, int] = {}  # each distinct one and how many came before it

    def append(self, given: object) -> None:
        """Take the next document's value; raises InputError where it is of another type."""
        value = typed_value(self._name, self._kind, given, f"document {len(self._numbers)}")
        if value is None:
            self._numbers.append(_NO_STRING if self._kind == "string" else self._missing)
        elif isinstance(value, str):
            self._numbers.append(self._strings.setdefault(value, len(self._strings)))
        else:
            self._numbers.append(value)

    def column(self) -> Column:
        """The column of all values so far."""
        values = np.array(self._numbers)
        if self._kind != "string":
            return Column(self._name, self._kind, values)
        strings = sorted(self._strings)
        place_of = np.full(len(strings) + 1, _NO_STRING, np.int32)  # the last one: missing
        for place, string in enumerate(strings):
            place_of[self._strings[string]] = place
        return Column(self._name, "string", place_of[values], tuple(strings))


def write_columns(storage: Storage, folder: str, columns: Sequence[Column]) -> dict[str, FileEntry]:
    """Write the columns of a segment, numbered in their order; the files written."""
    files: dict[str, FileEntry] = {}
    for at, column in enumerate(columns):
        text = [string.encode() for string in column.strings]
        arrays = {
            "values": column.values,
            "strings": np.frombuffer(b"".join(text), np.uint8),
            "ends": np.cumsum([len(string) for string in text], dtype=np.int64),
        }
        files |= write_arrays(storage, f"{folder}/columns.{at}.", arrays)
    return files


def open_columns(
    storage: Storage,
    folder: str,
    files: Mapping[str, FileEntry],
    schema: Mapping[str, ColumnType],
) -> dict[str, Column]:
    """Map the columns of a segment; ``schema`` gives names and types in the order written."""
    columns = {}
    for at, (name, kind) in enumerate(schema.items()):
        values, text, ends = (
            map_array(storage, file, files[file])
            for part in ("values", "strings", "ends")
            for file in [f"{folder}/columns.{at}.{part}"]
        )
        data, starts = text.tobytes(), [0, *ends.tolist()]
        strings = (data[a:b].decode() for a, b in pairwise(starts))
        columns[name] = Column(name, kind, values, tuple(strings))
    return columns


def columns_of(documents: Documents | None, schema: Mapping[str, ColumnType]) -> dict[str, Column]:
    """The columns of stored documents; a field that a document lacks is missing.

    Raises:
        InputError: a value is of another type than the schema says.
    """
    building = {name: _Building(name, kind) for name, kind in schema.items()}
    for doc in range(len(documents) if documents is not None and schema else 0):
        record = documents[doc] if documents is not None else {}
        for name, column in building.items():
            column.append(value_in(record, name))
    return {name: column.column() for name, column in building.items()}


def value_in(record: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401  whatever it holds
    """What a record holds under a name; under ``author.name`` also within its ``author``."""
    if name in record:
        return record[name]
    outer, _, inner = name.partition(".")
    within = record.get(outer) if inner else None
    return value_in(within, inner) if isinstance(within, dict) else None


def _spelled_list(name: str, given: Sequence[Any], where: str) -> str | None:
    """How a list of strings is stored: one item as it is, several as JSON; None without any."""
    present = (item for item in given if not is_missing(item, "string"))
    kept = list(dict.fromkeys(_one_string(name, item, where) for item in present))
    if len(kept) == 1 and not kept[0].startswith("["):
        return kept[0]
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")) if kept else None


def _one_string(name: str, given: Any, where: str) -> str:  # noqa: ANN401
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return str(given) if is_number else _string(name, _spelled(given), where)


def _items(stored: str) -> list[str]:
    """The items of a stored string: itself, or those of the list that it spells."""
    if stored.startswith("["):
        try:
            found = json.loads(stored)
        except (ValueError, RecursionError):
            return [stored]
        if all(isinstance(item, str) for item in found):
            return found  # type: ignore[no-any-return]
    return [stored]


def typed_value(name: str, kind: ColumnType, given: object, where: str) -> Value:
    """What a document's value is in a field's type, a date in microseconds; None where it is none.

    Args:
        name: of the field.
        kind: its type.
        given: what the document holds.
        where: it stands, for the message.

    Raises:
        InputError: it is of another type.
    """
    if is_missing(given, kind):
        return None
    if kind == "string" and isinstance(given, list | tuple):
        return _spelled_list(name, given, where)
    if kind == "string":
        string = _one_string(name, given, where)  # which may look like a list
        return string if not string.startswith("[") else _spelled_list(name, [string], where)
    return _number(name, kind, _read(kind, _spelled(given)), where)


def is_missing(given: object, kind: ColumnType | None = None) -> bool:
    """Whether this is no value: null, or the "not a number" of a table's empty cell.

    A blank text is one in a field of strings alone; without a ``kind`` it says nothing.
    """
    if isinstance(given, str):
        return kind != "string" and not given.strip()
    return given is None or (isinstance(given, float) and math.isnan(given))


def _spelled(given: object) -> Any:  # noqa: ANN401  a value of any type
    return given.isoformat() if isinstance(given, date) else given  # a datetime is one too


def _read(kind: ColumnType, given: Any) -> Any:  # noqa: ANN401
    """A text that is spelled as a number as that number, where the type is one; else as it is."""
    if kind == "integer" and isinstance(given, float) and given.is_integer():
        return int(given)  # a table with gaps holds floats
    if not isinstance(given, str):
        return given
    text = given.strip()
    if kind == "integer" and WHOLE.fullmatch(text):
        return int(text)
    if kind == "float" and REAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _string(name: str, value: Value, where: str) -> str:
    if not isinstance(value, str):
        raise _refusal(name, "string", value, where)
    return value


def _number(name: str, kind: ColumnType, value: Value, where: str) -> float | int:
    if kind == "date" and isinstance(value, str):
        return _microseconds(name, value, where)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "integer" and whole and _NO_INTEGER < int(value) < 2**63:  # type: ignore[arg-type]
        return int(value)  # type: ignore[arg-type]
    if kind == "float" and (whole or isinstance(value, float)) and abs(value) <= _LARGEST:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise _refusal(name, kind, value, where)


def _microseconds(name: str, value: str, where: str) -> int:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise _refusal(name, "date", value, where) from None
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _refusal(name: str, kind: ColumnType, value: Value, where: str) -> InputError:
    return InputError(
        f"expected {_EXPECTED[kind]} for field {name!r}, found {value!r} in {where}; "
        "correct the value, or declare the field with another type"
    )
