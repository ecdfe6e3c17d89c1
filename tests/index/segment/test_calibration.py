import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import Column, Index, InputError, SparseVectors
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import read_current
from tamis.index.segment import calibration
from tamis.index.segment.calibration import (
    CUTS,
    LONG,
    RECALLS,
    SAMPLES,
    SLACKS,
    SMALL,
    Calibration,
    Row,
    Sample,
    calibrate,
    recall_by_score,
)
from tamis.index.segment.loops.arrays import Knobs
from tamis.index.segment.segment import EXACT
from tamis.index.upkeep.tuning import tune

DOCUMENTS, TERMS = SMALL + 11, 2003


def queries_of(seed, rows=1000):
    """Half of them short, half of them long."""
    short = random_vectors(rows // 2, TERMS, seed=seed, longest=9)
    long = random_vectors(rows // 2, TERMS, seed=seed + 1, longest=60)
    return SparseVectors.concatenate([short, long])


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    corpus = random_vectors(DOCUMENTS, TERMS, seed=1, longest=60)
    twentieths = Column.of("twentieth", "integer", [doc % 20 for doc in range(DOCUMENTS)])
    path = tmp_path_factory.mktemp("calibrated") / "index"
    return Index.build(path, corpus, calibration=queries_of(2, 400), columns=[twentieths])


@pytest.mark.parametrize("k", [10, 100, 300, 1000])
@pytest.mark.parametrize("recall", RECALLS)
def test_fresh_queries_reach_the_recall_asked_for(index, k, recall):
    """1,000 queries that the calibration has not seen; the lower 95 % bound, less 0.01."""
    fresh = queries_of(seed=7)
    truth = index.search(fresh, k, exact=True)
    reached = recall_by_score(index.search(fresh, k, recall=recall).scores, truth.scores)
    assert reached.mean() - 1.645 * reached.std() / np.sqrt(1000) >= recall - 0.01


def of_class(queries, long):
    return queries.take(np.flatnonzero((np.diff(queries.offsets) > LONG) == long))


def test_a_row_tells_the_recall_of_as_many_results_as_it_is_for(index):
    segment, queries = index.parts[0].stored.segment, queries_of(2, 400)
    assert {row.k for row in index.calibration.rows} == set(SAMPLES)
    for row in index.calibration.rows:
        own_class = of_class(queries, row.long)
        sample = own_class.rows(0, min(SAMPLES[row.k], len(own_class)))
        truth, _ = segment.search(sample, row.k, EXACT)
        found, _ = segment.search(sample, row.k, row.knobs)
        reached = recall_by_score(found.scores, truth.scores)
        assert row.measured == pytest.approx(reached.mean(), abs=1e-4)


def test_the_table_tells_what_an_exact_search_costs(index):
    segment, queries = index.parts[0].stored.segment, queries_of(2, 400)
    assert {(one.long, one.k) for one in index.calibration.exact} == {
        (long, k) for long in (False, True) for k in SAMPLES
    }
    for one in index.calibration.exact:
        own_class = of_class(queries, one.long)
        sample = own_class.rows(0, min(SAMPLES[one.k], len(own_class)))
        found, postings = segment.search(sample, one.k, EXACT)
        cost = (postings + calibration.POSTINGS_A_DOCUMENT * found.work).mean()
        assert one.cost == pytest.approx(cost, abs=0.51)
        assert all(
            row.cost < one.cost
            for row in index.calibration.rows
            if (row.long, row.k) == (one.long, one.k)
        )


def test_no_knobs_of_the_grid_reach_a_recall_for_less(index):
    segment, sample = index.parts[0].stored.segment, of_class(queries_of(2, 400), long=True)
    rows = [row for row in index.calibration.rows if row.long and row.k == 10]
    truth, _ = segment.search(sample, 10, EXACT)
    assert len(sample) <= SAMPLES[10]
    for cut in CUTS:
        for slack in SLACKS:
            found, postings = segment.search(sample, 10, Knobs(cut, slack))
            reached = recall_by_score(found.scores, truth.scores)
            bound = reached.mean() - 1.645 * reached.std() / np.sqrt(reached.size)
            cost = (postings + calibration.POSTINGS_A_DOCUMENT * found.work).mean()
            assert all(row.cost <= round(cost) for row in rows if row.recall <= bound)


def test_a_few_queries_of_many_ties_do_not_take_the_table_away(tmp_path, monkeypatch):
    terms = np.full(DOCUMENTS, TERMS - 1, np.int32)
    everywhere = SparseVectors(
        np.arange(DOCUMENTS + 1), terms, np.ones(DOCUMENTS, np.float32), TERMS
    )
    rows = random_vectors(DOCUMENTS, TERMS - 1, seed=1, longest=30).over(TERMS)
    corpus, none = SparseVectors.join(rows, everywhere, TERMS), SparseVectors.empty(TERMS)
    index = Index.build(tmp_path / "index", corpus, calibration=none)
    tied = SparseVectors.from_dicts([{TERMS - 1: 1.0}], TERMS)
    assert index.search(tied, 10, exact=True).work[0] == DOCUMENTS
    usual = random_vectors(99, TERMS - 1, seed=2, longest=15).over(TERMS)
    mixed = SparseVectors.concatenate([usual, tied])
    segment = index.parts[0].stored.segment
    work = segment.search(mixed, 100, EXACT)[0].work
    assert np.median(work) < 200 < work.mean()
    monkeypatch.setattr(calibration, "_TIED", 2)
    assert 100 in {row.k for row in calibrate(segment, Sample(mixed)).rows}
    every = SparseVectors.concatenate([tied] * 80)
    assert calibrate(segment, Sample(every)).rows == ()


@pytest.mark.parametrize("k", [1, 10, 100])
def test_a_filter_that_few_documents_pass_is_searched_exactly(index, k):
    fresh, where = queries_of(7, 100), {"field": "twentieth", "in": [3]}
    found = index.search(fresh, k, recall=0.9, where=where)
    assert np.array_equal(found.docs, index.search(fresh, k, exact=True, where=where).docs)
    half = {"field": "twentieth", "range": {"lt": 10}}
    work = [
        index.search(fresh, 10, **how, where=half).work.sum()
        for how in ({"recall": 0.9}, {"exact": True})
    ]
    assert work[0] < work[1]


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
    assert calibration.queries == 600
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
