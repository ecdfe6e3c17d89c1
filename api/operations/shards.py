"""Operations for brokers: what a shard knows of its words, and searches of queries that are read.

A broker makes a query's vector of the statistics of all shards, and sends it to each. See
`tamis.api.broker`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from tamis.api.body import read_body
from tamis.api.messages.parameters import read_parameters
from tamis.api.messages.requests import decode_body
from tamis.api.messages.shards import (
    ShardSearchAnswer,
    ShardSearchRequest,
    StatisticsAnswer,
    StatisticsParameters,
    TextsAnswer,
    TextsParameters,
)
from tamis.api.operations.cost import is_long
from tamis.api.operations.operation import IN_BODY, IN_INDEX, Operation
from tamis.api.problems import RequestError
from tamis.api.serving.service import asker_of, held_json, in_json
from tamis.api.work.deadlines import TimeUpError, answered
from tamis.index.matches import SortKey, values_to_order_by
from tamis.retriever.answers import Shown, search_answer
from tamis.retriever.first_stage.written_forms import WrittenForms

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.serving.service import Service
    from tamis.index.segment.dictionary import Dictionary
    from tamis.retriever.searcher import Searcher
    from tamis.retriever.types import SearchResult


class ShardSearch:
    """One query of a broker against one searcher."""

    def __init__(self, searcher: Searcher, asked: ShardSearchRequest, request: Request) -> None:
        self._searcher, self._asked, self._request = searcher, asked, request
        fields = tuple(asked.fields) if isinstance(asked.fields, list) else None
        self._shown = Shown(asked.explain, asked.highlight, fields, parsed=False)
        self._options = self._shown.needed(asked.options(searcher.collection.generation))

    @property
    def key(self) -> Hashable | None:
        """Of searches that one pass over the index can answer; None for one of its own."""
        asked, options = self._asked, self._options
        alone = (options.filter, options.group_by, options.seen, options.count, asked.text)
        if any(alone) or options.facets or options.sort or options.boosts or asked.weights is None:
            return None
        return id(self._searcher), options

    @property
    def is_long(self) -> bool:
        """Whether it may keep others waiting."""
        return is_long(hits=self._asked.k, explained=self._asked.k if self._options.explain else 0)

    @staticmethod
    def run_joined(jobs: Sequence[ShardSearch]) -> list[bytes]:
        """Answer several searches of one key, on a worker."""
        first = jobs[0]
        results = first._searcher.search_with([job._asked.query for job in jobs], first._options)
        return [job._json(result) for job, result in zip(jobs, results, strict=True)]

    def _json(self, result: SearchResult) -> bytes:
        keys = [SortKey(one) if isinstance(one, str) else one for one in self._asked.sort]
        order: list[tuple[object, ...]] = []
        if keys:
            collection = self._searcher.collection
            docs = [collection.doc(hit.doc_id) for hit in result.hits]
            there = [doc for doc in docs if doc is not None]
            order = [tuple(row) for row in values_to_order_by(collection.index, there, keys)]
        answer = search_answer(self._searcher, result, self._shown)
        return held_json(self._request, ShardSearchAnswer(answer, tuple(order)))


async def search_shard(service: Service, request: Request) -> Response:
    """Search for a query that a broker has read."""
    _, searcher = service.searcher(request)
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    search = ShardSearch(searcher, decode_body(body, ShardSearchRequest), request)
    call = service.workers.start_joined(
        search.key, search, ShardSearch.run_joined, asker_of(request), is_long=search.is_long
    )
    try:
        return in_json(await answered(call, request, service.limits.work_s))
    except TimeUpError:
        raise RequestError(
            503, "time_up", "expected to be done in time, found more work; ask for less at once"
        ) from None


async def get_statistics(service: Service, request: Request) -> Response:
    """What the index is, and how many documents hold which word."""
    _, searcher = service.searcher(request)
    known = read_parameters(request, StatisticsParameters)
    encoded = await service.workers.run(lambda: msgspec.json.encode(_statistics(searcher, known)))
    return in_json(encoded)


def _statistics(searcher: Searcher, known: StatisticsParameters) -> StatisticsAnswer:
    collection = searcher.collection
    settings = msgspec.to_builtins(collection.settings)
    if settings["encoder"] is not None:
        settings["encoder"]["location"] = ""  # which tells of the server's disk
    dictionary = collection.dictionary
    words = _Words()
    if dictionary is not None:
        is_known = known.generation == collection.generation
        words = _Words.known(known) if is_known else _Words.after(dictionary, known)
    return StatisticsAnswer(
        version=version("tamis"),
        identity=collection.identity,
        generation=collection.generation,
        documents=len(collection),
        with_words=collection.with_words,
        vocab_size=collection.index.vocab_size,
        size_bytes=collection.size_bytes,
        awaiting=collection.index.awaiting,
        settings=settings,
        first_word=dictionary.first_term if dictionary is not None else None,
        known=words.stand,
        words=tuple(words.further),
        fingerprint=words.fingerprint,
        frequencies=words.frequencies,
    )


class _Words(NamedTuple):
    """Of a dictionary, what a broker does not know yet."""

    stand: int = 0
    further: Sequence[str] = ()
    fingerprint: str = ""
    frequencies: bytes = b""

    @staticmethod
    def known(known: StatisticsParameters) -> _Words:
        """Nothing."""
        return _Words(known.words, (), known.fingerprint)

    @staticmethod
    def after(dictionary: Dictionary, known: StatisticsParameters) -> _Words:
        """The words after the known ones, or all where other words were known."""
        stand = known.words if known.words <= len(dictionary) else 0
        if dictionary.fingerprint_of(stand) != known.fingerprint:
            stand = 0
        counts = dictionary.document_frequency(
            np.arange(dictionary.first_term, dictionary.vocab_size)
        )
        return _Words(
            stand,
            dictionary.words_from(stand),
            dictionary.fingerprint,
            counts.astype("<i4").tobytes(),
        )


async def get_texts(service: Service, request: Request) -> Response:
    """How a word is written: the beginnings of a few documents that hold it."""
    _, searcher = service.searcher(request)
    word = read_parameters(request, TextsParameters).word
    return await service.answer(request, lambda: TextsAnswer(tuple(_texts(searcher, word))))


def _texts(searcher: Searcher, word: str) -> list[str]:
    dictionary, lexical = searcher.collection.dictionary, searcher.lexical
    term = dictionary.lookup(word) if dictionary is not None else -1
    if term < 0 or lexical is None:
        return []
    return WrittenForms(searcher.collection, lexical.analyzer).texts_with(term)


_SHARD = "/v1/indexes/{name}/shard"
OPERATIONS = (
    Operation(
        "POST",
        f"{_SHARD}/search",
        "search_shard",
        "For brokers: search for a query that was read with the statistics of all shards.",
        search_shard,
        ShardSearchAnswer,
        IN_BODY,
        ShardSearchRequest,
        example={"weights": {"=owl": 4.1, "hunt": 1.2}, "k": 5},
    ),
    Operation(
        "GET",
        f"{_SHARD}/statistics",
        "get_statistics",
        "For brokers: what the index is, and how many documents hold which word.",
        get_statistics,
        StatisticsAnswer,
        (*IN_INDEX, 422),
        parameters=StatisticsParameters,
    ),
    Operation(
        "GET",
        f"{_SHARD}/texts",
        "get_texts",
        "For brokers: the beginnings of a few documents that hold a word.",
        get_texts,
        TextsAnswer,
        (*IN_INDEX, 422),
        parameters=TextsParameters,
    ),
)
