"""Searches through a broker: read once, asked of all shards, merged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from tamis.api.broker.merging import (
    MergedAnswer,
    ShardFound,
    ShardHit,
    merged_facets,
    merged_groups,
    merged_hits,
    merged_total,
    read_found,
)
from tamis.api.broker.replicas import Asking
from tamis.api.memory import holding_of
from tamis.api.messages import requests
from tamis.api.messages.cursor import Cursor, identity, read_cursor
from tamis.api.messages.shards import ShardSearchRequest
from tamis.api.operations.cost import is_long
from tamis.api.problems import RequestError
from tamis.api.serving.service import asker_of
from tamis.api.work.deadlines import TimeUpError, answered
from tamis.index.errors import InputError
from tamis.index.index import MAX_K
from tamis.index.matches import MOST_VALUES, SortKey
from tamis.retriever.answers import ShardsAnswer
from tamis.retriever.corpus.chunking import PARENT
from tamis.retriever.first_stage.counting import facets_of
from tamis.retriever.fusion.prepared import Prepared, prepare
from tamis.retriever.rerank.reranker import reranked
from tamis.retriever.types import NOTHING_SEEN, Hit, SearchResult, StageTimes, Understood

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from tamis.api.broker.broker import Broker
    from tamis.api.messages.requests import BatchRequest, SearchRequest
    from tamis.retriever.types import Reranked, Seen

    Asked = SearchRequest | BatchRequest

Answer = TypeVar("Answer")
SAME = ("k", "exact", "recall", "explain", "highlight", "group_by", "group_size", "count")
"""Options that shards are asked with as they are, but for k."""
ALSO_SAME = ("min_score", "filter", "facets", "sort", "boosts")

QUICK_CHARACTERS = 256  # of a query: about 0.1 ms


@dataclass(slots=True)
class _Gathered:
    """What the shards found, by number."""

    found: dict[int, ShardFound]
    retrieve_ms: float


class BrokerSearch:
    """One query of a request."""

    def __init__(
        self, broker: Broker, query: requests.Query | None, asked: Asked, request: Request
    ) -> None:
        """Check what can be checked before a shard is asked.

        Raises:
            RequestError: 422 for what is beyond the limits, or what a broker cannot do.
        """
        self._broker, self._asked, self._request = broker, asked, request
        self._query = None if query is None else requests.plain(query)
        self._options = requests.search_options(asked)
        self._offset = self._options.offset
        self._began = perf_counter()
        self._told: Reranked | None = None
        self._is_partial = False
        self._identity = f"broker of {broker.map.index}"
        self._seen = NOTHING_SEEN
        if isinstance(asked, requests.SearchRequest):
            self._seen = read_cursor(asked, self._identity) or NOTHING_SEEN
        self._check()
        work_s = float(broker.limits.work_s)
        if asked.timeout_ms is not None:
            work_s = min(work_s, asked.timeout_ms / 1000)
        self._end = monotonic() + work_s
        self._deadline = min(self._end, monotonic() + broker.map.deadline_ms / 1000)

    async def answer(self) -> bytes:
        """The answer as JSON: what there is when the time is up.

        Raises:
            RequestError: what is wrong with the request, as a shard or the broker says; 503 where
                no shard answers.
            ClientLeftError: there is nobody to answer.
        """
        try:
            prepared = self._prepare() if self._is_quick else await self._on_worker(self._prepare)
        except TimeUpError:
            return self._encoded(self._nothing())
        encode_ms = (perf_counter() - self._began) * 1000
        gathered = await self._gather(self._shard_request(prepared))
        fetched = perf_counter()
        found = [gathered.found[number] for number in sorted(gathered.found)]
        hits = merged_hits(found, self._sort_keys)
        if self._options.group_by is not None:
            hits = merged_groups(found, self._options.group_size)
            hits = await self._whole_groups(prepared, hits)
        hits = hits[: self._wanted]
        fetch_ms = (perf_counter() - fetched) * 1000
        times = StageTimes(encode_ms, gathered.retrieve_ms, fetch_ms)
        if self._options.rerank is not None:
            second = await self._reranked(prepared, hits, times)
            self._is_partial |= second is None
            if second is not None:
                hits, times, self._told = second
        return self._encoded(self._merged(prepared, found, hits, times))

    @property
    def _sort_keys(self) -> list[SortKey]:
        return [SortKey(one) if isinstance(one, str) else one for one in self._asked.sort]

    @property
    def _is_quick(self) -> bool:
        """Whether the query is read in less time than a worker takes to wake up."""
        options, searcher = self._options, self._broker.statistics.searcher
        encoder, settings = searcher.encoder, searcher.collection.settings
        is_plain = options.syntax == "plain" and options.typos == "off"
        is_short = not isinstance(self._query, str) or len(self._query) <= QUICK_CHARACTERS
        has_model = encoder is not None and encoder.description.query_side == "neural"
        return is_plain and is_short and not has_model and settings.query_words is None

    @property
    def _left_s(self) -> float:
        return max(self._deadline - monotonic(), 0.0)

    def _check(self) -> None:
        asked, options = self._asked, self._options
        if options.group_by not in (None, PARENT) and self._seen.hits:
            raise _refused(
                f"a cursor beside group_by {options.group_by!r}",
                "groups lie in several shards; page with offset",
            )
        if options.group_by is not None and options.rerank is not None:
            raise _refused("rerank beside group_by", "leave one of them out")
        if self._wanted > MAX_K:
            raise _refused(f"k and offset of {self._wanted}", f"ask for at most {MAX_K} together")
        facets_of(options)
        if asked.rerank is not None and asked.rerank.reranker != "block":
            raise _refused(f"reranker {asked.rerank.reranker}", "name block, or search a shard")
        if asked.rerank is not None and not isinstance(self._query, str):
            raise InputError(
                "expected a text to rerank documents for, found a query of weights or none; a "
                "reranker reads words"
            )

    @property
    def _wanted(self) -> int:
        """Hits that shards are asked for: any of them may hold all."""
        return max(self._offset + self._options.k, self._options.rerank or 0)

    def _prepare(self) -> Prepared:
        return prepare(self._broker.statistics.searcher, self._query, self._options)

    async def _on_worker(self, work: Callable[[], Answer]) -> Answer:
        """What a piece of work gives, in the time that is left."""
        call = self._broker.workers.start(work, asker_of(self._request))
        return await answered(call, self._request, self._left_s)

    def _shard_request(self, prepared: Prepared) -> ShardSearchRequest:
        asked = self._asked
        same = {name: getattr(asked, name) for name in (*SAME, *ALSO_SAME)}
        same["k"] = self._wanted
        if asked.rerank is not None:
            same["min_score"] = None  # which is of the reranker's scores
        elif isinstance(asked.fields, list):
            same["fields"] = asked.fields
        same["facets"] = tuple(
            msgspec.structs.replace(one, limit=MOST_VALUES) for one in facets_of(self._options)
        )
        if (query := prepared.query) is not None:
            same |= {"weights": dict(query.weights), "text": query.text, "words": query.words}
        return ShardSearchRequest(**same, seen=self._seen.documents)

    async def _gather(self, asking: ShardSearchRequest) -> _Gathered:
        """What the shards find that answer in time."""
        began = perf_counter()
        sent = Asking("POST", self._broker.path("shard/search"), msgspec.json.encode(asking))
        shards = range(len(self._broker.shards.all))
        replies = await self._broker.shards.ask(dict.fromkeys(shards, sent), self._left_s)
        retrieve_ms = (perf_counter() - began) * 1000
        self._is_partial |= len(replies) < len(shards)
        size_bytes = sum(len(reply.body) for reply in replies.values())
        holding_of(self._request.scope).grow(size_bytes)
        found = {number: read_found(reply.body) for number, reply in replies.items()}
        return _Gathered(found, retrieve_ms)

    async def _whole_groups(self, prepared: Prepared, hits: Sequence[ShardHit]) -> list[ShardHit]:
        """The page's groups with their members in all shards; each knows its best alone."""
        page, by = list(hits[: self._wanted]), self._options.group_by
        values = [hit.group for hit in page if hit.group is not None]
        if by == PARENT or self._options.group_size == 1 or not values:
            return page
        among: dict[str, Any] = {"field": by, "in": values}
        where = self._asked.filter
        request = msgspec.structs.replace(
            self._shard_request(prepared),
            filter=among if where is None else {"must": [where, among]},
            k=len(values),
            exact=True,
            facets=(),
            count=None,
        )
        gathered = await self._gather(request)
        ordered = [gathered.found[number] for number in sorted(gathered.found)]
        whole = {hit.group: hit for hit in merged_groups(ordered, self._options.group_size)}
        for hit in page:
            if hit.group is not None and hit.group in whole:
                hit.passages = whole[hit.group].passages
        return page

    async def _reranked(
        self, prepared: Prepared, hits: list[ShardHit], times: StageTimes
    ) -> tuple[list[ShardHit], StageTimes, Reranked | None] | None:
        """The hits in the reranker's order; None where there was no time for it."""
        depth = self._options.rerank or 0
        call = self._broker.rerankers.start(
            partial(self._rerank, prepared.text, hits, times),
            asker_of(self._request),
            is_long=is_long(reranked=depth),
        )
        try:
            left_s = max(self._end - monotonic(), 0.0)  # the deadline is for shards
            result = await answered(call, self._request, left_s)
        except TimeUpError:
            return None
        by_id = {hit.id: hit for hit in hits}
        ordered = [by_id[hit.doc_id] for hit in result.hits]
        for hit, scored in zip(ordered, result.hits, strict=True):
            hit.score, hit.score_parts = scored.score, scored.score_parts
        least = self._options.min_score
        if least is not None:
            ordered = [hit for hit in ordered if hit.score >= least]
        return ordered, result.times, result.reranked

    def _rerank(self, text: str, hits: Sequence[ShardHit], times: StageTimes) -> SearchResult:
        found = tuple(
            Hit(hit.id, hit.score, rank, msgspec.json.decode(hit.document))
            for rank, hit in enumerate(hits, start=1)
        )
        fields = self._broker.statistics.searcher.collection.settings.text_fields
        result = SearchResult(found, times, self._broker.generation)
        depth, explain = self._options.rerank or 0, self._options.explain
        return reranked(self._broker.reranker, text, result, depth, fields, explain=explain)

    def _merged(
        self,
        prepared: Prepared,
        found: Sequence[ShardFound],
        hits: list[ShardHit],
        times: StageTimes,
    ) -> MergedAnswer:
        before = self._seen.passing([hit.id for hit in hits[: self._offset]], self._offset)
        page = hits[self._offset : self._offset + self._options.k]
        for rank, hit in enumerate(page, start=before.hits + 1):
            hit.rank = rank
            self._show(hit)
        facets, cut = merged_facets(found, facets_of(self._options))
        return MergedAnswer(
            took_ms=(perf_counter() - self._began) * 1000,
            timings=times,
            generation=self._broker.generation,
            hits=page,
            partial=self._is_partial,
            cursor=self._cursor(before, page),
            unknown_terms=self._unknown(prepared, found),
            terms_cut=prepared.terms_cut,
            understood=_with_notes(prepared, found),
            total=merged_total(found),
            facets=facets,
            facets_cut=cut,
            corrections=prepared.corrections,
            awaiting=sum(one.answer.awaiting for one in found),
            shards=ShardsAnswer(len(self._broker.shards.all), len(found)),
            reranked=self._told,
        )

    def _show(self, hit: ShardHit) -> None:
        """Leave out what of a reranked document was asked for to be read alone."""
        fields = self._asked.fields
        if self._options.rerank is not None and isinstance(fields, list):
            document = msgspec.json.decode(hit.document)
            shown = {name: document[name] for name in fields if name in document}
            hit.document = msgspec.Raw(msgspec.json.encode(shown))

    def _unknown(self, prepared: Prepared, found: Sequence[ShardFound]) -> tuple[str, ...]:
        """The terms that no shard has."""
        if not isinstance(self._query, dict):
            return prepared.unknown_terms
        of_shards = [set(one.answer.unknown_terms) for one in found]
        return tuple(term for term in self._query if all(term in one for one in of_shards))

    def _cursor(self, before: Seen, page: Sequence[ShardHit]) -> str | None:
        """Where the next page goes on; None where there is none."""
        asked = self._asked
        if len(page) < asked.k or not isinstance(asked, requests.SearchRequest):
            return None
        if asked.group_by not in (None, PARENT):
            return None
        ids = [one.id for hit in page for one in (hit.passages or (hit,))]
        seen, search = before.passing(ids, len(page)), identity(asked, self._identity)
        return Cursor(search, seen.hits, self._broker.generation, seen.documents).text()

    def _nothing(self) -> MergedAnswer:
        """The answer when the time is up before the query was read."""
        again = self._asked.cursor if isinstance(self._asked, requests.SearchRequest) else None
        return MergedAnswer(
            took_ms=(perf_counter() - self._began) * 1000,
            timings=StageTimes(0.0, 0.0, 0.0),
            generation=self._broker.generation,
            hits=[],
            partial=True,
            cursor=again,
            shards=ShardsAnswer(len(self._broker.shards.all), 0),
        )

    def _encoded(self, answer: MergedAnswer) -> bytes:
        self._broker.metrics.searched(answer.timings)
        encoded = msgspec.json.encode(answer)
        holding_of(self._request.scope).grow(len(encoded))
        return encoded


def _with_notes(prepared: Prepared, found: Sequence[ShardFound]) -> Understood | None:
    """What the query was taken to mean, with the notes of shards, such as on boosts."""
    told = [one.answer.understood for one in found if one.answer.understood is not None]
    notes = dict.fromkeys(note for one in told for note in one.notes)
    if not notes:
        return prepared.understood
    meant = prepared.understood or Understood(prepared.text)
    return replace(meant, notes=(*meant.notes, *notes))


def _refused(what: str, remedy: str) -> RequestError:
    return RequestError(
        422, "not_over_shards", f"expected no {what} over shards, found it; {remedy}"
    )
