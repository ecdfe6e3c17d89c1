"""Operations that find documents: search, batch, explain, encode, rerank."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from tamis.api.body import read_body
from tamis.api.memory import holding_of
from tamis.api.messages import answers, parameters, requests, rerank_answers
from tamis.api.messages.cursor import Cursor, identity, read_cursor
from tamis.api.operations.cost import is_long
from tamis.api.operations.grants import check_index, grant_of, opened
from tamis.api.operations.operation import IN_BODY, IN_INDEX, Operation
from tamis.api.problems import RequestError
from tamis.api.serving.service import asker_of, held_json, in_json, in_parts
from tamis.api.work.deadlines import TimeUpError, answered
from tamis.index.index import MAX_K
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.answers import (
    ExplainAnswer,
    SearchAnswer,
    Shown,
    explain_answer,
    search_answer,
)
from tamis.retriever.stored import StoredDocument
from tamis.retriever.types import StageTimes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.limits import Limits
    from tamis.api.messages.requests import BatchRequest, SearchRequest
    from tamis.api.operations.grants import Grant
    from tamis.api.serving.service import Service
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import SearchResult

QUERIES_AT_ONCE, HITS_AT_ONCE = 16, 256  # of a batch: few enough that others are let in between


class Search:
    """One request's queries against one searcher."""

    def __init__(
        self, service: Service, searcher: Searcher, queries: Sequence[requests.Query | None],
        asked: SearchRequest | BatchRequest, request: Request,
    ) -> None:  # fmt: skip
        """Check all that can be checked before a worker is troubled.

        Raises:
            RequestError: 422 when something is beyond the limits.
        """
        options, many = requests.search_options(asked), len(queries)
        depth = options.rerank or 0
        check_search(service.limits, queries, asked)
        self._index = f"{searcher.collection.path.name} {searcher.collection.identity}"
        seen = None
        if isinstance(asked, requests.SearchRequest):
            seen = read_cursor(asked, self._index)
        self._searcher = searcher
        self._queries = [None if query is None else requests.plain(query) for query in queries]
        self._asked, self._request = asked, request
        fields = tuple(asked.fields) if isinstance(asked.fields, list) else None
        self._shown = Shown(asked.explain, asked.highlight, fields, parsed=False)
        if seen is not None:
            options = replace(options, seen=seen)
        self._options = self._shown.needed(options)
        self._workers = service.rerankers if depth else service.workers
        self._metrics = service.metrics
        self._work_s = service.limits.work_s
        self._found: dict[int, bytes] = {}  # what there is so far: answers by query, as JSON
        hits = (options.offset + options.k) * many
        explained = hits if self._options.explain else 0
        self._is_long = is_long(hits=hits, explained=explained, reranked=depth * many)

    @property
    def key(self) -> Hashable | None:
        """Of searches that one pass over the index can answer; None for one of its own."""
        options = self._options
        if options.rerank or options.filter is not None or options.group_by or options.seen:
            return None
        if options.count or options.facets or options.sort or options.boosts:
            return None
        if isinstance(self._asked, requests.BatchRequest):
            return None
        return id(self._searcher), options

    async def answers(self) -> list[bytes]:
        """The answer to each query as JSON: what there is when the time is up.

        Raises:
            RequestError: 503 when there is no room for it.
            ClientLeftError: there is nobody to answer.
        """
        timeout_ms = self._asked.timeout_ms
        within_s = self._work_s if timeout_ms is None else min(timeout_ms / 1000, self._work_s)
        start = partial(self._workers.start_joined, is_long=self._is_long)
        with suppress(TimeUpError):
            await answered(
                start(self.key, self, Search.run_joined, asker_of(self._request)),
                self._request,
                within_s,
            )
        numbers = range(len(self._queries))
        return [self._found.get(number) or self._nothing() for number in numbers]

    @staticmethod
    def run_joined(jobs: Sequence[Search]) -> list[dict[int, bytes]]:
        """Answer several searches of one key, on a worker: as JSON, by the query's number."""
        if len(jobs) == 1:
            jobs[0]._run()
        else:
            results = jobs[0]._results([query for job in jobs for query in job._queries])
            for job, result in zip(jobs, results, strict=True):
                job._keep(0, [result])
        return [job._found for job in jobs]

    def _run(self) -> None:
        """Answer all queries, a few at a time: what is found stays no longer than need be."""
        many, options = len(self._queries), self._options
        at_once = 1 if options.exact else max(1, min(QUERIES_AT_ONCE, HITS_AT_ONCE // options.k))
        if options.rerank:
            at_once = many  # there is a first answer to each before the second stage begins
        for first in range(0, many, at_once):
            self._keep(first, self._results(self._queries[first : first + at_once]))

    def _results(self, queries: Sequence[str | Mapping[str, float] | None]) -> list[SearchResult]:
        late = self._asked.timeout_ms is not None
        keep = (lambda results: self._keep(0, results, is_partial=True)) if late else None
        return self._searcher.search_with(queries, self._options, keep)

    def _keep(
        self, first: int, results: Sequence[SearchResult], *, is_partial: bool = False
    ) -> None:
        """Keep the answers to queries from number ``first`` on."""
        for number, result in enumerate(results, start=first):
            if not is_partial:
                self._metrics.searched(result.times)
            held = self._found.pop(number, b"")
            holding_of(self._request.scope).shrink(len(held))
            answer = search_answer(
                self._searcher, result, self._shown, cursor=self._cursor(result), partial=is_partial
            )
            self._found[number] = held_json(self._request, answer)
        if not is_partial:
            check_for_interrupts(-sum(map(_size, results)))

    def _nothing(self) -> bytes:
        """The answer to a query when the time is up before any hit was found."""
        generation = self._searcher.collection.generation
        again = self._asked.cursor if isinstance(self._asked, requests.SearchRequest) else None
        times = StageTimes(0.0, 0.0, 0.0)
        return orjson.dumps(SearchAnswer(0.0, times, generation, (), partial=True, cursor=again))

    def _cursor(self, result: SearchResult) -> str | None:
        """Where the next page goes on; None where there is none."""
        asked = self._asked
        if len(result.hits) < asked.k or not isinstance(asked, requests.SearchRequest):
            return None
        search, seen = identity(asked, self._index), result.seen
        return Cursor(search, seen.hits, seen.generation, seen.documents).text()


def check_search(
    limits: Limits, queries: Sequence[requests.Query | None], asked: SearchRequest | BatchRequest
) -> None:
    """Refuse (422) queries or options that are beyond the limits."""
    many = len(queries)
    requests.check_at_most("hits (k)", asked.k, limits.k)
    requests.check_queries(queries, limits)
    requests.check_filter(asked.filter, limits)
    depth = asked.rerank.depth if asked.rerank is not None else 0
    requests.check_at_most("documents to rerank (depth)", depth * many, limits.rerank)
    if asked.explain or asked.highlight:
        shown = min(asked.k * (asked.group_size if asked.group_by else 1), MAX_K)
        what = "hits with matched terms or highlights, of all queries"
        requests.check_at_most(what, shown * many, limits.explained)
    if isinstance(asked, requests.BatchRequest):
        requests.check_at_most("hits of all queries (k)", asked.k * many, limits.batch_hits)
    else:
        requests.check_at_most("hits to pass over", asked.offset, limits.offset)


def separated(answers: Sequence[bytes]) -> Iterator[bytes]:
    """Answers as items of a JSON list."""
    for number, answer in enumerate(answers):
        if number:
            yield b","
        yield answer


def _size(result: SearchResult) -> int:
    """The bytes of the documents that a result holds."""
    documents = (hit.document for hit in result.hits)
    return sum(len(one.json) for one in documents if isinstance(one, StoredDocument))


async def search(service: Service, request: Request) -> Response:
    """Search with a JSON body."""
    _, searcher = service.searcher(request)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    return await _search(
        service, searcher, requests.decode_body(body, requests.SearchRequest), request
    )


async def search_by_url(service: Service, request: Request) -> Response:
    """Search with the parameters of the URL."""
    _, searcher = service.searcher(request)
    asked = parameters.read_parameters(request, parameters.SearchParameters)
    return await _search(service, searcher, parameters.as_search(asked), request)


async def list_documents(service: Service, request: Request) -> Response:
    """The documents of an index, page by page."""
    _, searcher = service.searcher(request)
    asked = parameters.as_search(parameters.read_parameters(request, parameters.ListParameters))
    return await _search(service, searcher, asked, request, is_listing=True)


async def search_batch(service: Service, request: Request) -> Response:
    """Search for many queries at once."""
    began = perf_counter()
    _, searcher = service.searcher(request)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.BatchRequest)
    requests.check_at_most("queries in a batch", len(asked.queries), service.limits.batch)
    found = await Search(service, searcher, asked.queries, asked, request).answers()
    took_ms = (perf_counter() - began) * 1000
    return in_parts([b'{"took_ms":%f,"results":[' % took_ms, *separated(found), b"]}"])


async def explain(service: Service, request: Request) -> Response:
    """Why one document has its score."""
    name, searcher = service.searcher(request)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.ExplainRequest)
    requests.check_queries([asked.query], service.limits)
    doc = known_doc(name, searcher, asked.id)
    query = requests.plain(asked.query)
    return await service.answer(
        request,
        lambda: explain_answer(
            searcher,
            query,
            doc,
            asked.lexical_weight,
            asked.syntax,
            asked.typos,
            asked.boosts,
            asked.text_boosts,
            asked.language,
        ),
    )


