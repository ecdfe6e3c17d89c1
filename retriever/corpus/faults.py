"""Mistakes of a corpus: the first ends the reading (`refuse`), or all are counted (`Faults`)."""

from __future__ import annotations

from collections.abc import Callable

from tamis.index.errors import InputError
from tamis.index.files.lines import refuse

Fault = Callable[[InputError], None]
SHOWN = 10

__all__ = ["SHOWN", "Fault", "Faults", "refuse"]


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
