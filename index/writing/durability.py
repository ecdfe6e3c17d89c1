"""Waiting: when a write returns, and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from tamis.index.files.wal import Log

Wait = Literal["none", "durable", "searchable"]


class Place(NamedTuple):
    """Where a write ends in the log."""

    log: Log
    end: int


def check_wait(wait: str) -> None:
    """Refuse a word that `Wait` does not have, before anything is written."""
    if wait not in get_args(Wait):
        known = ", ".join(get_args(Wait))
        raise InputError(f"expected wait to be {known}, found {wait!r}; use durable to be safe")
