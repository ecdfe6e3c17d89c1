"""Adapters are applied whole or refused; expected vectors are those of peft's unmerged model."""

import json

import numpy as np
import peft
import pytest
import tiny_checkpoints as tiny
import torch
import transformers
from safetensors.torch import load_file, save_file

from tamis.index.errors import FormatError
from tamis.retriever import load_encoder

TEXTS = tiny.TEXTS[:3]
pytestmark = [  # of peft, while adapters are made
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]


@pytest.fixture
def base(tmp_path):
    return tiny.write_llama(tmp_path / "base")


def adapted(model, **settings):
    """An adapter as after a training."""
    options = {"r": 4, "target_modules": ["q_proj", "v_proj"], **settings}
    made = peft.get_peft_model(model, peft.LoraConfig(**options))
    torch.manual_seed(3)
    for name, one in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(one, std=0.3)
    return made


def whole(base):
    return transformers.AutoModelForCausalLM.from_pretrained(base)


def defined(model, folder, texts):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            rows.append(torch.log1p(torch.relu(model.eval()(input_ids=ids).logits[0])).amax(0))
    dense = torch.stack(rows).numpy()
    dense[:, : len(tiny.SPECIAL)] = 0
    return dense


def rows_of(folder, texts):
    return load_encoder(str(folder), device="cpu").encode_documents(texts).to_scipy().toarray()


def change_weights(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def test_an_adapter_of_a_model_without_a_head_is_fitted(base, tmp_path):
    headless = adapted(transformers.AutoModel.from_pretrained(base))
    headless.save_pretrained(tmp_path / "m")
    joined = whole(base)
    joined.model = headless.merge_and_unload()
    expected = defined(joined, base, TEXTS)
    np.testing.assert_allclose(rows_of(tmp_path / "m", TEXTS), expected, atol=1e-4)
    assert np.abs(expected - rows_of(base, TEXTS)).max() > 1e-2


def test_an_adapter_may_have_added_tokens(base, tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<new>"])
    grown = whole(base)
    grown.resize_token_embeddings(len(tokenizer))
    model = adapted(grown, modules_to_save=["embed_tokens", "lm_head"])
    model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    texts = ["one <new> two", "grains"]
    expected = defined(model, tmp_path / "m", texts)
    assert expected.shape[1] == len(tokenizer)
    np.testing.assert_allclose(rows_of(tmp_path / "m", texts), expected, atol=1e-4)


def test_an_adapter_that_lacks_a_layer_is_refused_with_the_count(base, tmp_path):
    adapted(whole(base)).save_pretrained(tmp_path)
    change_weights(tmp_path, lambda w: {k: v for k, v in w.items() if ".layers.1." not in k})
    with pytest.raises(FormatError, match=r"weights of all its layers.*\(4 missing\)"):
        load_encoder(str(tmp_path), device="cpu")


def test_an_adapter_of_another_model_is_refused(base, tmp_path):
    adapted(whole(base)).save_pretrained(tmp_path)
    change_weights(tmp_path, lambda w: {k.replace("q_proj", "query"): v for k, v in w.items()})
    with pytest.raises(FormatError, match=r"weights of all its layers.*q_proj"):
        load_encoder(str(tmp_path), device="cpu")
    adapted(whole(base)).save_pretrained(tmp_path)
    more = {"base_model.model.model.layers.0.mlp.router.lora_A.weight": torch.zeros(4, 24)}
    change_weights(tmp_path, lambda w: w | more)
    with pytest.raises(FormatError, match=r"weights that the base has places for, found .*router"):
        load_encoder(str(tmp_path), device="cpu")


def test_an_adapter_of_another_shape_is_refused(base, tmp_path):
    adapted(whole(base)).save_pretrained(tmp_path)
    change_weights(tmp_path, lambda w: {k: v[:, :-1].contiguous() for k, v in w.items()})
    with pytest.raises(FormatError, match="expected an adapter that merges into the weights"):
        load_encoder(str(tmp_path), device="cpu")


def test_an_adapter_that_is_no_change_of_weights_is_refused(base, tmp_path):
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft.get_peft_model(whole(base), settings).save_pretrained(tmp_path)
    with pytest.raises(FormatError, match="expected an adapter that merges into the weights"):
        load_encoder(str(tmp_path), device="cpu")


def test_settings_that_peft_does_not_know_are_refused(base, tmp_path):
    adapted(whole(base)).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"never_heard_of": 3}))
    with pytest.raises(FormatError, match="never_heard_of"):
        load_encoder(str(tmp_path), device="cpu")
