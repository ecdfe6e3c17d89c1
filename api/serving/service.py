"""Service: what all handlers share. The indexes, the threads that work, and how answers leave."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson
from starlette.responses import Response

from tamis.api import malloc
from tamis.api.memory import Memory, holding_of
from tamis.api.metrics import Metrics
from tamis.api.problems import RequestError
from tamis.api.serving.faults import BusyError, ServerFault, told
from tamis.api.serving.library import Library
from tamis.api.work.calls import Asker
from tamis.api.work.deadlines import TimeUpError, answered
from tamis.api.work.workers import RETRY_AFTER_S, Workers
from tamis.index.errors import TamisError
from tamis.index.segment.plain_search import import_loops
from tamis.retriever.rerank.lazy_reranker import LazyReranker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from tamis.api.limits import Limits
    from tamis.api.serving.data_folder import DataFolder
    from tamis.retriever.rerank.reranker import Reranker
    from tamis.retriever.searcher import Searcher

CLIENT = "tamis.client"  # in a request's scope: whose key it brought
LOG = logging.getLogger("tamis.api")
Answer = TypeVar("Answer")
JOINED_BYTES = 16 << 10
REFRESH_S = 1.0  # between two looks for newer generations
GIVE_BACK_AFTER = 10  # looks
REST_AFTER = 60
LATE_S = 10.0  # without a turn of upkeep, which takes milliseconds
BUSY_S = 60.0  # that a write waits for an index which something has to itself
BUSY_LOOKS_S = 0.002, 0.1  # between two looks at whether it is free, growing


class Watched(Protocol):
    """A part of the server that is looked after now and then."""

    @property
    def fault(self) -> ServerFault | None:
        """What is wrong with it."""

    def look_after(self) -> None:
        """See to it, on a thread; does not raise."""


class Service:
    """One running service; lives on one event loop.

    Attributes:
        library: all indexes.
        limits: on what requests may ask for.
        reranker: the second stage of searches that ask for one.
        memory: that all requests hold together.
        workers: search.
        rerankers: search with a second stage, and rerank: so slow that others would wait.
        writers: change indexes.
        listening: clients that follow a task.
        metrics: what is counted and timed.
        stopping: set when the server has been told to stop.
        watched: further parts of the server by name.
    """

    def __init__(
        self,
        searchers: Mapping[str, Searcher],
        limits: Limits,
        reranker: Reranker | None = None,
        data: DataFolder | None = None,
    ) -> None:
        self.reranker = reranker or LazyReranker()
        self.library = Library(searchers, data, self.reranker)
        self.limits = limits
        self.memory = Memory(limits.memory_bytes)
        self.workers = Workers("tamis-search", limits.workers, limits.waiting, self.memory)
        self.rerankers = Workers("tamis-rerank", 1, limits.reranking, self.memory)
        self.writers = Workers("tamis-write", limits.writers, limits.writing, self.memory)
        self.listening = 0
        self.metrics = Metrics()
        queues = {"search": self.workers, "rerank": self.rerankers, "write": self.writers}
        self.metrics.report(self.library.searchers, queues, self.memory)
        self.stopping = asyncio.Event()
        self.watched: dict[str, Watched] = {}
        self._looked_after = monotonic()
        self._no_descriptors: ServerFault | None = None
        self._upkeep: ServerFault | None = None
        self._upkeeps: dict[str, asyncio.Future[None]] = {}  # by name, the last one begun
        self._held_up = 0
        self.metrics.tell("tamis_faults", "What is not well, by code.", "code", self._fault_counts)

    async def warm_up(self) -> None:
        """Answer one query in each index: compiled loops are loaded before the first request."""
        import_loops()
        for name, searcher in self.library.searchers().items():
            try:
                await self.workers.run(searcher.warm_up)
            except (TamisError, OSError) as error:  # whoever asks it is told
                LOG.warning("index %s does not answer: %s", name, error)

    async def follow(self) -> None:
        """Publish what was written, and serve each index's newest generation, until cancelled.

        What writes and merges leave behind goes back to the system, and now and then the rest.
        Whatever fails, the next turn follows.
        """
        before = self.library.generations()
        for turn in count(1):
            await asyncio.sleep(REFRESH_S)
            error: Exception | None = None
            try:
                before = self._look_after(turn, before)
            except Exception as failed:  # noqa: BLE001  told
                error = failed
            self._upkeep = told(self._upkeep, error, "upkeep")
            self._looked_after = monotonic()

    def _look_after(self, turn: int, before: dict[str, int]) -> dict[str, int]:
        """Have all upkeep done on threads of its own; the generations by now."""
        self._try_descriptors()
        self.library.look_after()
        for name, part in self.watched.items():
            self._begin_upkeep(name, part.look_after)
        if turn % REST_AFTER == 0:
            self._begin_upkeep("rest", self.library.free_memory)
        now = self.library.generations()
        if now != before or turn % GIVE_BACK_AFTER == 0:
            self._begin_upkeep("memory", malloc.give_back)
        return now

    def _begin_upkeep(self, name: str, work: Callable[[], None]) -> None:
        """Have a piece done on a thread, unless the last one of its name is still under way.

        One that hangs would else take all threads in the end.
        """
        if name not in self._upkeeps or self._upkeeps[name].done():
            loop = asyncio.get_running_loop()
            self._upkeeps[name] = loop.run_in_executor(None, work)

    def _try_descriptors(self) -> None:
        error = None
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as refused:
            error = refused
        self._no_descriptors = told(self._no_descriptors, error, "opening files")

    def _fault_counts(self) -> dict[str, float]:
        return dict(Counter(fault.code for fault in self.faults().values()))

    def faults(self) -> dict[str, ServerFault]:
        """What is wrong with which part of the server; empty when all is well."""
        found = self.library.faults()
        for name, fault in (
            *((name, part.fault) for name, part in self.watched.items()),
            ("opening files", self._no_descriptors),
            ("upkeep", self._upkeep),
        ):
            if fault is not None:
                found[name] = fault
        late_s = monotonic() - self._looked_after
        if late_s > LATE_S:
            found["upkeep"] = ServerFault("stalled", f"the last turn was {late_s:.0f} s ago")
        return found

    def close(self) -> None:
        """Let the workers finish, and commit what was written."""
        self.workers.close()
        self.rerankers.close()
        self.writers.close()
        self.library.close()

    def searcher(self, request: Request) -> tuple[str, Searcher]:
        """The index in a request's path: its name as given, and what searches it."""
        name = request.path_params["name"]
        return name, self.library.searcher(name)

    async def answer(
        self,
        request: Request,
        work: Callable[[], Any],
        workers: Workers | None = None,
        *,
        is_long: bool = False,
    ) -> Response:
        """Run ``work`` and write its answer, both on one of ``workers``, or on one that searches.

        Raises:
            RequestError: 503 when there is no room, or the answer does not come in time.
            ClientLeftError: there is nobody to answer.
        """
        start = partial((workers or self.workers).start, is_long=is_long)
        within_s = self.limits.work_s
        try:
            answer = await answered(
                start(lambda: held_json(request, work()), asker_of(request)), request, within_s
            )
        except TimeUpError:
            raise RequestError(
                503,
                "time_up",
                f"expected to be done within {self.limits.work_s} s, found more work; ask for less "
                "at once",
                {"Retry-After": str(RETRY_AFTER_S)},
            ) from None
        return in_json(answer)

    async def change(
        self, request: Request, work: Callable[[], Any], status: int = 200
    ) -> Response:
        """Run ``work`` and write its answer, both on a writing thread; once begun it is done."""
        return in_json(await self.written(request, lambda: orjson.dumps(work())), status)

    async def written(self, request: Request, work: Callable[[], Answer]) -> Answer:
        """What ``work`` gives on a writing thread; it holds none while an index is busy.

        Args:
            request: who asks.
            work: raises BusyError, before it has changed anything, while something has the index
                or the name to itself; then it is run again.

        Raises:
            RequestError: 503 when there is no room, or that takes too long.
        """
        end, pause_s = monotonic() + BUSY_S, BUSY_LOOKS_S[0]
        while True:
            try:
                return await self.writers.start(work, asker_of(request))
            except BusyError as error:
                if monotonic() > end or self._held_up >= self.limits.writing:
                    raise RequestError(
                        503,
                        "busy",
                        f"expected to write, found that {error}; try again shortly",
                        {"Retry-After": "5"},
                    ) from None
            self._held_up += 1
            try:
                await asyncio.sleep(pause_s)
            finally:
                self._held_up -= 1
            pause_s = min(2 * pause_s, BUSY_LOOKS_S[1])


