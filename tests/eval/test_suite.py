"""Suites: described in TOML, resumed result by result, logged."""

from __future__ import annotations

import json
import shutil

import pytest

from tamis.eval import suite as suites
from tamis.eval.protocol import CQADUPSTACK_PARTS
from tamis.eval.suite import baseline_specs, build_systems, read_results, read_suite, run_suite
from tamis.index.errors import InputError

SUITE = """
datasets = ["sieves"]
baseline = "bm25"
measures = ["nDCG@10", "MAP"]
timed_queries = 2

[[system]]
kind = "bm25"

[[system]]
kind = "tamis"
name = "words"
encoder = "bm25"

[[system]]
kind = "hybrid"
name = "both"
parts = ["bm25", "words"]
weights = [0.4, 0.6]
"""


@pytest.fixture
def toml(tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text(SUITE)
    return path


def test_a_suite_runs_every_system_and_keeps_the_results(toml, beir, tmp_path):
    out, told = tmp_path / "out", []
    found = run_suite(read_suite(toml), out, tmp_path / "work", data=beir.parent, tell=told.append)
    assert [result.system for result in found] == ["bm25", "words", "both"]
    assert told == [f"{system} on sieves" for system in ("bm25", "words", "both")]
    assert {p.name for p in (out / "sieves").iterdir()} == {
        f"{name}.{ending}" for name in ("bm25", "words", "both")
        for ending in ("json", "queries.json.gz")
    }  # fmt: skip
    assert sorted(r.system for r in read_results(out)) == ["bm25", "both", "words"]
    assert all(set(result.measures) == {"nDCG@10", "MAP"} for result in found)


def test_a_finished_result_is_not_made_again(toml, beir, tmp_path, monkeypatch):
    calls = []
    genuine = suites.evaluate
    monkeypatch.setattr(
        suites,
        "evaluate",
        lambda system, *rest: calls.append(system.name) or genuine(system, *rest),
    )

    def run():
        calls.clear()
        found = run_suite(read_suite(toml), tmp_path / "out", tmp_path / "work", data=beir.parent)
        return [result.measures for result in found]

    first = run()
    assert calls == ["bm25", "words", "both"]
    assert run() == first
    assert calls == []
    (tmp_path / "out/sieves/words.json").unlink()
    run()
    assert calls == ["words"]
    with (beir / "qrels/test.tsv").open("a") as file:
        file.write("q3\td1\t1\n")
    run()
    assert calls == ["bm25", "words", "both"]
    log = (tmp_path / "out/runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["system"] for line in log] == [
        "bm25", "words", "both", "words", "bm25", "words", "both",
    ]  # fmt: skip


def test_some_systems_alone_bring_their_parts_without_results(toml, beir, tmp_path):
    def run(*only):
        found = run_suite(
            read_suite(toml), tmp_path / "out", tmp_path / "work", data=beir.parent, only=only
        )
        return [result.system for result in found]

    assert run("both") == ["both"]
    assert [p.name for p in (tmp_path / "out/sieves").glob("*.json")] == ["both.json"]
    assert run("words", "bm25") == ["bm25", "words"]
    with pytest.raises(InputError, match="found neither; there are bm25, words, both"):
        run("neither")


def test_cqadupstack_is_one_line_of_twelve_parts(toml, beir, tmp_path):
    for part in CQADUPSTACK_PARTS:
        shutil.copytree(beir, tmp_path / "data/cqadupstack" / part)
    toml.write_text('datasets = ["cqadupstack"]\ntimed_queries = 0\n[[system]]\nkind = "bm25"\n')
    (found,) = run_suite(
        read_suite(toml), tmp_path / "out", tmp_path / "work", data=tmp_path / "data"
    )
    assert found.dataset == "cqadupstack"
    assert found.report["queries"] == 24
    assert len(list((tmp_path / "out").glob("cqadupstack-*/bm25.json"))) == 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("datasets = []", "missing required field `system`"),
        ('datasets = []\n[[system]]\nkind = "magic"', "magic"),
        ('datasets = []\n[[system]]\nkind = "bm25"\nk2 = 1', "k2"),
        ('datasets = []\nsystem = []\nbaseline = "bm25"', "baseline bm25"),
        ('datasets = []\n[[system]]\nkind="bm25"\n[[system]]\nkind="bm25"', "distinct"),
        ("datasets = [", "expected a suite"),
    ],
)
def test_a_faulty_suite_is_refused(toml, text, expected):
    toml.write_text(text)
    with pytest.raises(InputError, match=expected) as caught:
        read_suite(toml)
    assert str(caught.value).startswith(f"{toml}: ")


def test_parts_must_stand_before_what_is_made_of_them(toml):
    toml.write_text('datasets = []\n[[system]]\nkind = "hybrid"\nparts = ["bm25", "dense"]\n')
    with pytest.raises(InputError, match="found 'bm25'; there are none"):
        build_systems(read_suite(toml).system)


def test_baselines_bring_what_they_are_made_of():
    names = [spec.name for spec in baseline_specs(["hybrid", "dense+prf", "bm25"])]
    assert names == ["bm25", "dense", "hybrid", "dense+prf"]
    with pytest.raises(InputError, match="found 'colbert'"):
        baseline_specs(["colbert"])
