"""Every key of every file of a model's folder is honoured, known to change nothing, or refused."""

import json
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints as tiny
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import (
    SparseAutoEncoder,
    SparseStaticEmbedding,
    SpladePooling,
)
from tiny_autoencoder import write_autoencoder
from tiny_dense import write_dense
from transformers import PreTrainedTokenizerFast

from tamis.index.errors import FormatError
from tamis.retriever import load_encoder
from tamis.retriever.models import inventory
from tamis.retriever.models.dense_encoder import DenseEncoder
from tamis.retriever.models.formats import OwnSettings
from tamis.retriever.models.inventory import CONFIG, Inventory, ModelWarning

ABOUT, TEXTS = "config_sentence_transformers.json", "sentence_bert_config.json"
POOLING, TOKENS = "1_SpladePooling/config.json", "tokenizer_config.json"
PLACES = {  # file, and the keys in it that lead to the inventory's own
    "CONFIG": ("config.json", ()),
    "SPARSE_ENCODER": (ABOUT, ()),
    "MODULES": ("modules.json", (1,)),
    "TRANSFORMER": (TEXTS, ()),
    "FILL_MASK": (TEXTS, ()),
    "MODEL_ARGUMENTS": (TEXTS, ("model_kwargs",)),
    "PROCESSOR_ARGUMENTS": (TEXTS, ("processor_kwargs",)),
    "PROCESSING": (TEXTS, ("processing_kwargs",)),
    "TEXT_ARGUMENTS": (TEXTS, ("processing_kwargs", "text")),
    "SPLADE_POOLING": (POOLING, ()),
    "TOKENIZER_CONFIG": (TOKENS, ()),
    "ROUTER": ("router_config.json", ()),
    "ROUTER_PARAMETERS": ("router_config.json", ("parameters",)),
    "STATIC_EMBEDDING": ("query_0_SparseStaticEmbedding/config.json", ()),
    "DENSE_ENCODER": (ABOUT, ()),
    "POOLING": ("1_Pooling/config.json", ()),
    "NORMALIZE": ("2_Normalize/config.json", ()),
    "AUTOENCODER": ("3_SparseAutoEncoder/config.json", ()),
}
INVENTORIES = {name: one for name, one in vars(inventory).items() if isinstance(one, Inventory)}
PARTS = {"FILL_MASK"}  # of another inventory
WORTHLESS = {  # a value for keys without effect that must have a certain type
    "requirements": {"torch": ">=1"},
    "parameters": {"default_route": "query"},
    "additional_special_tokens": [],
    "model_kwargs": {"attn_implementation": "eager"},
    "model_args": {"attn_implementation": "eager"},
    "transformer_task": "fill-mask",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "token_embeddings",
}
SAMPLE = ["The sieve keeps coarse GRAINS.", "one two three four"]


def write(folder, name):
    if name in ("ROUTER", "ROUTER_PARAMETERS", "STATIC_EMBEDDING"):
        return tiny.write_router(folder, old_types=False, weights={"sieve": 1.5, "one": 0.5})
    if name in ("POOLING", "NORMALIZE", "AUTOENCODER"):
        return write_autoencoder(folder)
    if name == "DENSE_ENCODER":
        return write_dense(folder)
    return tiny.write_sentence_transformers(folder, old_types=False)


def load(folder, name="CONFIG"):
    """The encoder of a folder that `write` wrote."""
    if name == "DENSE_ENCODER":
        return DenseEncoder.load(str(folder), device="cpu")
    return load_encoder(str(folder), device="cpu")


def state(folder, name, key, value):
    """Put a key into the file of an inventory."""
    file, way = PLACES[name]
    path = folder / file
    content = json.loads(path.read_text())
    at = content
    for step in way:
        at = at[step] if isinstance(at, list) else at.setdefault(step, {})
    at[key] = value
    path.write_text(json.dumps(content))


def vectors(folder, name="CONFIG"):
    encoder = load(folder, name)
    both = encoder.encode_documents(SAMPLE), encoder.encode_queries(SAMPLE)
    dense = name == "DENSE_ENCODER"
    return np.concatenate([one if dense else one.to_scipy().toarray() for one in both])


def keys(kind):
    return [(name, key) for name, one in INVENTORIES.items() for key in getattr(one, kind)]


def test_every_inventory_is_walked():
    assert set(PLACES) == set(INVENTORIES)


@pytest.mark.parametrize(("name", "key"), keys("without_effect"))
@pytest.mark.long
def test_a_key_without_effect_changes_no_vector(tmp_path, name, key):
    folder = write(tmp_path / "m", name)
    before = vectors(folder, name)
    state(folder, name, key, WORTHLESS.get(key, 3))
    np.testing.assert_array_equal(vectors(folder, name), before)


