"""What a reranker's folder says is honoured, or refused by name."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_rerankers import ARCHITECTURES, write_reranker

from tamis.index.errors import FormatError, InputError
from tamis.retriever.rerank.loading import BUNDLED_RERANKER, load_reranker

CPU = torch.device("cpu")


def load(folder):
    return load_reranker(str(folder), CPU, torch.float32)


def change_weights(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.long
def test_each_weight_that_is_missing_is_named(architecture, tmp_path):
    folder = write_reranker(tmp_path, architecture)
    model = load(folder).backbone.model
    for name in model.state_dict():
        if name.startswith("pooler."):
            continue
        weights = load_file(folder / "model.safetensors")
        change_weights(
            folder, lambda found, gone=name: {n: w for n, w in found.items() if n != gone}
        )
        with pytest.raises(FormatError, match=f"found none for {name}"):
            load(folder)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_weights_that_nothing_reads_may_be_missing(tmp_path):
    folder = write_reranker(tmp_path, "bert")
    last = "encoder.layer.3."  # after the scoring layer
    change_weights(
        folder, lambda found: {n: w for n, w in found.items() if not n.startswith(("pooler", last))}
    )
    assert load(folder).backbone.reading.scoring_layer == 2


def test_names_of_a_wrapper_are_told(tmp_path):
    folder = write_reranker(tmp_path, "llama")
    change_weights(folder, lambda found: {f"module.{n}": w for n, w in found.items()})
    with pytest.raises(FormatError, match=r"names begin with 'module\.'"):
        load(folder)


def test_weights_of_another_shape_are_refused(tmp_path):
    folder = write_reranker(tmp_path, "bert")
    change_json(folder / "config.json", intermediate_size=52)
    with pytest.raises(FormatError, match=r"shapes of its\s+config\.json"):
        load(folder)


def test_the_bundled_weights_must_be_all_there_and_no_others(tmp_path):
    for path in BUNDLED_RERANKER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    load(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    name = "encoder.layer.0.attention.output.dense.weight"
    change_weights(tmp_path, lambda found: {n: w for n, w in found.items() if name not in n})
    with pytest.raises(FormatError, match=f"found none for {name}"):
        load(tmp_path)
    save_file(whole | {"other": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(FormatError, match="found other beside them"):
        load(tmp_path)


FAULTS = {
    "an adapter": ("adapter_config.json", "{}", "found a PEFT adapter"),
    "no configuration": ("config.json", None, "expected JSON"),
    "half a configuration": ("config.json", "{", "expected JSON"),
    "a list": ("config.json", "[]", "expected an object, found list"),
    "another architecture": ("config.json", {"model_type": "t5"}, "found t5"),
    "rounded weights": (
        "config.json",
        {"quantization_config": {"quant_method": "gptq"}},
        "expected quantization_config of no value",
    ),
    "a size that is none": ("config.json", {"hidden_size": "wide"}, "cannot be loaded"),
    "a layer too high": ("reranker.json", {"scoring_layer": 4}, "from 0 to 3, found 4"),
    "a layer below the first": ("reranker.json", {"scoring_layer": -1}, "from 0 to 3, found -1"),
    "heads of another model": (
        "reranker.json",
        {"readouts": {"none": {"heads": [1.0, 2.0]}}},
        r"expected 4 head weights in readouts\.none.*found 2",
    ),
    "another conditioning": ("reranker.json", {"readouts": {"both": {}}}, "found something else"),
    "no tokenizer": ("tokenizer.json", None, "expected tokenizer.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_honoured_is_refused_in_one_line(fault, tmp_path):
    name, content, told = FAULTS[fault]
    path = write_reranker(tmp_path, "bert") / name
    if content is None:
        path.unlink()
    elif isinstance(content, dict):
        change_json(path, **content)
    else:
        path.write_text(content)
    with pytest.raises((FormatError, InputError), match=told):
        load(tmp_path)


def test_a_classifier_is_refused_unless_settings_say_how_to_read_its_base(tmp_path):
    folder = write_reranker(tmp_path, "bert")
    config = transformers.AutoConfig.from_pretrained(folder)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    assert load(folder).backbone.reading.scoring_layer == 2
    (folder / "reranker.json").unlink()
    change_json(folder / "config.json", max_position_embeddings=512)
    with pytest.raises(FormatError, match="found BertForSequenceClassification: its classifier"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "reranker.json", "tokenizer.json"])
def test_keys_belong_to_all_that_decides_them(name, tmp_path):
    folder = write_reranker(tmp_path, "bert")
    before = load(folder).fingerprint
    assert load(folder).fingerprint == before
    path = folder / name
    path.write_text(path.read_text() + "\n")
    assert load(folder).fingerprint != before
