"""What queries write on: one scratch a thread, clean for whatever segment comes next."""

import threading

import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import Index, reference
from tamis.index.segment.scratch import own_scratch

SHAPES = [(37, 23), (301, 190), (5, 701), (37, 23)]


def on_a_thread_of_its_own(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_has_one_scratch_that_grows_to_the_largest_segment():
    def work():
        first, same, more = own_scratch(37, 23), own_scratch(20, 23), own_scratch(80, 10)
        last = own_scratch(40, 200)
        return first is same, first.docs.size, more.docs.size, more.dense.size, last.docs.size

    assert on_a_thread_of_its_own(work) == (True, 37, 90, 23, 90)
    assert own_scratch(1, 1) is not on_a_thread_of_its_own(lambda: own_scratch(1, 1))


@pytest.mark.parametrize("exact", [False, True])
def test_indexes_of_all_sizes_are_searched_by_one_thread_in_turn(tmp_path, exact):
    """Truth: the exhaustive search."""
    indexes = []
    for seed, (documents, terms) in enumerate(SHAPES):
        vectors = random_vectors(documents, terms, seed=seed)
        indexes.append((Index.build(tmp_path / f"{seed}", vectors), vectors))

    def work():
        for index, vectors in indexes:
            queries = vectors.rows(0, 5)
            found = index.search(queries, 3, exact=exact)
            truth = reference.search(vectors, queries, 3)
            np.testing.assert_array_equal(found.docs, truth.docs)
            np.testing.assert_array_equal(found.scores, truth.scores)
            scratch = own_scratch(1, 1)
            assert not scratch.sums.any()
            assert not scratch.dense.any()
        return len(indexes)

    assert on_a_thread_of_its_own(work) == 4
