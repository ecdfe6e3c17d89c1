"""Searched fields: which fields are read as a document's text, and what their words are called.

A collection without any reads title and text as one. In one with fields, each word of the field
``title`` is a term of its own beside the word, printed ``=title:word``. Its key in the dictionary
begins with a colon, as no word does. The main field, which holds most words, has no such terms:
they would double the index, and tell little beside the words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.index.segment.values import is_missing, value_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TITLE_AND_TEXT = ("title", "text")
MOST_FIELDS = 16
MOST_WEIGHT = 1e6
RESERVED = ("vector", "parent", "chunk")  # what documents and passages have for other ends
NAME = r"[^\W\d](?:[\w.-]*[^\W\d])?"
"""Of a field: it begins and ends with a letter or ``_``, since ``x86:64`` may be a word."""
_NAME = re.compile(NAME)
_KEY = re.compile(rf":({NAME}):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextField:
    """A field of documents whose words are searched.

    Attributes:
        name: of the field; a dot leads into an object; ``_id`` is the document's id.
        weight: how often a word of it counts for one, before saturation.
        b: how much of the field's length is discounted, 0 to 1; None takes the collection's.

    Raises:
        InputError: a name that no field can have, or a number out of range.
    """

    name: str
    weight: float = 1.0
    b: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in RESERVED:
            raise InputError(
                f"expected the name of a text field, found {self.name!r}; names begin and end with "
                f"a letter or _, and {', '.join(RESERVED)} are taken"
            )
        if not 0 < self.weight <= MOST_WEIGHT:
            raise InputError(
                f"expected a weight above 0 and at most {MOST_WEIGHT:,.0f} for the text field "
                f"{self.name!r}, found {self.weight}; leave out a field that is not to count"
            )
        if self.b is not None and not 0 <= self.b <= 1:
            raise InputError(
                f"expected b from 0 to 1 for the text field {self.name!r}, found {self.b}; "
                "0 takes all lengths alike"
            )


def check_text_fields(fields: Sequence[TextField]) -> None:
    """Refuse a field that is there twice, and more than `MOST_FIELDS`."""
    names = [one.name for one in fields]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"expected each text field once, found {name!r} twice; give it one weight"
            )
    if len(names) > MOST_FIELDS:
        raise InputError(
            f"expected at most {MOST_FIELDS} text fields, found {len(names)}; search by filters in "
            "the others"
        )


def main_field(fields: Sequence[TextField]) -> str | None:
    """The field whose words are not stored apart: ``text``, else the first of the least weight."""
    names = [one.name for one in fields]
    if not names or "text" in names:
        return "text" if names else None
    return min(fields, key=lambda one: one.weight).name


def parse_text_fields(spelled: str) -> tuple[TextField, ...]:
    """The fields that ``title:3,text,brand`` names, with their weights.

    Raises:
        InputError: a weight is no number, or as for `TextField`.
    """
    fields = tuple(TextField(name, weight) for name, weight in parse_weights(spelled))
    check_text_fields(fields)
    return fields


def parse_weights(spelled: str) -> list[tuple[str, float]]:
    """Names and weights as ``title:3,text``; a name alone has weight 1.

    Raises:
        InputError: a weight is no number.
    """
    found = []
    for part in spelled.split(","):
        name, colon, weight = part.strip().partition(":")
        try:
            found.append((name, float(weight) if colon else 1.0))
        except ValueError:
            raise InputError(
                f"expected NAME or NAME:WEIGHT, found {part.strip()!r}; write title:3,text"
            ) from None
    return found


def check_boosts(boosts: Mapping[str, float], names: Sequence[str]) -> None:
    """Refuse boosts of fields that a collection does not search, and weights that are none."""
    for name, weight in boosts.items():
        if name not in names:
            raise unknown_field(name, names)
        if not 0 <= weight < inf:
            raise InputError(
                f"expected a boost of at least 0 for the text field {name!r}, found {weight}; "
                "3 adds three times what its words weigh"
            )


def unknown_field(name: str, names: Sequence[str]) -> InputError:
    """What to say of a field that is not searched."""
    if not names:
        return InputError(
            f"expected an index with text fields, found one without, and {name!r} asked for; "
            "declare them when it is made: `tamis index --text-field title:3,text`"
        )
    return InputError(f"expected a text field of {', '.join(names)}, found {name!r}; name one")


def texts_of(record: Mapping[str, Any], name: str) -> list[str]:
    """The texts that a document holds in a field: one, several in a list, or none."""
    return [value for value in _values(record, name) if isinstance(value, str)]


def check_texts(record: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a document that holds anything but a string or a list of strings in a field."""
    for name in names:
        for value in _values(record, name):
            if not isinstance(value, str):
                raise InputError(
                    f"expected a string or a list of strings in the text field {name!r}, found "
                    f"{value!r} in document {record.get('_id')!r}; write it as a string"
                )


def _values(record: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = value_in(record, name)
    return value if isinstance(value, list | tuple) else [] if is_missing(value) else [value]


def field_texts(record: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The text of each field, those of a list joined by spaces; empty without any."""
    return [" ".join(texts_of(record, name)) for name in names]


def field_key(field: str, word: str) -> str:
    """What the dictionary calls a word in a field."""
    return f":{field}:{word}"


def split_key(key: str) -> tuple[str, str]:
    """The field, empty for a word of all, and the word."""
    found = _KEY.fullmatch(key) if key.startswith(":") else None
    return (found[1], found[2]) if found is not None else ("", key)


def is_key(spelled: str) -> bool:
    """Whether a text, after its colon, is a word in a field as `field_key` writes it."""
    return _KEY.fullmatch(f":{spelled}") is not None
