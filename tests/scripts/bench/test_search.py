from importlib.util import find_spec

import numpy as np
import pytest

from tamis.index import Index, InputError, SparseVectors
from tamis.index.exchange.matrices import write_csr
from tamis.retriever import Passage, index_corpus
from tamis.scripts.bench import search as bench_search
from tamis.scripts.bench.peers import BlockMax, Exhaustive, _build_bmp
from tamis.scripts.bench.reach import recalls
from tamis.scripts.bench.search import (
    _gate,
    _overlap,
    from_collection,
    from_vectors,
    measure_search,
    synthetic,
)
from tamis.scripts.bench.vectors import VOCAB_SIZE, Topics


@pytest.fixture(scope="module")
def topics():
    return Topics(seed=3)


def test_synthetic_vectors_are_the_same_for_the_same_seed(topics):
    first, second = (topics.vectors(101, 145, 0.8, seed=5) for _ in range(2))
    assert np.array_equal(first.terms, second.terms)
    assert np.array_equal(first.weights, second.weights)
    assert first.vocab_size == VOCAB_SIZE


def test_synthetic_vectors_have_the_shape_of_learned_ones(topics):
    documents = topics.vectors(1000, bench_search.DOCUMENT_TERMS, 0.8, seed=5)
    queries = topics.vectors(1000, bench_search.QUERY_TERMS, 0.25, seed=6)
    assert documents.nnz / 1000 == pytest.approx(119, abs=4)
    assert queries.nnz / 1000 == pytest.approx(45, abs=3)
    strongest = [
        np.sort(queries.row(q)[1])[-10:].sum() / queries.row(q)[1].sum() for q in range(99)
    ]
    assert np.mean(strongest) == pytest.approx(0.7, abs=0.05)


@pytest.mark.long
def test_the_report_compares_every_engine_with_exact_search():
    report = measure_search(synthetic(701, 13), repeats=1)
    ours = [row for row in report["engines"] if row["engine"] == "tamis"]
    assert ours[0]["setting"] == "exact"
    assert all(row["recall"] == 1.0 for row in ours)  # a small index is searched exactly
    assert all(row["cpu_us_per_query"] > 0 for row in report["engines"])
    assert report["built"][0]["size_bytes"] > 0
    assert report["provenance"]["seed"] == bench_search.SEED
    assert [row["setting"] for row in report["two_threads"]] == ["exact", "recall=0.95"]
    assert all(row["queries_per_s"]["2"] > 0 for row in report["two_threads"])
    assert {row["reached"] for row in report["recalls"]} == {1.0}
    assert [row["allowed"] for row in report["filtered"]] == [1.0, 0.5, 0.05, 0.005, 0.0005]
    assert [row["full"] for row in report["filtered"]][:3] == [1.0] * 3  # 35 documents and more


def test_the_recall_that_is_reached_is_compared_by_score(topics, tmp_path):
    corpus = topics.vectors(20_011, 60, 0.8, seed=5)
    queries = topics.vectors(151, bench_search.QUERY_TERMS, 0.25, seed=6)
    index = Index.build(tmp_path / "index", corpus, calibration=queries.rows(0, 100))
    fresh = queries.rows(100, 151)
    rows = {(row["k"], row["asked"]): row for row in recalls(index, fresh)}
    assert list(rows) == [(k, asked) for k in (10, 100, 1000) for asked in (0.9, 0.95, 0.97, 0.99)]
    found, truth = index.search(fresh, 10, recall=0.9), index.search(fresh, 10, exact=True)
    mean = np.mean([np.isin(*pair).sum() / 10 for pair in zip(found.docs, truth.docs, strict=True)])
    assert rows[10, 0.9]["reached"] == pytest.approx(mean, abs=1e-4)
    assert 0.8 < rows[10, 0.9]["at_least"] < rows[10, 0.9]["reached"] < 1
    assert rows[10, 0.9]["percentile_5"] < rows[10, 0.9]["reached"]


@pytest.mark.skipif(find_spec("bmp") is None, reason="bmp is not installed")
def test_block_max_pruning_finds_what_exhaustive_search_finds(tmp_path, topics):
    corpus = topics.vectors(501, bench_search.DOCUMENT_TERMS, 0.8, seed=5)
    queries = topics.vectors(11, bench_search.QUERY_TERMS, 0.25, seed=6)
    searcher, built = _build_bmp(tmp_path / "bmp", corpus, 32)
    found, truth = (
        BlockMax(searcher, 32).answer(queries, 10),
        Exhaustive(corpus).answer(queries, 10),
    )
    assert _overlap(found, truth) > 0.9  # impacts of 8 bits
    assert built.size_bytes > 0


def test_the_gate_refuses_a_wrong_answer(tmp_path, monkeypatch):
    rows = [{0: 1.0}, {0: 2.0}, {1: 3.0}]
    index = Index.build(tmp_path / "index", SparseVectors.from_dicts(rows, 2))
    queries = SparseVectors.from_dicts([{0: 1.0}], 2)
    _gate(index, queries, 2)
    right = index.search

    def wrong(*arguments, **options):
        best = right(*arguments, **options)
        best.docs[0, 0] = 2
        return best

    monkeypatch.setattr(index, "search", wrong)
    with pytest.raises(AssertionError, match="exact search differs"):
        _gate(index, queries, 2)


def test_a_collection_gives_its_vectors_and_encodes_questions(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_search, "CALIBRATION_QUERIES", 1)
    passages = [Passage("a", "red moon"), Passage("b", "red red sun"), Passage("c", "blue")]
    collection = index_corpus(passages, tmp_path / "tiny", encoder=None)
    questions = tmp_path / "questions.txt"
    questions.write_text("moon\n\nblue sun\nmoon\n")
    work = from_collection(tmp_path / "tiny", questions, 1, 2.0)
    assert [len(row) for row in work.corpus.to_dicts()] == [2, 2, 1]
    assert sorted(np.diff(work.asked.offsets).tolist()) == [1, 2]  # "moon", "blue sun"
    best = collection.index.search(work.asked, 1, exact=True)
    (moon,) = np.flatnonzero(np.diff(work.asked.offsets) == 1)
    assert best.docs[moon].tolist() == [0]
    with pytest.raises(InputError, match="at least 5 questions"):
        from_collection(tmp_path / "tiny", questions, 4, None)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_vectors_encoded_beforehand_are_measured(topics, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(bench_search, "CALIBRATION_QUERIES", 2)
    corpus = topics.vectors(101, 60, 0.8, seed=5)
    questions = topics.vectors(7, bench_search.QUERY_TERMS, 0.25, seed=6)
    files = tmp_path / f"documents.{ending}", tmp_path / f"questions.{ending}"
    for file, vectors in zip(files, (corpus, questions), strict=True):
        write_csr(file, vectors, [str(row) for row in range(len(vectors))])
    work = from_vectors(*files, queries=5)
    assert work.corpus.to_dicts() == corpus.to_dicts()
    every = questions.to_dicts()
    assert sorted(map(every.index, work.asked.to_dicts())) == list(range(7))  # each of them once
    with pytest.raises(InputError, match="expected at least 8 questions, found 7"):
        from_vectors(*files, queries=6)
