import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from tamis.index import FormatError, InputError, SparseVectors


def vectors(offsets, terms, weights, vocab_size=10):
    return SparseVectors(
        np.array(offsets, np.int64),
        np.array(terms, np.int32),
        np.array(weights, np.float32),
        vocab_size,
    )


def test_rows_come_back_as_they_were_given():
    batch = vectors([0, 2, 2, 3], [1, 4, 0], [0.5, 2, 1])
    assert len(batch) == 3
    assert batch.nnz == 3
    assert batch.to_dicts() == [{1: 0.5, 4: 2.0}, {}, {0: 1.0}]
    assert batch.rows(1, 3).to_dicts() == [{}, {0: 1.0}]


@pytest.mark.parametrize(
    ("offsets", "terms", "weights", "words"),
    [
        ([0, 1], [3], [float("nan")], "found nan in row 0 for term 3"),
        ([0, 1], [3], [float("inf")], "found inf in row 0 for term 3"),
        ([0, 1, 2], [3, 4], [1, 0], "found 0.0 in row 1 for term 4"),
        ([0, 1], [3], [-1], "found -1.0 in row 0"),
        ([0, 1], [10], [1], "expected terms from 0 to 9, found 10 in row 0"),
        ([0, 1], [-1], [1], "found -1 in row 0"),
        ([0, 2], [4, 3], [1, 1], "found 4 before 3 in row 0"),
        ([0, 1, 3], [9, 2, 2], [1, 1, 1], "found 2 before 2 in row 1"),
        ([0, 2], [3], [1], "expected offsets that rise from 0 to nnz=1"),
        ([1, 1], [3], [1], "expected offsets that rise"),
        ([0, 1, 0, 1], [3], [1], "expected offsets that rise"),
        ([], [], [], "expected offsets that rise"),
        ([0, 1], [3], [1, 1], "found 1 terms and 2 weights"),
    ],
)
def test_a_broken_batch_is_refused_with_its_place(offsets, terms, weights, words):
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        vectors(offsets, terms, weights)


def test_a_row_may_begin_with_a_smaller_term_than_the_row_before_ended_with():
    assert len(vectors([0, 0, 2, 2, 3, 3], [5, 9, 0], [1, 1, 1])) == 5


@pytest.mark.parametrize("vocab_size", [0, -1, 2**31 + 1])
def test_the_terms_of_a_vocabulary_must_fit_an_int32(vocab_size):
    with pytest.raises(InputError, match="vocab_size"):
        vectors([0], [], [], vocab_size)


def test_term_ids_past_an_int32_are_refused_instead_of_wrapping():
    with pytest.raises(InputError, match="found 2147483648 to 2147483648"):
        SparseVectors(np.array([0, 1]), np.array([2**31]), np.ones(1, np.float32), 2**31 - 1)
    assert vectors([0, 1], [2**31 - 2], [1], 2**31 - 1).terms[0] == 2**31 - 2


def test_scipy_matrices_round_trip_without_explicit_zeros():
    matrix = random_array((17, 23), density=0.2, rng=np.random.default_rng(5), format="coo")
    matrix.data[3] = 0.0
    batch = SparseVectors.from_scipy(matrix)
    assert batch.nnz == matrix.nnz - 1
    assert np.allclose(batch.to_scipy().toarray(), matrix.toarray())


def test_unsorted_scipy_rows_are_sorted_and_the_caller_keeps_theirs():
    matrix = csr_array((np.ones(2, np.float32), np.array([4, 1]), np.array([0, 2])), shape=(1, 5))
    assert SparseVectors.from_scipy(matrix).terms.tolist() == [1, 4]
    assert matrix.indices.tolist() == [4, 1]


def test_dicts_in_any_order_become_sorted_rows():
    rows = [{7: 1.0, 2: 0.5}, {}, {0: 3.0}]
    assert SparseVectors.from_dicts(rows, 8).to_dicts() == [{2: 0.5, 7: 1.0}, {}, {0: 3.0}]


