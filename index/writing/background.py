"""Background: a few threads that do the work of many owners, a piece whenever there may be some.

Work that fails does not end them: it is tried again after pauses that grow, and its owner can see
what came of it.
"""

from __future__ import annotations

import heapq
import threading
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

from tamis.index.errors import LockedError, StoppedError, contained, without_frames
from tamis.index.files.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tamis.index.files.progress import Progress

PASSING = (OSError, MemoryError, StoppedError, LockedError)  # it may be over at any moment
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 2.0
LONGEST_OTHER_PAUSE_S = 60.0  # after what will hardly mend by itself, such as damage


class Stopped(Exception):  # noqa: N818  no error: the owner asked for it
    """The work was told to end."""


def pause_s(failures: int, error: BaseException) -> float:
    """How long to wait before what has failed so many times in a row is tried again."""
    longest = LONGEST_PAUSE_S if isinstance(error, PASSING) else LONGEST_OTHER_PAUSE_S
    pause: float = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20), longest)
    return pause


class Background(Closing):
    """Threads that `Repeater` objects share."""

    def __init__(self, name: str = "tamis-merge", threads: int = 1) -> None:
        """Start the threads."""
        self.turn = threading.Condition()
        self._due: list[tuple[float, int, Repeater]] = []  # a heap, the next one first
        self._order = count()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def queue(self, repeater: Repeater, pause_s: float) -> None:
        """Have a piece of work done after a pause; the caller holds `turn`."""
        heapq.heappush(self._due, (monotonic() + pause_s, next(self._order), repeater))
        self.turn.notify_all()

    def close(self) -> None:
        """End the threads, each after its piece of work."""
        with self.turn:
            self._closing = True
            self.turn.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (repeater := self._next()) is not None:
            repeater.run()

    def _next(self) -> Repeater | None:
        with self.turn:
            while not self._closing:
                left_s = self._due[0][0] - monotonic() if self._due else None
                if left_s is not None and left_s <= 0:
                    return heapq.heappop(self._due)[2]
                self.turn.wait(left_s)
        return None


def _no_work(progress: Progress) -> bool:
    """What is left to be done for an owner that has ended."""
    return False


class Repeater:
    """Calls ``work`` until it returns False, each time it is woken.

    Attributes:
        failure: what the last call raised, while it is not tried again with success.
    """

    def __init__(self, background: Background, work: Callable[[Progress], bool]) -> None:
        """Sleep until `wake`.

        Args:
            background: whose threads do it.
            work: does a piece and says whether there may be more; tells its argument how far it
                has come, which raises when the work is to end.
        """
        self.failure: Exception | None = None
        self._background = background
        self._work = work
        self._failures = 0
        self._queued = self._running = self._woken = self._closing = False

    def wake(self) -> None:
        """There may be work; what has just failed waits for its time all the same."""
        with self._background.turn:
            self._woken = True
            self._queue(0.0)

    def close(self) -> None:
        """End; the running piece of work is given up. Raises what the last one raised."""
        turn = self._background.turn
        with turn:
            self._closing = True
            turn.wait_for(lambda: not self._running)
            self._work = _no_work  # the owner, who has this, is not kept by it
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        """Do a piece of work, on a thread of the background."""
        turn = self._background.turn
        with turn:
            self._queued, self._woken, self._running = False, False, not self._closing
        if not self._running:
            return
        more, pause = False, 0.0
        try:
            more = self._work(self._progress)
            self.failure, self._failures = None, 0
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  `failure` tells
            self.failure, self._failures = contained(without_frames(error)), self._failures + 1
            more, pause = True, pause_s(self._failures, error)
        with turn:
            self._running = False
            if more or self._woken:
                self._queue(pause)
            turn.notify_all()

    def _queue(self, pause: float) -> None:
        if not (self._queued or self._running or self._closing):
            self._queued = True
            self._background.queue(self, pause)

    def _progress(self, step: str, done: int, total: int | None) -> None:
        if self._closing:
            raise Stopped
