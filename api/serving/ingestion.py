"""Ingestion: a stream of documents into one index, a few hundred at a time.

Documents of one batch are written together; where that fails, one by one, so that a faulty one is
named and the others are kept.
"""

from __future__ import annotations

from itertools import groupby
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tamis.api.body import STREAM_RATE, chunks, refuse_announced
from tamis.api.memory import holding_of
from tamis.api.messages.ndjson import (
    Document,
    LineFault,
    Lines,
    read_change,
    read_line,
    unpacker,
)
from tamis.api.messages.write_answers import IngestAnswer, LineProblem
from tamis.index.errors import InputError, MismatchError
from tamis.index.interrupts import check_for_interrupts
from tamis.retriever.corpus.fields import checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from tamis.api.serving.living_index import LivingIndex
    from tamis.api.serving.service import Service
    from tamis.api.serving.writes import Writes
    from tamis.index.writing.durability import Wait

BATCH_LINES = 256
BATCH_BYTES = 1 << 20
HELD_TIMES = 8  # memory that writing a document takes beside its line, in lines
MOST_PROBLEMS = 1000  # that an answer tells


class Ingestion:
    """One stream into one index."""

    def __init__(self, service: Service, request: Request, index: LivingIndex) -> None:
        self._service, self._request = service, request
        self._index, self._writes = index, index.writes()
        self._holding = holding_of(request.scope)
        self._lines: list[tuple[int, bytes | None]] = []
        self._bytes = 0
        self._problems: list[LineProblem] = []
        self.written = self.failed = 0
        self._began = perf_counter()

    async def read(self) -> None:
        """Write all documents of the request's body.

        Raises:
            RequestError: the body cannot be read to its end; what came before is written.
        """
        limits, request = self._service.limits, self._request
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        unpack, lines = unpacker(encoding, limits), Lines(limits)
        refuse_announced(request, limits.body_bytes)
        async for chunk in chunks(request, limits.idle_s, STREAM_RATE):
            for piece in unpack.feed(chunk):
                for line in lines.feed(piece):
                    await self._take(line)
        unpack.finish()
        for line in lines.finish():
            await self._take(line)
        await self._flush()

    async def finish(self, wait: Wait) -> IngestAnswer:
        """Wait for what was written; the whole answer."""
        await self._service.written(self._request, lambda: self._settle(wait))
        return IngestAnswer(
            took_ms=(perf_counter() - self._began) * 1000,
            written=self.written,
            failed=self.failed,
            problems=tuple(sorted(self._problems, key=lambda one: one.line)),
            generation=self._index.searcher.collection.generation,
        )

    async def _take(self, line: tuple[int, bytes | None]) -> None:
        size = len(line[1] or b"")
        self._holding.grow(size)
        self._lines.append(line)
        self._bytes += size
        if len(self._lines) >= BATCH_LINES or self._bytes >= BATCH_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        lines, size, self._lines, self._bytes = self._lines, self._bytes, [], 0
        if lines:
            await self._service.written(self._request, lambda: self._write(lines, size))
            self._holding.shrink(size)
        if self._service.library.pending_bytes() > self._service.memory.bound_bytes:
            await self._service.written(self._request, lambda: self._settle("searchable"))

    def _settle(self, wait: Wait) -> None:
        with self._writes as writes:
            writes.settle(wait)

    def _write(self, lines: Sequence[tuple[int, bytes | None]], size: int) -> None:
        """Read and write a batch of lines, in their order; runs on a worker."""
        check_for_interrupts(HELD_TIMES * size)
        with self._writes:
            self._write_all(lines)

    def _write_all(self, lines: Sequence[tuple[int, bytes | None]]) -> None:
        documents = []
        fields = self._index.searcher.collection.settings.text_fields
        for number, line in lines:
            found = read_line(number, line, self._service.limits, fields)
            if isinstance(found, Document):
                documents.append(found)
            elif found is not None:
                self._note(found)
        for weighted, run in groupby(documents, key=lambda document: document.weights is not None):
            self._put(list(run), weighted)

    def _put(self, documents: Sequence[Document], weighted: bool) -> None:
        try:
            write(self._writes, documents, weighted)
            self.written += len(documents)
        except (InputError, MismatchError) as error:
            if len(documents) == 1:
                (one,) = documents
                self._note(LineFault(one.line, one.passage.doc_id, error.code, str(error)))
                return
            for one in documents:
                self._put([one], weighted)

    def _note(self, fault: LineFault) -> None:
        self.failed += 1
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(LineProblem(fault.line, fault.doc_id, fault.code, fault.detail))


class Patching(Ingestion):
    """A stream of changes of documents that are there: each line its ``_id``, and fields."""

    def _write_all(self, lines: Sequence[tuple[int, bytes | None]]) -> None:
        for number, line in lines:
            found = read_change(number, line, self._service.limits)
            if isinstance(found, LineFault):
                self._note(found)
            elif found is not None:
                self._patch(number, *found)

    def _patch(self, number: int, doc_id: str, change: Mapping[str, Any]) -> None:
        try:
            missing = self._writes.patch({doc_id: change})
        except InputError as error:
            self._note(LineFault(number, doc_id, error.code, str(error)))
            return
        if missing:
            detail = f"expected an id of the index, found {doc_id!r}"
            self._note(LineFault(number, doc_id, "unknown_document", detail))
        else:
            self.written += 1


def write(writes: Writes, documents: Sequence[Document], weighted: bool) -> None:
    """Write documents that all bring a vector, or all do not.

    Raises:
        InputError: one of them is faulty; none is written.
    """
    passages = [checked(document.passage, writes.fields) for document in documents]
    if weighted:
        writes.put_weighted(passages, [document.weights or {} for document in documents])
    else:
        writes.put(passages)
