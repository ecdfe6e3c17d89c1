"""Workers: work happens on a few threads, never on the event loop, and never piles up.

Calls that wait and are alike are joined: one pass over an index answers them all, and the fixed
cost of a pass is paid once. The more a server has to do, the less each call costs.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

Answer = TypeVar("Answer")
Job = TypeVar("Job")
RETRY_AFTER_S = 1
MOST_JOINED = 16


@dataclass(eq=False, slots=True)
class _Call:
    """Something to do, and who waits for it."""

    future: asyncio.Future[Any]
    job: Any
    work: Callable[[Sequence[Any]], Sequence[Any]]
    key: Hashable | None


class _Done(NamedTuple):
    """Calls that a worker took: those answered with what came of each, and how many in all."""

    calls: Sequence[_Call]
    outcomes: Sequence[Any]
    gone: int


class Workers:
    """``threads`` threads with room for ``waiting`` more calls.

    Lives on one event loop. Calls beyond the room are refused at once, so that those accepted
    are answered in bounded time.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self._running = threads
        self._room = threads + waiting
        self._inside = 0
        self._calls: deque[_Call] = deque()
        self._done: list[_Done] = []
        self._ready = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def has_room(self) -> bool:
        """Whether the next call would be accepted."""
        return self._inside < self._room

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return max(0, self._inside - self._running)

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Run ``work`` on a worker and give its result.

        Raises:
            RequestError: 503 when every worker is busy and the waiting room is full.
        """
        return await asyncio.shield(self.start(work))

    def start(self, work: Callable[[], Answer]) -> asyncio.Future[Answer]:
        """Have ``work`` run on a worker; once begun it is done even if nobody waits.

        Raises as `run`.
        """
        return self.start_joined(None, None, lambda jobs: [work() for _ in jobs])

    def start_joined(
        self, key: Hashable | None, job: Job, work: Callable[[Sequence[Job]], Sequence[Answer]]
    ) -> asyncio.Future[Answer]:
        """Have a job done, together with others of the same key that wait; raises as `run`.

        Args:
            key: of jobs that may be done together; None for a job of its own.
            job: what ``work`` is given.
            work: answers several jobs of one key, in their order. Where it raises, each is done by
                itself, so that the mistake of one is not that of the others.
        """
        if not self.has_room:
            raise overloaded(self._room)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._inside += 1
        with self._ready:
            self._calls.append(_Call(future, job, work, key))
            self._ready.notify()
        return future

    def close(self) -> None:
        """Finish what runs; drop what waits."""
        with self._ready:
            self._closing = True
            self._calls.clear()
            self._ready.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while calls := self._next():
            wanted = [call for call in calls if not call.future.cancelled()]
            outcomes = _outcomes(wanted) if wanted else ()
            self._hand_over(_Done(wanted, outcomes, len(calls)), calls[0].future.get_loop())

    def _hand_over(self, done: _Done, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop deliver it; one that is about to is not woken again, which costs."""
        with self._ready:
            self._done.append(done)
            if len(self._done) == 1 and not loop.is_closed():
                loop.call_soon_threadsafe(self._deliver)

    def _next(self) -> list[_Call]:
        """The call that has waited longest and those joined to it; none when it is time to end."""
        with self._ready:
            while not self._calls:
                if self._closing:
                    return []
                self._ready.wait()
            found = [self._calls.popleft()]
            key = found[0].key
            while key is not None and self._calls and len(found) < MOST_JOINED:
                if self._calls[0].key != key:
                    break
                found.append(self._calls.popleft())
            return found

    def _deliver(self) -> None:
        with self._ready:
            finished, self._done = self._done, []
        for done in finished:
            self._inside -= done.gone
            for call, outcome in zip(done.calls, done.outcomes, strict=True):
                _settle(call.future, outcome)


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401  what work gives
    if future.cancelled():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # seen: a client that left leaves no warning behind
    else:
        future.set_result(outcome)


def overloaded(room: int) -> RequestError:
    """What a request is told that finds no room."""
    return RequestError(
        503,
        "overloaded",
        f"expected fewer than {room} requests at once, found as many running or waiting; "
        "try again shortly",
        {"Retry-After": str(RETRY_AFTER_S)},
    )


def _outcomes(calls: Sequence[_Call]) -> Sequence[Any]:
    """The answer to each call, or the exception in its place."""
    try:
        return calls[0].work([call.job for call in calls])
    except Exception as error:  # noqa: BLE001  whoever waits is told
        if len(calls) == 1:
            return [error]
    return [outcome for call in calls for outcome in _outcomes([call])]
