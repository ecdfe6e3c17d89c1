"""A writer's work gives way to the searches of its interpreter."""

import sys

import pytest

from tamis.index.writing.switch_interval import SHORT_S, short_switch_interval


@pytest.fixture
def interval():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("interval")
def test_turns_are_short_until_the_last_writer_ends():
    with short_switch_interval():
        with short_switch_interval():
            assert sys.getswitchinterval() == pytest.approx(SHORT_S)
        assert sys.getswitchinterval() == pytest.approx(SHORT_S)
    assert sys.getswitchinterval() == pytest.approx(0.004)


@pytest.mark.usefixtures("interval")
def test_turns_are_those_of_before_after_a_failure():
    with pytest.raises(InterruptedError), short_switch_interval():
        raise InterruptedError
    assert sys.getswitchinterval() == pytest.approx(0.004)


@pytest.mark.usefixtures("interval")
def test_turns_that_are_short_already_stay_the_same():
    """However often: each time is a rounding."""
    sys.setswitchinterval(0.0001001)
    before = sys.getswitchinterval()
    for _ in range(5):
        with short_switch_interval():
            assert sys.getswitchinterval() == before
        assert sys.getswitchinterval() == before
