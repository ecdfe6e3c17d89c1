"""Work in the background goes on after failures, shares its threads, and ends when told."""

import errno
import itertools
import threading
import time

import pytest

from tamis.index.writing import background as module
from tamis.index.writing.background import Background, Repeater, pause_s


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_pauses_grow_to_a_bound_that_depends_on_what_failed():
    refused, other = OSError(errno.EMFILE, "too many"), ValueError("damaged")
    assert [pause_s(n, refused) for n in range(1, 6)] == [0.25, 0.5, 1.0, 2.0, 2.0]
    assert [pause_s(n, other) for n in (1, 5, 8, 9, 5000)] == [0.25, 4.0, 32.0, 60.0, 60.0]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EIO, errno.ESTALE])
def test_what_fails_is_told_and_tried_again_until_it_works(monkeypatch, number):
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    fails, done = threading.Event(), []

    def work(progress):
        done.append(time.monotonic())
        if fails.is_set():
            raise OSError(number, "injected")
        return False

    with Background() as background:
        repeater = Repeater(background, work)
        fails.set()
        repeater.wake()
        until(lambda: repeater.failure is not None)
        assert repeater.failure.errno == number
        until(lambda: len(done) == 4)
        pauses = [after - before for before, after in itertools.pairwise(done)]
        assert pauses[0] >= 0.009
        assert pauses[2] >= 0.039
        fails.clear()
        until(lambda: repeater.failure is None)
        repeater.close()


class Panic(BaseException):
    """As libraries written in Rust raise it."""


@pytest.mark.parametrize("raised", [RuntimeError, Panic, SystemExit])
def test_whatever_work_raises_is_told_and_ends_no_thread(raised):
    def work(progress):
        raise raised("it broke")

    with Background() as background:
        broken, done = Repeater(background, work), threading.Event()
        broken.wake()
        until(lambda: broken.failure is not None)
        assert "it broke" in str(broken.failure)
        Repeater(background, lambda progress: bool(done.set())).wake()
        assert done.wait(10)
        with pytest.raises(RuntimeError, match="it broke"):
            broken.close()


def test_one_that_fails_or_takes_long_does_not_keep_others_waiting():
    began, go_on, done = threading.Event(), threading.Event(), []

    def long(progress):
        began.set()
        go_on.wait(10)
        return False

    def broken(progress):
        raise ValueError("always")

    with Background(threads=2) as background:
        Repeater(background, broken).wake()
        Repeater(background, long).wake()
        assert began.wait(10)
        pieces = iter([True] * 5 + [False])

        def short(progress):
            done.append(1)
            return next(pieces)

        others = Repeater(background, short)
        others.wake()
        until(lambda: len(done) == 6)
        go_on.set()
        others.close()


def test_a_wake_while_it_runs_is_not_lost():
    running, go_on, done = threading.Event(), threading.Event(), []

    def work(progress):
        done.append(1)
        running.set()
        go_on.wait(10)
        return False

    with Background() as background:
        repeater = Repeater(background, work)
        repeater.wake()
        assert running.wait(10)
        repeater.wake()
        go_on.set()
        until(lambda: len(done) == 2)
        repeater.close()


def test_closing_gives_up_what_runs_and_raises_what_failed():
    running = threading.Event()

    def endless(progress):
        while True:
            running.set()
            progress("step", 0, None)

    def broken(progress):
        raise ValueError("cannot merge")

    with Background() as background:
        one = Repeater(background, endless)
        one.wake()
        assert running.wait(10)
        one.close()
        one.wake()  # nothing more happens
        other = Repeater(background, broken)
        other.wake()
        until(lambda: other.failure is not None)
        with pytest.raises(ValueError, match="cannot merge"):
            other.close()


def test_many_owners_share_few_threads():
    before, done = threading.active_count(), []
    with Background(threads=2) as background:
        repeaters = [Repeater(background, lambda progress: done.append(1)) for _ in range(500)]
        assert threading.active_count() == before + 2
        for repeater in repeaters:
            repeater.wake()
        until(lambda: len(done) == 500)
    assert threading.active_count() == before
