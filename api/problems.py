"""Errors as RFC 9457 problem documents with a stable ``code``."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from tamis.index.errors import InputError, MismatchError, TamisError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


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


def of_error(error: TamisError) -> RequestError:
    """A mistake in the request is 422; anything wrong with the index itself is 500."""
    status = 422 if isinstance(error, InputError | MismatchError) else 500
    return RequestError(status, error.code, str(error))


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
