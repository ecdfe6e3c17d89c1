"""Interrupts: long work asks between two of its units whether to go on.

The work calls `check_for_interrupts` after each query, document or batch, as PostgreSQL's code
calls CHECK_FOR_INTERRUPTS. Whoever starts the work says what happens then, with `interruptible`.
The functions in between need no argument for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class InterruptedWorkError(Exception):
    """Nobody waits for the result any more."""


def _go_on() -> None:
    """The answer where nobody asked to be asked."""


_check: ContextVar[Callable[[], None]] = ContextVar("tamis.interrupts", default=_go_on)


def check_for_interrupts() -> None:
    """Raise what ends this work, or return when it shall go on.

    To be called where nothing is half done and no lock is held: the work may end here, and it may
    be made to wait while other work goes first.
    """
    _check.get()()


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Have the work of the ``with`` block, in this thread, call ``check`` between its units.

    Args:
        check: raises to end the work, usually `InterruptedWorkError`; returns to let it go on.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
