"""Long work in the background is recorded, followed and cancelled."""

import errno
import threading

import pytest

from tamis.api.serving import background_tasks
from tamis.api.serving.background_tasks import Tasks
from tamis.api.serving.catalog import Catalog
from tamis.index import InputError


@pytest.fixture
def catalog(tmp_path):
    with Catalog(tmp_path) as opened:
        yield opened


class Panic(BaseException):
    """As libraries written in Rust raise it."""


def finished(tasks, number):
    return list(tasks.follow(number, timeout_s=5))[-1]


def test_a_task_s_result_and_progress_are_recorded(catalog):
    tasks = Tasks(catalog)

    def work(progress):
        progress(3, 4)
        return {"documents": 4}

    record = finished(tasks, tasks.start("build", "planets", work).task)
    assert (record.status, record.done, record.total) == ("done", 3, 4)
    assert record.result == {"documents": 4}
    assert catalog.task(record.task) == record
    assert tasks.all() == [record]
    tasks.close()


def test_progress_is_recorded_though_the_clock_goes_back(catalog, monkeypatch):
    tasks, seen = Tasks(catalog), []
    monkeypatch.setattr(background_tasks, "SAVED_EVERY_S", 0.0)

    def work(progress):
        for done in range(3):
            monkeypatch.setattr(background_tasks, "time", lambda done=done: 1e9 - 1e6 * done)
            progress(done, 3)
            seen.append(catalog.task(1).done)

    finished(tasks, tasks.start("build", "x", work).task)
    assert seen == [0, 1, 2]
    tasks.close()


def test_a_failure_is_a_task_s_message(catalog):
    tasks = Tasks(catalog)

    def work(progress):
        raise InputError("expected documents, found none")

    record = finished(tasks, tasks.start("build", "x", work).task)
    assert (record.status, record.message) == ("failed", "expected documents, found none")
    tasks.close()


@pytest.mark.parametrize("raised", [RuntimeError, Panic, SystemExit, StopIteration])
def test_whatever_ends_a_task_is_its_message(catalog, raised):
    tasks = Tasks(catalog)

    def work(progress):
        raise raised("it broke")

    record = finished(tasks, tasks.start("build", "x", work).task)
    assert (record.status, record.message) == ("failed", f"{raised.__name__}: it broke")
    assert finished(tasks, tasks.start("build", "x", lambda progress: 1).task).status == "done"
    tasks.close()


def test_a_record_that_is_late_does_not_replace_a_newer_one(catalog, monkeypatch):
    """Another thread begins to record that the task runs, and is done when that has ended."""
    tasks, keep = Tasks(catalog), catalog.keep_task
    late, is_late, ended = threading.Thread(target=tasks.save), threading.Event(), threading.Event()

    def keep_late(record):
        if threading.current_thread() is late:
            is_late.set()
            ended.wait(0.3)  # no longer: the task may wait for this record
        elif record.status == "running":
            late.start()
            is_late.wait(0.3)
        keep(record)
        if record.status == "done":
            ended.set()

    monkeypatch.setattr(catalog, "keep_task", keep_late)
    task = tasks.start("build", "x", lambda progress: 1).task
    assert finished(tasks, task).status == "done"
    late.join()
    tasks.close()
    assert catalog.task(task).status == "done"


def test_a_running_and_a_waiting_task_can_be_cancelled(catalog):
    tasks, running = Tasks(catalog), threading.Event()

    def work(progress):
        while True:
            progress(0, None)
            running.set()

    first, second = (tasks.start("merge", "x", work).task for _ in range(2))
    assert running.wait(5)
    tasks.cancel(second)
    tasks.cancel(first)
    assert finished(tasks, first).status == "cancelled"
    assert finished(tasks, second).status == "cancelled"
    with pytest.raises(InputError, match="found 99"):
        tasks.cancel(99)
    tasks.close()


class Full:
    """Makes a catalogue's records fail, while it is set."""

    def __init__(self, catalog, monkeypatch):
        self.on, self._keep = False, catalog.keep_task
        monkeypatch.setattr(catalog, "keep_task", self._keep_or_fail)

    def _keep_or_fail(self, record):
        if self.on:
            raise OSError(errno.ENOSPC, "injected")
        self._keep(record)


@pytest.mark.parametrize("fails", [False, True])
def test_a_task_that_cannot_be_recorded_ends_all_the_same(catalog, monkeypatch, fails):
    tasks, disk = Tasks(catalog), Full(catalog, monkeypatch)

    def work(progress):
        disk.on = True
        progress(1, 2)
        if fails:
            raise OSError(errno.ENOSPC, "no room for the copy")
        return 7

    task = tasks.start("snapshot", "x", work).task
    record = finished(tasks, task)
    assert record.status == ("failed" if fails else "done")
    assert "no room for the copy" in record.message or not fails
    while tasks.running():
        pass
    assert catalog.task(task).status in ("waiting", "running")
    assert tasks.all() == [record]
    with pytest.raises(OSError, match="injected"):
        tasks.save()
    disk.on = False
    tasks.save()
    assert catalog.task(task) == record
    assert tasks.start("snapshot", "x", lambda progress: 1).task == task + 1
    tasks.close()


def test_a_task_that_cannot_be_recorded_at_first_is_not_begun(catalog, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "injected")

    tasks = Tasks(catalog)
    monkeypatch.setattr(catalog, "new_task", full)
    with pytest.raises(OSError, match="injected"):
        tasks.start("snapshot", "x", lambda progress: 1)
    assert tasks.running() == []
    tasks.close()


def test_tasks_begin_where_those_that_were_left_cannot_be_recorded(catalog, monkeypatch):
    left, disk = catalog.new_task("build", "x", 1.0), Full(catalog, monkeypatch)
    disk.on = True
    tasks = Tasks(catalog)
    assert tasks.get(left.task).status == "interrupted"
    disk.on = False
    tasks.save()
    assert catalog.task(left.task).status == "interrupted"
    tasks.close()


def test_what_a_stopped_process_left_is_interrupted(catalog):
    left = catalog.new_task("build", "x", 1.0)
    tasks = Tasks(catalog)
    assert tasks.get(left.task).status == "interrupted"
    tasks.close()
