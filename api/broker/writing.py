"""Writes through a broker: each document goes to the shard of its id's hash, on all replicas.

A shard keeps what it promises of a write; what a server did not answer is told, and is to be sent
again. Then it is written once all the same, as a document replaces the one of its id.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlencode

import msgspec
from xxhash import xxh3_128_hexdigest

from tamis.api.body import STREAM_RATE, chunks, refuse_announced
from tamis.api.broker.replicas import (
    Asking,
    Reply,
    UnreachableError,
    problem_of,
    unavailable,
)
from tamis.api.memory import holding_of
from tamis.api.messages.ndjson import Document, Lines, read_change, read_line, unpacker
from tamis.api.messages.write_answers import IngestAnswer, LineProblem
from tamis.api.operations.operation import NDJSON
from tamis.api.problems import RequestError
from tamis.api.serving.ingestion import BATCH_BYTES, MOST_PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from tamis.api.broker.broker import Broker
    from tamis.api.messages.parameters import Visible

KEY = "Idempotency-Key"


async def written(broker: Broker, number: int, asking: Asking) -> Reply:
    """The answer of a shard to a write that all of its replicas carry out.

    Raises:
        RequestError: what the shard refuses; 503 where a replica does not answer.
    """
    try:
        reply = await broker.shards.all[number].write(asking)
    except UnreachableError as error:
        raise unavailable(f"{error}; it may be written on other servers: send it again") from error
    if reply.status >= 400:
        raise problem_of(reply)
    return reply


async def written_everywhere(broker: Broker, askings: Mapping[int, Asking]) -> dict[int, Reply]:
    """The answers of several shards; raises as `written`, once all have answered."""
    works = [written(broker, number, asking) for number, asking in askings.items()]
    replies = await asyncio.gather(*works, return_exceptions=True)
    found: dict[int, Reply] = {}
    for number, reply in zip(askings, replies, strict=True):
        if isinstance(reply, BaseException):
            raise reply
        found[number] = reply
    return found


def document_path(broker: Broker, doc_id: str, query: str) -> str:
    """The path of a document on its shard's servers."""
    path = broker.path(f"documents/{quote(doc_id, safe='')}")
    return f"{path}?{query}" if query else path


@dataclass(slots=True)
class _Batch:
    """Lines for one shard, and where they stood in the stream."""

    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    size_bytes: int = 0
    sent: int = 0  # batches before


class _Answered(msgspec.Struct):
    """`IngestAnswer`, read."""

    written: int
    failed: int
    problems: list[LineProblem]


class BrokerIngestion:
    """One stream of documents, or of changes, into all shards."""

    def __init__(
        self, broker: Broker, request: Request, wait: Visible, method: Literal["POST", "PATCH"]
    ) -> None:
        self._broker, self._request, self._method = broker, request, method
        self._path = broker.path(f"documents?{urlencode({'wait': wait})}")
        self._key = request.headers.get(KEY)
        self._batches = [_Batch() for _ in broker.map.shards]
        self._holding = holding_of(request.scope)
        self._fields = broker.statistics.searcher.collection.settings.text_fields
        self._problems: list[LineProblem] = []
        self._written = self._failed = 0
        self._began = perf_counter()

    async def read(self) -> IngestAnswer:
        """Write all documents of the request's body; the whole answer.

        Raises:
            RequestError: the body cannot be read to its end; what came before is written.
        """
        limits, request = self._broker.limits, self._request
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        unpack, lines = unpacker(encoding, limits), Lines(limits)
        refuse_announced(request, limits.body_bytes)
        try:
            async for chunk in chunks(request, limits.idle_s, STREAM_RATE):
                for piece in unpack.feed(chunk):
                    for line in lines.feed(piece):
                        await self._take(*line)
            unpack.finish()
            for line in lines.finish():
                await self._take(*line)
        except RequestError as error:
            await self._flush()
            detail = f"{error.detail} ({self._written} documents before that are written)"
            raise RequestError(error.status, error.code, detail, error.headers) from error
        await self._flush()
        return IngestAnswer(
            (perf_counter() - self._began) * 1000,
            self._written,
            self._failed,
            tuple(sorted(self._problems, key=lambda one: one.line)[:MOST_PROBLEMS]),
            self._broker.generation,
        )

    async def _take(self, number: int, line: bytes | None) -> None:
        doc_id = self._id_of(number, line)
        if doc_id is None or line is None:
            return
        batch = self._batches[self._broker.shard_of(doc_id)]
        batch.lines.append(line)
        batch.numbers.append(number)
        batch.size_bytes += len(line) + 1
        self._holding.grow(len(line))
        if batch.size_bytes >= BATCH_BYTES:
            await self._flush()

    def _id_of(self, number: int, line: bytes | None) -> str | None:
        """The id of a line's document; None for a blank line, or a faulty one, which is noted."""
        limits = self._broker.limits
        if self._method == "POST":
            document = read_line(number, line, limits, self._fields)
            if document is None:
                return None
            if isinstance(document, Document):
                return document.passage.doc_id
            fault = document
        else:
            change = read_change(number, line, limits)
            if change is None:
                return None
            if isinstance(change, tuple):
                return change[0]
            fault = change
        self._note(LineProblem(fault.line, fault.doc_id, fault.code, fault.detail))
        return None

    async def _flush(self) -> None:
        """Send what there is, to all shards at once."""
        full = [(number, batch) for number, batch in enumerate(self._batches) if batch.lines]
        await asyncio.gather(*(self._send(number, batch) for number, batch in full))
        for number, batch in full:
            self._holding.shrink(batch.size_bytes - len(batch.lines))
            self._batches[number] = _Batch(sent=batch.sent + 1)

    async def _send(self, number: int, batch: _Batch) -> None:
        headers = {"Content-Type": NDJSON}
        if self._key is not None:  # of its own, as each shard is sent a part
            headers[KEY] = xxh3_128_hexdigest(f"{self._key}.{batch.sent}".encode())
        asking = Asking(self._method, self._path, b"\n".join(batch.lines), headers)
        try:
            reply = await written(self._broker, number, asking)
        except RequestError as error:
            for line in batch.numbers:
                self._note(LineProblem(line, None, error.code, error.detail))
            return
        answer = msgspec.json.decode(reply.body, type=_Answered)
        self._written += answer.written
        self._failed += answer.failed - len(answer.problems)
        for one in answer.problems:
            line = batch.numbers[one.line - 1]
            self._note(LineProblem(line, one.id, one.code, one.detail))

    def _note(self, problem: LineProblem) -> None:
        self._failed += 1
        self._problems.append(problem)
