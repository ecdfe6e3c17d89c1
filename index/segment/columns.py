"""Columns: typed values of documents, one array a field, to filter, count and sort by.

A value may be missing. A string is stored as its place among the field's distinct strings; a list
is one of these, spelled as JSON. So what holds of a list is worked out once for each distinct one,
however many documents have it. A dot in a field's name leads into objects.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.index.files.array_file import map_array, write_arrays
from tamis.index.segment.values import (
    LIST,
    NO_INTEGER,
    item_kind,
    items_of,
    typed_item,
    typed_value,
    value_in,
    value_of_item,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tamis.index.files.file_entry import FileEntry
    from tamis.index.files.storage import Storage
    from tamis.index.segment.documents import Documents
    from tamis.index.segment.values import ColumnType, Value

    Test = Callable[[NDArray[Any]], NDArray[np.bool_]]

_NONE = -1  # in place of a string's or list's place, or of a boolean
_TYPECODES = {"integer": "q", "date": "q", "float": "d", "boolean": "b"}
_DTYPES = {"integer": np.int64, "date": np.int64, "float": np.float64, "boolean": np.int8}


@dataclass(frozen=True, eq=False)
class Column:
    """One field of all documents.

    Attributes:
        name: of the field.
        kind: its type.
        values: ``[documents]``: int32 places among ``strings``; int64 integers, or microseconds
            since 1970 for dates; float64; int8 booleans.
        strings: the distinct strings, or lists as JSON, sorted; empty for other types.
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
        if self.kind == "float":
            return np.asarray(np.isnan(self.values))
        none = NO_INTEGER if self.kind in ("integer", "date") else _NONE
        return np.asarray(self.values == none)

    @cached_property
    def items(self) -> Items:
        """The single values of strings and lists."""
        lists = [items_of(self.kind, string) for string in self.strings]
        every = list(chain.from_iterable(lists))
        offsets = np.cumsum([0, *map(len, lists)])
        if item_kind(self.kind) != "string":
            return Items(offsets, np.array(every, _DTYPES[item_kind(self.kind)]), ())
        strings = tuple(sorted(set(every)))
        places = {string: place for place, string in enumerate(strings)}
        return Items(offsets, np.array([places[item] for item in every], np.int32), strings)

    def holding(self, test: Test) -> NDArray[np.bool_]:
        """``[documents]``, which have a value that passes a test; of a list, any of its items.

        Args:
            test: of single values as they are stored, strings as places among `Items.strings`.
        """
        if not has_places(self.kind):
            return test(self.values) & ~self.missing
        passed = np.zeros(len(self.strings) + 1, np.bool_)  # the last one: missing
        if self.strings:
            np.logical_or.reduceat(
                test(self.items.values), self.items.offsets[:-1], out=passed[:-1]
            )
        return np.asarray(passed[self.values])

    @cached_property
    def _distinct(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The distinct single values as stored, rising, and each document's or item's place."""
        if self.kind == "string" or self.kind == "string[]":
            return np.arange(len(self.items.strings)), self.items.values.astype(np.int64)
        if has_places(self.kind):
            values, places = np.unique(self.items.values, return_inverse=True)
            return values, places
        there = ~self.missing
        values, found = np.unique(self.values[there], return_inverse=True)
        places = np.full(self.values.size, values.size)  # the last one: missing
        places[there] = found
        return values, places

    def counts(self, marks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of the marked documents have each distinct value; a list has several."""
        values, places = self._distinct
        if not has_places(self.kind):
            return np.bincount(places[marks], minlength=values.size + 1)[:-1]
        of_string = np.bincount(self.values[marks] + 1, minlength=len(self.strings) + 1)[1:]
        of_item = np.repeat(of_string, np.diff(self.items.offsets))
        return np.bincount(places, of_item, minlength=values.size).astype(np.int64)

    def distinct_values(self, places: NDArray[np.int64]) -> list[Value]:
        """The distinct values at these places, in their own order; see `counts`."""
        kind = item_kind(self.kind)
        if kind == "string":
            return [self.items.strings[place] for place in places.tolist()]
        return [value_of_item(kind, stored) for stored in self._distinct[0][places].tolist()]

    def extremes(self, is_largest: bool) -> NDArray[Any]:
        """``[documents]``, values to order by, of a list its largest or smallest item.

        Anything where there is none.
        """
        if not has_places(self.kind):
            return self.values
        reduce = np.maximum if is_largest else np.minimum
        held = self.items.values
        of_string = np.zeros(len(self.strings) + 1, held.dtype)  # the last one: missing
        if self.strings:
            reduce.reduceat(held, self.items.offsets[:-1], out=of_string[:-1])
        return np.asarray(of_string[self.values])

    def comparable(self, extreme: Any) -> Any:  # noqa: ANN401  a string or number
        """One of `extremes` as it compares with those of other segments."""
        return self.items.strings[extreme] if item_kind(self.kind) == "string" else extreme

    def stored(self, value: object) -> str | int | float:
        """A value of a filter as it is stored, a string as it is.

        Raises:
            InputError: it is of another type.
        """
        return typed_item(self.name, item_kind(self.kind), value, "the filter")

    def any_of(self, values: Sequence[object]) -> NDArray[np.bool_]:
        """``[documents]``, which have one of these values of a filter, or a list with one.

        Raises:
            InputError: a value is of another type.
        """
        wanted = [self.stored(value) for value in values]
        if item_kind(self.kind) == "string":
            known = self.items.places
            wanted = [known[str(string)] for string in wanted if str(string) in known]
        if len(wanted) == 1:
            return self.holding(lambda held: held == wanted[0])
        return self.holding(lambda held: np.isin(held, np.array(wanted, held.dtype)))

    def value(self, doc: int) -> Value:
        """The value of a document, None where it is missing; a date as ISO 8601 in UTC.

        Several items are the text that spells them as JSON; one alone is that item.
        """
        if self.missing[doc]:
            return None
        if not has_places(self.kind):
            return value_of_item(self.kind, self.values[doc])
        return self._value_of_string(self.strings[int(self.values[doc])])

    def given(self, doc: int) -> Value | list[Value]:
        """As `value`, but what a field of lists holds as a list."""
        if not self.kind.endswith(LIST) or self.missing[doc]:
            return self.value(doc)
        items = items_of(self.kind, self.strings[int(self.values[doc])])
        return [value_of_item(item_kind(self.kind), item) for item in items]

    def places_of_whole(self, values: Sequence[Value]) -> NDArray[Any]:
        """Stored forms of values as `value` gives them: a list is itself, not its items."""
        if not has_places(self.kind):
            return np.array([self.stored(value) for value in values], self.values.dtype)
        whole = {self._value_of_string(string): at for at, string in enumerate(self.strings)}
        return np.array([whole[value] for value in values if value in whole], np.int32)

    def _value_of_string(self, string: str) -> Value:
        items = items_of(self.kind, string)
        return value_of_item(item_kind(self.kind), items[0]) if len(items) == 1 else string


@dataclass(frozen=True, eq=False)
class Items:
    """The single values of a column's distinct strings or lists.

    Attributes:
        offsets: ``[strings + 1]`` int64, where the items of each begin; each has one at least.
        values: ``[items]``: places among ``strings``, or numbers as in `Column.values`.
        strings: the distinct items of a field of strings, sorted; empty for other types.
    """

    offsets: NDArray[np.int64]
    values: NDArray[Any]
    strings: tuple[str, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each string."""
        return {string: place for place, string in enumerate(self.strings)}


def has_places(kind: ColumnType) -> bool:
    """Whether columns of a type hold places among distinct strings or lists."""
    return kind == "string" or kind.endswith(LIST)


class _Building:
    """A column that grows by a few bytes a document."""

    def __init__(self, name: str, kind: ColumnType) -> None:
        self._name = name
        self._kind = kind
        self._numbers: array[Any] = array(_TYPECODES.get(kind, "i"))
        self._missing: float = math.nan if kind == "float" else NO_INTEGER
        if has_places(kind) or kind == "boolean":
            self._missing = _NONE
        self._strings: dict[str, int] = {}  # each distinct one and how many came before it

    def append(self, given: object, where: str = "") -> None:
        """Take the next document's value; raises InputError where it is of another type."""
        where = where or f"document {len(self._numbers)}"
        value = typed_value(self._name, self._kind, given, where)
        if value is None:
            self._numbers.append(self._missing)
        elif isinstance(value, str):
            self._numbers.append(self._strings.setdefault(value, len(self._strings)))
        else:
            self._numbers.append(value)

    def column(self) -> Column:
        """The column of all values so far."""
        values = np.array(self._numbers)
        if not has_places(self._kind):
            return Column(self._name, self._kind, values)
        strings = sorted(self._strings)
        place_of = np.full(len(strings) + 1, _NONE, np.int32)  # the last one: missing
        for place, string in enumerate(strings):
            place_of[self._strings[string]] = place
        return Column(self._name, self._kind, place_of[values], tuple(strings))


def write_columns(
    storage: Storage, folder: str, columns: Sequence[Column], first: int = 0
) -> dict[str, FileEntry]:
    """Write columns of a segment, numbered from ``first`` in their order; the files written."""
    files: dict[str, FileEntry] = {}
    for at, column in enumerate(columns, first):
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


def columns_of(
    documents: Documents | None,
    schema: Mapping[str, ColumnType],
    count: int,
    live: NDArray[np.bool_] | None = None,
    doc_id: Callable[[int], str] | None = None,
) -> dict[str, Column]:
    """The columns of stored documents; a field that a document lacks is missing.

    Args:
        documents: their records; None where vectors alone are stored, which have no further fields.
        schema: names and types.
        count: how many there are.
        live: ``[count]``, whose values are read; None for all.
        doc_id: of a document, for messages; None counts them.

    Raises:
        InputError: a value is of another type than the schema says.
    """
    building = {name: _Building(name, kind) for name, kind in schema.items()}
    for doc in range(count if schema else 0):
        is_read = documents is not None and (live is None or live[doc])
        record = documents[doc] if documents is not None and is_read else {}
        for name, column in building.items():
            where = f"document {doc if doc_id is None else repr(doc_id(doc))}"
            column.append(value_in(record, name), where)
    return {name: column.column() for name, column in building.items()}
