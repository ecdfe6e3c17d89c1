"""Operation: one thing the service can be asked. Routes and OpenAPI are both made from these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.serving.service import Service

Access = Literal["open", "search", "write", "all"]
"""Who may ask: anybody, or the bearer of a key with this right; see grants.py."""

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
IN_INDEX = (404, 503)
IN_BODY = (400, 404, 408, 413, 415, 422, 503)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing the service can be asked.

    Attributes:
        method: of HTTP.
        path: with parameters in braces.
        name: stable, for generated clients.
        summary: one line.
        answer: the handler.
        gives: type of the answer; str for plain text.
        problems: statuses it may answer with beside ``status``, 401, 403, 500, 503 and 507.
        takes: type of the body.
        parameters: type of the URL's parameters.
        example: of a body.
        access: who may ask.
        narrows: of no one index, and open to the keys of some: it shows what those open.
        status: of an answer that is no problem.
        also: further statuses with the same answer.
        sends: media type of the answer.
        accepts: media type of the body.
        once: takes an ``Idempotency-Key``.
        headers: of the answer, each with what it says.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: Callable[[Service, Request], Awaitable[Response]]
    gives: Any
    problems: tuple[int, ...] = ()
    takes: Any = None
    parameters: Any = None
    example: Any = None
    access: Access = "search"
    narrows: bool = False
    status: int = 200
    also: tuple[int, ...] = ()
    sends: str = JSON
    accepts: str = JSON
    once: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
