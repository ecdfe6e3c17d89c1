"""Operations on snapshots, and other long work on an index: take, list, delete, restore, optimize.

A snapshot lies in the data folder. Its files are copies: it does not share the fate of the index's.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from tamis.api.body import read_body
from tamis.api.messages.requests import decode_body
from tamis.api.messages.write_answers import (
    RemovedAnswer,
    SnapshotAnswer,
    SnapshotsAnswer,
    TaskAnswer,
)
from tamis.api.messages.write_requests import RestoreRequest, SnapshotRequest
from tamis.api.operations.indexes import refuse_taken, restoring
from tamis.api.operations.operation import IN_BODY, IN_INDEX, Operation
from tamis.api.operations.tasks import task_answer
from tamis.api.problems import RequestError
from tamis.api.serving.service import json_answer
from tamis.index.errors import InputError, TamisError
from tamis.index.upkeep.snapshot import Snapshot, read_snapshot, restore, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from tamis.api.serving.background_tasks import Work
    from tamis.api.serving.catalog import TaskRecord
    from tamis.api.serving.data_folder import DataFolder
    from tamis.api.serving.service import Service

    Tell = Callable[[int, int | None], None]


async def take_snapshot(service: Service, request: Request) -> Response:
    """Keep an index as it is now, all writes so far included."""
    index = service.library.living(request.path_params["name"])
    data = service.library.writable()
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    name = decode_body(body or b"{}", SnapshotRequest).name or _now()
    folder = data.places.snapshot(index.name, name)

    def work(progress: Tell) -> dict[str, Any]:
        index.publish(waits=True)
        with data.places.workplace() as place:
            found = write_snapshot(index.path, place, copy=True)
            progress(1, 1)
            with data.claimed(_claim(index.name, name), waits=True):
                data.places.move(place, folder)
        return msgspec.to_builtins(_answer(name, index.name, found))  # type: ignore[no-any-return]

    def start() -> TaskRecord:
        if folder.exists():
            raise RequestError(
                409,
                "name_taken",
                f"expected a new name, found the snapshot {name!r}; choose another",
            )
        subject = f"{index.name}/{name}"
        return _started(service, "snapshot", subject, work, f"snapshot {subject}")

    return await _accepted(service, request, start)


async def list_snapshots(service: Service, request: Request) -> Response:
    """The snapshots of an index, which may be gone itself."""
    data, name = service.library.writable(), request.path_params["name"]

    def read() -> SnapshotsAnswer:
        index = service.library.resolved(name)
        names = _names(data, index)
        if not names:
            service.library.searcher(name)  # says that there is no such index
        found = [_answer(one, index, _read(data, index, one)) for one in names]
        return SnapshotsAnswer(tuple(sorted(found, key=lambda one: (one.created, one.name))))

    return json_answer(await asyncio.to_thread(read))


async def remove_snapshot(service: Service, request: Request) -> Response:
    """Delete a snapshot."""
    data, snapshot = service.library.writable(), request.path_params["snapshot"]
    index = service.library.resolved(request.path_params["name"])

    def remove() -> RemovedAnswer:
        with data.claimed(_claim(index, snapshot)):
            data.places.discard(_folder(data, index, snapshot))
        data.upkeep.wake()
        return RemovedAnswer(snapshot)

    return await service.change(request, remove)


async def restore_snapshot(service: Service, request: Request) -> Response:
    """Make a new index of a snapshot."""
    data = service.library.writable()
    body = await read_body(request, service.limits.search_body_bytes, service.limits.idle_s)
    asked = decode_body(body, RestoreRequest)

    def work(progress: Tell) -> dict[str, Any]:
        source = _folder(data, asked.index, asked.snapshot)
        with data.places.workplace() as place:
            found = restore(source, place, progress=progress)
            with data.claimed(asked.to, waits=True):
                data.adopt(asked.to, place)
        return {"index": asked.to, "documents": found.documents, "identity": found.identity}

    def start() -> TaskRecord:
        _folder(data, asked.index, asked.snapshot)  # says that there is none
        with data.claimed(asked.to):
            refuse_taken(service.library, asked.to)
            subject = f"{asked.index}/{asked.snapshot} to {asked.to}"
            return _started(service, "restore", subject, work, restoring(asked.to))

    return await _accepted(service, request, start)


async def optimize(service: Service, request: Request) -> Response:
    """Rebuild an index as one segment; words and average length are counted again."""
    index = service.library.living(request.path_params["name"])

    def work(progress: Tell) -> dict[str, Any]:
        index.optimize(lambda step, done, total: progress(done, total))
        return {"index": index.name, "generation": index.searcher.collection.generation}

    return await _accepted(
        service, request, lambda: _started(service, "optimize", index.name, work)
    )


def _started(
    service: Service, kind: str, subject: str, work: Work, key: str | None = None
) -> TaskRecord:
    """The record of a new task; raises RequestError 429 where there are too many."""
    tasks = service.library.writable().tasks
    unfinished = len(tasks.running())
    if unfinished >= service.limits.tasks:
        raise RequestError(
            429,
            "too_many_tasks",
            f"expected fewer than {service.limits.tasks} unfinished tasks, found {unfinished}; "
            "wait for one to end",
            {"Retry-After": "5"},
        )
    return tasks.start(kind, subject, work, key)


async def _accepted(
    service: Service, request: Request, start: Callable[[], TaskRecord]
) -> Response:
    record = await service.written(request, start)
    answer = json_answer(task_answer(record), 202)
    answer.headers["Location"] = f"/v1/tasks/{record.task}"
    return answer


def _claim(index: str, snapshot: str) -> str:
    """What is claimed while a snapshot is moved; no index or alias can have such a name."""
    return f"{index}/{snapshot}"


def _answer(name: str, index: str, snapshot: Snapshot) -> SnapshotAnswer:
    return SnapshotAnswer(
        name, index, snapshot.identity, snapshot.created, snapshot.generation, snapshot.documents
    )


def _names(data: DataFolder, index: str) -> list[str]:
    try:
        return data.places.snapshots(index)
    except InputError:  # a name that nothing can have
        return []


def _folder(data: DataFolder, index: str, snapshot: str) -> Path:
    """Where a snapshot lies; raises RequestError 404 when there is none."""
    known = _names(data, index)
    if snapshot not in known:
        raise RequestError(
            404,
            "unknown_snapshot",
            f"expected a snapshot of {index!r}, one of {', '.join(known[:20]) or 'none'}; "
            f"found {snapshot!r}",
        )
    return data.places.snapshot(index, snapshot)


def _read(data: DataFolder, index: str, snapshot: str) -> Snapshot:
    try:
        return read_snapshot(data.places.snapshot(index, snapshot))
    except (TamisError, OSError) as error:
        raise RequestError(503, "snapshot_damaged", str(error)) from error


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dt%H%M%S-%f")


_OF_INDEX = "/v1/indexes/{name}/snapshots"
OPERATIONS = (
    Operation(
        "POST",
        _OF_INDEX,
        "take_snapshot",
        "Keep an index as it is now; a task.",
        take_snapshot,
        TaskAnswer,
        (*IN_BODY, 409, 429),
        SnapshotRequest,
        example={"name": "before-the-move"},
        access="all",
        status=202,
        once=True,
    ),
    Operation(
        "GET",
        _OF_INDEX,
        "list_snapshots",
        "The snapshots of an index, oldest first.",
        list_snapshots,
        SnapshotsAnswer,
        (*IN_INDEX, 409),
        access="all",
    ),
    Operation(
        "DELETE",
        f"{_OF_INDEX}/{{snapshot}}",
        "remove_snapshot",
        "Delete a snapshot.",
        remove_snapshot,
        RemovedAnswer,
        (*IN_INDEX, 409),
        access="all",
    ),
    Operation(
        "POST",
        "/v1/restore",
        "restore_snapshot",
        "Make a new index of a snapshot, every byte compared; a task.",
        restore_snapshot,
        TaskAnswer,
        (*IN_BODY, 409, 429),
        RestoreRequest,
        example={"index": "papers", "snapshot": "before-the-move", "to": "papers-again"},
        access="all",
        status=202,
        once=True,
    ),
    Operation(
        "POST",
        "/v1/indexes/{name}/optimize",
        "optimize_index",
        "Rebuild an index as one segment, words counted again; a task.",
        optimize,
        TaskAnswer,
        (*IN_INDEX, 409, 429),
        access="all",
        status=202,
        once=True,
    ),
)
