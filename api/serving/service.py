"""Service: what all handlers share. The indexes, the threads that work, and how answers leave."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from tamis.api import malloc
from tamis.api.deadlines import TimeUpError, answered
from tamis.api.metrics import Metrics
from tamis.api.problems import RequestError
from tamis.api.serving.library import Library
from tamis.api.workers import RETRY_AFTER_S, Workers
from tamis.retriever.reranker import LazyReranker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from tamis.api.limits import Limits
    from tamis.api.serving.data_folder import DataFolder
    from tamis.retriever.reranker import Reranker
    from tamis.retriever.searcher import Searcher

CLIENT = "tamis.client"  # in a request's scope: whose key it brought
REFRESH_S = 1.0  # between two looks for newer generations
GIVE_BACK_AFTER = 10  # looks
REST_AFTER = 60


class Service:
    """One running service; lives on one event loop.

    Attributes:
        library: all indexes.
        limits: on what requests may ask for.
        reranker: the second stage of searches that ask for one.
        workers: search.
        rerankers: search with a second stage, and rerank: so slow that others would wait.
        writers: change indexes.
        listening: clients that follow a task.
        metrics: what is counted and timed.
        stopping: set when the server has been told to stop.
    """

    def __init__(
        self,
        searchers: Mapping[str, Searcher],
        limits: Limits,
        reranker: Reranker | None = None,
        data: DataFolder | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.reranker = reranker or LazyReranker()
        self.library = Library(searchers, data, self.reranker)
        self.limits = limits
        self.workers = Workers("tamis-search", limits.workers, limits.waiting)
        self.rerankers = Workers("tamis-rerank", 1, limits.reranking)
        self.writers = Workers("tamis-write", limits.writers, limits.writing)
        self.listening = 0
        self.metrics = metrics or Metrics()
        queues = {"search": self.workers, "rerank": self.rerankers, "write": self.writers}
        self.metrics.watch(self.library.searchers, queues)
        self.stopping = asyncio.Event()

    async def warm_up(self) -> None:
        """Answer one query in each index: compiled loops are loaded before the first request."""
        for searcher in self.library.searchers().values():
            await self.workers.run(partial(searcher.search, ["warm up"], 1))

    async def follow(self) -> None:
        """Publish what was written, and serve each index's newest generation, until cancelled.

        What writes and merges leave behind goes back to the system, and now and then the rest.
        """
        before = self.library.generations()
        for turn in count(1):
            await asyncio.sleep(REFRESH_S)
            await asyncio.to_thread(self.library.refresh)
            if turn % REST_AFTER == 0:
                await asyncio.to_thread(self.library.rest)
            now = self.library.generations()
            if now != before or turn % GIVE_BACK_AFTER == 0:
                await asyncio.to_thread(malloc.give_back)
            before = now

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
        call = (workers or self.workers).start(
            lambda: orjson.dumps(work()), client_of(request), is_long=is_long
        )
        try:
            return in_json(await answered(call, request, self.limits.work_s))
        except TimeUpError:
            raise RequestError(
                503,
                "time_up",
                f"expected to be done within {self.limits.work_s} s, found more work; ask for less "
                "at once",
                {"Retry-After": str(RETRY_AFTER_S)},
            ) from None

    async def change(
        self, request: Request, work: Callable[[], Any], status: int = 200
    ) -> Response:
        """Run ``work`` and write its answer, both on a writing thread; once begun it is done."""
        call = self.writers.start(lambda: orjson.dumps(work()), client_of(request))
        return in_json(await call, status)


def client_of(request: Request) -> str:
    """Who asks: the bearer of a key, or else an address."""
    client = request.scope.get("client")
    name: str = request.scope.get(CLIENT) or (client[0] if client else "")
    return name


class _Json(Response):
    """JSON that is bytes already; the making of the framework's own is felt in short answers."""

    media_type = "application/json"

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code, self.body, self.background = status, body, None
        self.raw_headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", b"application/json"),
        ]


def in_json(body: bytes, status: int = 200) -> Response:
    """An answer that is JSON already."""
    return _Json(body, status)


def json_answer(document: Any, status: int = 200) -> Response:  # noqa: ANN401  what JSON can hold
    """An answer that is ready."""
    return in_json(orjson.dumps(document), status)
