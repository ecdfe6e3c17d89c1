"""Processes side by side: their places, their answers, and their deaths."""

import os
import time
from multiprocessing import active_children

import pytest

from tamis.scripts.bench.side_by_side import together

pytestmark = pytest.mark.usefixtures("tests_by_name")


def told(worker, word):
    worker.start.wait()
    return word, worker.rank, worker.count, worker.device


def cores(worker):
    return sorted(os.sched_getaffinity(0))


def dies_in_the_middle(worker):
    if worker.rank == 1:
        os._exit(9)
    worker.start.wait()


def refuses(worker):
    raise ValueError(f"process {worker.rank} has no card")


def sleeps(worker):
    time.sleep(600)


def test_each_process_has_a_place_and_answers_in_its_order():
    assert together(told, 2, 1, "cuda", 120, "word") == [
        ("word", 0, 2, "cuda:0"),
        ("word", 1, 2, "cuda:1"),
    ]


def test_a_process_that_dies_ends_the_others_that_wait_for_it():
    with pytest.raises(RuntimeError, match="process 1 of 2 died with exit code 9"):
        together(dies_in_the_middle, 2, 1, "cpu", 120)


def test_a_process_that_fails_tells_why():
    with pytest.raises(RuntimeError, match="process 0 of 1 failed: ValueError: process 0 has no"):
        together(refuses, 1, 1, "cpu", 120)


def test_processes_without_an_answer_are_ended_when_their_time_is_up():
    with pytest.raises(RuntimeError, match="expected an end within 1 s"):
        together(sleeps, 2, 1, "cpu", 1)
    assert active_children() == []


def test_a_process_has_cores_of_its_own():
    mine = sorted(os.sched_getaffinity(0))
    assert together(cores, len(mine), 1, "cpu", 120) == [[one] for one in mine]
    assert sorted(os.sched_getaffinity(0)) == mine
