"""Comparing two builds: the interval against its binomial definition, a run on a small project."""

import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from itertools import product
from pathlib import Path

import pytest

PATH = Path(__file__).parents[3] / "scripts" / "dev" / "compare"


@pytest.fixture(scope="module")
def compare():
    loader = SourceFileLoader("compare", str(PATH))
    module = module_from_spec(spec_from_loader("compare", loader))
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


@pytest.mark.parametrize("count", [6, 9, 12])
def test_the_interval_holds_the_median_in_95_of_100_samples(compare, count):
    """Every sample of values below (0) and above (1) the median, all of them equally likely."""
    low, high = compare.ranks(count)
    samples = [sorted(sample) for sample in product((0, 1), repeat=count)]
    held = [sample[low] == 0 and sample[high] == 1 for sample in samples]
    assert sum(held) / len(held) >= 0.95
    narrower = [sample[low + 1] == 0 and sample[high - 1] == 1 for sample in samples]
    assert sum(narrower) / len(narrower) < 0.95


def test_ratios_are_speeds_now_over_before(compare):
    pairs = [({"us": 2.0}, {"us": 1.0})] * 6
    assert compare.summarise(pairs, "us", rate=False)["ratio"] == 2
    assert compare.summarise(pairs, "us", rate=True)["ratio"] == 0.5


def test_a_figure_is_read_from_the_json_document_alone(compare):
    assert compare._figure('compiling\n{"a": [{"b": 3}]}', "a.0.b") == 3
    for output in ("", "{}", '{"a": [{"b": "x"}]}', '{"a": [{"b": 0}]}'):
        with pytest.raises(SystemExit, match=r"expected"):
            compare._figure(output, "a.0.b")


@pytest.mark.parametrize(
    ("words", "fault"),
    [(["HEAD"], "a command"), (["HEAD", "--pairs", "0", "--", "true"], "one pair")],
)
def test_a_call_that_makes_no_sense_is_refused(words, fault):
    done = subprocess.run([sys.executable, PATH, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert fault in done.stderr


def test_a_commit_that_is_not_there_is_named():
    words = [sys.executable, PATH, "no-such-commit", "--", "true"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no-such-commit" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_each_build_runs_in_its_own_tree_in_turns(compare, monkeypatch, tmp_path, capsys):
    trees = [tmp_path / name for name in ("before", "now")]
    for place, tree in enumerate(trees):
        tree.mkdir()
        (tree / "figure.json").write_text(json.dumps({"us": 4.0 / (place + 1)}))
    programs = Path(sys.executable).parent
    log = tmp_path / "log"
    told = f"open({str(log)!r}, 'a').write(os.getcwd() + chr(10))"
    command = f"import os; print(open('figure.json').read()); {told}"
    monkeypatch.setattr(compare, "ROOT", trees[1])
    monkeypatch.setattr(compare, "environment", lambda commit: (trees[0], programs))
    monkeypatch.setattr(compare, "_commit", lambda name: name)
    monkeypatch.setattr(compare, "_git", lambda *words: "")
    asked = ["compare", "before", "--pairs", "2", "--warm", "0", "--figure", "us", "--"]
    monkeypatch.setattr(sys, "argv", [*asked, sys.executable, "-c", command])
    compare.main()
    assert json.loads(capsys.readouterr().out)["figures"]["us"]["ratio"] == 2
    names = [Path(line).name for line in log.read_text().split()]
    assert names == ["before", "now", "now", "before"]
