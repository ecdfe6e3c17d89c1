"""Operations that tell how the server does: the probes, and what it is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from tamis.api.messages import answers
from tamis.api.metrics import MEDIA_TYPE
from tamis.api.operations.grants import GRANT, grant_of, opened
from tamis.api.operations.operation import Operation
from tamis.api.problems import RequestError
from tamis.api.serving.service import in_json, json_answer

if TYPE_CHECKING:
    from starlette.requests import Request

    from tamis.api.operations.grants import Grant
    from tamis.api.serving.service import Service


async def livez(service: Service, request: Request) -> Response:
    """The process answers."""
    return json_answer(answers.StatusAnswer("ok"))


async def readyz(service: Service, request: Request) -> Response:
    """A search sent now would be accepted."""
    if service.stopping.is_set():
        raise RequestError(503, "stopping", "expected a running server, found it stopping")
    if not service.workers.has_room:
        raise RequestError(
            503, "not_ready", "expected a free worker, found none; try again shortly"
        )
    return in_json(msgspec.json.encode(answers.ReadyAnswer("ready", _codes(service))))


async def healthz(service: Service, request: Request) -> Response:
    """All indexes are served in their newest generation and take writes."""
    faults = service.faults()
    if not faults:
        return json_answer(answers.StatusAnswer("ok"))
    grant: Grant | None = request.scope[GRANT]
    if grant is None or grant.everywhere is None:
        found = f"{', '.join(_codes(service))}; ask with a key for more"
    else:
        found = "; ".join(f"{name}: {fault.detail}" for name, fault in sorted(faults.items()))
    raise RequestError(503, "unhealthy", f"expected all to be well, found {found}")


def _codes(service: Service) -> tuple[str, ...]:
    """The kinds of all faults."""
    return tuple(sorted({fault.code for fault in service.faults().values()}))


async def info(service: Service, request: Request) -> Response:
    """What this server is and what it allows."""
    names, limits = opened(grant_of(request), service.library), asdict(service.limits)
    searchers = service.library.searchers()
    awaiting = {name: searchers[name].collection.index.awaiting for name in names}
    left = {name: documents for name, documents in awaiting.items() if documents}
    return json_answer(answers.InfoAnswer("tamis", version("tamis"), limits, names, left))


async def metrics(service: Service, request: Request) -> Response:
    """What has been counted and timed."""
    text = await asyncio.to_thread(service.metrics.text)
    return Response(text, headers={"Content-Type": MEDIA_TYPE})


OPERATIONS = (
    Operation(
        "GET",
        "/livez",
        "livez",
        "The process answers.",
        livez,
        answers.StatusAnswer,
        access="open",
    ),
    Operation(
        "GET",
        "/readyz",
        "readyz",
        "A search sent now would be accepted.",
        readyz,
        answers.ReadyAnswer,
        (503,),
        access="open",
    ),
    Operation(
        "GET",
        "/healthz",
        "healthz",
        "All indexes are served in their newest generation.",
        healthz,
        answers.StatusAnswer,
        (503,),
        access="open",
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Counts and latencies in Prometheus's text format.",
        metrics,
        str,
        sends="text/plain",
    ),
    Operation(
        "GET",
        "/v1/info",
        "info",
        "Version and limits of this server.",
        info,
        answers.InfoAnswer,
        narrows=True,
    ),
)
