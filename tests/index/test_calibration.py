import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import Index, InputError, SparseVectors
from tamis.index.calibration import (
    LONG,
    RECALLS,
    SMALL,
    Calibration,
    Row,
    recall_by_score,
)
from tamis.index.loops.arrays import Knobs
from tamis.index.manifest import read_current
from tamis.index.segment import EXACT
from tamis.index.storage import Storage
from tamis.index.tuning import tune

DOCUMENTS, TERMS = SMALL + 11, 2003


def queries_of(seed, rows=1000):
    """Half of them short, half of them long."""
    short = random_vectors(rows // 2, TERMS, seed=seed, longest=9)
    long = random_vectors(rows // 2, TERMS, seed=seed + 1, longest=60)
    return SparseVectors.concatenate([short, long])


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    corpus = random_vectors(DOCUMENTS, TERMS, seed=1, longest=60)
    return Index.build(
        tmp_path_factory.mktemp("calibrated") / "index", corpus, calibration=queries_of(2, 400)
    )


@pytest.mark.parametrize("k", [10, 100])
@pytest.mark.parametrize("recall", RECALLS)
def test_fresh_queries_reach_the_recall_asked_for(index, k, recall):
    """1,000 queries that the calibration has not seen; the lower 95 % bound, less 0.01."""
    fresh = queries_of(seed=7)
    truth = index.search(fresh, k, exact=True)
    reached = recall_by_score(index.search(fresh, k, recall=recall).scores, truth.scores)
    assert reached.mean() - 1.645 * reached.std() / np.sqrt(1000) >= recall - 0.01


def test_less_recall_reads_less(index):
    long = index.calibration
    costs = [row.cost for row in long.rows if row.long and row.k == 10]
    assert costs
    assert costs == sorted(costs)
    fresh = queries_of(seed=7)
    read = [
        index.parts[0].stored.segment.search(fresh, 10, knobs)[1].sum()
        for knobs in (long.knobs(0.9, 10, long=True), EXACT)
    ]
    assert read[0] < 0.8 * read[1]


def test_the_table_is_kept_with_the_index(index):
    reopened = Index.open(index.path)
    assert reopened.calibration == index.calibration
    assert reopened.calibration.source == "queries"
    assert read_current(Storage(index.path)).calibration == index.calibration


def test_documents_stand_in_for_queries_and_are_named(tmp_path):
    corpus = random_vectors(DOCUMENTS, TERMS, seed=1, longest=30)
    calibration = Index.build(tmp_path / "index", corpus).calibration
    assert calibration.source == "documents"
    assert calibration.queries == 300
    assert {row.long for row in calibration.rows} <= {False, True}


def test_a_small_index_is_searched_exactly(tmp_path):
    corpus = random_vectors(501, 61, seed=1)
    index = Index.build(tmp_path / "index", corpus, calibration=random_vectors(60, 61, seed=2))
    assert index.calibration == Calibration()
    queries = random_vectors(50, 61, seed=3)
    found, exact = index.search(queries, recall=0.5), index.search(queries, exact=True)
    assert np.array_equal(found.docs, exact.docs)


def test_the_next_row_that_covers_a_request_is_taken():
    def row(k, recall, slack, long=False):
        return Row(long, k, recall, 0.1, slack, recall, 1)

    table = Calibration("queries", 9, (row(10, 0.9, 0.9), row(10, 0.99, 0.8), row(100, 0.9, 0.7)))
    assert table.knobs(0.9, 10, long=False) == Knobs(0.1, 0.9)
    assert table.knobs(0.85, 3, long=False) == Knobs(0.1, 0.9)
    assert table.knobs(0.91, 10, long=False) == Knobs(0.1, 0.8)
    assert table.knobs(0.9, 11, long=False) == Knobs(0.1, 0.7)
    for recall, k, long in (
        (0.999, 10, False),
        (0.95, 11, False),
        (0.9, 101, False),
        (0.9, 1, True),
    ):
        assert table.knobs(recall, k, long) == EXACT


def test_recall_by_score_counts_ties_as_found():
    truth = np.array([[3.0, 2.0, 2.0], [5.0, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    found = np.array([[2.0, 2.0, 2.0], [5.0, 0.5, 0.0], [0.0, 0.0, 0.0]], np.float32)
    assert recall_by_score(found, truth).tolist() == [1.0, 0.5, 1.0]


def test_a_query_of_many_terms_is_long_and_one_of_few_is_not(index):
    """Each query of a mixed batch takes its own row: the answers are those of batches of one."""
    terms = np.arange(LONG + 1)
    pair = SparseVectors.from_dicts(
        [dict.fromkeys(terms[:LONG].tolist(), 1.0), dict.fromkeys(terms.tolist(), 1.0)], TERMS
    )
    together = index.search(pair, 10, recall=0.9)
    for query in range(2):
        alone = index.search(pair.rows(query, query + 1), 10, recall=0.9)
        assert alone.docs[0].tolist() == together.docs[query].tolist()
        assert alone.work[0] == together.work[query]


def test_tuning_replaces_the_table_and_nothing_else(tmp_path):
    corpus = random_vectors(DOCUMENTS, TERMS, seed=1, longest=30)
    before = Index.build(tmp_path / "index", corpus, calibration=SparseVectors.empty(TERMS))
    assert before.calibration == Calibration()
    tune(tmp_path / "index", queries_of(2, 400))
    after = Index.open(tmp_path / "index")
    assert after.calibration.source == "queries"
    assert after.calibration.queries >= 100
    assert after.manifest.generation == 2
    assert after.manifest.files == before.manifest.files
    fresh = queries_of(5, 20)
    old, new = (index.search(fresh, exact=True) for index in (before, after))
    assert np.array_equal(old.docs, new.docs)


def test_too_few_queries_do_not_take_the_table_away(tmp_path):
    Index.build(tmp_path / "index", random_vectors(7, TERMS, seed=1))
    with pytest.raises(InputError, match="at least 50 queries to measure with, found 48"):
        tune(tmp_path / "index", queries_of(2, 48))
    assert Index.open(tmp_path / "index").manifest.generation == 1
