"""Operations on the words of an index: suggestions."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from tamis.api.messages import parameters, requests
from tamis.api.messages.answers import SuggestAnswer
from tamis.api.operations.operation import IN_INDEX, Operation

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.serving.service import Service
    from tamis.retriever.searcher import Searcher


async def suggest(service: Service, request: Request) -> Response:
    """How a text that is being typed may go on."""
    _, searcher = service.searcher(request)
    asked = parameters.read_parameters(request, parameters.SuggestParameters)
    requests.check_at_most("bytes of query text", len(asked.q.encode()), service.limits.query_bytes)
    return await service.answer(request, lambda: _suggested(searcher, asked))


def _suggested(searcher: Searcher, asked: parameters.SuggestParameters) -> SuggestAnswer:
    began = perf_counter()
    found = searcher.suggest(asked.q, asked.size)
    took_ms = (perf_counter() - began) * 1000
    return SuggestAnswer(took_ms, searcher.collection.generation, found)


OPERATIONS = (
    Operation(
        "GET",
        "/v1/indexes/{name}/suggest",
        "suggest",
        "How a text that is being typed may go on.",
        suggest,
        SuggestAnswer,
        (*IN_INDEX, 422),
        parameters=parameters.SuggestParameters,
    ),
)
