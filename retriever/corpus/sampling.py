"""A sample spread evenly over a stream of unknown length."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Spread(Generic[T]):
    """Keeps every n-th item, n doubling whenever twice the size wished for is there."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self._size = size
        self._step = 1
        self._kept: list[T] = []

    def take(self, item: T) -> None:
        """See the next item."""
        if self.count % self._step == 0:
            self._kept.append(item)
        if len(self._kept) == 2 * self._size:
            self._kept, self._step = self._kept[::2], 2 * self._step
        self.count += 1

    def kept(self) -> list[T]:
        """At most ``size`` items, in their order."""
        places = np.linspace(0, len(self._kept) - 1, min(self._size, len(self._kept)))
        return [self._kept[place] for place in places.astype(int)]
