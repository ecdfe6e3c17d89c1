"""`tamis eval` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tamis.eval.suite import read_suite
from tamis.scripts.main import command_line

RECIPES = Path(__file__).parents[2] / "scripts" / "recipes"


@pytest.fixture
def tamis(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv("TAMIS_DATA", raising=False)

    def run(*arguments):
        words = [str(argument) for argument in ("eval", *arguments)]
        return CliRunner().invoke(command_line(), words)

    return run


def test_a_folder_is_evaluated_beside_a_baseline(tamis, beir, tmp_path):
    html = tmp_path / "r.html"
    result = tamis(beir, "--encoder", "bm25", "--baseline", "bm25", "--html", html)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "dataset", "system", "nDCG@10", "Recall@100", "MRR@10", "MAP", "queries",
    ]  # fmt: skip
    assert lines[1].split() == ["sieves", "bm25", "1.0000", "1.0000", "1.0000", "1.0000", "2"]
    assert "tamis-bm25" in lines[2]
    assert html.read_text().startswith("<!doctype html>")


def test_one_result_is_one_document_and_several_are_a_list(tamis, beir):
    one = json.loads(tamis(beir, "--encoder", "bm25", "--json", "--measures", "P@1").stdout)
    assert {
        "dataset",
        "system",
        "measures",
        "queries",
        "documents",
        "timings",
        "provenance",
    } <= set(one)
    assert one["measures"] == {"P@1": 1.0}
    several = tamis(beir, "--encoder", "bm25", "--baseline", "bm25", "--json").stdout
    assert [report["system"] for report in json.loads(several)] == ["bm25", "tamis-bm25"]


def test_a_run_goes_out_and_comes_back(tamis, beir, tmp_path):
    run, out = tmp_path / "out.trec", tmp_path / "report.json"
    first = tamis(beir, "--encoder", "bm25", "--run", run, "--out", out, "--json")
    assert run.read_text().splitlines()[0].split()[:4] == ["q1", "Q0", "d1", "1"]
    assert json.loads(out.read_text())["measures"] == json.loads(first.stdout)["measures"]
    again = tamis(beir, "--from-run", run, "--json")
    assert json.loads(again.stdout)["measures"] == json.loads(first.stdout)["measures"]


def test_several_runs_are_compared_with_the_first(tamis, tmp_path, beir):
    queries = [f"q{n}" for n in range(12)]
    rows = [json.dumps({"_id": query, "text": f"sieve {query}"}) for query in queries]
    (beir / "queries.jsonl").write_text("\n".join(rows))
    (beir / "qrels/test.tsv").write_text("".join(f"{query}\td1\t1\n" for query in queries))
    for name, best, tag in (("bad", "d2", "same"), ("good", "d1", "same"), ("other", "d1", "own")):
        lines = [f"{query} Q0 {best} 1 2 {tag}\n{query} Q0 d3 2 1 {tag}\n" for query in queries]
        (tmp_path / f"{name}.trec").write_text("".join(lines))
    bad, good, other = (tmp_path / f"{name}.trec" for name in ("bad", "good", "other"))
    shown = tamis(beir, "--from-run", bad, "--from-run", good).stdout
    # all of 12 queries are better: p = 2 / 2**12 of both signs
    assert "differ from bad (p < .05, Holm)" in shown
    assert "▲" in shown.splitlines()[-1]
    reports = json.loads(tamis(beir, "--from-run", bad, "--from-run", other, "--json").stdout)
    assert [(one["system"], one["measures"]["MRR@10"]) for one in reports] == [
        ("same", 0.0), ("own", 1.0),
    ]  # fmt: skip
    for words in (("--from-run", bad), ("--from-run", good, "--out", tmp_path / "r.json")):
        assert tamis(beir, "--from-run", bad, *words).exit_code == 2


def test_repairs_are_told_on_standard_error(tamis, beir, tmp_path):
    run = tmp_path / "broken.trec"
    run.write_text("q1 Q0 d1 1 2 t\nq1 Q0 d1 2 1 t\n")
    result = tamis(beir, "--from-run", run, "--json")
    assert result.exit_code == 0
    assert "repaired 1 repeated documents" in result.stderr
    assert json.loads(result.stdout)["protocol"]["repairs"] == [
        "1 repeated documents merged, each with its higher score"
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "give a DATASET"),
        (("nowhere",), "expected a dataset folder or name, found 'nowhere'"),
        (("FOLDER", "--measures", "nDGC@10"), "nearest: nDCG@10"),
        (("FOLDER", "--split", "dev"), "splits there: test"),
        (("FOLDER", "--baseline", "bm52", "--encoder", "bm25"), "found 'bm52'"),
        (("FOLDER", "--baseline", "bm25", "--encoder", "bm25", "--run", "x"), "hold one result"),
        (("--suite", "missing.toml", "--out", "somewhere"), "missing.toml: expected a suite"),
        (("--suite", "missing.toml"), "--out FOLDER"),
        (("FOLDER", "--from-run", "missing.trec"), "missing.trec: expected a file"),
    ],
)
def test_mistakes_are_told_with_exit_code_2(tamis, beir, arguments, expected):
    words = [str(beir) if word == "FOLDER" else word for word in arguments]
    result = tamis(*words)
    assert result.exit_code == 2, result.output
    assert expected in " ".join(result.stderr.replace("│", " ").split())


def test_missing_documents_stop_it_unless_allowed(tamis, beir):
    with (beir / "qrels/test.tsv").open("a") as file:
        file.write("q1\tx1\t1\n")
    refused = tamis(beir, "--encoder", "bm25")
    assert (refused.exit_code, "found 1 missing, such as 'x1'" in refused.stderr) == (2, True)
    assert tamis(beir, "--encoder", "bm25", "--allow-missing").exit_code == 0


@pytest.mark.parametrize("recipe", ["beir.sh", "msmarco.sh"])
def test_recipes_run_on_what_is_there(recipe, beir, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text('datasets = []\ntimed_queries = 1\n[[system]]\nkind = "bm25"\n')
    folder = beir.parent / "msmarco"
    folder.mkdir()
    (folder / "collection.tsv").write_text("1\tsieve flour\n2\tdrum\n")
    (folder / "queries.dev.small.tsv").write_text("7\tflour\n")
    (folder / "qrels.dev.small.tsv").write_text("7 0 1 1\n")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TAMIS": str(Path(sys.executable).with_name("tamis")),
        "TAMIS_DATA": str(beir.parent),
        "DATASETS": "sieves",
        "SPLITS": "dev.small",
        "SUITE": str(suite),
    }
    done = subprocess.run(
        [str(RECIPES / recipe), str(tmp_path / "out")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1.0000" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    assert len(list((tmp_path / "out").glob("*/bm25.json"))) == 1


def test_documents_are_divided_on_request(tamis, beir, tmp_path):
    found = tamis(beir, "--encoder", "bm25", "--chunk", "8:2", "--json", "--run", tmp_path / "run")
    report = json.loads(found.stdout)
    assert report["system"] == "tamis-bm25-8-2"
    assert report["measures"]["nDCG@10"] == pytest.approx(1, abs=0.2)
    assert {line.split()[2] for line in (tmp_path / "run").read_text().splitlines()} <= {
        "d1", "d2", "d3",
    }  # fmt: skip
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'datasets = ["x"]\n[[system]]\nkind = "tamis"\nencoder = "bm25"\nchunk = "8"\n'
    )
    result = tamis(beir, "--suite", suite, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_suites_that_are_published_can_be_read(recipe):
    plan = read_suite(recipe)
    assert plan.baseline in {spec.name for spec in plan.system}
    assert len({spec.name for spec in plan.system}) == len(plan.system)
