"""Memory: one bound over what all requests hold together, and who holds how much.

Held are bodies, documents on their way into an index, results and answers that are not sent yet.
Each request opens a `Holding`, says when it grows and shrinks, and whatever is left at its end is
given back there. Nothing else is counted: indexes are mapped, and what the process needs for itself
is in README.md.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from typing import Any

HOLDING = "tamis.holding"  # in a request's scope
SMALL_BYTES = 64 << 10  # a holding of up to so many may take the last of the memory
KEPT_SHARE = 8  # one part of so many is kept for small holdings
RETRY_AFTER_S = 1


class Memory:
    """The bytes that all holdings have together; safe to share between threads.

    Attributes:
        bound_bytes: the most there may be.
        used_bytes: how many there are.
        refused: how often a holding could not grow.
        mutex: of all counts.
    """

    def __init__(self, bound_bytes: int) -> None:
        """Begin with nothing held."""
        self.bound_bytes = bound_bytes
        self.used_bytes = self.refused = 0
        self.mutex = threading.Lock()

    @contextmanager
    def holding(self) -> Iterator[Holding]:
        """Something that may hold memory until the ``with`` block ends."""
        holding = Holding(self)
        try:
            yield holding
        finally:
            holding.close()

    @property
    def has_room(self) -> bool:
        """Whether a small holding would get its memory now."""
        return self.used_bytes + SMALL_BYTES <= self.bound_bytes

    def most_bytes(self, held: int) -> int:
        """How many bytes all may have when a holding of this size grows: small ones come first."""
        if held <= SMALL_BYTES:
            return self.bound_bytes
        return self.bound_bytes - self.bound_bytes // KEPT_SHARE


class Holding:
    """What one request holds, or calls that are joined; safe to share between threads.

    Attributes:
        size_bytes: how much it is.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._closed = False
        self.size_bytes = 0

    def grow(self, size: int) -> None:
        """Hold so many bytes more; after its end nothing is held any more.

        Raises:
            RequestError: 413 where so much can never be held, 503 where others hold too much now.
        """
        memory = self._memory
        with memory.mutex:
            if self._closed:
                return
            held = self.size_bytes + size
            if memory.used_bytes + size > memory.most_bytes(held):
                memory.refused += 1
                raise self._refused(held)
            memory.used_bytes += size
            self.size_bytes = held

    def shrink(self, size: int) -> None:
        """Hold so many bytes less, or none any more."""
        with self._memory.mutex:
            size = min(size, self.size_bytes)
            self._memory.used_bytes -= size
            self.size_bytes -= size

    def close(self) -> None:
        """Give all back."""
        with self._memory.mutex:
            self._memory.used_bytes -= self.size_bytes
            self.size_bytes = 0
            self._closed = True

    def _refused(self, held: int) -> RequestError:
        bound, most = self._memory.bound_bytes, self._memory.most_bytes(held)
        if held > most:
            return RequestError(
                413,
                "too_much_memory",
                f"expected a request that holds at most {most} bytes with its answer, found at "
                f"least {held}; ask for less at once, or raise the limit memory_bytes",
            )
        return RequestError(
            503,
            "memory_full",
            f"expected memory for {held} bytes within the {bound} that all requests may hold "
            f"(memory_bytes), found {self._memory.used_bytes} held; try again shortly",
            {"Retry-After": str(RETRY_AFTER_S)},
        )


def holding_of(scope: MutableMapping[str, Any]) -> Holding:
    """The holding of a request; one without a bound where nobody gave it any."""
    found = scope.get(HOLDING)
    return found if isinstance(found, Holding) else Holding(Memory(1 << 62))
