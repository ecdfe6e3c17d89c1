"""Formats, settings and architectures, each combination against the library that wrote it.

Tiny models are written by sentence-transformers, transformers and peft themselves, with one setting
after the other; what those libraries compute of the folder is the truth. Every setting that should
change a vector must do so: a setting that both sides ignore proves nothing.
"""

import json
import shutil
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import peft
import pytest
import sentence_transformers
import tiny_checkpoints as tiny
import torch
import transformers
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

from tamis.retriever import load_encoder

pytestmark = pytest.mark.long
TEXTS = [
    "The sieve lets SMALL grains through and keeps the coarse ones.",
    "naïve café — Übergröße, 東京 and Москва, 1984! [MASK] <mask>",
    "one two three four five six seven eight nine ten eleven twelve " * 9 + "grains and the end",
    "a",
]
SPECIAL = len(tiny.SPECIAL)
MASKED = {
    "Bert": tiny.write_bert,
    "DistilBert": tiny.write_distilbert,
    "Roberta": tiny.write_roberta,
    "XLMRoberta": tiny.write_xlm_roberta,
    "ModernBert": tiny.write_modern_bert,
    "MPNet": lambda folder: tiny.write_family(folder, "MPNet", "MaskedLM"),
    "Albert": lambda folder: tiny.write_family(folder, "Albert", "MaskedLM"),
}
CAUSAL = {
    "Llama": tiny.write_llama,
    "tied Llama": lambda folder: tiny.write_family(
        folder, "Llama", "CausalLM", tie_word_embeddings=True
    ),
    "Gemma": lambda folder: tiny.write_family(folder, "Gemma", "CausalLM"),
}


@dataclass(frozen=True)
class Setting:
    """One thing that a folder may state.

    Attributes:
        change: of the loaded model, before it is saved.
        files: keys to put into files of the saved folder, by the file's name.
        texts: how the transformer is made.
        pooling: how the pooling is made.
        moves: the sides whose vectors it must change.
    """

    change: object = lambda model: None
    files: dict = field(default_factory=dict)
    texts: dict = field(default_factory=dict)
    pooling: dict = field(default_factory=dict)
    moves: tuple = ("document", "query")


def attribute(**values):
    def change(model):
        for name, value in values.items():
            setattr(model, name, value)

    return change


def of_texts(**values):
    return {"sentence_bert_config.json": values}


def of_tokens(**values):
    return {"tokenizer_config.json": values}


