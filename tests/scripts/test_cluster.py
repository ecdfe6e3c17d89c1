"""Pieces by command, and by the workers of a cluster, are the index of one process."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tamis.index import InputError, MismatchError
from tamis.index.files.storage import Storage
from tamis.retriever import Searcher
from tamis.scripts import cluster
from tamis.scripts.cluster import Cluster


def document(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def one_line(result):
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


QUERIES = ["owl", "w7 w8", "night owls 99"]


@pytest.fixture
def corpus(tmp_path):
    rows = [
        {"_id": f"d{i}", "text": f"night owl w{i % 50} w{i * 7 % 90} {i}" + " owl" * (i % 3)}
        for i in range(600)
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def found(folder):
    searcher = Searcher.open(folder)
    made = searcher.collection.index.manifest
    return (
        made.documents,
        made.vocab_size,
        made.settings.lexical,
        [
            [(hit.doc_id, hit.score) for hit in result.hits]
            for result in searcher.search(QUERIES, 50, exact=True)
        ],
    )


def test_pieces_by_command_are_the_index_of_one_process(tamis, corpus, tmp_path):
    assert tamis("index", corpus, "--out", tmp_path / "one", "-e", "bm25").exit_code == 0
    for piece in ("2/2", "1/2"):
        told = tamis("index", corpus, "--piece", piece, "--out", tmp_path / piece[0], "-e", "bm25")
        assert told.exit_code == 0
        assert f"piece {piece}, 300 documents" in told.stdout
    places = [tmp_path / "1", tmp_path / "2"]
    answer = document(tamis("assemble", *places, "--out", tmp_path / "all", "--json"))
    assert (answer["documents"], answer["segments"]) == (600, 2)
    assert found(tmp_path / "all") == found(tmp_path / "one")


def test_what_a_piece_cannot_be_is_refused_in_one_line(tamis, corpus, tmp_path):
    out = ("--out", tmp_path / "x", "-e", "bm25")
    assert "expected a share such as 2/8" in one_line(
        tamis("index", corpus, "--piece", "3/2", *out)
    )
    for beside, other in (("--rerank-cache",), "--piece"), (("--cluster", "2"), "--cluster"):
        refused = tamis("index", corpus, "--piece", "1/2", *beside, *out)
        assert refused.exit_code == 2
        assert f"{other} takes no" in refused.stderr
    assert "standard input" in one_line(tamis("index", "-", "--cluster", "2", *out))
    assert not (tmp_path / "x").exists()


def test_a_cluster_without_ray_says_how_to_install_it(tamis, corpus, tmp_path, monkeypatch):
    from tamis.scripts import extras

    monkeypatch.setattr(extras, "installed_version", lambda name: None)
    told = tamis("index", corpus, "--out", tmp_path / "x", "-e", "bm25", "--cluster", "2")
    assert "pip install 'tamis[cluster]'" in one_line(told)


class OneNode:
    """Ray with one node, which says of itself what it is told to, one answer after the other."""

    def __init__(self, answers):
        self._answers = iter(answers)

    def nodes(self):
        return [{"Alive": True, "NodeManagerAddress": "10.0.0.7", "NodeManagerHostname": "far"}]

    def remote(self, **options):
        if options:
            assert options["resources"] == {"node:10.0.0.7": 0.001}
        return self._remote

    def _remote(self, work):
        return SimpleNamespace(remote=lambda *arguments: next(self._answers))

    def get(self, task):
        return task


def test_workers_elsewhere_are_checked_before_work_begins(tmp_path):
    here = cluster._about(None)["versions"]
    answers = [{"versions": "tamis 9", "seen": ""}, {"versions": here, "seen": ""}]
    found = Cluster(OneNode(answers), 1, 0)
    storage = Storage(tmp_path)
    storage.make_folder("build")
    with pytest.raises(MismatchError, match="found tamis 9 on far; install the same version"):
        cluster._check_workers(found, storage)
    with pytest.raises(
        InputError, match="expected a folder that all workers share, found that far"
    ):
        cluster._check_workers(found, storage)


def workers_of(pid):
    """The processes of Ray's workers that are at a piece, or wait for one."""
    with suppress(psutil.NoSuchProcess):
        return [
            one
            for one in psutil.Process(pid).children(recursive=True)
            if "ray::" in " ".join(one.cmdline())
        ]
    return []


@pytest.mark.long
def test_a_cluster_whose_worker_is_killed_gives_the_index_of_one_process(
    tamis, start_tamis, corpus, tmp_path
):
    assert tamis("index", corpus, "--out", tmp_path / "one", "-e", "bm25").exit_code == 0
    started = start_tamis(
        "index", corpus, "--out", tmp_path / "many", "-e", "bm25", "--cluster", "2", "--json"
    )
    end, killed = time.monotonic() + 120, []
    while not killed and started.poll() is None and time.monotonic() < end:
        for one in workers_of(started.pid):
            if "_index_piece" in " ".join(one.cmdline()):
                os.kill(one.pid, signal.SIGKILL)
                killed.append(one.pid)
                break
        time.sleep(0.02)
    out, said = started.communicate(timeout=180)
    assert started.returncode == 0, said
    assert json.loads(out)["documents"] == 600
    assert killed
    assert found(tmp_path / "many") == found(tmp_path / "one")
    assert not Path(tmp_path / "many" / "build").exists()
