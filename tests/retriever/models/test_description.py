"""Model folders as they lie on disk: what is read, and what is refused with which remedy."""

import json
import shutil
import subprocess
import sys

import pytest
import tiny_checkpoints as tiny
import torch
import transformers
from safetensors.torch import load_file, save_file

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.description import (
    Architecture,
    HeadKind,
    NeuralSide,
    TableSide,
    find_folder,
    read_checkpoint,
)
from tamis.retriever.models.inventory import ModelWarning


def change(path, **values):
    settings = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(settings | values))


def test_a_plain_folder_is_described_whole(tmp_path):
    folder = tiny.write_bert(tmp_path / "my-model")
    (folder / "README.md").write_text("---\ntags: [sparse]\nlicense: cc-by-4.0\n---\nA card.\n")
    found = read_checkpoint(str(folder))
    description = found.description
    assert (description.name, description.licence) == ("my-model", "cc-by-4.0")
    assert (description.max_length, description.query_side) == (tiny.MAX_LENGTH, "neural")
    assert description.vocab_size == json.loads((folder / "config.json").read_text())["vocab_size"]
    assert found.location == str(folder.resolve())
    assert found.query == found.document
    assert found.document.architecture is Architecture.MASKED
    assert (found.document.head, found.document.double_log) == (HeadKind.MAX, False)


def test_a_model_without_a_card_has_an_unknown_licence(tmp_path):
    assert read_checkpoint(str(tiny.write_bert(tmp_path))).description.licence == "unknown"


@pytest.mark.parametrize("old_types", [False, True], ids=["new types", "old types"])
def test_pooling_settings_of_sentence_transformers_are_read(tmp_path, old_types):
    tiny.write_sentence_transformers(
        tmp_path, old_types=old_types, activation="log1p_relu", pooling="sum"
    )
    side = read_checkpoint(str(tmp_path)).document
    assert (side.head, side.double_log, side.max_length) == (HeadKind.SUM, True, 32)


def test_max_active_dims_become_the_number_of_terms_kept(tmp_path):
    tiny.write_sentence_transformers(tmp_path, old_types=False)
    change(tmp_path / "config_sentence_transformers.json", max_active_dims=77)
    assert read_checkpoint(str(tmp_path)).document.top_n == 77


@pytest.mark.parametrize("old_types", [False, True], ids=["new types", "old types"])
def test_a_router_has_a_table_on_its_query_side(tmp_path, old_types):
    tiny.write_router(tmp_path, old_types=old_types, weights={"sieve": 1.5})
    found = read_checkpoint(str(tmp_path))
    assert found.description.query_side == "table"
    assert isinstance(found.query, TableSide)
    assert found.query.weights.name == "idf.json"
    assert found.document.double_log


@pytest.mark.parametrize("name", ["idf.json", "query_token_weights.txt"])
def test_a_weight_file_beside_a_plain_model_is_its_query_side(tmp_path, name):
    tiny.write_bert(tmp_path)
    (tmp_path / name).write_text('{"sieve": 1.5}' if name == "idf.json" else "sieve\t1.5\n")
    found = read_checkpoint(str(tmp_path)).query
    assert found == TableSide(tmp_path, tmp_path / name)


def test_a_query_folder_inside_is_the_query_side(tmp_path):
    tiny.write_bert(tmp_path)
    tiny.write_bert(tmp_path / "query")
    found = read_checkpoint(str(tmp_path)).query
    assert isinstance(found, NeuralSide)
    assert found.folder == tmp_path / "query"


def test_settings_of_our_own_add_to_a_plain_folder(tmp_path):
    tiny.write_llama(tmp_path)
    change(
        tmp_path / "encoder.json",
        name="x",
        licence="mit",
        double_log=True,
        logit_scale=0.5,
        bidirectional=True,
        top_n=9,
        prompt="p: ",
        pooling="sum",
        max_length=20,
    )
    found = read_checkpoint(str(tmp_path))
    assert (found.description.name, found.description.licence) == ("x", "mit")
    side = found.document
    assert (side.double_log, side.logit_scale, side.bidirectional) == (True, 0.5, True)
    assert (side.top_n, side.prompt, side.head) == (9, "p: ", HeadKind.SUM)
    assert found.description.max_length == 20


