"""A patched SparseEncoder gives what it gave before, and so do its gradients."""

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from sentence_transformers import SparseEncoder

from tamis.index.errors import InputError
from tamis.retriever.models.sentence_transformers_patch import (
    FusedSpladePooling,
    patch_sparse_encoder,
)


def encode(model, task):
    method = model.encode_query if task == "query" else model.encode_document
    return method(tiny.TEXTS, convert_to_sparse_tensor=False).numpy()


@pytest.mark.parametrize("write", tiny.MASKED.values(), ids=tiny.MASKED)
def test_outputs_stay_the_same(tmp_path, write):
    model = SparseEncoder(str(write(tmp_path)), device="cpu")
    before = encode(model, "document")
    assert patch_sparse_encoder(model) is model
    np.testing.assert_allclose(encode(model, "document"), before, rtol=0, atol=1e-4)
    assert before.max() > 0.5


@pytest.mark.parametrize(
    ("activation", "pooling"), [("relu", "max"), ("log1p_relu", "max"), ("relu", "sum")]
)
def test_every_pooling_and_activation_is_kept(tmp_path, activation, pooling):
    tiny.write_sentence_transformers(
        tmp_path, old_types=False, activation=activation, pooling=pooling
    )
    model = SparseEncoder(str(tmp_path), device="cpu")
    before = encode(model, "document")
    np.testing.assert_allclose(
        encode(patch_sparse_encoder(model), "document"), before, rtol=1e-5, atol=1e-4
    )


def test_the_language_model_behind_a_router_is_patched(tmp_path):
    weights = tiny.idf_of_vocabulary(tiny.write_bert(tmp_path / "vocabulary"))
    folder = tiny.write_router(tmp_path / "m", old_types=False, weights=weights)
    model = SparseEncoder(str(folder), device="cpu")
    before = [encode(model, task) for task in ("query", "document")]
    patch_sparse_encoder(model)
    assert any(isinstance(module, FusedSpladePooling) for module in model.modules())
    for task, expected in zip(("query", "document"), before, strict=True):
        np.testing.assert_allclose(encode(model, task), expected, rtol=0, atol=1e-4)


def test_gradients_stay_the_same(tmp_path):
    tiny.write_bert(tmp_path)
    gradients = []
    for patch in (False, True):
        model = SparseEncoder(str(tmp_path), device="cpu")
        if patch:
            patch_sparse_encoder(model)
        features = model.preprocess(["one sieve", "two postings and a block"])
        out = model(features)["sentence_embedding"]
        generator = torch.Generator().manual_seed(2)
        (out * torch.rand(out.shape, generator=generator)).sum().backward()
        named = dict(model[0].named_parameters())
        gradients.append({name: p.grad for name, p in named.items() if p.grad is not None})
    shared = [name for name in gradients[1] if "embeddings.word" in name or "query" in name]
    assert shared
    for name in shared:
        torch.testing.assert_close(gradients[1][name], gradients[0][name], rtol=1e-3, atol=1e-4)


def test_a_model_is_patched_once(tmp_path):
    model = patch_sparse_encoder(SparseEncoder(str(tiny.write_bert(tmp_path)), device="cpu"))
    with pytest.raises(InputError, match="a model is patched once"):
        patch_sparse_encoder(model)
