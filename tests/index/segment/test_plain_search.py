"""The search of a process that has not loaded the compiled loops finds the very same."""

import subprocess
import sys

import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import Index, IndexConfig, SparseVectors
from tamis.index.segment import plain_search
from tamis.index.segment.segment import EXACT, Segment


def without_loops(monkeypatch):
    """As in a new process."""
    monkeypatch.delitem(sys.modules, plain_search.LOOPS)
    monkeypatch.setattr(plain_search, "_read", 0)


@pytest.mark.parametrize("precision", ["f32", "f16", "u16", "u8"])
@pytest.mark.parametrize("weights", ["float", "ties"])
def test_both_searches_find_the_same(tmp_path, monkeypatch, precision, weights):
    corpus = random_vectors(1511, 97, seed=1, weights=weights)
    queries = random_vectors(67, 97, seed=2, longest=40, weights=weights)
    segment = Index.build(tmp_path / "i", corpus, config=IndexConfig(precision)).parts[0]
    segment = segment.stored.segment
    some = np.random.default_rng(3).random(1511) < 0.3
    for k, allowed in ((1, None), (10, some), (1600, None), (7, np.zeros(1511, np.bool_))):
        with_loops, _ = segment.search(queries, k, EXACT, allowed=allowed)
        with monkeypatch.context() as patch:
            without_loops(patch)
            assert segment.spares_loops(len(queries))
            plain, _ = segment.search(queries, k, EXACT, allowed=allowed)
            assert plain_search.LOOPS not in sys.modules
        assert np.array_equal(plain.docs, with_loops.docs)
        assert np.array_equal(plain.scores, with_loops.scores)


def test_documents_without_terms_and_an_empty_segment_are_not_found(tmp_path, monkeypatch):
    rows = [{}, {3: 1.0}, {}, {}, {0: 2.0, 3: 0.5}, {}]
    index = Index.build(tmp_path / "i", SparseVectors.from_dicts(rows, 5))
    query = SparseVectors.from_dicts([{3: 2.0}, {1: 1.0}, {}], 5)
    without_loops(monkeypatch)
    found = index.search(query, 4)
    assert found.docs.tolist() == [[1, 4, -1, -1], [-1] * 4, [-1] * 4]
    assert found.scores.tolist() == [[2.0, 1.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4]
    assert found.work.tolist() == [2, 0, 0]


def test_the_loops_are_loaded_after_as_many_entries_as_make_it_worth_it(tmp_path, monkeypatch):
    index = Index.build(tmp_path / "i", SparseVectors.from_dicts([{0: 1.0, 1: 1.0}] * 3, 2))
    query = SparseVectors.from_dicts([{0: 1.0}], 2)
    monkeypatch.setattr(plain_search, "_MOST", 13)  # two searches of six entries
    without_loops(monkeypatch)
    for spared in (True, True, False):
        assert index.spares_loops == spared
        index.search(query, 1)
        assert (plain_search.LOOPS in sys.modules) != spared


def test_knobs_of_ones_own_are_for_the_loops(tmp_path, monkeypatch):
    index = Index.build(tmp_path / "i", random_vectors(20, 9, seed=4))
    segment: Segment = index.parts[0].stored.segment
    without_loops(monkeypatch)
    segment.search(random_vectors(1, 9, seed=5), 3, EXACT._replace(slack=0.5))
    assert plain_search.LOOPS in sys.modules


def test_a_first_search_loads_no_compiler(sample_index):
    program = (
        "import sys\n"
        "from tamis.retriever import Searcher\n"
        f"found = Searcher.open({str(sample_index)!r}).search(['red planet'])[0]\n"
        "print(found.hits[0].doc_id, [n for n in ('numba', 'torch') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "mars []\n"
