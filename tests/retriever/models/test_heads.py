"""Heads against what their papers say, written out token by token."""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
import transformers
from safetensors.torch import save_file

from tamis.retriever import load_encoder
from tamis.retriever.models.heads import Gate, save_gate, save_token_weigher, token_weigher

TEXTS = ["The sieve keeps coarse grains.", "one two three two one", "a"]


def rows_of(encoder, texts):
    return encoder.encode_documents(texts).to_scipy().toarray()


def hidden_and_ids(folder, encoder, text):
    """A plain masked model, its hidden states before the vocabulary matrix, and the text's ids."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    (ids,) = encoder.tokenizer.document_ids([text])
    with torch.no_grad():
        states = model.bert(torch.tensor([ids]))[0]
        return model, model.cls.predictions.transform(states)[0], states[0], ids


@pytest.mark.parametrize("layers", [1, 2])
def test_token_weights_are_the_largest_of_each_token_of_the_text(tmp_path, layers):
    source = tiny.write_bert(tmp_path / "whole")
    whole = transformers.AutoModelForMaskedLM.from_pretrained(source)
    folder = tmp_path / "tokens"
    whole.bert.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    torch.manual_seed(2)
    weigher = token_weigher(24, layers=layers)
    last = weigher if layers == 1 else weigher[2]
    torch.nn.init.normal_(last.weight, std=0.3)
    torch.nn.init.constant_(last.bias, 2.0)
    save_token_weigher(weigher, folder)
    encoder = load_encoder(str(folder), device="cpu")
    for text, found in zip(TEXTS, rows_of(encoder, TEXTS), strict=True):
        _, _, states, ids = hidden_and_ids(source, encoder, text)
        expected = np.zeros_like(found)
        with torch.no_grad():
            for term, score in zip(ids, weigher(states)[:, 0].tolist(), strict=True):
                if term not in encoder.tokenizer.special_ids:
                    expected[term] = max(expected[term], score, 0.0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert (found > 0).any() or text == "a"


def test_a_gate_closes_terms_that_the_text_does_not_hold(tmp_path):
    folder = tiny.write_bert(tmp_path)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    gate = Gate(24, model.cls.predictions.bias)
    torch.manual_seed(4)
    torch.nn.init.normal_(gate.transform.weight, std=0.3)
    save_gate(gate, folder)
    encoder = load_encoder(str(folder), device="cpu")
    closed = 0
    for text, found in zip(TEXTS, rows_of(encoder, TEXTS), strict=True):
        model, inputs, _, ids = hidden_and_ids(folder, encoder, text)
        matrix = model.bert.embeddings.word_embeddings.weight
        with torch.no_grad():
            importance = (inputs @ matrix.T + model.cls.predictions.bias).amax(0)
            opened = (gate.transform(inputs) @ matrix.T + gate.bias).amax(0)
        for term in range(len(found)):
            passes = opened[term] > 0 or term in ids
            expected = float(torch.log1p(torch.relu(importance[term]))) if passes else 0.0
            if term in encoder.tokenizer.special_ids:
                expected = 0.0
            assert found[term] == pytest.approx(expected, abs=1e-4)
            closed += not passes and bool(importance[term] > 0)
    assert closed > 10


def test_a_gate_that_is_shut_still_has_a_gradient(tmp_path):
    folder = tiny.write_bert(tmp_path)
    gate = Gate(24, torch.full((211,), -3.0))
    save_gate(gate, folder)
    model = load_encoder(str(folder), device="cpu").document_model.float().requires_grad_()
    ids = torch.tensor([[2, 20, 30, 3]])
    model.weights(ids, torch.ones_like(ids)).sum().backward()
    assert model.gate.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("write", [tiny.write_llama, tiny.write_bert], ids=["decoder", "encoder"])
def test_an_echo_is_the_second_reading_of_a_text(tmp_path, write):
    folder = write(tmp_path)
    (folder / "encoder.json").write_text(json.dumps({"echo": True, "max_length": 24}))
    encoder = load_encoder(str(folder), device="cpu")
    kind = "AutoModelForCausalLM" if write is tiny.write_llama else "AutoModelForMaskedLM"
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    for text, found in zip(TEXTS, rows_of(encoder, TEXTS), strict=True):
        (ids,) = encoder.tokenizer.document_ids([text])
        with torch.no_grad():
            logits = model(torch.tensor([ids + ids])).logits[0, len(ids) :]
        expected = torch.log1p(torch.relu(logits.amax(0)))
        expected[list(encoder.tokenizer.special_ids)] = 0.0
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-4)


def test_token_weights_may_have_a_query_table(tmp_path):
    source = tiny.write_bert(tmp_path / "whole")
    whole = transformers.AutoModelForMaskedLM.from_pretrained(source)
    folder = tmp_path / "tokens"
    whole.bert.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    save_token_weigher(token_weigher(24, layers=1), folder)
    save_file({"weight": torch.ones(211)}, str(folder / "query_weights.safetensors"))
    encoder = load_encoder(str(folder), device="cpu")
    assert encoder.description.query_side == "table"
    (query,) = encoder.encode_queries(["a"]).to_dicts()
    assert list(query.values()) == [1.0]
