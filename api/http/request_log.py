"""RequestLog: every request gets an id, a line in the log and a count in the metrics.

The outermost layer of the application, in plain ASGI. It answers 500 where a handler fails.
"""

from __future__ import annotations

import logging
import random
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tamis.api import problems
from tamis.api.problems import RequestError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tamis.api.metrics import Metrics

LOG = logging.getLogger("tamis.api")
REQUEST_ID = "X-Request-ID"
ROUTE = "tamis.route"  # where an endpoint leaves its path, parameters in braces
SLOW_S = 5.0  # from here on a request is worth a warning
NO_ANSWER = 499  # counted for a client that left first
PIECE_BYTES = 64 << 10  # of a body that are sent at once: no more of it waits in a connection
LONGEST_PATH = 200  # characters in a log
_NAME = REQUEST_ID.lower().encode()  # as it stands in scopes
_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestLog:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Keep what is wrapped and where it is counted."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, _request_id(scope))
        try:
            await self._app(scope, receive, exchange.send)
        except Exception:
            LOG.exception("request failed", extra={"fields": {"request_id": exchange.request_id}})
            if exchange.status != NO_ANSWER:
                raise
            await exchange.fail(receive)
        finally:
            route = scope.get(ROUTE, "other")
            self._metrics.answered(_method(scope), route, exchange.status, exchange.took_s)
            _log(exchange, route)


@dataclass(slots=True)
class _Exchange:
    """One request and what has been answered to it."""

    scope: Scope
    send_on: Send
    request_id: str
    status: int = NO_ANSWER
    answered: float = 0.0
    began: float = field(default_factory=perf_counter)

    @property
    def took_s(self) -> float:
        """Until the answer began, so that a long stream does not look slow."""
        return (self.answered or perf_counter()) - self.began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.answered = message["status"], perf_counter()
            message["headers"] = [*message["headers"], (_NAME, self.request_id.encode())]
        body = memoryview(message.get("body", b""))
        while len(body) > PIECE_BYTES:  # the next one waits until this one is taken
            await self.send_on({**message, "body": body[:PIECE_BYTES], "more_body": True})
            body = body[PIECE_BYTES:]
            message = {**message, "body": body}
        await self.send_on(message)

    async def fail(self, receive: Receive) -> None:
        """Answer 500."""
        error = RequestError(
            500,
            "internal_error",
            f"expected to answer, failed; the server's log tells of request {self.request_id}",
        )
        await problems.response(error)(self.scope, receive, self.send)


def _request_id(scope: Scope) -> str:
    """The client's own id where it is a plain word, else a new one."""
    for name, value in scope["headers"]:
        if name == _NAME and _ID.fullmatch(value):
            return str(value, "ascii")
    return f"{random.getrandbits(64):016x}"


def _method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    return scope["method"] if scope["method"] in known else "other"


def _log(exchange: _Exchange, route: str) -> None:
    failed = exchange.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    # What is shed is counted: a line for each would be load where there is too much of it.
    worth_a_warning = failed and exchange.status != HTTPStatus.SERVICE_UNAVAILABLE
    level = logging.WARNING if worth_a_warning or exchange.took_s > SLOW_S else logging.INFO
    if not LOG.isEnabledFor(level):
        return
    scope = exchange.scope
    client = scope.get("client")
    fields: dict[str, Any] = {
        "request_id": exchange.request_id,
        "client": client[0] if client else None,
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],  # without the query string: it holds what is sought
        "route": route,
        "status": exchange.status,
        "took_ms": round(exchange.took_s * 1000, 3),
    }
    LOG.log(level, "request", extra={"fields": fields})
