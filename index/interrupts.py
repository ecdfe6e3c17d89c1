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


def _go_on(grown_bytes: int) -> None:
    """The answer where nobody asked to be asked."""


_check: ContextVar[Callable[[int], None]] = ContextVar("tamis.interrupts", default=_go_on)


def check_for_interrupts(grown_bytes: int = 0) -> None:
    """Raise what ends this work, or return when it shall go on.

    To be called where nothing is half done and no lock is held: the work may end here, and it may
    be made to wait while other work goes first.

    Args:
        grown_bytes: memory that the work holds now and did not when it asked last; below zero for
            what it has let go of.
    """
    _check.get()(grown_bytes)


@contextmanager
def interruptible(check: Callable[[int], None]) -> Iterator[None]:
    """Have the work of the ``with`` block, in this thread, call ``check`` between its units.

    Args:
        check: told how much memory the work holds more than at the last check; raises to end it,
            usually `InterruptedWorkError`; returns to let it go on.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
