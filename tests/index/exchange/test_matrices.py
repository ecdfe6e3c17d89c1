"""Matrices in files: scipy writes them, and hostile hands."""

import numpy as np
import pytest
import scipy.sparse
from vectors_of import random_vectors

from tamis.index import FormatError, InputError, SparseVectors
from tamis.index.exchange.matrices import read_csr, read_ids, read_vectors, write_csr, write_ids

IDS = [f"d{n}" for n in range(307)]


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_a_matrix_comes_back_with_its_ids(tmp_path, ending):
    path = tmp_path / f"v{ending}"
    given = random_vectors(307, 83, seed=4)
    write_csr(path, given, IDS)
    found = read_vectors(path)
    assert found.to_dicts() == given.to_dicts()
    assert found.vocab_size == 83
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


def test_ids_of_several_lines_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected ids of one line"):
        write_ids(tmp_path / "v.npz", ["a", "b\nc"])


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb", "a\r\nb\r\n", "\ufeffa\nb\n"])
def test_ids_are_read_however_their_lines_end(tmp_path, text):
    (tmp_path / "v.ids.txt").write_bytes(text.encode())
    assert read_ids(tmp_path / "v.npz") == ["a", "b"]
    assert read_ids(tmp_path / "w.npz") is None
    (tmp_path / "v.ids.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(InputError, match=r"v\.ids\.txt:2: expected UTF-8"):
        read_ids(tmp_path / "v.npz")


GOOD = {"data": [1.0, 2.0], "indices": [1, 4], "indptr": [0, 1, 2], "shape": [2, 5]}


def save(path, **changed):
    arrays = {name: np.array(values) for name, values in {**GOOD, **changed}.items()}
    np.savez(path, format=np.array(b"csr"), **arrays)


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"data": [1.0]}, FormatError, "expected arrays of one CSR matrix of 2 rows"),
        ({"indices": [1, 4, 2]}, FormatError, "expected arrays of one CSR matrix"),
        ({"indptr": [0, 2]}, FormatError, "expected arrays of one CSR matrix"),
        ({"indptr": [0, 3, 2]}, FormatError, "expected arrays of one CSR matrix"),
        ({"indptr": [1, 1, 2]}, FormatError, "expected arrays of one CSR matrix"),
        ({"indptr": [0, 1, 1]}, FormatError, "expected arrays of one CSR matrix"),
        ({"indptr": [0.0, 1.0, 2.0]}, FormatError, "expected arrays of one CSR matrix"),
        ({"shape": [2]}, FormatError, "expected a matrix of two dimensions"),
        ({"shape": [2.0, 5.0]}, FormatError, "expected a matrix of two dimensions"),
        (
            {"data": [1.0, -2.0]},
            InputError,
            "expected finite weights above zero, found -2.0 in row 1",
        ),
        ({"data": [np.nan, 1.0]}, InputError, "found nan in row 0 for term 1"),
        ({"data": [1.0, np.inf]}, InputError, "found inf in row 1"),
        ({"data": [1.0, 1e300]}, InputError, "found inf in row 1"),
        ({"data": [1j, 2j]}, InputError, "expected numbers as weights, found complex128"),
        ({"data": ["1", "2"]}, InputError, "expected numbers as weights, found <U1"),
        ({"indices": [1.0, 4.0]}, InputError, "expected integer terms"),
        ({"indices": [1, 5]}, InputError, "expected terms from 0 to 4, found 5 in row 1"),
        ({"indices": [1, -4]}, InputError, "expected term ids from 0"),
        ({"indptr": [0, 2, 2], "indices": [4, 4]}, InputError, "found 4 before 4 in row 0"),
    ],
)
def test_a_faulty_matrix_is_refused_by_file_and_row(tmp_path, changed, kind, words):
    save(tmp_path / "v.npz")
    assert read_csr(tmp_path / "v.npz").to_dicts() == [{1: 1.0}, {4: 2.0}]
    save(tmp_path / "v.npz", **changed)
    with pytest.raises(kind) as told:
        read_csr(tmp_path / "v.npz")
    assert str(told.value).startswith(f"{tmp_path / 'v.npz'}: ")
    assert words in str(told.value)


def test_weights_that_32_bits_round_to_nothing_are_left_out_as_zeros_are(tmp_path):
    save(tmp_path / "v.npz", data=[1e-46, 1e-45])
    assert read_csr(tmp_path / "v.npz").to_dicts() == [{}, {4: float(np.float32(1e-45))}]


def test_a_faulty_safetensors_file_is_named(tmp_path):
    faulty = SparseVectors.trusted(
        np.array([0, 1]), np.array([1], np.int32), np.array([np.nan], np.float32), 5
    )
    faulty.save(tmp_path / "v.safetensors")
    with pytest.raises(InputError, match=r"v\.safetensors: expected finite weights above zero"):
        read_vectors(tmp_path / "v.safetensors")


def test_missing_and_broken_files_are_told(tmp_path):
    with pytest.raises(InputError, match="check the path"):
        read_csr(tmp_path / "none.npz")
    (tmp_path / "v.npz").write_bytes(b"no archive")
    with pytest.raises(FormatError, match=r"expected a file of scipy\.sparse\.save_npz"):
        read_csr(tmp_path / "v.npz")
    scipy.sparse.save_npz(tmp_path / "v.npz", scipy.sparse.eye(3, format="csc"))
    with pytest.raises(FormatError, match="expected a matrix of format csr"):
        read_csr(tmp_path / "v.npz")