PROMPTS = {"query": "one two ", "document": "three "}
SETTINGS = {
    "nothing": Setting(moves=()),
    "sum": Setting(pooling={"pooling_strategy": "sum"}),
    "logarithm twice": Setting(pooling={"activation_function": "log1p_relu"}),
    "largest terms": Setting(attribute(max_active_dims=9)),
    "length": Setting(attribute(max_seq_length=16)),
    "length in the older file": Setting(files=of_texts(max_seq_length=16)),
    "length of each side": Setting(files=of_texts(query_length=9, document_length=21)),
    "length of queries": Setting(files=of_texts(query_length=9), moves=("query",)),
    "length of each call": Setting(files=of_texts(processing_kwargs={"text": {"max_length": 11}})),
    "length of the tokenizer": Setting(files=of_tokens(model_max_length=14)),
    "length among arguments": Setting(files=of_texts(tokenizer_args={"model_max_length": 14})),
    "cut on the left": Setting(files=of_tokens(truncation_side="left")),
    "padded on the left": Setting(files=of_tokens(padding_side="left"), moves=()),
    "prompts": Setting(attribute(prompts=PROMPTS)),
    "prompt of queries": Setting(attribute(prompts={"query": "one two "}), moves=("query",)),
    "default prompt and empty ones": Setting(
        attribute(prompts={"x": "two ", "query": "", "document": ""}, default_prompt_name="x"),
        moves=(),
    ),
    "default prompt alone": Setting(
        files={
            "config_sentence_transformers.json": {
                "prompts": {"query": "two "}, "default_prompt_name": "query",
            }
        },
        moves=("query",),
    ),
    "everything": Setting(
        attribute(max_active_dims=9, prompts=PROMPTS, max_seq_length=16),
        files=of_tokens(truncation_side="left"),
        pooling={"activation_function": "log1p_relu"},
    ),
}  # fmt: skip
OF_ONE = {  # architecture, and a setting that only its tokenizer tells from nothing
    "lower case": ("Roberta", Setting(files=of_texts(do_lower_case=True))),
    "lower case of pieces": ("XLMRoberta", Setting(files=of_texts(do_lower_case=True))),
    "lower case twice": ("Bert", Setting(files=of_texts(do_lower_case=True), moves=())),
    "cased": (
        "Bert",
        Setting(files=of_tokens(tokenizer_class="BertTokenizer", do_lower_case=False)),
    ),
    "lower case of the tokenizer": (
        "DistilBert",
        Setting(files=of_tokens(tokenizer_class="BertTokenizer", do_lower_case=True), moves=()),
    ),
    "accents kept": (
        "MPNet",
        Setting(files=of_tokens(tokenizer_class="BertTokenizer", strip_accents=False)),
    ),
    "characters of Chinese in words": (
        "Bert",
        Setting(files=of_tokens(tokenizer_class="BertTokenizer", tokenize_chinese_chars=False)),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A folder of each architecture, made when it is first asked for."""
    root, made = tmp_path_factory.mktemp("bases"), {}

    def base(name):
        if name not in made:
            made[name] = {**MASKED, **CAUSAL}[name](root / name)
        return made[name]

    return base


def language_model(base, setting):
    """The modules of a SPLADE model of sentence-transformers."""
    options = {"transformer_task": "fill-mask", **setting.texts}
    return [Transformer(str(base), **options), SpladePooling(**setting.pooling)]


def save(modules, setting, folder):
    model = sentence_transformers.SparseEncoder(modules=modules, device="cpu")
    setting.change(model)
    model.save_pretrained(str(folder))
    for path in folder.rglob("*.json"):
        if path.name in setting.files:
            stated = json.loads(path.read_text()) | setting.files[path.name]
            path.write_text(json.dumps(stated))
    return folder


@cache  # each folder is loaded once, the plain ones for all settings
def theirs(folder):
    """[texts, V] by side, of sentence-transformers, text by text; special terms are 0.

    No index wants these; they do not count among the largest either.
    """
    model = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    most, model.max_active_dims = model.max_active_dims, None
    found = {}
    for side, encode in (("document", model.encode_document), ("query", model.encode_query)):
        dense = encode(TEXTS, batch_size=1, convert_to_sparse_tensor=False).numpy().copy()
        dense[:, :SPECIAL] = 0
        if most is not None:
            dense[dense < np.sort(dense)[:, -most, None]] = 0
        found[side] = dense
    return found


def ours(folder):
    encoder = load_encoder(str(folder), device="cpu")
    found = {}
    for side, encode in (("document", encoder.encode_documents), ("query", encoder.encode_queries)):
        found[side] = encode(TEXTS).to_scipy().toarray()
        found[side][:, :SPECIAL] = 0
    return found


def assert_equal_and_moved(folder, setting, plain=None):
    found = ours(folder)
    for side, expected in theirs(folder).items():
        np.testing.assert_allclose(found[side], expected, rtol=0, atol=1e-4, err_msg=side)
        assert expected.max() > 0.5
        if plain is not None:
            moved = np.abs(expected - theirs(plain)[side]).max() > 1e-3
            assert moved == (side in setting.moves), side


@pytest.fixture(scope="module")
def plain_folders(bases, tmp_path_factory):
    """A saved model of each architecture without any setting."""
    root, made = tmp_path_factory.mktemp("plain"), {}

    def plain(name):
        if name not in made:
            setting = SETTINGS["nothing"]
            made[name] = save(language_model(bases(name), setting), setting, root / name)
        return made[name]

    return plain


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("architecture", MASKED)
def test_sparse_encoders(bases, plain_folders, tmp_path, architecture, name):
    setting = SETTINGS[name]
    folder = save(language_model(bases(architecture), setting), setting, tmp_path / "m")
    assert_equal_and_moved(folder, setting, plain_folders(architecture))


@pytest.mark.parametrize("name", OF_ONE)
def test_tokenizers_of_sparse_encoders(bases, plain_folders, tmp_path, name):
    architecture, setting = OF_ONE[name]
    folder = save(language_model(bases(architecture), setting), setting, tmp_path / "m")
    assert_equal_and_moved(folder, setting, plain_folders(architecture))


def table(base):
    """A lookup of weights over the tokenizer of a base, as an inference-free query side."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    weights = torch.rand(len(tokenizer), generator=torch.Generator().manual_seed(4)) + 0.1
    return SparseStaticEmbedding(tokenizer, weights, frozen=True)


OF_ROUTERS = ("nothing", "largest terms", "length of the tokenizer", "prompts", "cut on the left")


@pytest.mark.parametrize("name", OF_ROUTERS)
@pytest.mark.parametrize("architecture", ["Bert", "Roberta"])
def test_routers_with_a_query_table(bases, tmp_path, architecture, name):
    base, setting = bases(architecture), SETTINGS[name]

    def saved(setting, folder):
        router = Router.for_query_document([table(base)], language_model(base, setting))
        return save([router], setting, folder)

    plain = saved(SETTINGS["nothing"], tmp_path / "plain")
    assert_equal_and_moved(saved(setting, tmp_path / "m"), setting, plain)


@pytest.mark.parametrize("name", ["nothing", "prompts", "length of each side"])
def test_routers_with_two_models(bases, tmp_path, name):
    setting = SETTINGS[name]
    other = tiny.write_bert(tmp_path / "other", initializer_range=0.3)
    sides = (language_model(one, setting) for one in (other, bases("Bert")))
    folder = save([Router.for_query_document(*sides)], setting, tmp_path / "m")
    assert_equal_and_moved(folder, setting)


def moved_adapter(model):
    """Differences as after a training: those of a new adapter are nothing."""
    torch.manual_seed(3)
    for name, one in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(one, std=0.3)
    return model


ATTENTION = {"Bert": ["query", "value"], "Roberta": ["query", "value"], "MPNet": ["q", "v"],
             "ModernBert": ["Wqkv"]}  # fmt: skip


@pytest.mark.parametrize("name", ["nothing", "length", "everything"])
@pytest.mark.parametrize("architecture", ATTENTION)
def test_adapters_of_sparse_encoders(bases, plain_folders, tmp_path, architecture, name):
    setting = SETTINGS[name]
    modules = language_model(bases(architecture), setting)
    model = sentence_transformers.SparseEncoder(modules=modules, device="cpu")
    targets = ATTENTION[architecture]
    model.add_adapter(peft.LoraConfig(r=4, lora_alpha=11, target_modules=targets))
    moved_adapter(model)
    folder = save(list(model.children()), setting, tmp_path / "m")
    both = Setting(moves=("document", "query"))
    assert_equal_and_moved(folder, both, plain_folders(architecture))


def defined(model, tokenizer, texts, **options):
    """The definition, one text after the other: log(1 + relu(logits)), the largest of each term."""
    rows = []
    for text in texts:
        given = tokenizer(text, truncation=True, return_tensors="pt", **options)
        given.pop("token_type_ids", None)
        with torch.no_grad():
            logits = model.eval()(**given).logits[0].float()
        rows.append(torch.log1p(torch.relu(logits)).amax(0))
    dense = torch.stack(rows).numpy()
    dense[:, :SPECIAL] = 0
    return dense


OF_DECODERS = {
    "nothing": {},
    "cut on the left": {"truncation_side": "left"},
    "tokens around stand in the other file": {"add_bos_token": False, "add_eos_token": False},
    "length": {"model_max_length": 12},
}


@pytest.mark.parametrize("name", OF_DECODERS)
@pytest.mark.parametrize("architecture", [*CAUSAL, "Bert", "ModernBert"])
def test_folders_of_transformers(bases, tmp_path, architecture, name):
    folder = shutil.copytree(bases(architecture), tmp_path / "m")
    path = folder / "tokenizer_config.json"
    names = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    stated = json.loads(path.read_text()) | names | OF_DECODERS[name]
    path.write_text(json.dumps(stated))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    kind = "AutoModelForCausalLM" if architecture in CAUSAL else "AutoModelForMaskedLM"
    model = getattr(transformers, kind).from_pretrained(folder)
    expected = defined(model, tokenizer, TEXTS)
    np.testing.assert_allclose(ours(folder)["document"], expected, rtol=0, atol=1e-4)
    plain = defined(model, transformers.AutoTokenizer.from_pretrained(bases(architecture)), TEXTS)
    assert (np.abs(expected - plain).max() > 1e-3) == (name in ("cut on the left", "length"))


ADAPTERS = {
    "attention": {"target_modules": ["q_proj", "v_proj"]},
    "a stabilised rank": {"target_modules": ["q_proj"], "use_rslora": True, "lora_alpha": 3},
    "direction and size": {"target_modules": ["v_proj"], "use_dora": True},
    "one layer": {"target_modules": ["q_proj"], "layers_to_transform": [1]},
    "the head whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
}


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("architecture", CAUSAL)
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_adapters_of_decoders(bases, tmp_path, architecture, name):
    base = bases(architecture)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    plain = transformers.AutoModelForCausalLM.from_pretrained(base)
    before = defined(plain, tokenizer, TEXTS)
    settings = peft.LoraConfig(task_type="CAUSAL_LM", r=4, **ADAPTERS[name])
    model = moved_adapter(peft.get_peft_model(plain, settings))
    with torch.no_grad():
        for parameter, one in model.named_parameters():
            if "modules_to_save" in parameter or "lora_embedding" in parameter:
                one += 0.2 * torch.randn_like(one)
    model.save_pretrained(tmp_path / "m")
    expected = defined(model, tokenizer, TEXTS)
    np.testing.assert_allclose(ours(tmp_path / "m")["document"], expected, rtol=0, atol=2e-4)
    assert np.abs(expected - before).max() > 1e-3
