"""Tasks: long work in the background, recorded in the catalogue, with progress and cancel.

A task that runs when the process stops is found ``interrupted`` by the next one; the work itself
must be such that nothing is lost by that, as builds, merges and restores are. How a task stands is
known in memory first: where the disk does not take a record, the task goes on, or has ended, all
the same, and `save` records it later.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol

from tamis.api.problems import RequestError, of_error
from tamis.index.errors import InputError, TamisError, without_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tamis.api.serving.catalog import Catalog, TaskRecord

LOG = logging.getLogger("tamis.api")
FINISHED = ("done", "failed", "cancelled", "interrupted")
SAVED_EVERY_S = 1.0  # between two records of a running task's progress


class Cancelled(Exception):  # noqa: N818  no error: somebody asked for it
    """Raised in a task that is to end."""


class Work(Protocol):
    """What a task does."""

    def __call__(self, progress: Callable[[int, int | None], None]) -> Any:  # noqa: ANN401
        """Do it and give a result that JSON can hold.

        ``progress(done, total)`` is to be called often; it raises `Cancelled` when the task is
        to end.
        """


class Tasks:
    """Runs tasks, a few at a time, in the order they came; safe to use from many threads."""

    def __init__(self, catalog: Catalog, workers: int = 1) -> None:
        """Begin; tasks that an earlier process left are recorded as interrupted.

        Args:
            catalog: where tasks are recorded. One `Tasks` a catalogue.
            workers: how many tasks run at once.
        """
        self._catalog = catalog
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="tamis-task")
        self._changed = threading.Condition()
        self._running: dict[int, TaskRecord] = {}
        self._cancelled: set[int] = set()
        self._keys: dict[int, str] = {}
        self._unsaved: dict[int, TaskRecord] = {}
        self._saving = threading.Lock()  # a record never comes after one that is newer
        for record in catalog.tasks():
            if record.status not in FINISHED:
                message = "the process stopped; start it again"
                self._save(replace(record, status="interrupted", message=message, updated=time()))

    def start(self, kind: str, subject: str, work: Work, key: str | None = None) -> TaskRecord:
        """Have something done; its record, which waits.

        Args:
            kind: what is done.
            subject: to what.
            work: does it.
            key: of what no two unfinished tasks may make; None for no such thing.

        Raises:
            RequestError: 409 when an unfinished task has this key.
            OSError: it cannot be recorded, and is not done.
        """
        with self._changed:
            if key is not None and self.has(key):
                raise RequestError(
                    409,
                    "in_progress",
                    f"expected no other task to make {key}, found one that does; follow it at "
                    "/v1/tasks",
                )
            record = self._catalog.new_task(kind, subject, time())
            self._running[record.task] = record
            if key is not None:
                self._keys[record.task] = key
        self._pool.submit(self._run, record.task, work)
        return record

    def has(self, key: str) -> bool:
        """Whether an unfinished task has this key."""
        with self._changed:
            return key in self._keys.values()

    def get(self, task: int) -> TaskRecord:
        """How a task stands.

        Raises:
            InputError: there is no such task.
        """
        with self._changed:
            found = self._running.get(task) or self._unsaved.get(task)
        found = found or self._catalog.task(task)
        if found is None:
            raise InputError(f"expected the number of a task, found {task}; list them with all()")
        return found

    def all(self) -> list[TaskRecord]:
        """All tasks, oldest first."""
        recorded = self._catalog.tasks()
        with self._changed:
            newer = self._unsaved | self._running
        return [newer.get(record.task, record) for record in recorded]

    def running(self) -> list[TaskRecord]:
        """Those that are not done, waiting ones included."""
        with self._changed:
            return list(self._running.values())

    def cancel(self, task: int) -> TaskRecord:
        """Ask a task to end; it may be done before it notices. How it stands.

        Raises:
            InputError: there is no such task.
        """
        with self._changed:
            if task in self._running:
                self._cancelled.add(task)
        return self.get(task)

    def follow(self, task: int, timeout_s: float) -> Iterator[TaskRecord]:
        """How a task stands, now and after each change, until it ends.

        Args:
            task: its number.
            timeout_s: say so again after as long without a change.
        """
        last = self.get(task)
        yield last
        while last.status not in FINISHED:
            with self._changed:
                if self._running.get(task) is last:
                    self._changed.wait(timeout_s)
            last = self.get(task)
            yield last

    def save(self) -> None:
        """Record what the disk has not taken so far; raises OSError when it still does not."""
        with self._saving:
            with self._changed:
                unsaved = list(self._unsaved.values())
            for record in unsaved:
                self._catalog.keep_task(record)
                with self._changed:
                    if self._unsaved.get(record.task) is record:
                        del self._unsaved[record.task]

    def close(self) -> None:
        """Cancel what runs and wait for it."""
        with self._changed:
            self._cancelled |= set(self._running)
        self._pool.shutdown(wait=True)

    def _run(self, task: int, work: Work) -> None:
        saved_at = -SAVED_EVERY_S

        def progress(done: int, total: int | None) -> None:
            nonlocal saved_at
            self._refuse_if_cancelled(task)
            now = monotonic()
            self._keep(task, save=now - saved_at > SAVED_EVERY_S, done=done, total=total)
            saved_at = now if now - saved_at > SAVED_EVERY_S else saved_at

        try:
            self._refuse_if_cancelled(task)
            self._keep(task, status="running")
            self._end(task, status="done", result=work(progress))
        except BaseException as error:  # noqa: BLE001  a task's failure is its record
            self._end(task, **_ended_by(without_frames(error)))

    def _refuse_if_cancelled(self, task: int) -> None:
        with self._changed:
            if task in self._cancelled:
                raise Cancelled

    def _keep(self, task: int, *, save: bool = True, **changes: Any) -> None:  # noqa: ANN401
        with self._changed:
            record = replace(self._running[task], updated=time(), **changes)
            self._running[task] = record
            self._changed.notify_all()
        if save:
            self._save(record)

    def _end(self, task: int, **changes: Any) -> None:  # noqa: ANN401
        self._save(replace(self._running[task], updated=time(), **changes))
        with self._changed:
            del self._running[task]
            self._keys.pop(task, None)
            self._cancelled.discard(task)
            self._changed.notify_all()

    def _save(self, record: TaskRecord) -> None:
        """Record how a task stands, or remember that it has not been recorded."""
        with self._changed:
            self._unsaved[record.task] = record
        try:
            self.save()
        except (OSError, TamisError) as error:
            LOG.warning("task %s is not recorded yet: %s", record.task, error)


def _ended_by(error: BaseException) -> dict[str, str]:
    """How a task stands that an error has ended."""
    if isinstance(error, Cancelled):
        return {"status": "cancelled"}
    if isinstance(error, TamisError | OSError | MemoryError):
        error = of_error(error)
    told = error.detail if isinstance(error, RequestError) else f"{type(error).__name__}: {error}"
    return {"status": "failed", "message": told}
