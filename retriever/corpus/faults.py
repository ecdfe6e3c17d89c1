"""Mistakes of a corpus that are counted in place of ending the reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.index.errors import InputError

SHOWN = 10


class Faults:
    """A ``fault`` that counts what it is told: what is faulty is left out.

    Attributes:
        count: of mistakes.
        first: the first ten, each with its file and line.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def __call__(self, error: InputError) -> None:
        """Count a mistake."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(str(error))
