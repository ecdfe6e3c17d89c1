"""Texts laid end to end give what padded ones give, whatever their neighbours."""

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from torch import nn

from tamis.retriever.models import encoder as encoder_module
from tamis.retriever.models import packing
from tamis.retriever.models.encoder import SparseEncoder, batches_in_order
from tamis.retriever.models.fast_linear import FastLinear, use_fast_products
from tamis.retriever.models.packing import pack_texts

TEXTS = [*tiny.TEXTS, "", "a", " ".join(tiny.TEXTS * 3), "   "]
PACKED = {name: tiny.MASKED[name] for name in ("BERT", "DistilBERT", "RoBERTa", "XLM-R")}


@pytest.mark.parametrize("write", PACKED.values(), ids=PACKED)
def test_packed_texts_equal_padded_ones(tmp_path, monkeypatch, write):
    encoder = SparseEncoder.load(str(write(tmp_path)), device="cpu")
    model = encoder.document_model
    assert model.packs
    packed = encoder.encode_documents(TEXTS).to_scipy().toarray()
    monkeypatch.setattr(model, "_first_position", None)
    padded = encoder.encode_documents(TEXTS).to_scipy().toarray()
    np.testing.assert_allclose(packed, padded, rtol=0, atol=1e-4)
    assert not packed[len(tiny.TEXTS)].any()
    assert packed.max() > 0.5


@pytest.mark.parametrize("write", [tiny.write_modern_bert, tiny.write_llama])
def test_models_with_other_attention_are_padded(tmp_path, write):
    assert not SparseEncoder.load(str(write(tmp_path)), device="cpu").document_model.packs


def test_a_packed_text_counts_its_own_positions():
    texts = pack_texts([[7, 8, 9], [], [5]], 2, torch.device("cpu"))
    assert texts.ids.tolist() == [[7, 8, 9, 5]]
    assert texts.positions.tolist() == [[2, 3, 4, 2]]
    assert texts.offsets.tolist() == [0, 3, 3, 4]
    assert texts.max_len == 3


def test_a_batch_has_one_of_few_numbers_of_rows():
    """Each number of rows costs oneDNN code and memory of its own."""
    lengths = [[length] for length in range(2049, 4097)]
    packed = [pack_texts([[1] * n for n in row], 0, torch.device("cpu")) for row in lengths]
    rows = [texts.ids.shape[1] for texts in packed]
    assert len(set(rows)) == 32
    assert all(n <= found < n * 33 / 32 for (n,), found in zip(lengths, rows, strict=True))
    assert [texts.tokens for texts in packed] == [n for (n,) in lengths]
    short = [pack_texts([[1] * n], 0, torch.device("cpu")).ids.shape[1] for n in range(1, 64)]
    assert short == list(range(1, 64))


@pytest.mark.parametrize("write", PACKED.values(), ids=PACKED)
def test_rows_beyond_the_last_text_change_nothing(tmp_path, monkeypatch, write):
    encoder = SparseEncoder.load(str(write(tmp_path)), device="cpu")
    plain = encoder.encode_documents(TEXTS).to_scipy().toarray()
    monkeypatch.setattr(packing, "_rows", lambda tokens: tokens + 37)
    more = encoder.encode_documents(TEXTS).to_scipy().toarray()
    np.testing.assert_allclose(more, plain, rtol=0, atol=1e-5)
    assert plain.max() > 0.5


def test_batches_in_order_keep_the_budget():
    lengths = [5, 3, 0, 9, 40, 1, 8]
    batches = list(batches_in_order(lengths, 17))
    assert [i for batch in batches for i in batch] == list(range(len(lengths)))
    assert batches == [[0, 1, 2, 3], [4], [5, 6]]


def test_batches_under_way_at_once_keep_their_order(tmp_path, monkeypatch):
    encoder = SparseEncoder.load(str(tiny.write_bert(tmp_path)), device="cpu")
    alone = encoder.encode_documents(TEXTS)
    model = type(encoder.document_model)
    monkeypatch.setattr(model, "lanes", 3)
    monkeypatch.setattr(model, "batch_tokens", 12)
    monkeypatch.setattr(encoder_module, "WINDOW_TEXTS", 3)
    done, threads = [], torch.get_num_threads()
    together = encoder.encode_documents(TEXTS, progress=done.append)
    assert sum(done) == len(TEXTS)
    assert torch.get_num_threads() == threads
    assert np.array_equal(together.offsets, alone.offsets)
    assert np.array_equal(together.terms, alone.terms)
    np.testing.assert_allclose(together.weights, alone.weights, rtol=0, atol=1e-5)


def test_fast_products_equal_plain_ones_and_keep_gradients_and_names():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 7), nn.Sequential(nn.Linear(7, 5, bias=False)))
    rows, names = torch.randn(3, 11, 24), list(model.state_dict())
    with torch.no_grad():
        plain = model(rows)
        use_fast_products(model)
        assert isinstance(model[1][0], FastLinear)
        torch.testing.assert_close(model(rows), plain)
    assert list(model.state_dict()) == names
    model(rows).sum().backward()
    assert model[0].weight.grad.abs().sum() > 0
