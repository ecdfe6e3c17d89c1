"""Dense encoders of sentence-transformers give its vectors, or are refused by name."""

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from sentence_transformers import SentenceTransformer
from tiny_dense import copied_with, write_dense

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.dense_encoder import DenseEncoder

CLS = {"pooling_mode": "cls", "include_prompt": True}
PROMPTS = {"prompts": {"query": "small: ", "document": "the coarse "}}


def load(folder):
    return DenseEncoder.load(str(folder), device="cpu", dtype=torch.float32)


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ("BERT", {}),
        ("BERT", {"pooling": CLS, "normalize": False, "about": PROMPTS}),
        ("DistilBERT", {"about": {"similarity_fn_name": "dot"}, "normalize": False}),
        ("RoBERTa", {"about": {"prompts": {"x": "and "}, "default_prompt_name": "x"}}),
        ("XLM-R", {"pooling": CLS}),
        ("ModernBERT", {}),  # padded: its layers have no packed attention
    ],
)
def test_vectors_are_those_of_sentence_transformers(tmp_path, body, options):
    folder = write_dense(tmp_path / "model", tiny.MASKED[body], **options)
    theirs, ours = SentenceTransformer(str(folder), device="cpu"), load(folder)
    is_cosine = theirs.similarity_fn_name != "dot"
    for name in ("encode_query", "encode_document"):
        wanted = getattr(theirs, name)(tiny.TEXTS, normalize_embeddings=is_cosine)
        plural = {"encode_query": "encode_queries", "encode_document": "encode_documents"}[name]
        np.testing.assert_allclose(getattr(ours, plural)(tiny.TEXTS), wanted, atol=1e-5)
    assert ours.size == wanted.shape[1]
    assert ours.encode_documents([]).shape == (0, ours.size)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"more": ("SparseAutoEncoder",)}, "found Transformer, Pooling, Normalize, SparseAuto"),
        ({"pooling": {"pooling_mode_max_tokens": True}}, "pooling_mode_max_tokens of False"),
        ({"pooling": {"pooling_mode": "lasttoken"}}, "expected one pooling, mean or cls"),
        ({"pooling": {"pooling_mode": ["mean", "cls"]}}, "expected one pooling, mean or cls"),
        ({"pooling": CLS | {"include_prompt": False}}, "include_prompt of True"),
        ({"about": {"similarity_fn_name": "euclidean"}}, "similarity_fn_name of 'cosine' or"),
        ({"about": {"prompts": {"query": "a b c " * 60}}}, "leaves room for a text"),
    ],
)
def test_what_is_not_computed_here_is_refused(tmp_path, options, said):
    folder = write_dense(tmp_path / "model", **options)
    with pytest.raises(FormatError, match=said):
        load(folder)


def test_no_dense_encoder_is_told_from_one(tmp_path):
    with pytest.raises(FormatError, match=r"expected a dense encoder with modules\.json"):
        load(tiny.write_bert(tmp_path / "model"))
    with pytest.raises(InputError, match="expected a list of texts"):
        load(write_dense(tmp_path / "dense")).encode_documents("one text")


def test_a_fingerprint_is_of_all_that_may_change_a_vector(tmp_path):
    one = write_dense(tmp_path / "one")
    same = copied_with(tmp_path / "same", one, "config_sentence_transformers.json", {})
    prompts = {"prompts": {"document": "a "}}
    other = copied_with(tmp_path / "other", one, "config_sentence_transformers.json", prompts)
    first, second, third = (load(folder).fingerprint for folder in (one, same, other))
    assert first == second
    assert first != third
