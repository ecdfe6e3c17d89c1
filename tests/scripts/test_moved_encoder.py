"""An index and its own encoder have moved: every command finds the encoder by --encoder."""

import json
import re
import shutil
import signal

import httpx
import pytest
from tiny_checkpoints import write_bert

TEXTS = {"owl": "the owl hunts at night", "bat": "a bat flies"}


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("other"), hidden_size=48, intermediate_size=16)


@pytest.fixture
def moved(tamis, tmp_path):
    """The folders of an index and of its encoder, moved after the index was made."""
    write_bert(tmp_path / "old")
    lines = (json.dumps({"_id": name, "text": text}) + "\n" for name, text in TEXTS.items())
    (tmp_path / "corpus.jsonl").write_text("".join(lines))
    arguments = ["--encoder", tmp_path / "old", "--device", "cpu", "--out", tmp_path / "index"]
    assert tamis("index", tmp_path / "corpus.jsonl", *arguments).exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "old", tmp_path / "elsewhere" / "model")
    shutil.move(tmp_path / "index", tmp_path / "elsewhere" / "nest")
    return tmp_path / "elsewhere" / "nest", tmp_path / "elsewhere" / "model"


def check(tamis, moved, other, *arguments):
    """The command says what the index remembers, takes its encoder's place, and no other's."""
    index, model = moved
    without, wrong = tamis(*arguments), tamis(*arguments, "--encoder", other)
    for refused, said in (
        (without, "found none there"),
        (wrong, f"found {other} with fingerprint"),
    ):
        assert refused.exit_code == 2
        (line,) = refused.stderr.splitlines()
        assert re.search(rf"{index}: expected the encoder .* then at .*/old, {said}", line)
    found = tamis(*arguments, "--encoder", model, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_search(tamis, moved, other):
    found = check(tamis, moved, other, "search", moved[0], "owl")
    assert {hit["id"] for hit in found["hits"]} == set(TEXTS)  # by random weights


def test_add(tamis, moved, other, tmp_path):
    (tmp_path / "more.jsonl").write_text('{"_id": "kite", "text": "a red kite"}\n')
    arguments = ["add", moved[0], tmp_path / "more.jsonl", "--device", "cpu"]
    assert check(tamis, moved, other, *arguments)["documents"] == 3


def test_tune(tamis, moved, other, tmp_path):
    (tmp_path / "queries.txt").write_text("the owl\na bat\n" * 30)
    found = check(tamis, moved, other, "tune", moved[0], "--queries", tmp_path / "queries.txt")
    assert found["rows"] == []  # so small an index is read to its end


def test_eval(tamis, moved, other, tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    shutil.copy(tmp_path / "corpus.jsonl", folder)
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "owl hunts"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\towl\t1\n")
    arguments = ["eval", folder, "--index", moved[0], "--timed-queries", "0"]
    assert check(tamis, moved, other, *arguments)["measures"]["nDCG@10"] > 0.6


@pytest.mark.long
def test_serve(tamis, start_tamis, moved, other, tmp_path):
    index, model = moved
    data = tmp_path / "data" / "indexes"
    data.mkdir(parents=True)
    shutil.copytree(index, data / "kept")
    refused = tamis("serve", index, "--port", "0")
    assert f"{index}: expected the encoder" in refused.stderr
    refused = tamis("serve", index, "--encoder", model, "--encoder", other, "--port", "0")
    assert f"found {other} with fingerprint" in refused.stderr
    arguments = ["serve", index, "--data", tmp_path / "data", "--encoder", model, "--port", "0"]
    server = start_tamis(*arguments)
    line = server.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
    assert line.startswith("Serving nest, kept at ")
    document = {"text": "another owl"}
    put = httpx.put(f"{address}/v1/indexes/kept/documents/x", json=document, timeout=60)
    assert put.status_code == 200
    for name in ("nest", "kept"):
        body = {"query": "owl", "explain": True}
        answer = httpx.post(f"{address}/v1/indexes/{name}/search", json=body).json()
        assert {hit["id"] for hit in answer["hits"]} >= set(TEXTS)
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=20)
