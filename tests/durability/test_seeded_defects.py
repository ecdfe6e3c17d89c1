"""Defects put in on purpose: the checks of this folder must notice each of them.

A test suite that cannot find these would not find their like.
"""

import pytest
from defects import DEFECTS, NOTICED
from noticing import corruption, faults, lazy_corruption, power, short_writes


def test_there_are_at_least_twenty():
    assert len(DEFECTS) >= 20


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_noticed(tmp_path, name, monkeypatch):
    function, check = DEFECTS[name]
    with monkeypatch.context() as patch:
        function(patch)
        with pytest.raises(NOTICED):
            check(tmp_path)


LONG = [pytest.param(check, marks=pytest.mark.slow) for check in (power, faults)]
CONTROLS = [short_writes, corruption, lazy_corruption, *LONG]


@pytest.mark.parametrize("check", CONTROLS, ids=lambda check: check.__name__)
def test_without_a_defect_the_checks_pass(tmp_path, check):
    check(tmp_path)
