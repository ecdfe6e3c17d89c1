"""The table of operations, put together from the rooms that answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.api.operations import (
    documents,
    indexes,
    searching,
    several,
    shards,
    snapshots,
    status,
    tasks,
    words,
)

if TYPE_CHECKING:
    from tamis.api.operations.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *status.OPERATIONS,
    *indexes.OPERATIONS,
    *searching.OPERATIONS,
    *several.OPERATIONS,
    *words.OPERATIONS,
    *documents.OPERATIONS,
    *snapshots.OPERATIONS,
    *tasks.OPERATIONS,
    *shards.OPERATIONS,
)
