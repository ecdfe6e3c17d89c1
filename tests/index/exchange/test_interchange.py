"""Vectors leave an index and come back; scipy and plain JSON are the other programs."""

import gzip
import json

import numpy as np
import pytest
import scipy.sparse
from vectors_of import random_vectors

from tamis.index import FormatError, Index, IndexConfig, InputError, SparseVectors
from tamis.index.exchange.interchange import (
    JsonVectors,
    read_csr,
    read_ids,
    stored_vectors,
    whole_numbers,
    write_csr,
    write_ids,
    write_json_vectors,
)

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
    found = JsonVectors.survey(tmp_path / name)
    assert (found.numbered, found.ids) == (True, tuple(IDS))
    assert found.largest == given.terms.max()
    ((_, stored),) = stored_vectors(index)
    assert same(SparseVectors.concatenate(list(found.batches(83))), stored)
    assert same(stored, given) == (precision == "f32")


def test_an_index_of_exported_vectors_answers_alike(tmp_path, index):
    write_json_vectors(tmp_path / "v.jsonl", stored_vectors(index))
    found = JsonVectors.survey(tmp_path / "v.jsonl")
    again = Index.build(tmp_path / "again", found.batches(83), found.ids)
    queries = random_vectors(31, 83, seed=5)
    first, second = (one.search(queries, 17, exact=True) for one in (index, again))
    assert np.array_equal(first.docs, second.docs)
    assert np.array_equal(first.scores, second.scores)


def test_a_folder_of_files_is_read_in_the_order_of_their_names(tmp_path):
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write('{"id": 2, "vector": {"4": 1}}\n')
    (tmp_path / "a.jsonl").write_text('{"id": "1", "vector": {"7": 0.5, "3": 0, "2": 2}}\n\n')
    (tmp_path / "notes.txt").write_text("no vectors")
    found = JsonVectors.survey(tmp_path)
    assert (found.ids, found.largest) == (("1", "2"), 7)
    (vectors,) = found.batches(8)
    assert vectors.to_dicts() == [{2: 2.0, 7: 0.5}, {4: 1.0}]


def test_spelled_terms_go_through_a_vocabulary(tmp_path):
    vocabulary = {"sieve": 3, "2019": 1}
    (tmp_path / "v.jsonl").write_text('{"id": "a", "vector": {"2019": 1.5, "sieve": 2}}\n')
    found = JsonVectors.survey(tmp_path / "v.jsonl")
    assert not found.numbered
    (vectors,) = found.batches(5, vocabulary.get)
    assert vectors.to_dicts() == [{1: 1.5, 3: 2.0}]
    with pytest.raises(InputError, match=r"v\.jsonl:1: .*found 'sieve'; name the encoder"):
        list(found.batches(5, {"2019": 1}.get))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "expected a line of JSON"),
        ("[1]", "expected a line such as"),
        ('{"id": "a"}', "expected a line such as"),
        ('{"vector": {}}', "expected a line such as"),
        ('{"id": "a", "vector": {"1": "x"}}', "expected one number for term '1', found 'x'"),
        ('{"id": "a", "vector": {"1": 1, "01": 2}}', "found 2 after another"),
        ('{"id": "a", "vector": {"1": -1}}', "expected finite weights above zero, found -1"),
        ('{"id": "a", "vector": {"1": 1e99}}', "found inf"),
        ('{"id": "a", "vector": {"9": 1}}', "expected terms from 0 to 8, found 9"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_faulty_line_is_named(tmp_path, line, words):
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps({"id": "x", "vector": {"1": 2}}) + "\n" + line + "\n")
    with pytest.raises(InputError, match=rf"v\.jsonl:2: .*{words}"):
        list(JsonVectors.survey(path).batches(9))


def test_missing_and_broken_files_are_told(tmp_path):
    with pytest.raises(InputError, match=r"expected JSON vectors.*found none"):
        JsonVectors.survey(tmp_path)
    with pytest.raises(InputError, match="check the path"):
        read_csr(tmp_path / "none.npz")
    (tmp_path / "v.npz").write_bytes(b"no archive")
    with pytest.raises(FormatError, match=r"expected a file of scipy\.sparse\.save_npz"):
        read_csr(tmp_path / "v.npz")
    scipy.sparse.save_npz(tmp_path / "v.npz", scipy.sparse.eye(3, format="csc"))
    with pytest.raises(FormatError, match="expected a matrix of format csr"):
        read_csr(tmp_path / "v.npz")
    cut = gzip.compress(b'{"id": "a", "vector": {}}\n' * 99)[:-20]
    (tmp_path / "v.jsonl.gz").write_bytes(cut)
    with pytest.raises(FormatError, match="expected a whole gzip file"):
        JsonVectors.survey(tmp_path / "v.jsonl.gz")


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_matrix_comes_back_with_its_ids(tmp_path, index, ending):
    path = tmp_path / f"v{ending}"
    ((ids, stored),) = stored_vectors(index)
    write_csr(path, stored, ids)
    read = read_csr if ending == ".npz" else SparseVectors.load
    assert same(read(path), stored)
    assert read_ids(path) == IDS


def test_scipy_reads_what_is_written(tmp_path):
    vectors = random_vectors(101, 29, seed=6)
    write_csr(tmp_path / "v.npz", vectors, IDS[:101])
    theirs = scipy.sparse.load_npz(tmp_path / "v.npz")
    assert theirs.shape == (101, 29)
    assert (theirs != vectors.to_scipy()).nnz == 0


def test_what_scipy_writes_is_read_sorted_and_without_zeros(tmp_path):
    rows = ([1.0, 0.0, 2.0, 3.0], [4, 1, 0, 2], [0, 3, 3, 4])
    scipy.sparse.save_npz(tmp_path / "v.npz", scipy.sparse.csr_array(rows, shape=(3, 5)))
    assert read_csr(tmp_path / "v.npz").to_dicts() == [{0: 2.0, 4: 1.0}, {}, {2: 3.0}]


def test_an_empty_index_gives_no_batch(tmp_path):
    empty = Index.build(tmp_path / "none", SparseVectors.empty(7))
    assert list(stored_vectors(empty)) == []


def test_ids_of_several_lines_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected ids of one line"):
        write_ids(tmp_path / "v.npz", ["a", "b\nc"])


def test_whole_numbers_are_rounded_and_never_zero():
    vectors = SparseVectors.from_dicts([{0: 0.004, 1: 1.234, 2: 0.005001}, {3: 0.001}], 5)
    assert whole_numbers(vectors, 100).to_dicts() == [{1: 123.0, 2: 1.0}, {}]
