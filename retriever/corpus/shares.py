"""Shares of a corpus: what each of several readers takes of its rows, in their order."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from tamis.index.errors import InputError
from tamis.index.files.lines import ALL_LINES

if TYPE_CHECKING:
    from collections.abc import Sequence


class Share(NamedTuple):
    """One of so many equal shares of a corpus, by its rows.

    Attributes:
        number: from 1.
        of: how many there are.
    """

    number: int
    of: int

    @staticmethod
    def parse(text: str) -> Share:
        """Read ``2/8``.

        Raises:
            InputError: it is something else.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise InputError(
                f"expected a share such as 2/8, the second of eight, found {text!r}; "
                "number them from 1"
            )
        return Share(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def rows(self, counts: Sequence[int]) -> list[range]:
        """The numbers, from 1, of the rows of each file that are in the share.

        Args:
            counts: how many rows each file holds. What a file holds beyond goes with its last row.
        """
        total = sum(counts)
        first, end = (total * before // self.of for before in (self.number - 1, self.number))
        befores = accumulate(counts, initial=0)
        return [
            _within(first - before, end - before, count)
            for before, count in zip(befores, counts, strict=False)
        ]


def _within(first: int, end: int, count: int) -> range:
    """The rows of a file from ``first`` to ``end``, counted from 0, as their numbers."""
    first = max(first, 0)
    if first >= min(end, count):
        return range(0)
    return range(first + 1, ALL_LINES.stop if end >= count else end + 1)


WHOLE = Share(1, 1)
