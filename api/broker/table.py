"""What a broker answers: the operations of a server, asked of all shards or of one."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import msgspec

from tamis.api.body import read_body
from tamis.api.broker.broker import Broker
from tamis.api.broker.replicas import Asking, unavailable
from tamis.api.broker.searching import BrokerSearch
from tamis.api.broker.writing import (
    KEY,
    BrokerIngestion,
    document_path,
    written,
    written_everywhere,
)
from tamis.api.messages import answers, parameters, requests
from tamis.api.messages.parameters import WaitParameters, read_parameters
from tamis.api.messages.requests import check_at_most, check_filter, decode_body
from tamis.api.messages.write_answers import DeleteAnswer
from tamis.api.messages.write_requests import DeleteRequest
from tamis.api.operations.grants import grant_of, opened
from tamis.api.operations.searching import check_search, separated
from tamis.api.operations.table import OPERATIONS as OF_SERVER
from tamis.api.problems import RequestError
from tamis.api.serving.service import in_json, in_parts, json_answer
from tamis.retriever.answers import ExplainAnswer, QueryTerm
from tamis.retriever.fusion.prepared import Prepared, prepare
from tamis.retriever.search_options import SearchOptions
from tamis.retriever.types import MatchedTerm  # noqa: TC001  msgspec reads it at run time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.operations.operation import Operation
    from tamis.api.serving.service import Service
    from tamis.retriever.vocabulary import Vocabulary

    Handler = Callable[[Broker, Request], Awaitable[Response]]

AT_ONCE = 16  # searches of a batch
AS_THEY_ARE = frozenset(
    {
        *("livez", "readyz", "healthz", "metrics", "list_indexes", "get_index", "encode", "rerank"),
        *("suggest", "get_synonyms"),
    }
)
"""Operations that the words of all shards are enough for, or no index is needed."""


async def info(broker: Broker, request: Request) -> Response:
    """What this server is, what it allows, and how old its statistics are."""
    names = opened(grant_of(request), broker.library)
    age_s = broker.statistics_age_s
    return json_answer(
        answers.InfoAnswer("tamis", version("tamis"), asdict(broker.limits), names, {}, age_s)
    )


async def search(broker: Broker, request: Request) -> Response:
    """Search with a JSON body."""
    _check_name(broker, request)
    body = await read_body(request, broker.limits.search_body_bytes, broker.limits.idle_s)
    return await _search(broker, request, decode_body(body, requests.SearchRequest))


async def search_by_url(broker: Broker, request: Request) -> Response:
    """Search with the parameters of the URL."""
    _check_name(broker, request)
    asked = read_parameters(request, parameters.SearchParameters)
    return await _search(broker, request, parameters.as_search(asked))


async def list_documents(broker: Broker, request: Request) -> Response:
    """The documents of all shards, page by page."""
    _check_name(broker, request)
    asked = parameters.as_search(read_parameters(request, parameters.ListParameters))
    return in_json(await BrokerSearch(broker, None, asked, request).answer())


async def search_batch(broker: Broker, request: Request) -> Response:
    """Search for many queries."""
    began = perf_counter()
    _check_name(broker, request)
    body = await read_body(request, broker.limits.search_body_bytes, broker.limits.idle_s)
    asked = decode_body(body, requests.BatchRequest)
    check_at_most("queries in a batch", len(asked.queries), broker.limits.batch)
    check_search(broker.limits, asked.queries, asked)
    found: list[bytes] = []
    for first in range(0, len(asked.queries), AT_ONCE):
        some = asked.queries[first : first + AT_ONCE]
        found += await asyncio.gather(
            *(BrokerSearch(broker, query, asked, request).answer() for query in some)
        )
    took_ms = (perf_counter() - began) * 1000
    return in_parts([b'{"took_ms":%f,"results":[' % took_ms, *separated(found), b"]}"])


async def explain(broker: Broker, request: Request) -> Response:
    """Why a document has its score, as its shard says of a query read for all."""
    _check_name(broker, request)
    body = await read_body(request, broker.limits.search_body_bytes, broker.limits.idle_s)
    asked = decode_body(body, requests.ExplainRequest)
    requests.check_queries([asked.query], broker.limits)
    query, searcher = requests.plain(asked.query), broker.statistics.searcher
    options = SearchOptions(
        lexical_weight=asked.lexical_weight,
        syntax=asked.syntax,
        typos=asked.typos,
        text_boosts=asked.text_boosts,
        language=asked.language,
    )
    prepared = await broker.workers.run(lambda: prepare(searcher, query, options))
    assert prepared.query is not None
    weights = dict(prepared.query.weights)
    vector = {"vector": weights} if weights else query  # of which no document has a word
    sent = {"query": vector, "id": asked.id, "boosts": asked.boosts}
    asking = Asking("POST", broker.path("explain"), msgspec.json.encode(sent))
    body = await _of_shard(broker, asked.id, asking)
    return in_json(_explained(body, query, prepared, searcher.vocabulary))


class _Explained(msgspec.Struct):
    """`ExplainAnswer`, read."""

    took_ms: float
    generation: int
    id: str
    score: float
    matched_terms: tuple[MatchedTerm, ...]
    unknown_terms: tuple[str, ...]


def _explained(
    body: bytes, query: str | Mapping[str, float], prepared: Prepared, vocabulary: Vocabulary
) -> bytes:
    found = msgspec.json.decode(body, type=_Explained)
    weights = prepared.query.weights if prepared.query is not None else {}
    named = ((name, vocabulary.term(name)) for name in weights)
    terms = {name: term for name, term in named if term is not None}
    matched = {one.term for one in found.matched_terms}
    missing = sorted(terms.keys() - matched, key=lambda name: (-weights[name], terms[name]))
    unknown = prepared.unknown_terms
    if not isinstance(query, str):
        unknown = tuple(term for term in found.unknown_terms if term in unknown)
    return msgspec.json.encode(
        ExplainAnswer(
            found.took_ms,
            found.generation,
            found.id,
            found.score,
            found.matched_terms,
            tuple(QueryTerm(name, weights[name]) for name in missing),
            unknown,
            prepared.terms_cut,
            prepared.understood,
            prepared.corrections,
        )
    )


async def get_document(broker: Broker, request: Request) -> Response:
    """One stored document, from its shard."""
    _check_name(broker, request)
    doc_id = request.path_params["id"]
    asking = Asking("GET", document_path(broker, doc_id, ""))
    return in_json(await _of_shard(broker, doc_id, asking))


async def change_document(broker: Broker, request: Request) -> Response:
    """Put, patch or delete one document, on its shard."""
    _check_name(broker, request)
    wait, doc_id = read_parameters(request, WaitParameters).wait, request.path_params["id"]
    body = await read_body(request, broker.limits.line_bytes, broker.limits.idle_s)
    path = document_path(broker, doc_id, f"wait={wait}")
    asking = Asking(request.method, path, body or None)
    reply = await written(broker, broker.shard_of(doc_id), asking)
    await _renew(broker, wait)
    return in_json(reply.body, reply.status)


async def add_documents(broker: Broker, request: Request) -> Response:
    """Add or replace documents, or change fields of them, a line each."""
    _check_name(broker, request)
    wait = read_parameters(request, WaitParameters).wait
    method: Literal["POST", "PATCH"] = "PATCH" if request.method == "PATCH" else "POST"
    answer = await BrokerIngestion(broker, request, wait, method).read()
    await _renew(broker, wait)
    return json_answer(answer)


async def delete_documents(broker: Broker, request: Request) -> Response:
    """Remove the documents of some ids, those that a filter admits, or all, from their shards."""
    _check_name(broker, request)
    wait = read_parameters(request, WaitParameters).wait
    body = await read_body(request, broker.limits.search_body_bytes, broker.limits.idle_s)
    asked = decode_body(body, DeleteRequest)
    check_at_most("ids to delete", len(asked.ids or ()), broker.limits.delete_ids)
    check_filter(asked.filter, broker.limits)
    path = broker.path(f"documents/delete?wait={wait}")
    bodies = dict.fromkeys(range(len(broker.map.shards)), body)
    if asked.ids and asked.filter is None and not asked.all:
        ids: dict[int, list[str]] = {}
        for doc_id in asked.ids:
            ids.setdefault(broker.shard_of(doc_id), []).append(doc_id)
        bodies = {number: msgspec.json.encode({"ids": own}) for number, own in ids.items()}
    key = request.headers.get(KEY)
    headers = {} if key is None else {KEY: key}
    askings = {number: Asking("POST", path, own, headers) for number, own in bodies.items()}
    replies = await written_everywhere(broker, askings)
    await _renew(broker, wait)
    deleted = (msgspec.json.decode(one.body, type=_Deleted).deleted for one in replies.values())
    return json_answer(DeleteAnswer(sum(deleted), broker.generation))


class _Deleted(msgspec.Struct):
    deleted: int


async def put_everywhere(broker: Broker, request: Request) -> Response:
    """Change synonyms or declare fields on all shards."""
    _check_name(broker, request)
    body = await read_body(request, broker.limits.search_body_bytes, broker.limits.idle_s)
    path = broker.path("synonyms" if request.url.path.endswith("/synonyms") else "").rstrip("/")
    asking = Asking(request.method, path, body)
    replies = await written_everywhere(broker, dict.fromkeys(range(len(broker.map.shards)), asking))
    await broker.renew()
    return in_json(replies[0].body, replies[0].status)


async def refuse(broker: Broker, request: Request) -> Response:
    """Say that a broker does not do this."""
    raise RequestError(
        409,
        "not_over_shards",
        f"expected a request that a broker answers, found {request.method} {request.url.path}; "
        "ask the server of each shard",
    )


async def _search(broker: Broker, request: Request, asked: requests.SearchRequest) -> Response:
    requests.check_asked(asked)
    check_search(broker.limits, [asked.query], asked)
    return in_json(await BrokerSearch(broker, asked.query, asked, request).answer())


async def _of_shard(broker: Broker, doc_id: str, asking: Asking) -> bytes:
    """The answer of the shard that a document belongs to."""
    number = broker.shard_of(doc_id)
    found = await broker.shards.ask({number: asking}, broker.map.deadline_ms / 1000)
    if number not in found:
        raise unavailable("its shard did not answer in time")
    return found[number].body


async def _renew(broker: Broker, wait: str) -> None:
    """Count new words at once where searches are to find them."""
    if wait == "searchable":
        await broker.renew()


def _check_name(broker: Broker, request: Request) -> None:
    broker.library.searcher(request.path_params["name"])  # says that there is no such index


_HANDLERS: dict[str, Handler] = {
    "info": info,
    "search": search,
    "search_by_url": search_by_url,
    "list_documents": list_documents,
    "search_batch": search_batch,
    "explain": explain,
    "get_document": get_document,
    "put_document": change_document,
    "patch_document": change_document,
    "delete_document": change_document,
    "add_documents": add_documents,
    "patch_documents": add_documents,
    "delete_documents": delete_documents,
    "put_synonyms": put_everywhere,
    "add_fields": put_everywhere,
}


def _over_shards(operation: Operation) -> Operation:
    """An operation of a server as a broker answers it."""
    if operation.name in AS_THEY_ARE:
        return operation
    handler = _HANDLERS.get(operation.name, refuse)

    async def answer(service: Service, request: Request) -> Response:
        assert isinstance(service, Broker)
        return await handler(service, request)

    return replace(operation, answer=answer)


OPERATIONS: tuple[Operation, ...] = tuple(map(_over_shards, OF_SERVER))
