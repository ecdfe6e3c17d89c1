"""FairQueue: which of the waiting calls is next, so that no client and no long call starves others.

Start-time fair queueing, as the processor scheduler of Goyal, Guo and Vin, "A Hierarchical CPU
Scheduler for Multimedia Operating Systems" (OSDI 1996), on two levels: clients share the workers
equally, and the calls of one client share its part. Each client and each call has a start tag, the
seconds of work it has had so far. The client with the lowest tag is next, and of its calls the one
with the lowest. Whoever comes new starts where the one chosen last stands, so it neither waits for
what others have had, nor is it paid back for having been away. How long a call will take need not
be known: it works for a slice of time, is charged for it, and comes back.

Knows no threads and no clock: the caller measures. Not safe to share between threads by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")


@dataclass(eq=False, slots=True)
class Flow:
    """Somebody who has calls in the queue or at work.

    Attributes:
        name: a key's or an address.
        number: rises with each new client.
        start: start tag, seconds of work.
        now: start tag of its call that was chosen last.
        inside: its calls, waiting or at work.
        long_begun: its long calls that have begun; whoever works on them counts.
    """

    name: str
    number: int
    start: float
    now: float = 0.0
    inside: int = 0
    long_begun: int = 0


@dataclass(eq=False, slots=True)
class Ticket(Generic[Item]):
    """One call's place.

    Attributes:
        item: the call.
        client: whose it is.
        number: rises with each call.
        start: start tag among its client's calls, seconds of work.
        has_begun: whether any work was done for it.
    """

    item: Item
    client: Flow
    number: int
    start: float
    has_begun: bool = False

    @property
    def turn(self) -> tuple[float, int, float, bool, int]:
        """The lowest is next; among equals one that has not begun, then who came first."""
        return (
            self.client.start, self.client.number, self.start, self.has_begun, self.number
        )  # fmt: skip


class FairQueue(Generic[Item]):
    """Calls that wait, of many clients."""

    def __init__(self) -> None:
        self._waiting: list[Ticket[Item]] = []
        self._clients: dict[str, Flow] = {}
        self._now = 0.0  # start tag of the client that was chosen last
        self._made = 0  # clients and tickets so far

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Ticket[Item]]:
        """Those that wait, in no order."""
        return iter(self._waiting)

    def push(self, item: Item, client: str) -> Ticket[Item]:
        """Let a new call wait; its client is remembered until `leave`."""
        known = self._clients.get(client)
        if known is None:
            known = self._clients[client] = Flow(client, self._next_number(), self._now)
        known.inside += 1
        ticket = Ticket(item, known, self._next_number(), known.now)
        self._waiting.append(ticket)
        return ticket

    def push_back(self, ticket: Ticket[Item]) -> None:
        """Let a call wait again, which has had a slice of work."""
        self._waiting.append(ticket)

    def pop(self, may_go: Callable[[Ticket[Item]], bool]) -> Ticket[Item] | None:
        """Take out the next of those that may go; None when there is none."""
        ready = [ticket for ticket in self._waiting if may_go(ticket)]
        if not ready:
            return None
        ticket = min(ready, key=lambda one: one.turn)
        self._take(ticket)
        return ticket

    def pop_alike(self, is_alike: Callable[[Ticket[Item]], bool], most: int) -> list[Ticket[Item]]:
        """Take out the next few of those that are alike, to be done together with another."""
        alike = sorted((one for one in self._waiting if is_alike(one)), key=lambda one: one.turn)
        for ticket in alike[:most]:
            self._take(ticket)
        return alike[:most]

    def pop_newest_of_longest(
        self, newcomer: str, may_go: Callable[[Ticket[Item]], bool]
    ) -> Ticket[Item] | None:
        """Take out the call that makes room for one more client, where the queue is full.

        It is the newest waiting one of the client with the most calls inside, as in McKenney's
        "Stochastic Fairness Queueing" (INFOCOM 1990). None where the newcomer would then have as
        many: it is refused itself.

        Args:
            newcomer: the client who has one more call.
            may_go: whether a waiting call may be taken out.
        """
        ready = [ticket for ticket in self._waiting if may_go(ticket)]
        if not ready:
            return None
        victim = max(ready, key=lambda one: (one.client.inside, one.number))
        known = self._clients.get(newcomer)
        if victim.client.inside <= (known.inside if known is not None else 0) + 1:
            return None
        self._waiting.remove(victim)
        return victim

    def charge(self, ticket: Ticket[Item], seconds: float) -> None:
        """Count work that was done for a call."""
        ticket.has_begun = True
        ticket.start += seconds
        ticket.client.start += seconds

    def leave(self, ticket: Ticket[Item]) -> None:
        """Forget a call that is done. A client without calls is forgotten, too.

        What it was ahead by, at most its last slice, is forgotten with it.
        """
        ticket.client.inside -= 1
        if ticket.client.inside == 0:
            del self._clients[ticket.client.name]

    def clear(self, may_go: Callable[[Ticket[Item]], bool]) -> list[Ticket[Item]]:
        """Take out all that may go."""
        gone = [ticket for ticket in self._waiting if may_go(ticket)]
        self._waiting = [ticket for ticket in self._waiting if not may_go(ticket)]
        return gone

    def _take(self, ticket: Ticket[Item]) -> None:
        self._waiting.remove(ticket)
        self._now = max(self._now, ticket.client.start)
        ticket.client.now = max(ticket.client.now, ticket.start)

    def _next_number(self) -> int:
        self._made += 1
        return self._made