def held_json(request: Request, document: Any) -> bytes:  # noqa: ANN401  what JSON can hold
    """An answer as JSON, which a request holds until it is sent.

    Raises:
        RequestError: 413 or 503 where it cannot be held.
    """
    answer = orjson.dumps(document)
    holding_of(request.scope).grow(len(answer))
    return answer


def asker_of(request: Request) -> Asker:
    """Who asks: the bearer of a key, or else an address."""
    client = request.scope.get("client")
    name: str = request.scope.get(CLIENT) or (client[0] if client else "")
    return Asker(name, holding_of(request.scope))


class _Json(Response):
    """JSON that is bytes already; the making of the framework's own is felt in short answers."""

    media_type = "application/json"

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
        ]


class _JsonParts(Response):
    """JSON in parts, which are not copied together."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        super().__init__(media_type="application/json")
        self._parts = parts
        self.headers["content-length"] = str(sum(map(len, parts)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        for part in _joined(self._parts):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


def _joined(parts: Sequence[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer parts: small ones are joined, large ones are not copied."""
    small, size = list[bytes](), 0
    for part in parts:
        if small and size + len(part) > JOINED_BYTES:
            yield b"".join(small)
            small, size = [], 0
        if len(part) > JOINED_BYTES:
            yield part
        else:
            small.append(part)
            size += len(part)
    yield b"".join(small)


def in_parts(parts: Sequence[bytes]) -> Response:
    """An answer that is JSON already, in parts."""
    return _JsonParts(parts)


def in_json(body: bytes, status: int = 200) -> Response:
    """An answer that is JSON already."""
    return _Json(body, status)


def json_answer(document: Any, status: int = 200) -> Response:  # noqa: ANN401  what JSON can hold
    """An answer that is ready."""
    return in_json(orjson.dumps(document), status)
