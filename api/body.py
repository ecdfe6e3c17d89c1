"""Reading a request's body: never more of it than a limit, never longer than a client is awake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


async def read_body(request: Request, limit_bytes: int, idle_s: float) -> bytes:
    """All bytes of a body.

    Raises:
        RequestError: 413 as soon as the body is known to be larger; 415 when it is compressed;
            408 when the client falls silent.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise RequestError(
            415, "unsupported_encoding", f"expected an uncompressed body, found {encoding!r}"
        )
    refuse_announced(request, limit_bytes)
    parts, size = [], 0
    async for chunk in chunks(request, idle_s):
        parts.append(chunk)
        size += len(chunk)
        if size > limit_bytes:
            raise too_large(limit_bytes)
    return b"".join(parts)


async def chunks(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    """The pieces of a body as they come.

    Raises:
        RequestError: 408 when none comes for too long; 400 when the client has gone.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(idle_s):
                message = await request.receive()
        except TimeoutError:
            raise RequestError(
                408,
                "request_timeout",
                f"expected more of the body within {idle_s} s, found none; send it again",
                {"Connection": "close"},
            ) from None
        if message["type"] == "http.disconnect":
            raise RequestError(
                400, "incomplete_body", "expected the whole body, found the client gone"
            )
        more = message.get("more_body", False)
        if chunk := message.get("body", b""):
            yield chunk


def refuse_announced(request: Request, limit_bytes: int) -> None:
    """Raise RequestError 413 when the announced length is beyond the limit."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit_bytes):
        raise too_large(limit_bytes)


def too_large(limit_bytes: int) -> RequestError:
    """What is said of a body beyond the limit."""
    return RequestError(
        413, "body_too_large", f"expected a body of at most {limit_bytes} bytes; send less at once"
    )
