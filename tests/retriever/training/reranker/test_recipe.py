"""A recipe, from texts to a folder that ranks: on a tiny BERT whose words mean nothing yet."""

import contextlib
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from safetensors.numpy import load_file
from typer.testing import CliRunner

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.language_model import load_headless
from tamis.retriever.models.tokenizer import Tokenizer
from tamis.retriever.rerank.block_reranker import BlockReranker
from tamis.retriever.training.data.training_data import Pairs, load_or_prepare
from tamis.retriever.training.reranker.recipe import (
    is_reranker_recipe,
    labelled_lists,
    mined_lists,
    read_recipe,
    train_reranker,
)
from tamis.retriever.training.reranker.saving import save_reranker
from tamis.retriever.training.reranker.students import CrossStudent, PackedModel
from tamis.retriever.training.reranker.trainer import ListTrainer
from tamis.scripts.main import command_line

RECIPES = Path(__file__).parents[4] / "scripts" / "recipes" / "reranker"
TOPICS = 12
RECIPE = """
[data]
passage_tokens = 16
prepared = "prepared"
[[data.sources]]
path = "pairs.jsonl"
query = ["query"]
passage = ["passage"]
[reranker]
base = "base"
out = "out"
name = "tiny"
sizes = {prefix = 8, document = 16, query = 8}
sharpness = 0.5
head_weight = 2.0
prior_query = 0.5
mined = 30
[[trainings]]
steps = 60
lists = 12
documents = 8
rate = 3e-3
new_rate = 1e-2
teacher_share = 0.0
"""


def passage(topic, generator):
    """Two words that only this topic has, its query's word not among them, and two of noise."""
    words = [f"a{topic}", f"b{topic}", *(f"n{i}" for i in generator.integers(0, 12, 2))]
    return " ".join(generator.permutation(words))


