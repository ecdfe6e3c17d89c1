"""Heads against what their papers say, written out token by token."""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
import transformers
from safetensors.torch import load_file, save_file

from tamis.index.errors import FormatError
from tamis.retriever import load_encoder
from tamis.retriever.models.description import Architecture, HeadKind, NeuralSide
from tamis.retriever.models.head_kinds import GATE_FILE, TOKEN_WEIGHTS_FILE
from tamis.retriever.models.heads import HEADS, GatedHead, TokenWeights
from tamis.retriever.models.language_model import cut_head

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


def write_token_weights(tmp_path, kind):
    """A folder whose head weighs the tokens of a text; its source, and the head."""
    source = tiny.write_bert(tmp_path / "whole")
    whole = transformers.AutoModelForMaskedLM.from_pretrained(source)
    folder = tmp_path / "tokens"
    torch.manual_seed(2)
    head = TokenWeights(NeuralSide(folder, Architecture.HEADLESS, 211, 48, head=kind), 24)
    torch.nn.init.normal_(head.layers[-1].weight, std=0.3)
    torch.nn.init.constant_(head.layers[-1].bias, 2.0)
    head.save(whole.bert, folder)
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    return folder, source, head


def write_gate(folder, change):
    """A gate beside the model of a folder, after a change to it."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    side = NeuralSide(folder, Architecture.MASKED, 211, 48, head=HeadKind.GATED)
    gate = GatedHead(side, cut_head(model, folder))
    torch.manual_seed(4)
    with torch.no_grad():
        change(gate)
    gate.save(model, folder)
    return gate


def test_every_kind_of_head_has_its_class():
    assert set(HEADS) == set(HeadKind)


@pytest.mark.parametrize("kind", [HeadKind.LINEAR, HeadKind.MLP])
def test_token_weights_are_the_largest_of_each_token_of_the_text(tmp_path, kind):
    folder, source, head = write_token_weights(tmp_path, kind)
    weigher = head.layers
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
    gate = write_gate(folder, lambda gate: gate.transform.weight.normal_(std=0.3))
    encoder = load_encoder(str(folder), device="cpu")
    closed = 0
    for text, found in zip(TEXTS, rows_of(encoder, TEXTS), strict=True):
        model, inputs, _, ids = hidden_and_ids(folder, encoder, text)
        matrix = model.bert.embeddings.word_embeddings.weight
        with torch.no_grad():
            importance = (inputs @ matrix.T + model.cls.predictions.bias).amax(0)
            opened = (gate.transform(inputs) @ matrix.T + gate.gate_bias).amax(0)
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
    write_gate(folder, lambda gate: gate.gate_bias.fill_(-3.0))
    model = load_encoder(str(folder), device="cpu").document_model.float().requires_grad_()
    ids = torch.tensor([[2, 20, 30, 3]])
    model.weights(ids, torch.ones_like(ids)).sum().backward()
    assert model.head.gate_bias.grad.abs().sum() > 0


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
    folder, _, _ = write_token_weights(tmp_path, HeadKind.LINEAR)
    save_file({"weight": torch.ones(211)}, str(folder / "query_weights.safetensors"))
    encoder = load_encoder(str(folder), device="cpu")
    assert encoder.description.query_side == "table"
    (query,) = encoder.encode_queries(["a"]).to_dicts()
    assert list(query.values()) == [1.0]


@pytest.mark.parametrize("name", [TOKEN_WEIGHTS_FILE, GATE_FILE])
def test_a_head_that_lacks_a_tensor_is_refused(tmp_path, name):
    if name == GATE_FILE:
        folder = tiny.write_bert(tmp_path)
        write_gate(folder, lambda gate: None)
    else:
        folder, _, _ = write_token_weights(tmp_path, HeadKind.LINEAR)
    tensors = load_file(folder / name)
    tensors.pop("bias")
    save_file(tensors, folder / name)
    with pytest.raises(FormatError, match=r"found none for bias \(1 missing\)"):
        load_encoder(str(folder), device="cpu")
