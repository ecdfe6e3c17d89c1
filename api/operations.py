"""The table of operations: routes and their description come from this one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tamis.api import answers, requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.service import Service

NO_PROBLEMS: tuple[int, ...] = ()
INDEX_PROBLEMS = (404,)
BODY_PROBLEMS = (400, 404, 413, 415, 422, 503)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing the service can be asked.

    Attributes:
        method: of HTTP.
        path: with parameters in braces.
        name: stable, for generated clients.
        summary: one line.
        answer: the handler.
        gives: type of the answer.
        problems: statuses it may answer with beside 200, 401 and 500.
        takes: type of the body.
        by_url: takes the fields of a search as parameters of the URL.
        example: of a body.
        open: needs no API key.
        media_type: of the answer.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: Callable[[Request], Awaitable[Response]]
    gives: Any
    problems: tuple[int, ...] = NO_PROBLEMS
    takes: Any = None
    by_url: bool = False
    example: Any = None
    open: bool = False
    media_type: str = "application/json"


def operations(service: Service) -> tuple[Operation, ...]:
    """All operations, bound to the handlers of a service."""
    index = "/v1/indexes/{name}"
    text, weights = {"query": "how do owls hunt", "k": 5}, {"vector": {"=owl": 4.1, "hunt": 1.2}}
    return (
        Operation(
            "GET",
            "/healthz",
            "healthz",
            "The process answers.",
            service.healthz,
            answers.StatusAnswer,
            open=True,
        ),
        Operation(
            "GET",
            "/readyz",
            "readyz",
            "A search sent now would be accepted.",
            service.readyz,
            answers.StatusAnswer,
            (503,),
            open=True,
        ),
        Operation(
            "GET",
            "/metrics",
            "metrics",
            "Counts and latencies in Prometheus's text format.",
            service.metrics,
            str,
            media_type="text/plain",
        ),
        Operation(
            "GET",
            "/v1/info",
            "info",
            "Version and limits of this server.",
            service.info,
            answers.InfoAnswer,
        ),
        Operation(
            "GET",
            "/v1/indexes",
            "list_indexes",
            "All indexes.",
            service.indexes,
            answers.IndexesAnswer,
        ),
        Operation(
            "GET",
            index,
            "get_index",
            "One index.",
            service.index,
            answers.IndexAnswer,
            INDEX_PROBLEMS,
        ),
        Operation(
            "POST",
            f"{index}/search",
            "search",
            "Search with a text or with weights by term.",
            service.search,
            answers.SearchAnswer,
            BODY_PROBLEMS,
            requests.SearchRequest,
            example=text,
        ),
        Operation(
            "GET",
            f"{index}/search",
            "search_by_url",
            "Search with a text in the URL.",
            service.search_by_url,
            answers.SearchAnswer,
            (404, 422, 503),
            by_url=True,
        ),
        Operation(
            "POST",
            f"{index}/search/batch",
            "search_batch",
            "Search for many queries at once.",
            service.search_batch,
            answers.BatchAnswer,
            BODY_PROBLEMS,
            requests.BatchRequest,
            example={"queries": ["how do owls hunt", weights], "k": 5},
        ),
        Operation(
            "POST",
            f"{index}/explain",
            "explain",
            "Why a document has its score for a query.",
            service.explain,
            answers.ExplainAnswer,
            BODY_PROBLEMS,
            requests.ExplainRequest,
            example={"query": "how do owls hunt", "id": "doc-1"},
        ),
        Operation(
            "GET",
            f"{index}/documents/{{id}}",
            "get_document",
            "One stored document.",
            service.document,
            answers.DocumentAnswer,
            (404, 503),
        ),
        Operation(
            "POST",
            "/v1/encode",
            "encode",
            "The query vectors of texts.",
            service.encode,
            answers.EncodeAnswer,
            BODY_PROBLEMS,
            requests.EncodeRequest,
            example={"texts": ["how do owls hunt"]},
        ),
        Operation(
            "POST",
            "/v1/rerank",
            "rerank",
            "Order documents by how well they answer a query.",
            service.rerank,
            answers.RerankAnswer,
            BODY_PROBLEMS,
            requests.RerankRequest,
            example={"query": "how do owls hunt", "documents": ["At night.", "In the sea."]},
        ),
    )
