"""Errors as RFC 9457 problem documents with a stable ``code``."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from tamis.index.errors import InputError, LockedError, MismatchError, StoppedError, TamisError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2  # what the machine refused is tried again by then
_REFUSALS = {
    errno.ENOSPC: (507, "out_of_room", "make room on the disk"),
    errno.EDQUOT: (507, "out_of_room", "make room within the quota, or raise it"),
    errno.EMFILE: (503, "out_of_descriptors", "raise the limit of open files (LimitNOFILE)"),
    errno.ENFILE: (503, "out_of_descriptors", "raise the system's limit of open files"),
    errno.ENOMEM: (503, "out_of_memory", "give the machine more memory, or ask for less"),
    errno.EROFS: (503, "read_only_disk", "see why the disk can only be read"),
}
_DISK_FAILS = (503, "disk_failing", "see to the disk and to the rights on its folders")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer.

    Attributes:
        type: always ``about:blank``: ``code`` tells the kinds apart.
        title: the status in words.
        status: the HTTP status.
        detail: for a person: what was expected, what was found, what to do.
        code: for a program; never changes its meaning.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str


class RequestError(Exception):
    """A request that cannot be answered, with the status and code to say so."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers


def response(error: RequestError) -> Response:
    """The HTTP response of an error."""
    problem = Problem(
        "about:blank", HTTPStatus(error.status).phrase, error.status, error.detail, error.code
    )
    return Response(
        orjson.dumps(problem), error.status, headers=error.headers, media_type=MEDIA_TYPE
    )


def of_error(error: TamisError | OSError | MemoryError) -> RequestError:
    """What came of a request, by what failed.

    A mistake in the request is 422; what the machine refuses 503, or 507 for want of room, to be
    tried again; anything wrong with the index itself is 500.
    """
    if isinstance(error, MemoryError):
        return of_error(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
    if isinstance(error, OSError):
        return _refused(error)
    if isinstance(error, StoppedError | LockedError):
        cause = error.__cause__
        if isinstance(cause, OSError | MemoryError | StoppedError | LockedError):
            return of_error(cause)
        code = cause.code if isinstance(cause, TamisError) else error.code
        return RequestError(503, code, str(error), {"Retry-After": str(RETRY_AFTER_S)})
    status = 422 if isinstance(error, InputError | MismatchError) else 500
    return RequestError(status, error.code, str(error))


def _refused(error: OSError) -> RequestError:
    status, code, remedy = _REFUSALS.get(error.errno or 0, _DISK_FAILS)
    return RequestError(
        status,
        code,
        f"expected a machine that can do this, found it refusing: {error}; {remedy}",
        {"Retry-After": str(RETRY_AFTER_S)},
    )


def of_status(error: HTTPException, path: str) -> RequestError:
    """What the router refuses: an unknown path, or a method that a path does not take."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return RequestError(
            405,
            "method_not_allowed",
            f"expected {allowed} for {path}, found another method; see /docs",
            error.headers,
        )
    code = "not_found" if error.status_code == 404 else "refused"
    detail = f"expected a path of this service, found {path}; see /docs"
    return RequestError(error.status_code, code, detail, error.headers)
