"""The 8-bit encoder beside other engines: what is compared, counted and left out."""

import numpy as np
import pytest

from tamis.index.vectors import SparseVectors
from tamis.kernels.int8 import multiplies_int8
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.encoder import SparseEncoder
from tamis.scripts.bench import encode_int8, encode_peers
from tamis.scripts.bench.encode_int8 import cosine, shared_best, shared_terms
from tamis.scripts.bench.encode_peers import padded, peer_encoders

TEXTS = ["a drum sieve", "of two sizes, one finer than the other, and more", "flour"]


def rows(*dense):
    return SparseVectors.from_dicts(
        [{term: w for term, w in enumerate(row) if w} for row in dense], len(dense[0])
    )


def test_vectors_are_compared_row_by_row():
    one, other = rows([3, 4, 0], [0, 2, 0]), rows([4, 3, 0], [1, 0, 1])
    assert cosine(one, other).tolist() == pytest.approx([24 / 25, 0])
    assert shared_terms(one, other) == pytest.approx(2 / 3)


def test_best_documents_are_compared_query_by_query():
    truth, found = np.array([[1, 2, 3, -1], [5, 6, 7, 8]]), np.array([[3, 2, 9, -1], [8, 7, 6, 5]])
    assert shared_best(truth, found) == pytest.approx((2 / 3 + 1) / 2)


def test_texts_are_filled_up_and_masked():
    tokens, mask = padded([[7, 8, 9], [5]])
    assert tokens.tolist() == [[7, 8, 9], [5, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.long
def test_engines_that_are_missing_are_named_and_float32_is_the_encoders(monkeypatch, tmp_path):
    monkeypatch.setattr(encode_peers, "find_spec", lambda _: None)
    files = read_checkpoint("default")
    ours = SparseEncoder(files, device="cpu", arithmetic="float32")
    truth, peers, missing = peer_encoders(files.document, ours, TEXTS, tmp_path, 1)
    assert peers == {}
    assert missing == {
        "OpenVINO": ["openvino", "nncf", "onnx"],
        "onnxruntime": ["onnxruntime", "onnx"],
    }
    truth.size = 2  # so that texts of other lengths are padded
    made, expected = truth.encode(TEXTS).to_scipy(), ours.encode_documents(TEXTS).to_scipy()
    assert abs(made - expected).max() < 1e-4
    assert expected.nnz > 100


@pytest.mark.long
@pytest.mark.skipif(
    not multiplies_int8(), reason="a processor with 8-bit products is not installed"
)
def test_operations_are_those_of_the_model():
    ours = SparseEncoder(read_checkpoint("default"), device="cpu", arithmetic="int8")
    encode_int8.make_every_product(ours)
    (tokens,) = map(len, ours.tokenizer.document_ids([TEXTS[1]]))
    assert tokens < 32  # fewer are multiplied as they are, more in multiples
    width, layers, blocks = 384, 6, 8
    layer = 2 * tokens * width * (3 + 1 + 4 + 4) * width
    columns = -(-30522 // blocks) * blocks
    model = layers * layer + 2 * tokens * width * width + 2 * tokens * width * columns
    made, seconds = encode_int8.work_of(ours, [TEXTS[1]]).products
    exact = made - model
    assert 0 <= exact <= 40 * 2 * 64 * width * 256  # terms multiplied in full, 256 at a time
    assert exact % (2 * 64 * width * 256) == 0
    assert seconds > 0
    (attended, _) = encode_int8.work_of(ours, [TEXTS[1]]).attention
    assert attended == layers * 4 * tokens * tokens * width
