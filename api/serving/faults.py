"""Faults: what keeps a part of the server from its work, as the probes tell it, or for a moment."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamis.api.problems import RequestError, of_error
from tamis.index.errors import TamisError, without_frames
from tamis.index.writing.background import PASSING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("tamis.api")


class BusyError(Exception):
    """Something has the index, or the name, to itself for a while; ask again."""


@dataclass(frozen=True, slots=True)
class ServerFault:
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
    def of(error: BaseException) -> ServerFault:
        """What an error means."""
        if isinstance(error, TamisError | OSError | MemoryError):
            is_passing = not isinstance(error, TamisError) or isinstance(error, PASSING)
            return ServerFault(of_error(error).code, str(error), is_passing)
        if isinstance(error, RequestError):
            return ServerFault(error.code, error.detail)
        return ServerFault("internal_error", f"{type(error).__name__}: {error}")


@contextmanager
def told_by_faults() -> Iterator[None]:
    """Pass over an error that the faults of a part tell, and hold nothing that it came through."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        without_frames(error)


def told(
    before: ServerFault | None, error: BaseException | None, of_what: str
) -> ServerFault | None:
    """Log a fault when it begins, changes or is over; the fault there is now.

    Args:
        before: what was there when this was last told.
        error: what is there now.
        of_what: names the part of the server.
    """
    now = ServerFault.of(error) if error is not None else None
    if now is not None and now != before:
        LOG.warning("%s: %s (%s)", of_what, now.detail, now.code)
    elif now is None and before is not None:
        LOG.warning("%s is well again", of_what)
    return now
