"""Requests that may be sent twice: the second one gets the first one's answer.

A client that sends ``Idempotency-Key`` and loses the answer sends the same request again. Answers
are kept for a day, in the data folder's catalogue. A key belongs to one life of an index: where
another has been made or restored under its name, or its alias, the key is new. What was carried out
is answered although the disk does not take the answer; that is then remembered by this process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from xxhash import xxh3_128

from tamis.api.body import STREAM_RATE, chunks, refuse_announced, too_large
from tamis.api.problems import RequestError
from tamis.api.serving.catalog import Answer
from tamis.api.serving.service import in_json
from tamis.index.errors import TamisError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from tamis.api.serving.service import Service

LOG = logging.getLogger("tamis.api")
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT_S = 86_400.0
LONGEST_KEY = 128
MOST_UNKEPT = 1000  # answers that the disk has not taken


class Idempotency:
    """Sees to it that requests with a key are carried out once; lives on one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._running: set[str] = set()
        self._unkept: dict[str, Answer] = {}
        self._swept = -KEPT_S

    async def answer(
        self, request: Request, handler: Callable[[Service, Request], Awaitable[Response]]
    ) -> Response:
        """Carry a request out, or give the answer that it was given before.

        Raises:
            RequestError: 422 when its key was used for another request, 409 while that request
                is being carried out.
        """
        given, data = request.headers.get(HEADER), self._service.library.data
        if given is None:
            return await handler(self._service, request)
        if not 0 < len(given) <= LONGEST_KEY or not given.isprintable():
            raise RequestError(
                422, "invalid_value", f"expected 1 to {LONGEST_KEY} characters as {HEADER}"
            )
        if data is None:  # a broker's shards see to it
            return await handler(self._service, request)
        life = await self._service.writers.run(lambda: self._life(request))
        key = " ".join(filter(None, (request.method, request.url.path, life, given)))
        if key in self._running:
            raise RequestError(
                409,
                "in_progress",
                f"expected a new {HEADER}, found that of a request under way; wait for it",
                {"Retry-After": "1"},
            )
        self._running.add(key)
        try:
            return await self._answer(request, handler, key)
        finally:
            self._running.discard(key)

    def _life(self, request: Request) -> str:
        """That of the index which a request names; else what changes where any is removed."""
        library, name = self._service.library, request.path_params.get("name")
        index = library.resolved(name) if name is not None else None
        return library.writable().life(index)

    async def _answer(
        self,
        request: Request,
        handler: Callable[[Service, Request], Awaitable[Response]],
        key: str,
    ) -> Response:
        catalog = self._service.library.writable().catalog
        kept = self._unkept.get(key)
        kept = kept or await self._service.writers.run(lambda: catalog.answer(key))
        hashed = _Hashed(request)
        if kept is not None and time.time() - kept.created < KEPT_S:
            await hashed.drain(self._service)
            if hashed.identity != kept.request:
                raise RequestError(
                    422,
                    "key_reused",
                    f"expected the request that this {HEADER} was first sent with, found another; "
                    "use a new key",
                )
            response = in_json(kept.body, kept.status)
            response.headers[REPLAYED] = "true"
            return response
        response = await handler(self._service, hashed.request)
        answer = Answer(hashed.identity, response.status_code, bytes(response.body), time.time())
        await self._remember(key, answer)
        return response

    async def _remember(self, key: str, answer: Answer) -> None:
        """Keep an answer, whatever the disk says: its request is not to be sent again."""
        self._unkept[key] = answer
        if len(self._unkept) > MOST_UNKEPT:
            del self._unkept[next(iter(self._unkept))]
        try:
            await asyncio.to_thread(self._keep, key, answer)
        except (OSError, TamisError) as error:
            LOG.warning("the answer to a request with a key is only in memory: %s", error)
        else:
            self._unkept.pop(key, None)

    def _keep(self, key: str, answer: Answer) -> None:
        catalog = self._service.library.writable().catalog
        catalog.keep_answer(key, answer)
        now = time.monotonic()  # whatever steps the clock takes
        if now - self._swept > KEPT_S / 24:
            self._swept = now
            catalog.forget_answers(answer.created - KEPT_S)


class _Hashed:
    """A request whose body is hashed while it is read."""

    def __init__(self, request: Request) -> None:
        self._digest = xxh3_128(request.url.query.encode())
        self._receive = request.receive
        self.request = Request(request.scope, self._hashed)

    @property
    def identity(self) -> str:
        """Of parameters and body, as far as they have been read."""
        return self._digest.hexdigest()

    async def drain(self, service: Service) -> None:
        """Read the body to its end."""
        limits, size = service.limits, 0
        refuse_announced(self.request, limits.body_bytes)
        async for chunk in chunks(self.request, limits.idle_s, STREAM_RATE):
            size += len(chunk)
            if size > limits.body_bytes:
                raise too_large(limits.body_bytes)

    async def _hashed(self) -> Any:  # noqa: ANN401  a message of ASGI
        message = await self._receive()
        if message["type"] == "http.request":
            self._digest.update(message.get("body", b""))
        return message
