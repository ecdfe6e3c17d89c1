"""Workers: work happens on a few threads, never on the event loop, and never piles up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")
RETRY_AFTER_S = 1


class Workers:
    """A pool of ``threads`` with room for ``waiting`` more calls.

    Lives on one event loop. Calls beyond the room are refused at once, so that those accepted
    are answered in bounded time.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = threads + waiting
        self._inside = 0

    @property
    def has_room(self) -> bool:
        """Whether the next call would be accepted."""
        return self._inside < self._room

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return max(0, self._inside - self._threads)

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Run ``work`` on a worker and give its result.

        Raises:
            RequestError: 503 when every worker is busy and the waiting room is full.
        """
        return await asyncio.shield(self.start(work))

    def start(self, work: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """Have ``work`` run on a worker; it is done even if nobody waits. Raises as `run`."""
        if not self.has_room:
            raise overloaded(self._room)
        self._inside += 1
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(self._leave)  # also after the client has gone
        return running

    def close(self) -> None:
        """Finish what runs; drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _leave(self, done: asyncio.Future[Answer]) -> None:
        self._inside -= 1
        if not done.cancelled():
            done.exception()  # seen: a client that left does not leave a warning behind


def overloaded(room: int) -> RequestError:
    """What a request is told that finds no room."""
    return RequestError(
        503,
        "overloaded",
        f"expected fewer than {room} requests at once, found as many running or waiting; "
        "try again shortly",
        {"Retry-After": str(RETRY_AFTER_S)},
    )
