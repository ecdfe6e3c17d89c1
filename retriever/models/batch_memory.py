"""How many batches may be under way at once within a bound on memory; knows nothing of models."""

from __future__ import annotations

from typing import Protocol

from tamis.index.errors import InputError
from tamis.index.files.system import used_bytes

BYTES_A_NUMBER = 64  # of a batch, for each number of its hidden states: measured, rounded up


class Batched(Protocol):
    """A model that runs batches side by side."""

    @property
    def lanes(self) -> int:
        """Batches that are best under way at once."""

    @property
    def held_bytes(self) -> int:
        """What its first batch leaves behind: loops, machine code of products."""

    @property
    def lane_bytes(self) -> int:
        """What a batch under way takes; 0 where that is no memory of this machine's."""


def lanes_within(limit_bytes: int | None, model: Batched) -> int:
    """How many batches a model that was just loaded may have under way.

    Args:
        limit_bytes: of the whole process; None is no bound.
        model: see `Batched`.

    Raises:
        InputError: there is no room for one.
    """
    if limit_bytes is None or not model.lane_bytes:
        return model.lanes
    needed = used_bytes() + model.held_bytes
    fitting = (limit_bytes - needed) // model.lane_bytes
    if fitting < 1:
        raise InputError(
            f"expected an encoder within {limit_bytes >> 20:,} MiB, found that it needs "
            f"{(needed + model.lane_bytes) >> 20:,} MiB; give it more memory"
        )
    return min(model.lanes, fitting)
