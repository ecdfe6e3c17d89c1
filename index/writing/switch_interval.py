"""A shorter switch interval of the interpreter while a writer works, so that searches go first.

A thread that computes in Python keeps the interpreter from the others for `sys.getswitchinterval`,
which is 5 ms unless set. That is much longer than a search takes, and a search needs the
interpreter a few times. All threads keep one priority: a thread of lower priority may be held up
by other processes while it has the interpreter, and would then hold up all.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT_S = 0.0005


class _SwitchInterval:
    """The interpreter's own interval while no writer works, and how many do."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._writers = 0
        self._before_s = 0.0

    def shorten(self) -> None:
        with self._mutex:
            if self._writers == 0:
                self._before_s = sys.getswitchinterval()
                _set_interval(min(self._before_s, SHORT_S))
            self._writers += 1

    def restore(self) -> None:
        with self._mutex:
            self._writers -= 1
            if self._writers == 0:
                _set_interval(self._before_s)


def _set_interval(seconds: float) -> None:
    """Set what `sys.getswitchinterval` gave; Python cuts off, not rounds, to microseconds."""
    sys.setswitchinterval(seconds + 0.5e-6)


_interval = _SwitchInterval()


@contextmanager
def short_switch_interval() -> Iterator[None]:
    """Threads give way to each other every half millisecond while the ``with`` block runs.

    Use it where the block computes. Among threads that often wait for input and output it harms:
    two of them that alternate keep a third from running. The interval is the interpreter's own
    again when the last such block of any thread ends.
    """
    _interval.shorten()
    try:
        yield
    finally:
        _interval.restore()