def test_batches_of_one_vocabulary_concatenate_and_others_are_refused():
    first, second = vectors([0, 1], [3], [1]), vectors([0, 0, 2], [1, 2], [1, 1])
    joined = SparseVectors.concatenate([first, second])
    assert joined.to_dicts() == [{3: 1.0}, {}, {1: 1.0, 2: 1.0}]
    with pytest.raises(InputError, match=r"vocabulary sizes \[10, 11\]"):
        SparseVectors.concatenate([first, vectors([0], [], [], 11)])


def test_rows_of_two_channels_join_side_by_side():
    left, right = (
        vectors([0, 2, 2], [1, 2], [1, 2]),
        vectors([0, 1, 3], [20, 11, 19], [3, 4, 5], 21),
    )
    joined = SparseVectors.join(left, right, 21)
    assert joined.to_dicts() == [{1: 1.0, 2: 2.0, 20: 3.0}, {11: 4.0, 19: 5.0}]
    with pytest.raises(InputError, match="before"):
        SparseVectors.join(right, left, 21)
    with pytest.raises(InputError, match="found 2 and 1"):
        SparseVectors.join(left, vectors([0, 0], [], []), 10)


def test_a_saved_file_loads_equal(tmp_path):
    batch = vectors([0, 2, 2, 3], [1, 4, 0], [0.5, 2, 1])
    batch.save(tmp_path / "v.safetensors")
    loaded = SparseVectors.load(tmp_path / "v.safetensors")
    assert loaded.vocab_size == 10
    assert loaded.to_dicts() == batch.to_dicts()


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "v.safetensors"
    with pytest.raises(InputError, match="found none"):
        SparseVectors.load(path)
    path.write_bytes(b"not a tensor file")
    with pytest.raises(FormatError, match="expected a safetensors file"):
        SparseVectors.load(path)


def test_scaled_weights_that_vanish_are_left_out_and_those_beyond_float32_are_refused():
    vectors = SparseVectors.from_dicts([{0: 2.0, 3: 4.0}, {3: 1e-30}], 5)
    halved = vectors.scaled(np.array([1.0, 0.5, 0.5]))
    assert halved.to_dicts() == [{0: 2.0, 3: 2.0}, {3: np.float32(1e-30) / 2}]
    assert vectors.scaled(np.array([0.0, 1.0, 1e-30])).to_dicts() == [{3: 4.0}, {}]
    with pytest.raises(InputError, match="expected weights within float32, found 4e\\+38"):
        vectors.scaled(np.array([1.0, 1e38, 1.0]))


def test_the_heaviest_terms_of_each_row_are_kept_lower_numbers_first():
    rows = [{0: 1.0, 2: 5.0, 3: 2.0, 7: 2.0}, {}, {4: 1.0, 5: 1.0, 6: 1.0}, {1: 3.0}]
    vectors = SparseVectors.from_dicts(rows, 8)
    assert vectors.heaviest(2).to_dicts() == [{2: 5.0, 3: 2.0}, {}, {4: 1.0, 5: 1.0}, {1: 3.0}]
    assert vectors.heaviest(4) is vectors


def test_what_32_bits_round_to_nothing_is_left_out_and_nothing_else_is():
    given = {1: 1e-46, 2: 0.5, 3: 5e-324, 4: 1e-45}
    (row,) = SparseVectors.from_dicts([given], 5).to_dicts()
    assert row == {2: 0.5, 4: float(np.float32(1e-45))}
    matrix = csr_array(np.array([[1e-46, 0.5, 0.0]]))
    assert SparseVectors.from_scipy(matrix).to_dicts() == [{1: 0.5}]
    for refused in (-1e-46, 0, float("nan"), 1e39):
        with pytest.raises(InputError, match="expected finite weights above zero"):
            SparseVectors.from_dicts([{1: refused}], 5)
