"""Operations that tell how the server does: the probes, and what it is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.responses import Response

from tamis.api.messages import answers
from tamis.api.metrics import MEDIA_TYPE
from tamis.api.operations.operation import Operation
from tamis.api.problems import RequestError
from tamis.api.serving.service import json_answer

if TYPE_CHECKING:
    from starlette.requests import Request

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
    return json_answer(answers.StatusAnswer("ready"))


async def healthz(service: Service, request: Request) -> Response:
    """All indexes are served in their newest generation and take writes."""
    faults = await asyncio.to_thread(service.library.faults)
    if faults:
        named = "; ".join(f"{name}: {fault}" for name, fault in sorted(faults.items()))
        raise RequestError(503, "unhealthy", f"expected all indexes to be well, found {named}")
    return json_answer(answers.StatusAnswer("ok"))


async def info(service: Service, request: Request) -> Response:
    """What this server is and what it allows."""
    return json_answer(
        answers.InfoAnswer(
            "tamis", version("tamis"), asdict(service.limits), service.library.names()
        )
    )


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
        answers.StatusAnswer,
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
        "GET", "/v1/info", "info", "Version and limits of this server.", info, answers.InfoAnswer
    ),
)
