from pathlib import Path

import pytest

from tamis.index.errors import InputError
from tamis.retriever.training.config import Penalty, read_config

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
        ("not toml", "TOML"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, message):
    whole = text + LEAST if text == "not toml" else LEAST + text
    with pytest.raises(InputError, match=message):
        read_config(written(tmp_path, whole))


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
