"""Operations that find documents: search, batch, explain, encode, rerank."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from tamis.api.body import read_body
from tamis.api.messages import answers, parameters, requests, rerank_answers
from tamis.api.messages.cursor import Cursor, identity, read_cursor
from tamis.api.operations.operation import IN_BODY, IN_INDEX, Operation
from tamis.api.problems import RequestError
from tamis.api.serving.service import in_json
from tamis.retriever.answers import (
    ExplainAnswer,
    SearchAnswer,
    Shown,
    explain_answer,
    search_answer,
)
from tamis.retriever.types import StageTimes

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.messages.requests import BatchRequest, SearchRequest
    from tamis.api.serving.service import Service
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import SearchResult


class Search:
    """One request's queries against one searcher."""

    def __init__(
        self, service: Service, searcher: Searcher, queries: Sequence[requests.Query],
        asked: SearchRequest | BatchRequest,
    ) -> None:  # fmt: skip
        """Check all that can be checked before a worker is troubled.

        Raises:
            RequestError: 422 when something is beyond the limits.
        """
        limits = service.limits
        requests.check_at_most("hits (k)", asked.k, limits.k)
        requests.check_queries(queries, limits)
        requests.check_filter(asked.filter, limits)
        options, many = requests.search_options(asked), len(queries)
        depth = options.rerank or 0
        requests.check_at_most("documents to rerank (depth)", depth * many, limits.rerank)
        if isinstance(asked, requests.BatchRequest):
            requests.check_at_most("hits of all queries (k)", asked.k * many, limits.batch_hits)
        self._cursor, self._first = None, 0
        if isinstance(asked, requests.SearchRequest):
            self._cursor = read_cursor(asked)
            self._first = self._cursor.seen if self._cursor is not None else asked.offset
            requests.check_at_most("hits to pass over", self._first, limits.offset)
        self._searcher = searcher
        self._queries = [requests.plain(query) for query in queries]
        self._asked = asked
        fields = None if asked.fields is None else tuple(asked.fields)
        self._shown = Shown(asked.explain, asked.highlight, fields, parsed=False)
        self._options = self._shown.needed(replace(options, k=self._first + asked.k))
        self._most = limits.offset
        self.workers = service.rerankers if depth else service.workers
        self._metrics = service.metrics
        self.found: tuple[SearchAnswer, ...] = ()  # what there is if the time is up

    @property
    def key(self) -> Hashable | None:
        """Of searches that one pass over the index can answer; None for one of its own."""
        options = self._options
        if options.rerank or options.filter is not None or options.group_by or self._cursor:
            return None
        return id(self._searcher), options

    @staticmethod
    def run_joined(jobs: Sequence[Search]) -> list[tuple[SearchAnswer, ...]]:
        """The answers of several searches of one key, on a worker.

        Those of a first stage are left in `found` while the second one runs.
        """
        first = jobs[0]
        results = iter(first._results([query for job in jobs for query in job._queries]))
        return [job._answers([next(results) for _ in job._queries]) for job in jobs]

    def _results(self, queries: Sequence[str | Mapping[str, float]]) -> list[SearchResult]:
        late = self._asked.timeout_ms is not None
        return self._searcher.search_with(queries, self._options, self._keep if late else None)

    def _answers(self, results: Sequence[SearchResult]) -> tuple[SearchAnswer, ...]:
        for result in results:
            self._metrics.searched(result.times)
        return tuple(self._page(result) for result in results)

    def _keep(self, results: Sequence[SearchResult]) -> None:
        self.found = tuple(replace(self._page(one), partial=True) for one in results)

    def nothing(self) -> tuple[SearchAnswer, ...]:
        """The answers when the time is up before any hit was found."""
        generation = self._searcher.collection.generation
        empty = SearchAnswer(0.0, StageTimes(0.0, 0.0, 0.0), generation, (), partial=True)
        return (empty,) * len(self._queries)

    def _page(self, result: SearchResult) -> SearchAnswer:
        hits, k = result.hits, self._asked.k
        first = self._cursor.rest(hits) if self._cursor is not None else self._first
        page = hits[first : first + k]
        answer = search_answer(self._searcher, replace(result, hits=page), self._shown)
        seen = first + len(page)
        more = bool(page) and len(hits) >= self._first + k and seen <= self._most
        if not more or not isinstance(self._asked, requests.SearchRequest):
            return answer
        cursor = Cursor(identity(self._asked), seen, page[-1].doc_id, page[-1].score)
        return replace(answer, cursor=cursor.text())


async def search(service: Service, request: Request) -> Response:
    """Search with a JSON body."""
    _, searcher = service.searcher(request)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    return await _search(service, searcher, requests.decode_body(body, requests.SearchRequest))


async def search_by_url(service: Service, request: Request) -> Response:
    """Search with the parameters of the URL."""
    _, searcher = service.searcher(request)
    asked = parameters.read_parameters(request, parameters.SearchParameters)
    return await _search(service, searcher, parameters.as_search(asked))


