"""Calls: what workers are given to do, what is at work, and what comes of it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, NamedTuple

from tamis.api.problems import RequestError
from tamis.index.errors import TamisError, contained, without_frames
from tamis.index.interrupts import InterruptedWorkError

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable, Hashable, Sequence

    from tamis.api.memory import Holding, Memory
    from tamis.api.work.fair_queue import Ticket

EXPECTED = (RequestError, TamisError, OSError, MemoryError)  # answered without the log's help
LOOK_S = 0.001  # between two looks of a long call at who waits
SLICE_S = 0.005  # after which a long call lets others go first
COUNTED_BYTES = 64 << 10  # memory that a call holds is counted in steps of so many


class Asker(NamedTuple):
    """Who asks for work.

    Attributes:
        client: a name; all that bear it share one part of the workers.
        holding: what the work holds is counted there.
    """

    client: str = ""
    holding: Holding | None = None


NOBODY = Asker()


@dataclass(eq=False, slots=True)
class Call:
    """Something to do. Once its future is done, nobody waits for it."""

    future: asyncio.Future[Any]
    job: Any
    work: Callable[[Sequence[Any]], Sequence[Any]]
    key: Hashable | None
    is_long: bool
    holding: Holding | None
    turn: Turn | None = None  # once it has begun


@dataclass(eq=False, slots=True)
class Seat:
    """A thread, what wakes it, and what it is given to do then."""

    wake: threading.Lock
    turn: Turn | None = None


@dataclass(eq=False, slots=True)
class Turn:
    """Calls that have begun: one, or several that are joined.

    Attributes:
        tickets: their places; in the queue the first one stands for all.
        seat: where they are worked on.
        pause: lets others go first.
        memory: what its work holds is counted there.
        began: when the present slice of work did.
        look_at: when to look again at who waits.
        is_long: whether it has worked for a slice.
        grown_bytes: memory that its work holds and that is not counted yet.
        held_bytes: memory that is.
        holding: where it is counted: the call's, or one for calls that are joined.
        entered: what is left at the end.
    """

    tickets: list[Ticket[Call]]
    seat: Seat
    pause: Callable[[Turn], None]
    memory: Memory
    began: float = 0.0
    look_at: float = 0.0
    is_long: bool = False
    grown_bytes: int = 0
    held_bytes: int = 0
    holding: Holding | None = None
    entered: ExitStack = field(default_factory=ExitStack)

    @property
    def calls(self) -> list[Call]:
        """The calls."""
        return [ticket.item for ticket in self.tickets]

    def begin_slice(self) -> None:
        """Work from now on."""
        self.began = perf_counter()
        self.look_at = self.began + LOOK_S

    def check(self, grown_bytes: int) -> None:
        """End work that nobody waits for; let others go first after a slice of work."""
        self.grown_bytes += grown_bytes
        if abs(self.grown_bytes) > COUNTED_BYTES:
            self.hold()
        now = perf_counter()
        if now < self.look_at:
            return
        if all(call.future.done() for call in self.calls):
            raise InterruptedWorkError
        if now - self.began >= SLICE_S:
            self.pause(self)
        self.look_at = perf_counter() + LOOK_S

    def hold(self) -> None:
        """Count the memory that the work holds, until its end."""
        if self.holding is None:
            (call, *others) = self.calls
            own = None if others else call.holding
            self.holding = own or self.entered.enter_context(self.memory.holding())
            self.entered.callback(lambda held: held.shrink(self.held_bytes), self.holding)
        grown, self.grown_bytes = self.grown_bytes, 0
        if grown > 0:
            self.holding.grow(grown)
        else:
            self.holding.shrink(-grown)
        self.held_bytes += grown


class Done(NamedTuple):
    """Calls, and what came of each."""

    calls: Sequence[Call]
    outcomes: Sequence[Any]


def settle(future: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401  what work gives
    """Give a call's result, or the exception in its place, to who waits."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
        future.exception()  # seen: a client that left leaves no warning behind
    else:
        future.set_result(outcome)


def outcomes_of(calls: Sequence[Call]) -> Sequence[Any]:
    """The answer to each call, or the exception in its place."""
    try:
        return calls[0].work([call.job for call in calls])
    except InterruptedWorkError as error:
        return [error.with_traceback(None)] * len(calls)
    except BaseException as error:  # noqa: BLE001  whoever waits is told
        # What the frames hold would otherwise be held until the collector comes.
        clear_frames(error.__traceback__)
        if len(calls) == 1:
            return [without_frames(error) if isinstance(error, EXPECTED) else contained(error)]
    return [outcome for call in calls for outcome in outcomes_of([call])]
