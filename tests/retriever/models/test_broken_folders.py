"""Folders that are not as they should be: one line of our own, whatever a library would raise."""

import json
import shutil

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.torch import load_file, save_file

from tamis.index.errors import FormatError
from tamis.retriever import load_encoder

WEIGHTS = "model.safetensors"
WORDS = "bert.embeddings.word_embeddings.weight"
LONG = "one two three four five six seven eight nine ten " * 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.write_bert(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "m")


def state(path, **values):
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values))


def refused(folder):
    with pytest.raises(FormatError) as caught:
        load_encoder(str(folder), device="cpu").encode_documents(["one two", LONG])
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_type", "bertt", "cannot be loaded (ValueError"),
        ("hidden_act", "foo", "cannot be loaded (KeyError: 'foo'"),
        ("hidden_size", 25, "not a multiple of the number of attention heads"),
        ("num_attention_heads", 0, "cannot be loaded (ZeroDivisionError"),
        ("pad_token_id", 99_999, "cannot be loaded (AssertionError"),
        ("layer_norm_eps", "x", "cannot be loaded (StrictDataclassFieldValidationError"),
        ("hidden_size", 48, "expected weights of the shapes of its config.json, found others for"),
        ("vocab_size", None, "expected vocab_size, the rows of a vocabulary, found none"),
        ("vocab_size", 0, "expected vocab_size as int >= 1: 0"),
        ("max_position_embeddings", "64", "expected max_position_embeddings as int, got str"),
        ("architectures", [5], "expected architectures as str, got int"),
        ("quantization_config", {"quant_method": "foo"}, "quantization_config of no value"),
        ("position_embedding_type", "relative_key", "position_embedding_type of 'absolute'"),
    ],
)
def test_a_configuration_that_no_model_has_is_refused(folder, key, value, said):
    state(folder / "config.json", **{key: value})
    assert said in refused(folder)


def test_numbers_that_are_none_are_called_so(folder):
    weights = {name: one.clone() for name, one in load_file(folder / WEIGHTS).items()}
    weights[WORDS][9] = float("nan")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    assert "expected finite logits of a short text, found NaN" in refused(folder)


def test_weights_that_grow_beyond_numbers_name_the_folder(folder):
    state(folder / "encoder.json", logit_scale=1e300)
    assert "expected finite term weights, found NaN or infinity" in refused(folder)


def test_rounded_weights_without_their_scale_are_refused(folder):
    weights = {name: one.to(torch.int8) for name, one in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    assert "expected weights of floating point, found 8-bit whole numbers" in refused(folder)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"model": 3}'])
def test_a_tokenizer_of_another_form_is_refused(folder, content):
    (folder / "tokenizer.json").write_text(content)
    assert "expected a tokenizer of the tokenizers library, found none" in refused(folder)


def test_a_tokenizer_without_a_fast_form_is_refused(folder):
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    state(
        folder / "tokenizer_config.json",
        tokenizer_class="BertJapaneseTokenizer",
        word_tokenizer_type="basic",
        subword_tokenizer_type="wordpiece",
    )
    assert "expected tokenizer files that transformers converts" in refused(folder)


@pytest.mark.parametrize("length", [1, 2])
def test_a_length_without_room_for_a_text_is_refused(folder, length):
    state(folder / "encoder.json", max_length=length)
    assert (
        f"more than 2 tokens, as many as stand around every text, found a length of {length}"
        in (refused(folder))
    )


def test_a_prompt_without_room_for_a_text_is_refused(folder):
    state(folder / "encoder.json", max_length=12, prompt="one two three")
    load_encoder(str(folder), device="cpu")
    state(folder / "encoder.json", prompt=LONG)
    assert "expected a prompt that leaves room for a text in 12 tokens" in refused(folder)


def test_a_length_above_the_positions_is_refused(folder):
    state(folder / "encoder.json", max_length=65)
    assert "expected a max_length of at most 64, as many tokens as the model has" in refused(folder)
    state(folder / "encoder.json", max_length=33, echo=True)
    assert "at most 32, as many tokens as the model has positions for when" in refused(folder)


def test_a_model_that_reads_twice_cuts_where_both_readings_fit(folder):
    state(folder / "encoder.json", echo=True)
    encoder = load_encoder(str(folder), device="cpu")
    assert encoder.description.max_length == 32
    whole, cut = encoder.encode_documents([LONG, LONG[:-20]]).to_scipy().toarray()
    np.testing.assert_allclose(whole, cut, atol=1e-6)


@pytest.mark.parametrize("table", ["{}", '{"nowhere": 1}', '{"sieve": 0}', '{"sieve": NaN}'])
def test_a_table_that_weighs_no_term_is_refused(folder, table):
    (folder / "idf.json").write_text(table)
    assert "some of them above 0 for terms of the model's tokenizer" in refused(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("modules.json", "[1]"),
        ("modules.json", '[{"type": "sentence_transformers.models.Transformer"}]'),
        ("modules.json", '[{"path": 5, "type": 7}]'),
        ("config_sentence_transformers.json", '{"prompts": 5}'),
        ("config_sentence_transformers.json", '{"prompts": {"query": 5}}'),
        ("sentence_bert_config.json", '{"model_args": [1]}'),
        ("sentence_bert_config.json", '{"max_seq_length": true}'),
        ("1_SpladePooling/config.json", "[]"),
        ("1_SpladePooling/config.json", '{"activation_function": [1]}'),
    ],
)
def test_a_file_of_sentence_transformers_of_another_form_is_refused(tmp_path, file, content):
    folder = tiny.write_sentence_transformers(tmp_path / "m", old_types=False)
    (folder / file).write_text(content)
    assert refused(folder)