async def search_batch(service: Service, request: Request) -> Response:
    """Search for many queries at once."""
    began = perf_counter()
    _, searcher = service.searcher(request)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.BatchRequest)
    requests.check_at_most("queries in a batch", len(asked.queries), service.limits.batch)
    job = Search(service, searcher, asked.queries, asked)

    def answer(found: tuple[SearchAnswer, ...]) -> bytes:
        took_ms = (perf_counter() - began) * 1000
        return orjson.dumps(answers.BatchAnswer(took_ms, found))

    def work(jobs: Sequence[Search]) -> list[bytes]:
        return [answer(found) for found in Search.run_joined(jobs)]

    running = job.workers.start_joined(None, job, work)
    if await _in_time(running, asked.timeout_ms):
        return in_json(running.result())
    return in_json(answer(job.found or job.nothing()))


async def explain(service: Service, request: Request) -> Response:
    """Why one document has its score."""
    name, searcher = service.searcher(request)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.ExplainRequest)
    requests.check_queries([asked.query], service.limits)
    doc = known_doc(name, searcher, asked.id)
    query = requests.plain(asked.query)
    return await service.answer(lambda: explain_answer(searcher, query, doc, asked.lexical_weight))


async def encode(service: Service, request: Request) -> Response:
    """The query vectors of texts."""
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.EncodeRequest)
    requests.check_at_most("texts", len(asked.texts), service.limits.batch)
    requests.check_queries(asked.texts, service.limits)
    name = asked.index if isinstance(asked.index, str) else _only_name(service)
    searcher = service.library.searcher(name)
    return await service.answer(lambda: answers.encode_answer(searcher, name, asked.texts))


async def rerank(service: Service, request: Request) -> Response:
    """Order documents by how well they answer a query."""
    body = await read_body(request, service.limits.body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.RerankRequest)
    requests.check_text(asked.query, service.limits)
    requests.check_at_most("documents to rerank", len(asked.documents), service.limits.rerank)

    def work() -> bytes:
        return orjson.dumps(
            rerank_answers.rerank_answer(
                service.reranker, asked.query, asked.documents, asked.top_n, asked.return_documents
            )
        )

    return in_json(await service.rerankers.run(work))


def known_doc(name: str, searcher: Searcher, doc_id: str) -> int:
    """The number of a document; raises RequestError 404 when there is none of this id."""
    doc = searcher.collection.doc(doc_id)
    if doc is None:
        raise RequestError(
            404, "unknown_document", f"expected an id of index {name}, found {doc_id!r}"
        )
    return doc


async def _search(service: Service, searcher: Searcher, asked: SearchRequest) -> Response:
    job = Search(service, searcher, [asked.query], asked)
    running = job.workers.start_joined(job.key, job, _written)
    if await _in_time(running, asked.timeout_ms):
        return in_json(running.result())
    return in_json(orjson.dumps((job.found or job.nothing())[0]))


def _written(jobs: Sequence[Search]) -> list[bytes]:
    """The answers of several searches for one query each; on a worker."""
    return [orjson.dumps(answer) for (answer,) in Search.run_joined(jobs)]


async def _in_time(running: asyncio.Future[bytes], timeout_ms: int | None) -> bool:
    """Wait for an answer, at most so long; what has not begun then never does."""
    if timeout_ms is None:
        await running
        return True
    await asyncio.wait((running,), timeout=timeout_ms / 1000)
    if not running.done():
        running.cancel()
        return False
    return True


def _only_name(service: Service) -> str:
    names = service.library.names()
    if len(names) != 1:
        known = ", ".join(names[:20]) or "none yet"
        raise RequestError(
            422, "invalid_value", f"expected the field index, found none; give one of {known}"
        )
    return names[0]


_INDEX = "/v1/indexes/{name}"
_TEXT: dict[str, Any] = {"query": "how do owls hunt", "k": 5}
_WEIGHTS = {"vector": {"=owl": 4.1, "hunt": 1.2}}

OPERATIONS = (
    Operation(
        "POST",
        f"{_INDEX}/search",
        "search",
        "Search with a text or with weights by term.",
        search,
        SearchAnswer,
        IN_BODY,
        requests.SearchRequest,
        example=_TEXT,
    ),
    Operation(
        "GET",
        f"{_INDEX}/search",
        "search_by_url",
        "Search with a text in the URL.",
        search_by_url,
        SearchAnswer,
        (*IN_INDEX, 422),
        parameters=parameters.SearchParameters,
    ),
    Operation(
        "POST",
        f"{_INDEX}/search/batch",
        "search_batch",
        "Search for many queries at once.",
        search_batch,
        answers.BatchAnswer,
        IN_BODY,
        requests.BatchRequest,
        example={"queries": ["how do owls hunt", _WEIGHTS], "k": 5},
    ),
    Operation(
        "POST",
        f"{_INDEX}/explain",
        "explain",
        "Why a document has its score for a query.",
        explain,
        ExplainAnswer,
        IN_BODY,
        requests.ExplainRequest,
        example={"query": "how do owls hunt", "id": "doc-1"},
    ),
    Operation(
        "POST",
        "/v1/encode",
        "encode",
        "The query vectors of texts.",
        encode,
        answers.EncodeAnswer,
        IN_BODY,
        requests.EncodeRequest,
        example={"texts": ["how do owls hunt"]},
    ),
    Operation(
        "POST",
        "/v1/rerank",
        "rerank",
        "Order documents by how well they answer a query.",
        rerank,
        rerank_answers.RerankAnswer,
        IN_BODY,
        requests.RerankRequest,
        example={"query": "how do owls hunt", "documents": ["At night.", "In the sea."]},
    ),
)
