"""TOML tables to frozen records, and records back to what identifies them.

An unknown key or a value of another kind is an error that names the nearest that would do. A file
that begins with ``extends = "other.toml"`` holds only what differs from that one beside it.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from enum import StrEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from tamis.index.errors import InputError

Record = TypeVar("Record")
Setting = TypeVar("Setting")
EXTENDS = "extends"  # key of a file that says only what differs
Later = Annotated[Setting, "later"]  # older checkpoints do not know it: see `identity`


def identity(record: Any) -> dict[str, Any]:  # noqa: ANN401  any dataclass
    """A record as plain tables, without the `Later` settings that stand at their defaults."""
    hints = get_type_hints(type(record), include_extras=True)
    found = {}
    for one in dataclasses.fields(record):
        value = getattr(record, one.name)
        is_later = get_origin(hints[one.name]) is Annotated
        if not (is_later and value == one.default):
            found[one.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401  a setting
    if dataclasses.is_dataclass(value):
        return identity(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def read_record(kind: type[Record], path: str | Path) -> Record:
    """The record that a TOML file holds.

    Raises:
        InputError: no such file, not TOML, or a key or value that is not one of the record's.
    """
    return _record(kind, _read_tables(Path(path), ()), str(path), "")


def _read_tables(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """What a file says, over what the file that it extends says."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a training configuration in TOML, found none ({error}); "
            "start from one of scripts/recipes"
        ) from error
    other = tables.pop(EXTENDS, None)
    if other is None:
        return tables
    below = path.parent / str(other)
    if not isinstance(other, str) or below.resolve() in (*extending, path.resolve()):
        raise InputError(
            f"{path}: expected {EXTENDS} to be the path of another configuration, found {other!r}; "
            "name one that does not extend this one"
        )
    return _over(tables, _read_tables(below, (*extending, path.resolve())))


def _over(tables: dict[str, Any], below: dict[str, Any]) -> dict[str, Any]:
    """Tables joined key by key; anything else is replaced."""
    joined = dict(below)
    for key, value in tables.items():
        both = isinstance(value, dict) and isinstance(below.get(key), dict)
        joined[key] = _over(value, below[key]) if both else value
    return joined


def _record(kind: type[Record], table: Any, path: str, section: str) -> Record:  # noqa: ANN401
    """One record of a section; ``section`` ends with a dot where it is not the whole file."""
    hints = get_type_hints(kind)
    if not isinstance(table, dict):
        raise InputError(f"{path}: expected a table [{section[:-1]}], found {table!r}")
    for key in table:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1, 0.4)
            remedy = f"did you mean {section}{near[0]}?" if near else f"keys: {', '.join(hints)}"
            raise InputError(f"{path}: expected keys of a training, found {section}{key}; {remedy}")
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]
        missing = one.default is dataclasses.MISSING
        if missing and one.default_factory is dataclasses.MISSING and one.name not in table:
            raise InputError(f"{path}: expected {section}{one.name}, found nothing; add it")
    values = {
        key: _value(hints[key], value, path, f"{section}{key}") for key, value in table.items()
    }
    return kind(**values)


def _value(hint: Any, value: Any, path: str, name: str) -> Any:  # noqa: ANN401  TOML is anything
    if get_origin(hint) in (Union, types.UnionType):
        hint = get_args(hint)[0]  # `int | None`: None cannot be written in TOML
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{path}: expected {name} to be a list, found {value!r}")
        return tuple(_value(get_args(hint)[0], one, path, name) for one in value)
    if dataclasses.is_dataclass(hint):
        return _record(hint, value, path, f"{name}.")  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _member(list(hint), value, path, name)
    if get_origin(hint) is Literal:
        return _member(list(get_args(hint)), value, path, name)
    if type(value) is not hint:
        raise InputError(f"{path}: expected {name} to be {hint.__name__}, found {value!r}")
    return value


def _member(choices: list[Any], value: Any, path: str, name: str) -> Any:  # noqa: ANN401
    """The choice that equals a value: a member of an enumeration, or a literal."""
    if value not in choices:
        wanted = ", ".join(map(str, choices))
        raise InputError(f"{path}: expected {name} to be one of {wanted}, found {value!r}")
    return choices[choices.index(value)]
