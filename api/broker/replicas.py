"""Replicas of a shard: which server is asked, when another one is asked too, and who is out.

A request goes to the replica with the fewest requests under way. Where its answer takes longer than
19 of 20 took lately, another replica is asked too, and the first answer counts (Dean and Barroso:
The Tail at Scale, 2013). No more than one in ten is asked twice: in a simulation of busy servers,
hedging without such a bound made all late for good. A server that cannot be reached is out until a
look at it succeeds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import msgspec
from yarl import URL

from tamis.api.problems import RETRY_AFTER_S, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tamis.api.broker.shard_map import ShardPlace

REMEMBERED = 256  # answers, whose times say what is late
ENOUGH = 20  # of them to say so
HEDGE_AFTER = 0.95  # of them are there
FIRST_HEDGE_S = 0.05  # before there are enough
LEAST_HEDGE_S = 0.001
HEDGE_SHARE = 0.1  # of all requests, at most: more would keep late servers late
MOST_SAVED = 20.0  # requests that may be asked twice in a row
CONNECT_S = 2.0
WRITE_S = 150.0  # that a write may take; a server works up to 120 s
KEPT_S = 30.0  # an idle connection; servers keep them longer
LATE_IN_A_ROW = 3  # answers that never came: then a replica is out
FAIR_SHARE = 0.5  # of the deadline, that a server had at least where it is called late
UNAVAILABLE = "shards_unavailable"


class Asking(NamedTuple):
    """One request to the server of a shard."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = {}


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes


class UnreachableError(Exception):
    """A server that gave no answer."""


class Replica:
    """One server of a shard.

    Attributes:
        address: its URL.
        under_way: requests that it has not answered.
        fault: why it is out; None while it is asked.
    """

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address = address.rstrip("/")
        self.under_way = 0
        self.fault: str | None = "it was not asked yet"
        self._session, self._late = session, 0

    async def send(self, asking: Asking) -> Reply:
        """Its answer, whatever that is.

        Raises:
            UnreachableError: there is none; the replica is out.
        """
        self.under_way += 1
        try:
            try:
                reply = await self._send(asking)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                reply = await self._send(asking)  # a kept connection that the server had closed
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.fault = str(error) or type(error).__name__
            raise UnreachableError(f"{self.address}: {self.fault}") from error
        finally:
            self.under_way -= 1
        self._late = 0
        return reply

    def was_late(self) -> None:
        """Count a request that was given up; too many in a row put it out."""
        self._late += 1
        if self._late >= LATE_IN_A_ROW:
            self.fault = f"{self._late} requests in a row were not answered in time"

    async def _send(self, asking: Asking) -> Reply:
        url = URL(self.address + asking.path, encoded=True)
        async with self._session.request(
            asking.method, url, data=asking.body, headers=asking.headers
        ) as response:
            return Reply(response.status, await response.read())


