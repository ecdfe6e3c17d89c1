"""What a caller may choose: how an index stores vectors, how much a search reads."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from tamis.index.errors import InputError
from tamis.index.segment.quantize import IMPACT_TYPES, Precision

if TYPE_CHECKING:
    from tamis.index.segment.loops.arrays import Knobs


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """How an index stores vectors.

    Attributes:
        precision: ``f32`` keeps weights as they are; the others round them, see
            quantize.py for the error. An exact search is exact over the weights as stored.
    """

    precision: Precision = "f32"

    def __post_init__(self) -> None:
        if self.precision not in IMPACT_TYPES:
            raise InputError(
                f"expected precision {', '.join(IMPACT_TYPES)}, found {self.precision!r}; "
                "use f32 to keep weights as they are"
            )


@dataclass(frozen=True, slots=True)
class SearchParams:
    """What a query may ask for beside k.

    Attributes:
        lexical_weight: factor on the weights of the lexical channel's terms in a query, finite
            and at least 0; 0 turns the channel off, None leaves queries as they are. Only for an
            index with that channel.
        cut: read the postings that add at least this share of what the query's strongest posting
            adds to a score: at least 0, below 1; 0 reads whatever an exact search needs.
        slack: score in full the documents whose first estimate reaches this share of the k-th
            best estimate: above 0, at most 1.

    Less cut and less slack find more and take longer. None leaves a knob to the calibration
    table. Cut 0 is the exact search, with any slack.
    """

    lexical_weight: float | None = None
    cut: float | None = None
    slack: float | None = None

    def __post_init__(self) -> None:
        if self.lexical_weight is not None and not 0 <= self.lexical_weight < inf:
            raise InputError(
                f"expected a finite lexical weight of at least 0, found {self.lexical_weight}; "
                "0 turns words off, 1 takes them as they are"
            )
        if self.cut is not None and not 0 <= self.cut < 1:
            raise InputError(
                f"expected cut of at least 0 and below 1, found {self.cut}; use 0 for exact search"
            )
        if self.slack is not None and not 0 < self.slack <= 1:
            raise InputError(
                f"expected slack above 0 and at most 1, found {self.slack}; use 1 for the fewest"
            )

    def over(self, knobs: Knobs) -> Knobs:
        """These knobs, and those of ``knobs`` where one is None; blocks have knobs of their own."""
        own = {"cut": self.cut, "slack": self.slack}
        given = {name: value for name, value in own.items() if value is not None}
        return knobs._replace(blocks=False, **given) if given else knobs