@pytest.mark.parametrize(("name", "key"), keys("bound"))
def test_a_bound_key_is_refused_by_name(tmp_path, name, key):
    folder = write(tmp_path / "m", name)
    state(folder, name, key, "another")
    with pytest.raises(FormatError, match=rf"expected {key} of .*found 'another'"):
        load(folder, name)


@pytest.mark.parametrize(("name", "key"), keys("read"))
def test_a_value_of_another_type_is_refused_by_name(tmp_path, name, key):
    wrong = 3 if INVENTORIES[name].read[key] == dict[str, Any] else {"nonsense": [[1]]}
    with pytest.raises(FormatError, match=rf"{tmp_path}: expected {key} as "):
        INVENTORIES[name].check({key: wrong}, tmp_path)


@pytest.mark.parametrize("found", [[], [1], "text", 3, None])
def test_what_has_no_keys_is_refused(tmp_path, found):
    with pytest.raises(FormatError, match="expected keys and values, found"):
        CONFIG.check(found, tmp_path)


@pytest.mark.parametrize("name", [one for one in INVENTORIES if one not in PARTS])
def test_an_unknown_key_is_refused_or_told(tmp_path, name):
    folder = write(tmp_path / "m", name)
    state(folder, name, "never_heard_of", 3)
    unknown = INVENTORIES[name].unknown
    if unknown == "left":
        load(folder, name)
    elif unknown == "told":
        with pytest.warns(ModelWarning, match="found 'never_heard_of', which is not read"):
            load(folder, name)
    else:
        with pytest.raises(FormatError, match="found 'never_heard_of'"):
            load(folder, name)


@pytest.mark.parametrize("name", INVENTORIES)
def test_an_unknown_key_without_a_value_states_nothing(tmp_path, name):
    folder = write(tmp_path / "m", name)
    state(folder, name, "never_heard_of", None)
    load(folder, name)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("TRANSFORMER", [*Transformer.config_keys, "max_seq_length", "do_lower_case"]),
        ("SPLADE_POOLING", SpladePooling.config_keys),
        ("ROUTER_PARAMETERS", Router.config_keys),
        ("STATIC_EMBEDDING", SparseStaticEmbedding.config_keys),
        ("POOLING", Pooling.config_keys),
        ("AUTOENCODER", SparseAutoEncoder.config_keys),
        ("TOKENIZER_CONFIG", PreTrainedTokenizerFast.SPECIAL_TOKENS_ATTRIBUTES),
    ],
)
def test_all_that_the_library_itself_writes_is_known(name, written):
    one = INVENTORIES[name]
    assert set(written) <= set(one.read) | set(one.without_effect) | set(one.bound)


@pytest.mark.parametrize("name", PLACES)
def test_a_key_stands_in_one_list(name):
    one = INVENTORIES[name]
    assert not set(one.read) & set(one.without_effect)
    assert not set(one.read) & set(one.bound)
    assert not set(one.bound) & set(one.without_effect)


OWN = {  # of encoder.json, a value that is honoured and one that is refused
    "name": ("mine", 3),
    "licence": ("mit", 3),
    "pooling": ("sum", "mean"),
    "max_length": (7, 0),
    "double_log": (True, "yes"),
    "prompt": ("one two ", 3),
    "top_n": (3, 0),
    "bidirectional": (True, 1),
    "logit_scale": (0.5, 0),
    "linear_head": (True, None),
    "echo": (True, "no"),
}


def test_every_setting_of_our_own_is_walked():
    assert set(OWN) == set(OwnSettings.__struct_fields__)


@pytest.mark.parametrize("key", OWN)
def test_a_setting_of_our_own_is_honoured_or_refused(tmp_path, key):
    honoured, refused = OWN[key]
    writer = tiny.write_llama if key == "bidirectional" else tiny.write_bert
    folder = writer(tmp_path)
    before, description = vectors(folder), load(folder).description
    (folder / "encoder.json").write_text(json.dumps({key: honoured}))
    if key in ("name", "licence"):
        found = load(folder).description
        assert getattr(found, key) == honoured
        assert found.fingerprint == description.fingerprint
    else:
        assert np.abs(vectors(folder) - before).max() > 1e-3
    if refused is not None:
        (folder / "encoder.json").write_text(json.dumps({key: refused}))
        with pytest.raises(FormatError, match=rf"encoder\.json: expected settings.*`\$\.{key}`"):
            load(folder)
