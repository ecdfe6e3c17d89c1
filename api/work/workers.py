"""Workers: work happens on a few threads, never on the event loop, and never piles up.

As many calls run at once as there are cores; a `FairQueue` says which. A long call asks between its
units, by `check_for_interrupts`, whether somebody still waits for it and whether others are due. It
then lets them go first, on another thread, and goes on when its turn comes again.

Calls that wait and are alike are joined: one pass over an index answers them all, and the fixed
cost of a pass is paid once. The more a server has to do, the less each call costs.
"""

from __future__ import annotations

import asyncio
import threading
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from tamis.api.problems import RequestError
from tamis.api.work.calls import NOBODY, Call, Done, Seat, Turn, outcomes_of, settle
from tamis.api.work.fair_queue import FairQueue, Ticket
from tamis.index.interrupts import interruptible
from tamis.index.writing.switch_interval import short_switch_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from tamis.api.memory import Memory
    from tamis.api.work.calls import Asker

Answer = TypeVar("Answer")
Job = TypeVar("Job")
RETRY_AFTER_S = 1
MOST_JOINED = 16
PARKED = 8  # calls that may be half done beside those at work, at least; each keeps a thread
LONG_SHARE = 4  # long calls may take one place of so many in the waiting room
IDLE_S = 10.0  # after which a thread without work ends, where there are more than run at once


