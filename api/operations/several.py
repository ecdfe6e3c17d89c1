"""The operation that searches several indexes at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tamis.api.body import read_body
from tamis.api.messages import requests
from tamis.api.messages.cursor import SeveralCursor, identity, read_several
from tamis.api.messages.requests import SeveralRequest, check_at_most
from tamis.api.operations.cost import is_long
from tamis.api.operations.grants import check_index, grant_of
from tamis.api.operations.operation import IN_BODY, Operation
from tamis.api.problems import RequestError
from tamis.index.index import MAX_K
from tamis.retriever.answers import Shown
from tamis.retriever.fusion.several_indexes import SeveralAnswer, search_several, seen_with

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.serving.service import Service
    from tamis.retriever.searcher import Searcher


async def search_indexes(service: Service, request: Request) -> Response:
    """Search several indexes, whose hits become one list."""
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = requests.decode_body(body, SeveralRequest)
    _check(service, asked)
    searchers = _searchers(service, request, asked)
    options = requests.search_options(asked)
    query = None if asked.query is None else requests.plain(asked.query)
    fields = None if asked.fields is None else tuple(asked.fields)
    shown = Shown(asked.explain, asked.highlight, fields, parsed=False)
    depth, many = options.rerank or 0, len(searchers)
    hits = (options.offset + options.k) * many
    names = " ".join(f"{name} {one.collection.identity}" for name, one in searchers.items())
    before = read_several(asked, names)

    def answer() -> SeveralAnswer:
        found = search_several(searchers, query, options, shown, before)
        if options.offset or len(found.hits) < options.k:
            return found
        seen = seen_with(found, before)
        return replace(found, cursor=SeveralCursor.of(identity(asked, names), seen).text())

    return await service.answer(
        request,
        answer,
        service.rerankers if depth else service.workers,
        is_long=is_long(hits=hits, explained=hits if asked.explain else 0, reranked=depth * many),
    )


def _check(service: Service, asked: SeveralRequest) -> None:
    """Refuse what is beyond the limits, and what several indexes cannot do (422)."""
    limits, many = service.limits, len(asked.indexes)
    requests.check_asked(asked)
    check_at_most("hits (k)", asked.k, limits.k)
    check_at_most("hits to pass over", asked.offset, limits.offset)
    check_at_most("hits of all indexes", (asked.offset + asked.k) * many, limits.batch_hits)
    requests.check_queries([asked.query], limits)
    requests.check_filter(asked.filter, limits)
    depth = asked.rerank.depth if asked.rerank else 0
    check_at_most("documents to rerank (depth)", depth * many, limits.rerank)
    if asked.explain or asked.highlight:
        found = min((asked.offset + asked.k) * many, MAX_K * many)
        check_at_most("hits with matched terms or highlights", found, limits.explained)
    if asked.timeout_ms is not None:
        raise RequestError(
            422,
            "invalid_value",
            "expected no timeout_ms over several indexes, found one; leave it out, or search one "
            "index",
        )


def _searchers(service: Service, request: Request, asked: SeveralRequest) -> dict[str, Searcher]:
    """The indexes that are named, by the names given.

    Raises:
        RequestError: 404 where there is none, 403 where the key does not open it, 422 for one that
            is named twice.
    """
    library, grant = service.library, grant_of(request)
    named: dict[str, str] = {}
    for name in asked.indexes:
        check_index(grant, "search", library, name)
        index = library.resolved(name)
        if index in named:
            raise RequestError(
                422,
                "invalid_value",
                f"expected each index once, found {name!r} and {named[index]!r} for one; leave "
                "one out",
            )
        named[index] = name
    return {name: library.searcher(name) for name in named.values()}


OPERATIONS = (
    Operation(
        "POST",
        "/v1/search",
        "search_indexes",
        "Search several indexes: by score where their scores compare, by ranks (RRF) where not.",
        search_indexes,
        SeveralAnswer,
        IN_BODY,
        SeveralRequest,
        example={"indexes": ["papers", "news"], "query": "how do owls hunt", "k": 5},
        narrows=True,
    ),
)
