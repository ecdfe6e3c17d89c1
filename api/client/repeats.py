"""Repeats: which requests are sent again after a failure, how often, and after what pause.

All operations may be sent twice: reading changes nothing, PUT and PATCH of a document say what is
to be, and others carry an ``Idempotency-Key``, under which the server carries them out once.
So a request whose answer was lost is sent again, and one that the server had no room for.
What is wrong with a request itself is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import uniform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.api.client.errors import ServiceError

PASSING = frozenset({408, 429, 502, 503, 504})  # statuses of what may be well in a moment
ASKING_LESS = frozenset({"time_up"})  # refused the same way each time


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often a request is sent, and what lies between.

    The pause is drawn from the upper half of ``first_pause_s``, twice it, and so on, so that
    clients that failed together do not come back together; ``Retry-After`` makes it longer.

    Attributes:
        attempts: how often one request is sent at most; 1 repeats nothing.
        first_pause_s: seconds after the first failure, doubled after each further one.
        most_pause_s: longest pause. A server that asks for a longer one is not asked again: the
            error says how long it is in ``retry_after_s``.
    """

    attempts: int = 5
    first_pause_s: float = 0.2
    most_pause_s: float = 30.0

    def pause_s(self, failures: int, error: ServiceError) -> float | None:
        """Seconds to wait after so many failures, the last one being ``error``; None: give up."""
        asked_s = error.retry_after_s or 0.0
        if failures >= self.attempts or not _may_pass(error) or asked_s > self.most_pause_s:
            return None
        longest_s = min(self.first_pause_s * 2 ** (failures - 1), self.most_pause_s)
        return max(asked_s, uniform(longest_s / 2, longest_s))


def _may_pass(error: ServiceError) -> bool:
    if error.code in ASKING_LESS:
        return False
    return error.status is None or error.status in PASSING or error.retry_after_s is not None
