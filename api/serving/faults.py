"""Faults: what keeps a part of the server from doing its work, as the probes tell it."""

from __future__ import annotations

from dataclasses import dataclass

from tamis.api.problems import RequestError, of_error
from tamis.index.errors import TamisError


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them.

    Attributes:
        code: for programs and for strangers: names no file and no index.
        detail: for an operator.
    """

    code: str
    detail: str

    @staticmethod
    def of(error: BaseException) -> Fault:
        """What an error means."""
        if isinstance(error, TamisError | OSError | MemoryError):
            return Fault(of_error(error).code, str(error))
        if isinstance(error, RequestError):
            return Fault(error.code, error.detail)
        return Fault("internal_error", f"{type(error).__name__}: {error}")
