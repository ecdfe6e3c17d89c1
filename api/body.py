"""Reading a request's body, never more of it than a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """All bytes of a body.

    Raises:
        RequestError: 413 as soon as the body is known to be larger; 415 when it is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise RequestError(
            415, "unsupported_encoding", f"expected an uncompressed body, found {encoding!r}"
        )
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
    return bytes(body)


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError(
        413, "body_too_large", f"expected a body of at most {limit_bytes} bytes; send less at once"
    )
