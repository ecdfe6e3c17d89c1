"""The tiny recipe, from the command line, makes the default encoder better on what it trains on."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tamis.retriever import load_encoder
from tamis.scripts.main import command_line

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "scripts" / "recipes" / "training" / "tiny.toml"


FEWER = {"passage_tokens": 24, "dev_passages": 60, "passages": 16, "steps": 5, "dev_steps": 5}


@pytest.mark.long
def test_the_tiny_recipe_improves_its_development_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAMIS_DATA", str(ROOT / "eval" / "sample"))
    recipe = RECIPE.read_text()
    for key, value in FEWER.items():
        recipe, found = re.subn(rf"^{key} = \d+$", f"{key} = {value}", recipe, flags=re.MULTILINE)
        assert found == 1
    (tmp_path / "tiny.toml").write_text(recipe)
    said = CliRunner().invoke(
        command_line(), ["train", str(tmp_path / "tiny.toml"), "--device", "cpu", "--json"]
    )
    assert said.exit_code == 0, said.output
    answer = json.loads(said.stdout)
    lines = [json.loads(line) for line in Path(answer["log"]).read_text().splitlines()]
    before, after = (line["dev"]["mean"]["200/0"] for line in lines if "dev" in line)
    assert after > before + 0.01
    assert load_encoder(answer["model"], device="cpu").encode_queries(["a red planet"]).nnz > 1


def test_a_wrong_key_is_one_line_that_names_the_nearest(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(RECIPE.read_text().replace("passages = 24", "pasages = 24"))
    said = CliRunner().invoke(command_line(), ["train", str(config)])
    assert said.exit_code == 2
    assert "did you mean batch.passages" in said.stderr
