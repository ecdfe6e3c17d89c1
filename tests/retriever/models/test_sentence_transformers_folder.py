"""A folder written for sentence-transformers computes what Tamis computes."""

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.torch import save_file
from sentence_transformers import SparseEncoder

from tamis.index.errors import FormatError
from tamis.retriever import load_encoder
from tamis.retriever.models import encoder
from tamis.retriever.models.description import read_checkpoint
from tamis.retriever.models.sentence_transformers_folder import write_sparse_encoder

TEXTS = [text for text in tiny.TEXTS if len(text) < 200]


def assert_equal_outputs(ours, folder, *, atol=1e-4):
    theirs = SparseEncoder(str(folder), device="cpu")
    again = load_encoder(str(folder), device="cpu")
    for task in ("query", "document"):
        expected = getattr(ours, f"encode_{'queries' if task == 'query' else 'documents'}")(TEXTS)
        dense = expected.to_scipy().toarray()
        encode = theirs.encode_query if task == "query" else theirs.encode_document
        found = encode(TEXTS, convert_to_sparse_tensor=False).numpy()
        np.testing.assert_allclose(found[:, : dense.shape[1]], dense, rtol=0, atol=atol)
        assert dense.max() > 0.1
        name = f"encode_{'queries' if task == 'query' else 'documents'}"
        read = getattr(again, name)(TEXTS).to_scipy().toarray()
        np.testing.assert_allclose(read, dense, rtol=0, atol=atol)


@pytest.mark.parametrize("write", tiny.MASKED.values(), ids=tiny.MASKED)
def test_every_masked_language_model_is_written(tmp_path, write):
    source = write(tmp_path / "a")
    (source / "encoder.json").write_text('{"double_log": true, "max_length": 40, "top_n": 30}')
    folder = write_sparse_encoder(str(source), tmp_path / "b")
    assert_equal_outputs(load_encoder(str(source), device="cpu"), folder)


@pytest.mark.parametrize("settings", ['{"pooling": "sum"}', '{"linear_head": true}'])
def test_sums_and_heads_without_activation_are_written(tmp_path, settings):
    source = tiny.write_bert(tmp_path / "a")
    (source / "encoder.json").write_text(settings)
    folder = write_sparse_encoder(str(source), tmp_path / "b")
    assert_equal_outputs(load_encoder(str(source), device="cpu"), folder, atol=5e-4)


def test_query_weights_become_a_router(tmp_path):
    source = tiny.write_bert(tmp_path / "a")
    torch.manual_seed(1)
    size = load_encoder(str(source), device="cpu").description.vocab_size
    save_file({"weight": torch.rand(size)}, str(source / "query_weights.safetensors"))
    folder = write_sparse_encoder(str(source), tmp_path / "b")
    assert_equal_outputs(load_encoder(str(source), device="cpu"), folder)


@pytest.mark.long
def test_the_default_encoder_is_written(tmp_path):
    folder = write_sparse_encoder("default", tmp_path)
    texts = ["Which planet is red?", "Rust makes the soil of Mars look red."]
    ours = encoder.SparseEncoder(read_checkpoint("default"), device="cpu", arithmetic="float32")
    expected = ours.encode_documents(texts).to_scipy().toarray()
    found = SparseEncoder(str(folder), device="cpu").encode_document(
        texts, convert_to_sparse_tensor=False
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-4)


def test_what_no_module_computes_is_refused(tmp_path):
    source = tiny.write_bert(tmp_path / "a")
    (source / "encoder.json").write_text('{"echo": true}')
    with pytest.raises(FormatError, match="found texts read twice"):
        write_sparse_encoder(str(source), tmp_path / "b")
    with pytest.raises(FormatError, match="found a causal language model"):
        write_sparse_encoder(str(tiny.write_llama(tmp_path / "c")), tmp_path / "d")
