"""Service: what all handlers share. The indexes, the threads that work, and how answers leave."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from tamis.api import malloc
from tamis.api.metrics import Metrics
from tamis.api.serving.library import Library
from tamis.api.workers import Workers
from tamis.retriever.reranker import LazyReranker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from tamis.api.limits import Limits
    from tamis.api.serving.data_folder import DataFolder
    from tamis.retriever.reranker import Reranker
    from tamis.retriever.searcher import Searcher

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

    async def answer(self, work: Callable[[], Any]) -> Response:
        """Run ``work`` and write its answer, both on a searching thread."""
        return in_json(await self.workers.run(lambda: orjson.dumps(work())))

    async def change(self, work: Callable[[], Any], status: int = 200) -> Response:
        """Run ``work`` and write its answer, both on a writing thread."""
        return in_json(await self.writers.run(lambda: orjson.dumps(work())), status)


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
