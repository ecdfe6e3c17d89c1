"""Lucene as an independent truth; runs where the extra ``pyserini`` is installed."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from typer.testing import CliRunner

from tamis.eval.datasets import load_dataset
from tamis.eval.lucene import (
    LuceneImpacts,
    LuceneSystem,
    _equal,
    equal_answers,
    impacts,
    start_java,
)
from tamis.index import Index
from tamis.index.errors import InputError
from tamis.index.exchange.interchange import stored_vectors, write_json_vectors
from tamis.index.vectors import SparseVectors
from tamis.scripts.main import command_line

needs_pyserini = pytest.mark.skipif(
    find_spec("pyserini") is None, reason="pyserini is not installed"
)


def random_vectors(rows, seed, terms=300):
    random = np.random.default_rng(seed)
    return SparseVectors.from_dicts(
        [
            {
                int(term): float(weight)
                for term, weight in zip(
                    random.choice(terms, 30, replace=False), random.gamma(1, 1, 30), strict=True
                )
            }
            for _ in range(rows)
        ],
        terms,
    )


def test_impacts_are_rounded_weights_without_zeros():
    vectors = SparseVectors.from_dicts([{0: 0.004, 1: 1.234, 2: 0.005001}, {3: 0.001}], 5)
    assert impacts(vectors).to_dicts() == [{1: 123.0, 2: 1.0}, {}]


def test_vectors_are_written_as_anserini_reads_them(tmp_path):
    whole = SparseVectors.from_dicts([{7: 3.0}], 9)
    write_json_vectors(tmp_path / "v.jsonl", [(["a"], whole)])
    text = (tmp_path / "v.jsonl").read_text()
    assert "3.0" not in text  # Lucene counts whole numbers
    assert json.loads(text) == {"id": "a", "contents": "", "vector": {"7": 3}}


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"tamis\[pyserini\]"):
        start_java()


@needs_pyserini
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_exact_search_equals_lucenes_impact_search(tmp_path):
    documents, queries = impacts(random_vectors(2011, 1)), impacts(random_vectors(57, 2), 10)
    assert equal_answers(tmp_path, documents, queries, 100).all()


@needs_pyserini
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_lucene_scores_an_export_as_its_stored_weights_say(sample_index, tmp_path):
    (tmp_path / "export").mkdir()
    export = ["export", str(sample_index), "--to", "anserini", "--scale", "100"]
    done = CliRunner().invoke(
        command_line(), [*export, "--out", str(tmp_path / "export" / "v.jsonl")]
    )
    assert done.exit_code == 0, done.output
    lucene = LuceneImpacts(tmp_path / "export", tmp_path / "lucene")

    ((ids, stored),) = stored_vectors(Index.open(sample_index))
    queries = impacts(stored, 10)  # each document asks for those like it
    sums = queries.to_scipy() @ impacts(stored).to_scipy().T
    for row, found in zip(sums.toarray(), lucene.search(queries, 10), strict=True):
        assert len(found) > 1
        assert found == {ids[doc]: round(score) for doc, score in enumerate(row) if score > 0}
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_answers_differ_by_a_score_or_by_a_document_above_the_last_score():
    docs, scores = np.array([4, 2, 7]), np.array([9, 5, 3], np.float32)
    assert _equal(docs, scores, {"4": 9, "2": 5, "8": 3})  # 7 and 8 tie at the border
    assert not _equal(docs, scores, {"4": 9, "2": 4, "7": 3})
    assert not _equal(docs, scores, {"4": 9, "6": 5, "7": 3})
    assert not _equal(docs, scores, {"4": 9, "2": 5})
    assert _equal(docs[:0], scores[:0], {})


@needs_pyserini
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_lucenes_bm25_is_a_baseline(beir, tmp_path):
    ranker = LuceneSystem().prepare(load_dataset(str(beir)), tmp_path / "work")
    rankings = ranker.rank(["drum sieve", "sifting flour"], 10)
    assert [next(iter(ranking)) for ranking in rankings] == ["d1", "d2"]
    assert ranker.facts()["index_bytes"] > 0