async def encode(service: Service, request: Request) -> Response:
    """The query vectors of texts."""
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.EncodeRequest)
    requests.check_at_most("texts", len(asked.texts), service.limits.batch)
    requests.check_queries(asked.texts, service.limits)
    grant = grant_of(request)
    name = asked.index if isinstance(asked.index, str) else _only_name(service, grant)
    check_index(grant, "search", service.library, name)
    searcher = service.library.searcher(name)
    return await service.answer(
        request,
        lambda: answers.encode_answer(searcher, name, asked.texts),
        is_long=is_long(encoded=len(asked.texts)),
    )


async def rerank(service: Service, request: Request) -> Response:
    """Order documents by how well they answer a query."""
    body = await read_body(request, service.limits.body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, requests.RerankRequest)
    requests.check_text(asked.query, service.limits)
    requests.check_at_most("documents to rerank", len(asked.documents), service.limits.rerank)

    return await service.answer(
        request,
        lambda: rerank_answers.rerank_answer(
            service.reranker, asked.query, asked.documents, asked.top_n, asked.return_documents
        ),
        service.rerankers,
        is_long=is_long(reranked=len(asked.documents)),
    )


def known_doc(name: str, searcher: Searcher, doc_id: str) -> int:
    """The number of a document; raises RequestError 404 when there is none of this id."""
    doc = searcher.collection.doc(doc_id)
    if doc is None:
        raise RequestError(
            404, "unknown_document", f"expected an id of index {name}, found {doc_id!r}"
        )
    return doc


async def _search(
    service: Service,
    searcher: Searcher,
    asked: SearchRequest,
    request: Request,
    *,
    is_listing: bool = False,
) -> Response:
    if not is_listing:
        requests.check_asked(asked)
    (found,) = await Search(service, searcher, [asked.query], asked, request).answers()
    return in_json(found)


def _only_name(service: Service, grant: Grant) -> str:
    names = opened(grant, service.library)
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
        "GET",
        f"{_INDEX}/documents",
        "list_documents",
        "List documents by a filter and in the order of fields, page by page.",
        list_documents,
        SearchAnswer,
        (*IN_INDEX, 422),
        parameters=parameters.ListParameters,
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
        narrows=True,
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
        narrows=True,
    ),
)