def write_base(folder):
    """A random BERT that knows each word."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"{kind}{i}" for kind in "qabn" for i in range(TOPICS)]
    backend = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]")
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    names = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "unk", "cls", "sep", "mask")}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    fast.save_pretrained(folder)
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        initializer_range=0.2,
    )
    transformers.BertForMaskedLM(config).save_pretrained(folder)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with base, texts and recipe."""
    monkeypatch.chdir(tmp_path)
    write_base(tmp_path / "base")
    generator = np.random.default_rng(1)
    rows = [
        {"query": f"q{topic}", "passage": passage(topic, generator)}
        for topic in range(TOPICS)
        for _ in range(6)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def first_is_right(reranker):
    """The share of lists, one passage a topic, new in their noise, whose first is the topic's."""
    generator = np.random.default_rng(7)
    documents = [passage(topic, generator) for topic in range(TOPICS)]
    found = [
        reranker.rank(f"q{topic}", documents)[0]["corpus_id"] == topic for topic in range(TOPICS)
    ]
    return np.mean(found)


@pytest.mark.long
def test_a_recipe_trains_a_reranker_that_finds_new_passages_in_both_modes(workplace):
    said = CliRunner().invoke(
        command_line(), ["train", "recipe.toml", "--device", "cpu", "--data", ".", "--json"]
    )
    assert said.exit_code == 0, said.output
    answer = json.loads(said.stdout)
    losses = [json.loads(line)["loss"] for line in Path(answer["log"]).read_text().splitlines()]
    assert losses[-1] < losses[0] - 1
    reranker = BlockReranker.from_pretrained(answer["model"], device="cpu", dtype=torch.float32)
    settings = reranker.parts.settings
    assert (settings.name, settings.scoring_layer, settings.reads_from) == ("tiny", 2, 2)
    assert settings.readouts["query"].prior == 0.5
    for reranker.conditioning in ("query", "none"):
        assert first_is_right(reranker) > 0.7  # by chance 0.08


def test_equal_recipes_train_equal_weights(workplace):
    short = RECIPE.replace("steps = 60", "steps = 3")
    folders = []
    for out in ("one", "other"):
        (workplace / "recipe.toml").write_text(short.replace('"out"', f'"{out}"'))
        recipe = read_recipe(workplace / "recipe.toml")
        folders.append(train_reranker(recipe, workplace, device="cpu"))
    one, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert one == other


TEACHER = """
[trainings.teacher]
steps = 60
lists = 12
documents = 8
rate = 3e-3
new_rate = 1e-2
teacher_share = 0.0
"""


@pytest.mark.long
def test_a_cross_encoder_that_is_trained_first_teaches_too(workplace):
    short = RECIPE.replace("steps = 60", "steps = 3").replace("_share = 0.0", "_share = 0.9")
    folders, logs = [], []
    for out, text in (("alone", short), ("taught", short + TEACHER), ("again", short + TEACHER)):
        (workplace / "recipe.toml").write_text(text.replace('"out"', f'"{out}"'))
        folders.append(train_reranker(read_recipe(workplace / "recipe.toml"), workplace))
        lines = (workplace / out / "log.jsonl").read_text().splitlines()
        logs.append([json.loads(line).get("of", "reranker") for line in lines])
    assert logs == [["reranker"], *[["teacher", "teacher", "reranker"]] * 2]
    alone, taught, again = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert alone != taught
    assert taught == again


def stopping_at(step, monkeypatch):
    """Have each training on lists stop as by Ctrl-C when it comes to a step."""
    whole = ListTrainer._loss

    def loss(trainer, batch):
        trainer.steps_here = getattr(trainer, "steps_here", 0) + 1
        if trainer.steps_here == step:
            raise KeyboardInterrupt
        return whole(trainer, batch)

    monkeypatch.setattr(ListTrainer, "_loss", loss)


def test_a_training_goes_on_where_it_stopped(workplace, monkeypatch):
    short = (RECIPE + TEACHER).replace("steps = 60", "steps = 6\nsave_steps = 2")
    weights = []
    for out, stops in (("whole", ()), ("parts", (4, 6, 99))):  # in the teacher, then behind it
        (workplace / "recipe.toml").write_text(short.replace('"out"', f'"{out}"'))
        recipe = read_recipe(workplace / "recipe.toml")
        for turn, stop in enumerate(stops):
            with monkeypatch.context() as patch:
                stopping_at(stop, patch)
                with pytest.raises(KeyboardInterrupt) if stop < 99 else contextlib.nullcontext():
                    train_reranker(recipe, workplace, resume=turn > 0, device="cpu")
        if not stops:
            train_reranker(recipe, workplace, device="cpu")
        weights.append((workplace / out / "model" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("teacher", [False, True])
def test_a_loss_that_is_no_number_stops_before_it_spoils_the_weights(
    workplace, monkeypatch, teacher
):
    short = (RECIPE + TEACHER).replace("steps = 60", "steps = 6\nsave_steps = 2")
    (workplace / "recipe.toml").write_text(short)
    whole, step = ListTrainer._loss, itertools.count()

    def loss(trainer, batch):
        bad = isinstance(trainer.student, CrossStudent) is teacher and next(step) == 3
        return whole(trainer, batch) * (float("nan") if bad else 1.0)

    command = ["train", "recipe.toml", "--device", "cpu", "--data", "."]
    with monkeypatch.context() as patch:
        patch.setattr(ListTrainer, "_loss", loss)
        said = CliRunner().invoke(command_line(), command)
    assert said.exit_code == 1
    assert "step 3: expected a finite loss and gradient, found a loss of nan" in said.stderr
    assert "lower rate and new_rate and go on from the last checkpoint" in said.stderr
    assert not (workplace / "out" / "model").joinpath("model.safetensors").exists()
    kept = workplace / "out" / "checkpoints" / ("0-teacher" if teacher else "0")
    assert json.loads((kept / "state.json").read_text())["step"] == 2
    (workplace / "recipe.toml").write_text(short.replace("rate = 3e-3", "rate = 1e-3"))
    said = CliRunner().invoke(command_line(), [*command, "--resume"])
    assert said.exit_code == 0, said.output
    (workplace / "recipe.toml").write_text(short.replace("lists = 12", "lists = 13"))
    said = CliRunner().invoke(command_line(), [*command, "--resume"])
    assert said.exit_code == 2
    assert "expected a checkpoint of this configuration" in said.stderr


def test_an_older_checkpoint_is_refused_in_one_line(workplace):
    (workplace / "recipe.toml").write_text(RECIPE.replace("steps = 60", "steps = 1"))
    recipe = read_recipe(workplace / "recipe.toml")
    train_reranker(recipe, workplace, device="cpu")
    path = workplace / "out" / "checkpoints" / "0" / "state.json"
    state = json.loads(path.read_text())
    del state["finished"]
    path.write_text(json.dumps(state))
    with pytest.raises(FormatError, match=r"found one without or with another 'finished'"):
        train_reranker(recipe, workplace, resume=True, device="cpu")


def test_several_processes_are_refused_before_anything_is_written(workplace, monkeypatch):
    (workplace / "recipe.toml").write_text(RECIPE)
    recipe, before = read_recipe(workplace / "recipe.toml"), sorted(workplace.iterdir())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"expected one process .* of a reranker, found 2"):
        train_reranker(recipe, workplace, device="cpu")
    assert sorted(workplace.iterdir()) == before


def trained_weights(workplace, more="", **settings):
    """What a short training saves, under other values of a recipe's keys."""
    text = RECIPE.replace("steps = 60", "steps = 3") + more
    for key, value in settings.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    (workplace / "recipe.toml").write_text(text)
    folder = train_reranker(read_recipe(workplace / "recipe.toml"), workplace, device="cpu")
    return load_file(folder / "model.safetensors")


def test_a_share_of_the_start_lies_between_it_and_the_end(workplace):
    end = trained_weights(workplace)
    start = trained_weights(workplace, rate=0.0, new_rate=0.0)
    prior = "prior_query"  # the key before which the share is put
    quarter = trained_weights(workplace, **{prior: "0.5\nstart_share = 0.25"})
    assert any((end[name] != start[name]).any() for name in end)
    for name, weight in quarter.items():
        np.testing.assert_allclose(weight, 0.75 * end[name] + 0.25 * start[name], atol=1e-6)


def test_the_mean_of_several_trainings_is_saved(workplace):
    other = RECIPE[RECIPE.index("[[trainings]]") :].replace("steps = 60", "steps = 2")
    both = trained_weights(workplace, other)
    one, two = (trained_weights(workplace, steps=steps) for steps in (3, 2))
    assert any((one[name] != two[name]).any() for name in one)
    for name, weight in both.items():
        np.testing.assert_allclose(weight, (one[name] + two[name]) / 2, atol=1e-6)


def test_invented_pairs_and_lone_questions_are_drawn_as_often_as_the_recipe_says(workplace):
    trained_weights(workplace)
    recipe = read_recipe(workplace / "recipe.toml")
    base = load_headless(workplace / "base")
    tokenizer = Tokenizer.load(workplace / "base", base.config.max_position_embeddings)
    texts = load_or_prepare(recipe.data, tokenizer, workplace, workplace / "prepared", 0)
    judged = np.arange(len(texts.pairs)) % 2 == 0
    queries = texts.queries.take(np.append(np.arange(len(texts.queries)), 0))  # one more, unpaired
    texts = replace(texts, pairs=replace(texts.pairs, judged=judged), queries=queries)
    config = replace(recipe.reranker, unlabelled=0.5, invented=0.2)
    weights = mined_lists(texts, PackedModel(base.eval()), tokenizer, config).weights
    assert weights.tolist() == [*np.where(judged, 1.0, 0.2).tolist(), 0.5]


def test_each_pair_is_a_list_and_knows_the_other_answers_of_its_query():
    queries, passages = np.array([1, 1, 1, 3]), np.array([7, 8, 9, 7])
    asked, known = labelled_lists(Pairs(queries, passages, np.ones(4, bool)), 5)
    assert asked.tolist() == [1, 1, 1, 3, 0, 2, 4]
    assert known[:, 0].tolist() == [7, 8, 9, 7, -1, -1, -1]
    assert [sorted(row) for row in known[:4].tolist()] == [*[[7, 8, 9]] * 3, [-1, -1, 7]]
    assert (known[4:] == -1).all()


def test_a_reranker_that_shares_embeddings_is_saved_as_it_was_loaded(tmp_path):
    bundled = BlockReranker.from_pretrained(device="cpu", dtype=torch.float32)
    parts = bundled.parts
    save_reranker(tmp_path, parts.backbone.model, None, parts.settings)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 12 << 20
    saved = BlockReranker.from_pretrained(str(tmp_path), device="cpu", dtype=torch.float32)
    assert saved.parts.settings == parts.settings
    asked = ("what lets grains through", ["A sieve.", "The Moon.", "Small grains pass a sieve."])
    np.testing.assert_allclose(saved.score(*asked), bundled.score(*asked), atol=1e-3)


@pytest.mark.parametrize("recipe", list(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_rerankers_are_read(recipe):
    assert is_reranker_recipe(recipe)
    assert read_recipe(recipe).trainings[0].documents > 1


def test_mistakes_in_a_recipe_are_told(workplace):
    def said(old="", new="", *options):
        (workplace / "recipe.toml").write_text(RECIPE.replace(old, new))
        command = ["train", "recipe.toml", "--device", "cpu", *options]
        outcome = CliRunner().invoke(command_line(), command)
        assert outcome.exit_code == 2, outcome.output
        return outcome.stderr

    assert "did you mean reranker.mined" in said("mined", "mind")
    assert "conditionings to be one of query, none" in said(
        "documents = 8", 'documents = 8\nconditionings = ["nothing"]'
    )
    assert "next_token" in said("documents = 8", "documents = 8\nnext_token = 0.5")
    assert "candidates of a query for lists of so many" in said("mined = 30", "mined = 3")
    assert "expected at least 206 passages to mine from" in said("mined = 30", "mined = 100")
    assert "expected blocks of at most 40 positions" in said("document = 16", "document = 90")
    other = '[[trainings]]\nconditionings = ["none"]\n[[trainings]]'
    assert "one training or more, of equal conditionings" in said("[[trainings]]", other)
    start = RECIPE.index("[[trainings]]")
    assert "expected trainings, found nothing" in said(RECIPE[start:], "")
    assert "found none; train without --resume" in said("", "", "--resume")
    assert not is_reranker_recipe(workplace / "nothing.toml")
