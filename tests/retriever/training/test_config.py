from pathlib import Path

import pytest

from tamis.index.errors import InputError
from tamis.retriever.training.config import Penalty
from tamis.retriever.training.read_config import read_config
from tamis.retriever.training.records import identity

LEAST = '[data]\nsources = [{path = "a"}]\n[optimiser]\nsteps = 5\n[run]\nout = "x"\n'


def written(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(text)
    return path


def test_what_is_not_said_has_its_default(tmp_path):
    config = read_config(written(tmp_path, LEAST + '[sparsity]\npenalty = "l1"\nweight = 2\n'))
    assert config.sparsity.penalty is Penalty.L1
    assert config.sparsity.weight == 2.0
    assert config.batch.passages == 1024
    assert config.data.sources[0].path == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optimizer]\nsteps = 5\n", "optimizer; did you mean optimiser"),
        ("[batch]\npasages = 5\n", "batch.pasages; did you mean batch.passages"),
        ("[batch]\npassages = 2.5\n", "batch.passages to be int"),
        ("[batch]\npassages = true\n", "batch.passages to be int"),
        ('[sparsity]\npenalty = "l3"\n', "one of flops, l1, df_flops"),
        ("[lexical]\nalone = 1.5\n", "lexical.alone from 0 to 1"),
        ("[batch]\npassages = 1\n", "batch.passages"),
        ("[loss]\nkl = 0\n", "loss with a weight"),
        ("[loss]\nsparse = 0.5\n", r"set loss\.sparse_teacher"),
        ("[loss]\ncached = 0.5\n", "expected a source with scores"),
        ('[model]\n[model.query]\nbase = "x"\n', r"model\.query_table = false"),
        ('[model]\nhead = "linear"\nlora_rank = 4\n', "max or sum with lora_rank"),
        ('[model]\nhead = "mean"\n', "one of max, sum, linear, mlp, gated"),
        ("[model.query]\nbas = 1\n", r"model\.query\.bas; did you mean model\.query\.base"),
        ("[batch]\nnegatives = 2\n", r"set mining\.every"),
        ("[mining]\nevery = 2\n", r"set batch\.negatives"),
        (
            "[mining]\nevery = 2\n[batch]\nnegatives = 1\n[loss]\ndense = 0\n",
            "mining.dense = false",
        ),
        ("not toml", "TOML"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, message):
    whole = text + LEAST if text == "not toml" else LEAST + text
    with pytest.raises(InputError, match=message):
        read_config(written(tmp_path, whole))


def test_a_setting_added_later_leaves_old_identities_alone(tmp_path):
    plain = identity(read_config(written(tmp_path, LEAST)))
    assert "head" not in plain["model"]
    assert "mining" not in plain
    assert plain["model"] == {"base": "default", "double_log": True, "query_table": True}
    text = LEAST + '[model]\nhead = "sum"\n[model.query]\nbase = "x"\n'
    text = text.replace("[model.query]", "query_table = false\n[model.query]")
    other = identity(read_config(written(tmp_path, text)))
    assert other["model"]["head"] == "sum"
    assert other["model"]["query"] == {"base": "x", "double_log": True}


def test_a_configuration_extends_another_by_what_differs(tmp_path):
    whole = LEAST.replace("steps = 5", "steps = 7\nrate = 0.5") + "[batch]\npassages = 8\n"
    (tmp_path / "whole.toml").write_text(whole)
    leg = 'extends = "whole.toml"\n[optimiser]\nsteps = 3\n[model]\ntable_from_base = true\n'
    found = read_config(written(tmp_path, leg))
    assert (found.optimiser.steps, found.optimiser.rate, found.batch.passages) == (3, 0.5, 8)
    assert found.model.table_from_base
    assert found.data == read_config(tmp_path / "whole.toml").data


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ('extends = "two.toml"', 'extends = "one.toml"', "does not extend this one"),
        ('extends = "one.toml"', "", "does not extend this one"),
        ("extends = 3", "", "expected extends to be the path"),
        ('extends = "none.toml"', "", "none.toml: expected a training configuration"),
    ],
)
def test_what_cannot_be_extended_is_named(tmp_path, first, second, told):
    (tmp_path / "one.toml").write_text(first)
    (tmp_path / "two.toml").write_text(second)
    with pytest.raises(InputError, match=told):
        read_config(tmp_path / "one.toml")


def test_a_missing_key_or_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"run\.out"):
        read_config(written(tmp_path, LEAST.replace('out = "x"', "")))
    with pytest.raises(InputError, match="training configuration"):
        read_config(tmp_path / "none.toml")


def test_every_recipe_of_the_project_is_a_configuration():
    folder = Path(__file__).parents[3] / "scripts" / "recipes" / "training"
    recipes = sorted(folder.glob("*.toml"))
    assert len(recipes) >= 3
    for recipe in recipes:
        assert read_config(recipe).optimiser.steps > 0
