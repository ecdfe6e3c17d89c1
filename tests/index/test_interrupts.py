"""Work asks between its units whether to go on; what is asked is nobody else's."""

import threading

import pytest
from vectors_of import random_vectors

from tamis.index import Index
from tamis.index.interrupts import InterruptedWorkError, check_for_interrupts, interruptible


def refuse(grown_bytes=0):
    raise InterruptedWorkError


def test_work_that_nobody_asked_to_ask_goes_on():
    check_for_interrupts()


def test_the_innermost_question_holds_and_ends_with_its_block():
    asked = []
    with interruptible(asked.append):
        with pytest.raises(InterruptedWorkError), interruptible(refuse):
            check_for_interrupts()
        check_for_interrupts(5)
    check_for_interrupts(7)
    assert asked == [5]


def test_other_threads_are_not_asked():
    with interruptible(refuse):
        thread = threading.Thread(target=check_for_interrupts)
        thread.start()
        thread.join()
        with pytest.raises(InterruptedWorkError):
            check_for_interrupts()


def test_an_index_asks_every_few_queries(tmp_path):
    index = Index.build(tmp_path / "index", random_vectors(50, 31, seed=1))
    queries, asked = random_vectors(100, 31, seed=2), []
    expected = index.search(queries, 3, exact=True)
    with interruptible(asked.append):
        found = index.search(queries, 3, exact=True)
    assert len(asked) >= 100 / 16
    assert (found.docs == expected.docs).all()
    with pytest.raises(InterruptedWorkError), interruptible(refuse):
        index.search(queries, 3, exact=True)
