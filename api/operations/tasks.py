"""Operations on tasks: list, show, follow as server-sent events, cancel."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from starlette.responses import StreamingResponse

from tamis.api.messages.parameters import TaskParameters, read_parameters
from tamis.api.messages.write_answers import TaskAnswer, TasksAnswer
from tamis.api.operations.grants import grant_of, names_of
from tamis.api.operations.operation import EVENTS, Operation
from tamis.api.problems import RequestError
from tamis.api.serving.background_tasks import FINISHED
from tamis.api.serving.service import json_answer
from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from tamis.api.serving.background_tasks import Tasks
    from tamis.api.serving.catalog import TaskRecord
    from tamis.api.serving.service import Service

LOOK_S = 0.2  # between two looks at a task that is followed
BEAT_S = 15.0  # without news, to tell a client that the line is open
LARGEST = 2**53


async def list_tasks(service: Service, request: Request) -> Response:
    """Tasks, newest first."""
    asked = read_parameters(request, TaskParameters)
    data = service.library.data
    every = await asyncio.to_thread(data.tasks.all) if data is not None else []
    shown = (one for one in reversed(every) if _is_shown(service, request, one))
    found = [one for one in shown if asked.status in (None, one.status)]
    return json_answer(TasksAnswer(tuple(map(task_answer, found[: asked.limit]))))


async def get_task(service: Service, request: Request) -> Response:
    """One task."""
    _, record = await _known(service, request)
    return json_answer(task_answer(record))


async def cancel_task(service: Service, request: Request) -> Response:
    """Ask a task to end; it may be done before it notices."""
    tasks, record = await _known(service, request)
    cancelled = await asyncio.to_thread(tasks.cancel, record.task)
    return json_answer(task_answer(cancelled), 202)


async def follow_task(service: Service, request: Request) -> Response:
    """How a task stands, now and after each change, until it ends."""
    tasks, record = await _known(service, request)
    if service.listening >= service.limits.listeners:
        raise RequestError(
            503,
            "overloaded",
            f"expected fewer than {service.limits.listeners} clients that follow tasks, found as "
            "many; try again shortly, or ask for the task itself",
            {"Retry-After": "1"},
        )
    return _Followed(service, _events(service, tasks, record))


def task_answer(record: TaskRecord) -> TaskAnswer:
    """What is told of a task."""
    fields = asdict(record)
    return TaskAnswer(id=fields.pop("task"), **fields)


class _Followed(StreamingResponse):
    """Events, whose client is counted from the moment that it is let in."""

    def __init__(self, service: Service, events: AsyncIterator[bytes]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers, media_type=EVENTS)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._service.listening += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._service.listening -= 1


async def _events(service: Service, tasks: Tasks, record: TaskRecord) -> AsyncIterator[bytes]:
    yield _event(record)
    silent_s = 0.0
    while record.status not in FINISHED and not service.stopping.is_set():
        await asyncio.sleep(LOOK_S)
        silent_s += LOOK_S
        now = await asyncio.to_thread(tasks.get, record.task)
        if now != record:
            yield _event(now)
            record, silent_s = now, 0.0
        elif silent_s >= BEAT_S:
            yield b": still here\n\n"
            silent_s = 0.0


def _event(record: TaskRecord) -> bytes:
    return b"event: task\ndata: " + orjson.dumps(task_answer(record)) + b"\n\n"


async def _known(service: Service, request: Request) -> tuple[Tasks, TaskRecord]:
    """The task in a request's path; raises RequestError 404 when there is none."""
    given, data = request.path_params["task"], service.library.data
    unknown = RequestError(404, "unknown_task", f"expected a task's number, found {given!r}")
    if data is None or not (given.isascii() and given.isdigit()) or int(given[:17]) > LARGEST:
        raise unknown
    try:
        record = await asyncio.to_thread(data.tasks.get, int(given[:17]))
    except InputError:
        raise unknown from None
    if not _is_shown(service, request, record):
        raise unknown
    return data.tasks, record


def _is_shown(service: Service, request: Request, record: TaskRecord) -> bool:
    """Whether a key opens the index that a task works on; a restored one is for keys of all."""
    names = names_of(service.library, record.subject.partition("/")[0])
    return grant_of(request).admits("all", names if record.kind != "restore" else ())


_TASK = "/v1/tasks/{task}"
OPERATIONS = (
    Operation(
        "GET",
        "/v1/tasks",
        "list_tasks",
        "Tasks, newest first.",
        list_tasks,
        TasksAnswer,
        (422,),
        parameters=TaskParameters,
        access="all",
        narrows=True,
    ),
    Operation(
        "GET",
        _TASK,
        "get_task",
        "One task.",
        get_task,
        TaskAnswer,
        (404,),
        access="all",
        narrows=True,
    ),
    Operation(
        "GET",
        f"{_TASK}/events",
        "follow_task",
        "How a task stands, after each change, as server-sent events.",
        follow_task,
        str,
        (404, 503),
        access="all",
        narrows=True,
        sends=EVENTS,
    ),
    Operation(
        "DELETE",
        _TASK,
        "cancel_task",
        "Ask a task to end; it may be done before it notices.",
        cancel_task,
        TaskAnswer,
        (404,),
        access="all",
        narrows=True,
        status=202,
    ),
)
