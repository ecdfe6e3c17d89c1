"""Faults: what keeps a part of the server from doing its work, as the probes tell it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tamis.api.problems import RequestError, of_error
from tamis.index.errors import TamisError
from tamis.index.writing.background import PASSING

LOG = logging.getLogger("tamis.api")


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them.

    Attributes:
        code: for programs and for strangers: names no file and no index.
        detail: for an operator.
        is_passing: whether it may be over at any moment, so that trying again is worth it.
    """

    code: str
    detail: str
    is_passing: bool = False

    @staticmethod
    def of(error: BaseException) -> Fault:
        """What an error means."""
        if isinstance(error, TamisError | OSError | MemoryError):
            is_passing = not isinstance(error, TamisError) or isinstance(error, PASSING)
            return Fault(of_error(error).code, str(error), is_passing)
        if isinstance(error, RequestError):
            return Fault(error.code, error.detail)
        return Fault("internal_error", f"{type(error).__name__}: {error}")


def told(before: Fault | None, error: BaseException | None, of_what: str) -> Fault | None:
    """Log a fault when it begins, changes or is over; the fault there is now.

    Args:
        before: what was there when this was last told.
        error: what is there now.
        of_what: names the part of the server.
    """
    now = Fault.of(error) if error is not None else None
    if now is not None and now != before:
        LOG.warning("%s: %s (%s)", of_what, now.detail, now.code)
    elif now is None and before is not None:
        LOG.warning("%s is well again", of_what)
    return now
