"""Operations on the words of an index: suggestions, synonyms, stop words."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from tamis.api.body import read_body
from tamis.api.messages import parameters, requests
from tamis.api.messages.answers import SuggestAnswer, SynonymsAnswer
from tamis.api.messages.requests import decode_body
from tamis.api.messages.write_requests import SynonymsRequest
from tamis.api.operations.operation import IN_BODY, IN_INDEX, Operation
from tamis.api.serving.service import json_answer
from tamis.index.generations.settings import QueryWords
from tamis.retriever.first_stage.query_words import change_query_words

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


async def get_synonyms(service: Service, request: Request) -> Response:
    """What words of queries also mean."""
    _, searcher = service.searcher(request)
    return json_answer(_told(searcher))


async def put_synonyms(service: Service, request: Request) -> Response:
    """Replace what words of queries also mean; nothing is built again."""
    index = service.library.living(request.path_params["name"])
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = decode_body(body, SynonymsRequest)
    words = QueryWords(synonyms=asked.synonyms, stop_words=asked.stop_words)

    def put() -> SynonymsAnswer:
        with index.writes() as writes:
            change_query_words(writes.editor.writer, words)
            writes.settle("searchable")
        return _told(index.searcher)

    return await service.change(request, put)


def _told(searcher: Searcher) -> SynonymsAnswer:
    collection = searcher.collection
    words = collection.settings.query_words or QueryWords()
    return SynonymsAnswer(collection.generation, tuple(words.synonyms), tuple(words.stop_words))


_SYNONYMS = "/v1/indexes/{name}/synonyms"

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
    Operation(
        "GET",
        _SYNONYMS,
        "get_synonyms",
        "Which synonyms and stop words of its own an index has.",
        get_synonyms,
        SynonymsAnswer,
        IN_INDEX,
    ),
    Operation(
        "PUT",
        _SYNONYMS,
        "put_synonyms",
        "Replace the synonyms and stop words of an index; nothing is built again.",
        put_synonyms,
        SynonymsAnswer,
        (*IN_BODY, 409),
        SynonymsRequest,
        example={"synonyms": ["sofa, couch", "nyc => new york"], "stop_words": ["please"]},
        access="all",
    ),
)
