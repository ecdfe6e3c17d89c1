"""Turns: a writer's work lets the searches in the same interpreter go first.

A thread that computes in Python keeps the interpreter from the others for `sys.getswitchinterval`,
5 ms unless set: much longer than a search takes, which needs the interpreter a few times.
Threads keep one priority: one of a lower priority that is held up by other processes while it has
the interpreter would hold up all.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT_TURN_S = 0.0005


class _Turns:
    """The interpreter's own interval while no writer works, and how many do."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._writers = 0
        self._before_s = 0.0

    def shorten(self) -> None:
        with self._mutex:
            if self._writers == 0:
                self._before_s = sys.getswitchinterval()
                _set_interval(min(self._before_s, SHORT_TURN_S))
            self._writers += 1

    def restore(self) -> None:
        with self._mutex:
            self._writers -= 1
            if self._writers == 0:
                _set_interval(self._before_s)


def _set_interval(seconds: float) -> None:
    """Set what `sys.getswitchinterval` gave; Python cuts off, not rounds, to microseconds."""
    sys.setswitchinterval(seconds + 0.5e-6)


_turns = _Turns()


@contextmanager
def short_turns() -> Iterator[None]:
    """Threads give way to each other every half millisecond while the ``with`` block runs.

    Worth it where the block computes: among threads that let go all the time, two that take turns
    keep a third waiting, the longer the shorter their turns.
    The interval is the interpreter's own again when the last such block of any thread ends.
    """
    _turns.shorten()
    try:
        yield
    finally:
        _turns.restore()
