"""`tamis search --batch` writes the rankings that single searches find."""

import json

import pytest
import torch

from tamis.eval.run import read_run
from tamis.retriever import Searcher

QUERIES = {"q1": "hunting owls", "q2": "night", "q3": "xylophone"}


@pytest.fixture
def queries(tmp_path):
    path = tmp_path / "queries.jsonl"
    lines = [json.dumps({"_id": name, "text": text}) for name, text in QUERIES.items()]
    path.write_text("\n".join(lines))
    return path


def test_a_batch_writes_what_single_searches_find(tamis, index, queries, tmp_path):
    out = tmp_path / "run.trec"
    result = tamis("search", index, "--batch", queries, "--out", out, "-k", 5, "--exact")
    assert result.exit_code == 0, result.output
    singles = Searcher.open(index).search(list(QUERIES.values()), 5, exact=True)
    expected = {
        name: {hit.doc_id: pytest.approx(hit.score) for hit in found.hits}
        for name, found in zip(QUERIES, singles, strict=True)
        if found.hits
    }
    assert read_run(out).scores == expected
    hits = sum(len(found.hits) for found in singles)
    assert result.stdout.startswith("3 queries in ")
    assert f"; {hits} hits in {out}; 1 found nothing; 1 had words that no document has" in (
        result.stdout
    )


def test_a_batch_takes_a_filter_and_the_lexical_weight(tamis, index, queries, tmp_path):
    out = tmp_path / "run.trec"
    asked = ["search", index, "--batch", queries, "--out", out]
    assert tamis(*asked, "--lexical-weight", 0.5).exit_code == 0
    halves = read_run(out).scores
    assert tamis(*asked).exit_code == 0
    for name, ranking in read_run(out).scores.items():
        assert halves[name] == {doc: pytest.approx(score / 2) for doc, score in ranking.items()}
    assert "nowhere" in tamis(*asked, "--filter", '{"field": "nowhere", "in": ["x"]}').stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["owls", "--batch", "Q", "--out", "R"], "--batch takes no TEXT"),
        (["--batch", "Q", "--out", "R", "--rerank", "3"], "--batch takes no --rerank"),
        (["--batch", "Q"], "--batch needs --out"),
        (["owls", "--out", "R"], "--out needs --batch"),
        (["owls", "--threads", "2"], "--threads needs --batch"),
        (["--batch", "none.jsonl", "--out", "R"], "none.jsonl"),
        (["--batch", "Q", "--out", "none/R"], "none"),
        ([], "--batch FILE"),
    ],
)
def test_what_a_batch_cannot_do_is_one_line(tamis, index, queries, tmp_path, options, named):
    places = {"Q": queries, "R": tmp_path / "run.trec"}
    result = tamis("search", index, *(places.get(one, one) for one in options))
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run.trec").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_one_line(tamis, index, queries, tmp_path):
    out = tmp_path / "run.trec"
    result = tamis("search", index, "--batch", queries, "--out", out, "--device", "cuda")
    assert result.exit_code == 2
    assert "found 'cuda'" in result.stderr
    assert not out.exists()
