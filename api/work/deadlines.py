"""Waiting for an answer: no longer than its time, and not for a client that has left.

Ends the call either way. Its work stops then, or never begins; see workers.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from starlette.requests import Request

Answer = TypeVar("Answer")
WATCH_AFTER_S = 0.1  # most calls are answered by then, and no task is made for them


class TimeUpError(Exception):
    """The answer did not come in time."""


class ClientLeftError(Exception):
    """There is nobody to answer."""


async def answered(call: asyncio.Future[Answer], request: Request, within_s: float) -> Answer:
    """The answer of a call.

    Args:
        call: of `Workers.start`.
        request: whose body has been read to its end.
        within_s: how long to wait, seconds.

    Raises:
        TimeUpError: the answer did not come in time.
        ClientLeftError: the connection was closed meanwhile.
    """
    loop, waits = asyncio.get_running_loop(), list[asyncio.TimerHandle | asyncio.Task[None]]()
    if within_s > WATCH_AFTER_S:
        left_s = within_s - WATCH_AFTER_S
        waits.append(loop.call_later(WATCH_AFTER_S, _watch, waits, call, request, left_s))
    else:
        waits.append(loop.call_later(within_s, _fail, call, TimeUpError()))
    try:
        return await call
    finally:
        for one in waits:
            one.cancel()
        del call, waits  # else what it raises would hold itself until the collector comes


def _watch(
    waits: list[asyncio.TimerHandle | asyncio.Task[None]],
    call: asyncio.Future[Answer],
    request: Request,
    left_s: float,
) -> None:
    """Look whether the client leaves or the time is up, for a call that takes longer than most."""
    waits.append(asyncio.ensure_future(_fail_when_left(call, request)))
    waits.append(call.get_loop().call_later(left_s, _fail, call, TimeUpError()))


async def _fail_when_left(call: asyncio.Future[Answer], request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    _fail(call, ClientLeftError())


def _fail(call: asyncio.Future[Answer], error: Exception) -> None:
    if not call.done():
        call.set_exception(error)