def test_an_unknown_setting_is_refused(tmp_path):
    tiny.write_bert(tmp_path)
    change(tmp_path / "encoder.json", temperature=2)
    with pytest.raises(FormatError, match="unknown field `temperature`"):
        read_checkpoint(str(tmp_path))


@pytest.mark.long
def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path):
    tiny.write_bert(tmp_path)
    before = read_checkpoint(str(tmp_path)).description.vocab_size
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FormatError, match="a pickle, which is never opened") as refusal:
        read_checkpoint(str(tmp_path))
    command = str(refusal.value).split("source: ", 1)[1]
    command = command.replace("python -c", f"{sys.executable} -c")
    subprocess.run(command, shell=True, check=True)  # the remedy must work as printed
    assert read_checkpoint(str(tmp_path)).description.vocab_size == before


def test_token_weights_as_a_pickle_are_refused_with_the_command(tmp_path):
    tiny.write_xlm_roberta(tmp_path)
    (tmp_path / "sparse_linear.pt").write_bytes(b"pickle")
    with pytest.raises(FormatError, match=r"torch\.load\('sparse_linear\.pt'.*weights_only=True"):
        read_checkpoint(str(tmp_path))


def test_token_weights_after_conversion_are_read(tmp_path):
    tiny.write_xlm_roberta(tmp_path)
    one = {"weight": torch.zeros(1, 24), "bias": torch.zeros(1)}
    two = {"dense.weight": torch.zeros(24, 24), "dense.bias": torch.zeros(24)}
    for tensors, head in ((one, HeadKind.LINEAR), (one | two, HeadKind.MLP)):
        save_file(tensors, str(tmp_path / "sparse_linear.safetensors"))
        side = read_checkpoint(str(tmp_path)).document
        assert (side.architecture, side.head) == (Architecture.HEADLESS, head)


def test_a_model_that_brings_code_is_refused(tmp_path):
    tiny.write_bert(tmp_path)
    change(tmp_path / "config.json", auto_map={"AutoModelForMaskedLM": "modeling.Mine"})
    with pytest.raises(FormatError, match="brings its own code"):
        read_checkpoint(str(tmp_path))


def test_a_dense_model_is_refused(tmp_path):
    tiny.write_bert(tmp_path)
    change(tmp_path / "config.json", architectures=["BertModel"])
    with pytest.raises(FormatError, match="found BertModel"):
        read_checkpoint(str(tmp_path))


def test_other_modules_of_sentence_transformers_are_refused(tmp_path):
    tiny.write_sentence_transformers(tmp_path, old_types=False)
    path = tmp_path / "modules.json"
    path.write_text(path.read_text().replace("SpladePooling", "Dense"))
    with pytest.raises(FormatError, match="found modules Transformer, Dense"):
        read_checkpoint(str(tmp_path))


def test_an_adapter_finds_its_base_beside_it_or_says_where_to_put_it(tmp_path):
    tiny.write_llama(tmp_path / "base-model")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    change(adapter / "adapter_config.json", base_model_name_or_path="base-model")
    save_file({"x": torch.zeros(1)}, str(adapter / "adapter_model.safetensors"))
    found = read_checkpoint(str(adapter)).document
    assert (found.adapter, found.folder.resolve()) == (adapter, tmp_path / "base-model")
    change(adapter / "adapter_config.json", base_model_name_or_path="/gone/away")
    with pytest.raises(FormatError, match=r"copy it to .*adapter/base"):
        read_checkpoint(str(adapter))


def test_an_adapter_is_read_as_its_own_folder_says(tmp_path):
    tiny.write_llama(tmp_path / "base")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    change(adapter / "adapter_config.json", base_model_name_or_path="base", lora_alpha=4)
    save_file({"x": torch.zeros(1)}, str(adapter / "adapter_model.safetensors"))
    before = read_checkpoint(str(adapter))
    assert before.document.tokenizer_place.resolve() == tmp_path / "base"
    change(adapter / "adapter_config.json", lora_alpha=64)
    louder = read_checkpoint(str(adapter))
    change(adapter / "adapter_config.json", lora_alpha=4, lora_dropout=0.5, revision="x")
    assert read_checkpoint(str(adapter)).description.fingerprint == before.description.fingerprint
    assert louder.description.fingerprint != before.description.fingerprint
    shutil.copy(tmp_path / "base" / "tokenizer.json", adapter)
    change(adapter / "tokenizer_config.json", model_max_length=17)
    own = read_checkpoint(str(adapter)).document
    assert (own.tokenizer_place, own.max_length) == (adapter, 17)


