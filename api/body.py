"""Reading a request's body: bounded in size, in memory and in time.

A client may be silent for `idle_s`, and has to send so many bytes a second on average. The time
that the server itself takes between two pieces is not counted.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from tamis.api.memory import holding_of
from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

BODY_RATE = 32 << 10  # bytes a second, of a body that is held until it is whole
STREAM_RATE = 256  # of one that is taken line by line
VALUE_BYTES = 64  # that a value of JSON takes at least once it is read


async def read_body(request: Request, limit_bytes: int, idle_s: float) -> bytes:
    """All bytes of a body.

    Raises:
        RequestError: 413 as soon as the body is known to be larger; 415 when it is compressed;
            408 when the client falls silent or is too slow; 503 when memory is short.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise RequestError(
            415, "unsupported_encoding", f"expected an uncompressed body, found {encoding!r}"
        )
    refuse_announced(request, limit_bytes)
    holding, body = holding_of(request.scope), bytearray()
    async for chunk in chunks(request, idle_s, BODY_RATE):
        holding.grow(len(chunk))
        body += chunk
        if len(body) > limit_bytes:
            raise too_large(limit_bytes)
    holding.grow(VALUE_BYTES * body.count(b","))
    return bytes(body)


async def chunks(request: Request, idle_s: float, least_rate: float) -> AsyncIterator[bytes]:
    """The pieces of a body as they come.

    Args:
        request: whose body it is.
        idle_s: seconds that may pass without a piece.
        least_rate: bytes a second that have to come, on average over what passes beyond that.

    Raises:
        RequestError: 408 when a client is too slow; 400 when it has gone.
    """
    more, waited_s, came = True, 0.0, 0
    while more:
        began = monotonic()
        left_s = idle_s + came / least_rate - waited_s
        try:
            async with asyncio.timeout(min(idle_s, left_s)):
                message = await request.receive()
        except TimeoutError:
            raise RequestError(
                408,
                "request_timeout",
                f"expected more of the body within {idle_s} s, and at least {least_rate:.0f} bytes "
                f"a second, found {came} bytes in {waited_s + monotonic() - began:.0f} s; send it "
                "again",
                {"Connection": "close"},
            ) from None
        waited_s += monotonic() - began
        came += len(message.get("body", b""))
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
