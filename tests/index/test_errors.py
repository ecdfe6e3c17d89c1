"""Errors that are kept hold nothing that they came through, whatever led to what."""

import gc
import weakref

import pytest

from tamis.index.errors import StoppedError, contained, without_frames


class Held:
    """What a frame holds."""


def raised(error, cause=None):
    held = Held()
    try:
        raise error from cause
    except Exception as met:  # noqa: BLE001  the frame is kept with it
        return weakref.ref(held), met


def test_an_error_and_all_that_led_to_it_hold_no_frames():
    gc.disable()
    try:
        first, cause = raised(OSError("the disk"))
        second, error = raised(StoppedError("a writer"), cause)
        assert first() is not None
        assert second() is not None
        assert without_frames(error) is error
        assert first() is None
        assert second() is None
    finally:
        gc.enable()


def test_an_error_may_follow_one_that_it_has_caused():
    """As where closing a writer that is stopped raises what has stopped it."""
    error, stopped = OSError("the disk"), StoppedError("a writer")
    stopped.__cause__, error.__context__ = error, stopped
    assert without_frames(error) is error


@pytest.mark.parametrize("raised", [SystemExit(2), StopIteration(2)])
def test_whatever_ends_work_is_an_exception_to_who_waits(raised):
    told = contained(raised)
    assert str(told) == f"{type(raised).__name__}: 2"
    assert told.__cause__ is raised
    assert contained(told) is told