def test_tokens_that_no_row_stands_for_are_refused(tmp_path):
    folder = tiny.write_llama(tmp_path / "base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(FormatError, match=f"expected a tokenizer of at most {rows} tokens"):
        read_checkpoint(str(folder)).document.tokenizer()
    adapter = tmp_path / "adapter"
    tokenizer.save_pretrained(adapter)
    change(adapter / "adapter_config.json", base_model_name_or_path="base")
    save_file({"x": torch.zeros(1)}, str(adapter / "adapter_model.safetensors"))
    with pytest.raises(FormatError, match=f"rows of weights for the {rows + 1} tokens of its"):
        read_checkpoint(str(adapter))


def test_a_setting_that_changes_what_is_read_changes_the_fingerprint(tmp_path):
    folder = tiny.write_sentence_transformers(tmp_path, old_types=False)
    seen = {read_checkpoint(str(folder)).description.fingerprint}
    for file, values in (
        ("tokenizer_config.json", {"truncation_side": "left"}),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"query_length": 9}),
        ("config_sentence_transformers.json", {"prompts": {"query": "one"}}),
    ):
        change(folder / file, **values)
        seen.add(read_checkpoint(str(folder)).description.fingerprint)
    assert len(seen) == 6
    change(folder / "tokenizer_config.json", padding_side="left", chat_template="x")
    assert read_checkpoint(str(folder)).description.fingerprint in seen


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("sentence_bert_config.json", {"max_seq_length": "long"}, "expected max_seq_length as int"),
        ("sentence_bert_config.json", {"query_length": 0}, "expected query_length as int >= 1"),
        (
            "config_sentence_transformers.json",
            {"max_active_dims": 0},
            "max_active_dims as int >= 1",
        ),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "x"},
            "expected default_prompt_name among",
        ),
        (
            "config_sentence_transformers.json",
            {"similarity_fn_name": "cosine"},
            "expected similarity_fn_name of 'dot', found 'cosine'",
        ),
        ("1_SpladePooling/config.json", {"activation_function": "gelu"}, "found 'gelu'"),
        ("1_SpladePooling/config.json", {"pooling_strategy": "mean"}, "found 'mean'"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(tmp_path, file, values, message):
    folder = tiny.write_sentence_transformers(tmp_path, old_types=False)
    change(folder / file, **values)
    with pytest.raises(FormatError, match=message):
        read_checkpoint(str(folder))


def test_a_prompt_of_documents_under_another_name_is_told(tmp_path):
    folder = tiny.write_sentence_transformers(tmp_path, old_types=False)
    change(folder / "config_sentence_transformers.json", prompts={"passage": "passage: "})
    with pytest.warns(ModelWarning, match="found 'passage'"):
        assert read_checkpoint(str(folder)).document.prompt == ""


def test_equal_folders_have_equal_fingerprints_wherever_they_lie(tmp_path):
    one = tiny.write_bert(tmp_path / "one")
    two = shutil.copytree(one, tmp_path / "two")
    three = tiny.write_bert(tmp_path / "three", initializer_range=0.3)
    four = shutil.copytree(one, tmp_path / "four")
    change(four / "encoder.json", double_log=True)
    prints = [read_checkpoint(str(f)).description.fingerprint for f in (one, two, three, four)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_an_encoder_that_is_nowhere_is_one_clear_error():
    with pytest.raises(InputError, match="expected 'default', a folder, or a hub name"):
        find_folder("./no/such/folder")


def test_a_hub_name_without_a_network_is_one_clear_error(monkeypatch):
    import huggingface_hub

    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match=r"ConnectionError: no route to host.*give the path"):
        find_folder("owner/model")


def test_a_hub_name_downloads_no_pickles(monkeypatch, tmp_path):
    import huggingface_hub

    asked = {}
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, **options: asked.update(options, name=name) or str(tmp_path),
    )
    assert find_folder("owner/model") == tmp_path
    assert asked["name"] == "owner/model"
    assert set(asked["allow_patterns"]) == {"*.safetensors", "*.json", "*.txt", "README.md"}


def test_broken_json_names_the_file(tmp_path):
    tiny.write_bert(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config\.json: expected JSON"):
        read_checkpoint(str(tmp_path))
