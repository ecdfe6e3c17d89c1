"""ServiceError: the one exception for whatever a server refuses, and for one that is not there."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import httpx

PROBLEM = "application/problem+json"
UNREACHABLE, UNREADABLE = "unreachable", "unreadable_answer"


class ServiceError(Exception):
    """A request that was not answered as it was meant.

    Attributes:
        code: for programs: that of the problem document, ``unreachable`` where no answer came, or
            ``unreadable_answer`` where something else than a server of Tamis answered.
        detail: for a person: what was expected, what was found, what to do.
        status: of HTTP; None where no answer came.
        retry_after_s: after which the server asks to be tried again; None where it does not say.
        request_id: under which the server's log tells of it; None where no answer came.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if status is None else f"{status} {code}: {detail}")
        self.code, self.detail, self.status = code, detail, status
        self.retry_after_s, self.request_id = retry_after_s, request_id


@dataclass(frozen=True)
class _Problem:
    code: str
    detail: str


def unreachable(error: httpx.TransportError) -> ServiceError:
    """No answer came, or not all of it."""
    found = str(error) or type(error).__name__
    return ServiceError(
        UNREACHABLE, f"expected an answer, found none ({found}); see whether the server runs"
    )


def refused(response: httpx.Response) -> ServiceError:
    """An answer that is a problem."""
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.MsgspecError:
        return unreadable(response)
    return _of(response, problem.code, problem.detail)


def unreadable(response: httpx.Response) -> ServiceError:
    """An answer that no server of Tamis gives."""
    kind = response.headers.get("content-type", "no type")
    detail = f"expected an answer of Tamis, found {kind}; check the address and what is before it"
    return _of(response, UNREADABLE, detail)


def _of(response: httpx.Response, code: str, detail: str) -> ServiceError:
    return ServiceError(
        code,
        detail,
        response.status_code,
        retry_after_s(response.headers.get("retry-after")),
        response.headers.get("x-request-id"),
    )


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header names, as a number or a date; None for neither."""
    if header is None:
        return None
    if header.strip().isdecimal() and len(header) < 18:
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except (ValueError, OverflowError):
        return None
