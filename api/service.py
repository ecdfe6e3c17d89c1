"""Service: reads requests, lets workers search, writes answers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from tamis.api import answers, requests
from tamis.api.body import read_body
from tamis.api.metrics import MEDIA_TYPE, Metrics
from tamis.api.problems import RequestError
from tamis.api.workers import Workers
from tamis.index.errors import TamisError
from tamis.retriever.reranker import LazyReranker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from tamis.api.limits import Limits
    from tamis.retriever.reranker import Reranker
    from tamis.retriever.searcher import Searcher

LOG = logging.getLogger("tamis.api")
MOST_NAMES = 20  # shown in a message
REFRESH_S = 1.0  # between two looks for newer generations


class Service:
    """The handlers of all operations over a set of opened indexes."""

    def __init__(
        self,
        searchers: Mapping[str, Searcher],
        limits: Limits,
        reranker: Reranker | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.searchers = dict(searchers)
        self.reranker = reranker or LazyReranker()
        self.limits = limits
        self._workers = Workers(limits.workers, limits.waiting)
        self._metrics = metrics or Metrics()
        self._metrics.watch(self.searchers, lambda: self._workers.waiting)

    async def warm_up(self) -> None:
        """Answer one query in each index: compiled loops are loaded before the first request."""
        for searcher in self.searchers.values():
            await self._workers.run(partial(answers.search_answers, searcher, ["warm up"], 1))

    async def follow(self) -> None:
        """Serve each index's newest generation, looked for every second, until cancelled.

        An index whose newest generation cannot be read goes on being served as it was.
        """
        while True:
            await asyncio.sleep(REFRESH_S)
            for name, searcher in self.searchers.items():
                try:
                    self.searchers[name] = await asyncio.to_thread(searcher.refresh)
                except TamisError as error:
                    LOG.warning("index %s stays at its generation: %s", name, error)

    def close(self) -> None:
        """Let the workers finish."""
        self._workers.close()

    async def healthz(self, request: Request) -> Response:
        """The process answers."""
        return _json(answers.StatusAnswer("ok"))

    async def readyz(self, request: Request) -> Response:
        """A search sent now would be accepted."""
        if not self._workers.has_room:
            raise RequestError(
                503, "not_ready", "expected a free worker, found none; try again shortly"
            )
        return _json(answers.StatusAnswer("ready"))

    async def metrics(self, request: Request) -> Response:
        """What has been counted and timed."""
        text = await asyncio.to_thread(self._metrics.text)
        return Response(text, headers={"Content-Type": MEDIA_TYPE})

    async def info(self, request: Request) -> Response:
        """What this server is and what it allows."""
        return _json(
            answers.InfoAnswer(
                "tamis", version("tamis"), asdict(self.limits), tuple(self.searchers)
            )
        )

    async def indexes(self, request: Request) -> Response:
        """All indexes."""
        found = tuple(answers.index_answer(*item) for item in self.searchers.items())
        return _json(answers.IndexesAnswer(found))

    async def index(self, request: Request) -> Response:
        """One index."""
        name, searcher = self._searcher(request)
        return _json(answers.index_answer(name, searcher))

    async def search(self, request: Request) -> Response:
        """Search with a JSON body."""
        _, searcher = self._searcher(request)
        body = await read_body(request, self.limits.search_body_bytes)
        return await self._search(searcher, requests.decode_body(body, requests.SearchRequest))

    async def search_by_url(self, request: Request) -> Response:
        """Search with the parameters of the URL."""
        _, searcher = self._searcher(request)
        parameters = request.query_params.multi_items()
        return await self._search(searcher, requests.decode_parameters(parameters))

    async def search_batch(self, request: Request) -> Response:
        """Search for many queries at once."""
        began = perf_counter()
        _, searcher = self._searcher(request)
        body = await read_body(request, self.limits.search_body_bytes)
        batch = requests.decode_body(body, requests.BatchRequest)
        requests.check_at_most("queries in a batch", len(batch.queries), self.limits.batch)
        search = self._checked_search(searcher, batch.queries, batch)

        def answer() -> answers.BatchAnswer:
            results = search()
            return answers.BatchAnswer((perf_counter() - began) * 1000, results)

        return await self._answer(answer)

    async def explain(self, request: Request) -> Response:
        """Why one document has its score."""
        name, searcher = self._searcher(request)
        body = await read_body(request, self.limits.search_body_bytes)
        asked = requests.decode_body(body, requests.ExplainRequest)
        requests.check_queries([asked.query], self.limits)
        doc = _doc(name, searcher, asked.id)
        query = requests.plain(asked.query)
        return await self._answer(
            lambda: answers.explain_answer(searcher, query, doc, asked.lexical_weight)
        )

    async def document(self, request: Request) -> Response:
        """One stored document."""
        name, searcher = self._searcher(request)
        doc_id = request.path_params["id"]
        doc = _doc(name, searcher, doc_id)
        collection = searcher.collection
        return await self._answer(
            lambda: answers.DocumentAnswer(doc_id, collection.generation, collection.document(doc))
        )

    async def encode(self, request: Request) -> Response:
        """The query vectors of texts."""
        body = await read_body(request, self.limits.search_body_bytes)
        asked = requests.decode_body(body, requests.EncodeRequest)
        requests.check_at_most("texts", len(asked.texts), self.limits.batch)
        requests.check_queries(asked.texts, self.limits)
        name = asked.index if isinstance(asked.index, str) else self._only_name()
        searcher = self._named(name)
        return await self._answer(lambda: answers.encode_answer(searcher, name, asked.texts))

    async def rerank(self, request: Request) -> Response:
        """Order documents by how well they answer a query."""
        body = await read_body(request, self.limits.body_bytes)
        asked = requests.decode_body(body, requests.RerankRequest)
        requests.check_text(asked.query, self.limits)
        requests.check_at_most("documents to rerank", len(asked.documents), self.limits.rerank)
        return await self._answer(
            lambda: answers.rerank_answer(
                self.reranker, asked.query, asked.documents, asked.top_n, asked.return_documents
            )
        )

    async def _search(self, searcher: Searcher, asked: requests.SearchRequest) -> Response:
        search = self._checked_search(searcher, [asked.query], asked)
        return await self._answer(lambda: search()[0])

    def _checked_search(
        self,
        searcher: Searcher,
        queries: Sequence[requests.Query],
        options: requests.SearchRequest | requests.BatchRequest,
    ) -> Callable[[], tuple[answers.SearchAnswer, ...]]:
        requests.check_at_most("hits (k)", options.k, self.limits.k)
        requests.check_queries(queries, self.limits)
        depth = None if options.rerank is None else options.rerank.depth
        requests.check_at_most("documents to rerank (depth)", depth or 0, self.limits.rerank)
        if depth is not None and searcher.reranker is None:
            searcher = replace(searcher, reranker=self.reranker)
        plain = [requests.plain(query) for query in queries]

        def search() -> tuple[answers.SearchAnswer, ...]:
            found = answers.search_answers(
                searcher,
                plain,
                options.k,
                exact=options.exact,
                recall=options.recall,
                lexical_weight=options.lexical_weight,
                explain=options.explain,
                highlight=options.highlight,
                rerank=depth,
            )
            for answer in found:
                self._metrics.searched(answer.timings)
            return found

        return search

    async def _answer(self, work: Callable[[], Any]) -> Response:
        """Run ``work`` and write its answer, both on a worker."""
        return _response(await self._workers.run(lambda: orjson.dumps(work())))

    def _searcher(self, request: Request) -> tuple[str, Searcher]:
        name = request.path_params["name"]
        return name, self._named(name)

    def _named(self, name: str) -> Searcher:
        if name not in self.searchers:
            names = ", ".join(list(self.searchers)[:MOST_NAMES])
            raise RequestError(
                404, "unknown_index", f"expected one of the indexes {names}; found {name!r}"
            )
        return self.searchers[name]

    def _only_name(self) -> str:
        if len(self.searchers) != 1:
            names = ", ".join(list(self.searchers)[:MOST_NAMES])
            raise RequestError(
                422, "invalid_value", f"expected the field index, found none; give one of {names}"
            )
        return next(iter(self.searchers))


def _doc(name: str, searcher: Searcher, doc_id: str) -> int:
    doc = searcher.collection.doc(doc_id)
    if doc is None:
        raise RequestError(
            404, "unknown_document", f"expected an id of index {name}, found {doc_id!r}"
        )
    return doc


def _json(document: Any) -> Response:  # noqa: ANN401  anything JSON can hold
    return _response(orjson.dumps(document))


def _response(body: bytes) -> Response:
    return Response(body, media_type="application/json")
