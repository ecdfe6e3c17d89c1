"""Vectors leave an index and come back to the last bit."""

import numpy as np
import pytest
from vectors_of import random_vectors

from tamis.index import Index, IndexConfig, SparseVectors
from tamis.index.exchange.interchange import stored_vectors, whole_numbers, write_json_vectors
from tamis.index.exchange.json_vectors import JsonVectors

IDS = [f"d{n}" for n in range(307)]


def same(found, expected):
    return all(
        np.array_equal(getattr(found, name), getattr(expected, name))
        for name in ("offsets", "terms", "weights", "vocab_size")
    )


@pytest.fixture
def index(tmp_path):
    return Index.build(tmp_path / "index", random_vectors(307, 83, seed=4), IDS)


@pytest.mark.parametrize("name", ["v.jsonl", "v.jsonl.gz"])
@pytest.mark.parametrize("precision", ["f32", "u16", "u8"])
def test_json_vectors_carry_the_stored_weights_to_the_last_bit(tmp_path, precision, name):
    given = random_vectors(307, 83, seed=4)
    index = Index.build(tmp_path / "index", given, IDS, IndexConfig(precision))
    write_json_vectors(tmp_path / name, stored_vectors(index))
    found = JsonVectors.survey(tmp_path / name, 83)
    assert [document.doc_id for document in found.documents()] == IDS
    ((_, stored),) = stored_vectors(index)
    assert same(SparseVectors.concatenate(list(found.batches())), stored)
    assert same(stored, given) == (precision == "f32")


def test_an_index_of_exported_vectors_answers_alike(tmp_path, index):
    write_json_vectors(tmp_path / "v.jsonl", stored_vectors(index))
    found = JsonVectors.survey(tmp_path / "v.jsonl", 83)
    again = Index.build(tmp_path / "again", found.batches(), IDS)
    queries = random_vectors(31, 83, seed=5)
    first, second = (one.search(queries, 17, exact=True) for one in (index, again))
    assert np.array_equal(first.docs, second.docs)
    assert np.array_equal(first.scores, second.scores)


def test_an_empty_index_gives_no_batch(tmp_path):
    empty = Index.build(tmp_path / "none", SparseVectors.empty(7))
    assert list(stored_vectors(empty)) == []


def test_whole_numbers_are_rounded_and_never_zero():
    vectors = SparseVectors.from_dicts([{0: 0.004, 1: 1.234, 2: 0.005001}, {3: 0.001}], 5)
    assert whole_numbers(vectors, 100).to_dicts() == [{1: 123.0, 2: 1.0}, {}]
