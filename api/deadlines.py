"""Waiting for an answer: no longer than its time, and not for a client that has left.

Ends the call either way. Its work stops then, or never begins; see workers.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    loop, watching = asyncio.get_running_loop(), list[asyncio.Task[None]]()
    timers = (
        loop.call_later(within_s, _fail, call, TimeUpError()),
        loop.call_later(WATCH_AFTER_S, _watch, watching, call, request),
    )
    try:
        return await call
    finally:
        _cancel([*timers, *watching])
        del call, watching  # else what it raises would hold itself until the collector comes


def _cancel(some: Iterable[asyncio.TimerHandle | asyncio.Task[None]]) -> None:
    for one in some:
        one.cancel()


def _watch(
    watching: list[asyncio.Task[None]], call: asyncio.Future[Answer], request: Request
) -> None:
    watching.append(asyncio.ensure_future(_fail_when_left(call, request)))


async def _fail_when_left(call: asyncio.Future[Answer], request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    _fail(call, ClientLeftError())


def _fail(call: asyncio.Future[Answer], error: Exception) -> None:
    if not call.done():
        call.set_exception(error)