class Shard:
    """One shard on all of its replicas; lives on one event loop.

    Attributes:
        place: of the map.
        replicas: its servers.
        hedged: requests that a second replica was asked for too.
    """

    def __init__(self, place: ShardPlace, session: aiohttp.ClientSession) -> None:
        self.place = place
        self.replicas = [Replica(address, session) for address in place.addresses]
        self.hedged = 0
        self._times_s: deque[float] = deque(maxlen=REMEMBERED)
        self._hedge_s, self._counted = FIRST_HEDGE_S, 0
        self._may_hedge = MOST_SAVED

    @property
    def present(self) -> list[Replica]:
        """The replicas that are asked, the idlest first."""
        there = [one for one in self.replicas if one.fault is None]
        return sorted(there, key=lambda one: one.under_way) if len(there) > 1 else there

    async def ask(self, asking: Asking) -> Reply:
        """The first good answer of a replica; that of a request that is faulty is one too.

        Raises:
            UnreachableError: no replica gave one.
            RequestError: those that answered were all in trouble, as the last one said.
        """
        began, present = monotonic(), self.present
        if len(present) == 1:
            reply = _good(await present[0].send(asking))
        else:
            reply = await self._first_of(present, asking)
        self._note(monotonic() - began)
        return reply

    async def write(self, asking: Asking) -> Reply:
        """The answer to what all replicas carry out.

        Raises:
            UnreachableError: one is out, so that nothing was written, or has not answered, so that
                others may have written it.
        """
        for one in self.replicas:
            if one.fault is not None:
                raise UnreachableError(f"{one.address}: {one.fault}")
        try:
            async with asyncio.timeout(WRITE_S):
                replies = await asyncio.gather(*(one.send(asking) for one in self.replicas))
        except TimeoutError:
            raise UnreachableError(f"{self.place.name}: no answer within {WRITE_S:.0f} s") from None
        return max(replies, key=lambda reply: reply.status)

    async def _first_of(self, replicas: Sequence[Replica], asking: Asking) -> Reply:
        waiting: dict[asyncio.Task[Reply], Replica] = {}
        trouble: Exception = UnreachableError(self._why_out())
        try:
            for number, replica in enumerate(replicas, start=1):
                waiting[asyncio.ensure_future(replica.send(asking))] = replica
                if len(waiting) > 1:
                    self.hedged += 1
                    self._may_hedge -= 1
                is_last = number == len(replicas)
                while waiting:
                    done, _ = await asyncio.wait(
                        waiting,
                        timeout=None if is_last or self._may_hedge < 1 else self._hedge_s,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for task in done:
                        del waiting[task]
                        try:
                            return _good(task.result())
                        except (UnreachableError, RequestError) as error:
                            trouble = error
                    if not is_last:
                        break
            raise trouble
        finally:
            for task in waiting:
                task.cancel()

    def was_late(self) -> None:
        """Count a request that was given up: those that have not answered it are late."""
        for replica in self.replicas:
            if replica.under_way:
                replica.was_late()

    def _why_out(self) -> str:
        return "; ".join(f"{one.address}: {one.fault}" for one in self.replicas)

    def _note(self, took_s: float) -> None:
        self._times_s.append(took_s)
        self._may_hedge = min(self._may_hedge + HEDGE_SHARE, MOST_SAVED)
        self._counted += 1
        if self._counted % ENOUGH == 0:
            ordered = sorted(self._times_s)
            self._hedge_s = max(ordered[int(HEDGE_AFTER * len(ordered))], LEAST_HEDGE_S)


def new_session(key: str | None, connections: int) -> aiohttp.ClientSession:
    """Connections to all servers; made on the event loop that uses them."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=connections, keepalive_timeout=KEPT_S
        ),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _good(reply: Reply) -> Reply:
    """An answer that counts; raises RequestError for a server in trouble."""
    if reply.status >= 500:
        raise problem_of(reply)
    return reply


def problem_of(reply: Reply) -> RequestError:
    """What a server refused, to be told as it is."""
    try:
        found = msgspec.json.decode(reply.body, type=_Refusal)
    except msgspec.MsgspecError:
        found = _Refusal(UNAVAILABLE, "expected an answer of Tamis, found another; see the map")
    headers = {"Retry-After": str(RETRY_AFTER_S)} if reply.status == 503 else None
    return RequestError(reply.status, found.code, found.detail, headers)


class _Refusal(msgspec.Struct):
    code: str
    detail: str


class Shards:
    """All shards of an index; lives on one event loop."""

    def __init__(
        self, places: Sequence[ShardPlace], session: aiohttp.ClientSession, deadline_s: float
    ) -> None:
        self._session, self._deadline_s = session, deadline_s
        self.all = [Shard(place, session) for place in places]

    async def ask(self, askings: Mapping[int, Asking], within_s: float) -> dict[int, Reply]:
        """The answers of shards by number, of those that answer in time.

        Raises:
            RequestError: what a shard says is wrong with the request; 503 where none answers
                although there was time.
        """
        tasks = {
            asyncio.ensure_future(self.all[number].ask(asking)): number
            for number, asking in askings.items()
        }
        try:
            _, late = await asyncio.wait(tasks, timeout=within_s)
        finally:
            for task in tasks:
                task.cancel()
        if within_s >= FAIR_SHARE * self._deadline_s:  # else the client was in haste
            for task in late:
                self.all[tasks[task]].was_late()
        found: dict[int, Reply] = {}
        trouble: list[Exception] = []
        for task, number in tasks.items():
            if task in late:
                continue
            error = task.exception()
            if isinstance(error, UnreachableError | RequestError):
                trouble.append(error)
            else:
                found[number] = task.result()
        for reply in found.values():
            if reply.status >= 400:
                raise problem_of(reply)
        if not found and trouble:
            raise _none_answers(trouble)
        return found

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _none_answers(trouble: Sequence[Exception]) -> RequestError:
    for error in trouble:
        if isinstance(error, RequestError):
            return error
    return unavailable("; ".join(map(str, trouble)))


def unavailable(why: str) -> RequestError:
    """What is said where a shard is needed that does not answer."""
    return RequestError(
        503,
        UNAVAILABLE,
        f"expected the servers of the shards to answer, found none ({why}); try again shortly",
        {"Retry-After": str(RETRY_AFTER_S)},
    )
