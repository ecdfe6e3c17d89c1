"""Long work in the background is recorded, followed and cancelled."""

import threading

import pytest

from tamis.api.serving.background_tasks import Tasks
from tamis.api.serving.catalog import Catalog
from tamis.index import InputError


@pytest.fixture
def catalog(tmp_path):
    with Catalog(tmp_path) as opened:
        yield opened


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


def test_a_failure_is_a_task_s_message(catalog):
    tasks = Tasks(catalog)

    def work(progress):
        raise InputError("expected documents, found none")

    record = finished(tasks, tasks.start("build", "x", work).task)
    assert (record.status, record.message) == ("failed", "expected documents, found none")
    tasks.close()


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


def test_what_a_stopped_process_left_is_interrupted(catalog):
    left = catalog.new_task("build", "x", 1.0)
    tasks = Tasks(catalog)
    assert tasks.get(left.task).status == "interrupted"
    tasks.close()