class Workers:
    """``threads`` calls at work at once, with room for ``waiting`` more.

    Lives on one event loop. Calls beyond the room are refused at once, so that those accepted are
    answered in bounded time. Long calls may take only a part of the room.
    """

    def __init__(self, name: str, threads: int, waiting: int, memory: Memory) -> None:
        self._name = name
        self._memory = memory
        self._at_once = threads
        self._room = threads + waiting
        self._long_room = threads + waiting // LONG_SHARE
        self._inside = self._long_inside = 0  # calls, and those of them that are long
        self._queue: FairQueue[Call] = FairQueue()
        self._free = threads  # how many more may be at work
        self._most_begun = threads + max(PARKED, 2 * threads)
        self._begun = 0  # turns, at work or in the queue again
        self._waking: list[Turn] = []  # those of them whose threads are not awake yet
        self._no_threads = False  # whether the system gave none, until one is idle again
        self._idle: list[Seat] = []  # the last one works next: few threads keep memory of theirs
        self._threads: set[threading.Thread] = set()
        self._done: list[Done] = []
        self._mutex = threading.Lock()
        self._closing = False
        self._idle += [self._new_seat() for _ in range(threads)]

    @property
    def has_room(self) -> bool:
        """Whether the next call would be accepted."""
        return self._inside < self._room

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return max(0, self._inside - self._at_once)

    async def run(
        self, work: Callable[[], Answer], asker: Asker = NOBODY, *, is_long: bool = False
    ) -> Answer:
        """Run ``work`` on a worker and give its result; see `start`."""
        return await self.start(work, asker, is_long=is_long)

    def start(
        self, work: Callable[[], Answer], asker: Asker = NOBODY, *, is_long: bool = False
    ) -> asyncio.Future[Answer]:
        """Have ``work`` run on a worker.

        Where its future is done before, it does not begin, or ends at its next
        `check_for_interrupts`. Work that never asks is done to its end.

        Args:
            work: what is to be done.
            asker: who asks; all clients get the same share of the workers.
            is_long: it is likely to take long: few such calls are at work or half done at once.

        Raises:
            RequestError: 503 when every worker is busy and the waiting room is full.
        """
        return self.start_joined(
            None, None, lambda jobs: [work() for _ in jobs], asker, is_long=is_long
        )

    def start_joined(
        self,
        key: Hashable | None,
        job: Job,
        work: Callable[[Sequence[Job]], Sequence[Answer]],
        asker: Asker = NOBODY,
        *,
        is_long: bool = False,
    ) -> asyncio.Future[Answer]:
        """Have a job done, together with others of the same key that wait; raises as `start`.

        Args:
            key: of jobs that may be done together; None for a job of its own.
            job: what ``work`` is given.
            work: answers several jobs of one key, in their order. Where it raises, each is done by
                itself, so that the mistake of one is not that of the others.
            asker: as for `start`.
            is_long: as for `start`.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        call = Call(future, job, work, key, is_long, asker.holding)
        with self._mutex:
            self._make_room(asker.client, is_long)
            self._inside += 1
            self._long_inside += is_long
            ticket = self._queue.push(call, asker.client)
            if not self._join(ticket):
                self._dispatch()
        return future

    def close(self) -> None:
        """Finish what runs; drop what waits."""
        with self._mutex:
            self._closing = True
            self._queue.clear(lambda ticket: ticket.item.turn is None)
            for seat in self._idle:
                seat.wake.release()
            self._idle.clear()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _make_room(self, client: str, is_long: bool) -> None:
        """See to a free place in the waiting room.

        Where there is none, the client with the most calls loses one, if it has more than this one.
        """
        if self.has_room and not (is_long and self._long_inside >= self._long_room):
            return
        for ticket in self._queue.clear(_is_unwanted):
            self._forget(ticket)
        if is_long and self._long_inside >= self._long_room:
            raise overloaded(f"{self._long_room} long requests")
        if self.has_room:
            return
        victim = self._queue.pop_newest_of_longest(client, lambda ticket: ticket.item.turn is None)
        if victim is None:
            raise overloaded(f"{self._room} requests")
        self._forget(victim)
        settle(victim.item.future, overloaded(f"{self._room} requests"))

    def _join(self, ticket: Ticket[Call]) -> bool:
        """Let a new call be done with one like it that is about to begin; the mutex is held.

        A thread takes a while to wake. What comes meanwhile would give another one the same work.
        """
        key = ticket.item.key
        for turn in self._waking if key is not None else ():
            if turn.tickets[0].item.key == key and len(turn.tickets) < MOST_JOINED:
                turn.tickets += self._queue.pop_alike(lambda one: one is ticket, 1)
                self._count(turn, [ticket])
                return True
        return False

    def _dispatch(self) -> None:
        """Have those work who are next, as many as may; the mutex is held."""
        while self._free and (ticket := self._queue.pop(self._may_go)) is not None:
            if _is_unwanted(ticket):
                self._forget(ticket)
                continue
            turn = ticket.item.turn or self._begin(ticket)
            if turn is not None:
                self._free -= 1
                turn.seat.wake.release()

    def _may_go(self, ticket: Ticket[Call]) -> bool:
        """Whether a call has a thread, can have one, or needs none.

        The last places are kept for short calls. Those may so begin whatever waits half done.
        """
        call, left = ticket.item, self._most_begun - self._begun
        if call.turn is not None or call.future.done():
            return True
        if self._no_threads and not self._idle:
            return False
        if not call.is_long:
            return left > 0
        return left > self._at_once and ticket.client.long_begun < max(self._at_once, 2)

    def _begin(self, ticket: Ticket[Call]) -> Turn | None:
        """Give a call, and those that can be joined to it, a thread; None where none can be had."""
        try:
            seat = self._idle.pop() if self._idle else self._new_seat()
        except RuntimeError:  # the system gives no more
            self._no_threads = True
            self._queue.push_back(ticket)
            return None
        key, joined = ticket.item.key, []
        if key is not None and len(self._queue):
            joined = self._queue.pop_alike(
                lambda one: one.item.key == key and one.item.turn is None, MOST_JOINED - 1
            )
        turn = seat.turn = Turn([ticket, *joined], seat, self._pause, self._memory)
        self._count(turn, turn.tickets)
        self._begun += 1
        self._waking.append(turn)
        return turn

    def _count(self, turn: Turn, tickets: Sequence[Ticket[Call]]) -> None:
        for one in tickets:
            one.item.turn = turn
            one.client.long_begun += one.item.is_long

    def _new_seat(self) -> Seat:
        seat = Seat(threading.Lock())
        seat.wake.acquire()
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._work, args=(seat,), name=name, daemon=True)
        thread.start()
        self._threads.add(thread)
        return seat

    def _work(self, seat: Seat) -> None:
        """The life of a thread."""
        while self._has_work(seat):
            self._do(seat)

    def _has_work(self, seat: Seat) -> bool:
        """Wait until there is something to do on a seat; False when the thread is to end."""
        while not seat.wake.acquire(timeout=IDLE_S):
            with self._mutex:
                if seat in self._idle and len(self._threads) > self._at_once:
                    self._idle.remove(seat)
                    break
        if seat.turn is None:
            with self._mutex:
                self._threads.discard(threading.current_thread())
        return seat.turn is not None

    def _do(self, seat: Seat) -> None:
        """Do what a seat is given. Nothing of it is held on to after this."""
        turn, seat.turn = seat.turn, None
        assert turn is not None
        with self._mutex:
            self._waking.remove(turn)
        turn.begin_slice()
        wanted = [call for call in turn.calls if not call.future.done()]
        with turn.entered, interruptible(turn.check):
            outcomes = outcomes_of(wanted) if wanted else ()
        self._end(turn, Done(wanted, outcomes))

    def _pause(self, turn: Turn) -> None:
        """Let others go first whose turn it is, and go on when it comes again."""
        if not turn.is_long:
            turn.is_long = True
            turn.entered.enter_context(short_switch_interval())
        if not len(self._queue):
            return
        with self._mutex:
            self._charge(turn)
            self._free += 1
            self._queue.push_back(turn.tickets[0])
            self._dispatch()
        turn.seat.wake.acquire()
        turn.begin_slice()

    def _end(self, turn: Turn, done: Done) -> None:
        """Give what came of a turn to the loop, and its seat to the next."""
        loop = turn.calls[0].future.get_loop()
        with self._mutex:
            self._charge(turn)
            for ticket in turn.tickets:
                ticket.client.long_begun -= ticket.item.is_long
                ticket.item.turn = None  # or the collector would have to come for both
                self._forget(ticket)
            self._begun -= 1
            self._free += 1
            self._no_threads = False
            self._done.append(done)
            if len(self._done) == 1 and not loop.is_closed():  # else it is about to: waking costs
                loop.call_soon_threadsafe(self._deliver)
            if self._closing:
                turn.seat.wake.release()
            else:
                self._idle.append(turn.seat)
            self._dispatch()

    def _charge(self, turn: Turn) -> None:
        """Count the slice of work that ends now."""
        share_s = (perf_counter() - turn.began) / len(turn.tickets)
        for ticket in turn.tickets:
            self._queue.charge(ticket, share_s)

    def _forget(self, ticket: Ticket[Call]) -> None:
        self._queue.leave(ticket)
        self._inside -= 1
        self._long_inside -= ticket.item.is_long

    def _deliver(self) -> None:
        with self._mutex:
            finished, self._done = self._done, []
        for done in finished:
            for call, outcome in zip(done.calls, done.outcomes, strict=True):
                settle(call.future, outcome)


def overloaded(most: str) -> RequestError:
    """What a request is told that finds no room."""
    return RequestError(
        503,
        "overloaded",
        f"expected fewer than {most} at once, found as many running or waiting; try again shortly",
        {"Retry-After": str(RETRY_AFTER_S)},
    )


def _is_unwanted(ticket: Ticket[Call]) -> bool:
    """Whether a call has not begun and nobody waits for it."""
    return ticket.item.turn is None and ticket.item.future.done()
