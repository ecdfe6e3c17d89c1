"""`tamis rerank` from a run to a run, and `tamis search --rerank`."""

import json
import shutil

import pytest
from tiny_dense import write_dense

from tamis.eval.run import Run, read_run


@pytest.fixture
def collection(tmp_path):
    folder = tmp_path / "birds"
    (folder / "qrels").mkdir(parents=True)
    texts = {
        "sieve": "A drum sieve is used to sift flour in the kitchen.",
        "owl": "Owls hunt at night: they hear a mouse under the snow.",
        "sea": "Fish swim in the sea.",
    }
    rows = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "queries.jsonl").write_text(
        json.dumps({"_id": "q", "text": "how do owls hunt"}) + "\n"
    )
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\towl\t1\n")
    return folder


def test_a_run_is_reranked(tamis, collection, tmp_path):
    first, out = tmp_path / "first.trec", tmp_path / "second.trec"
    Run({"q": {"sieve": 3.0, "sea": 2.9, "owl": 2.8}}).write(first)
    result = tamis("rerank", first, "--dataset", collection, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["queries"] == 1
    found = read_run(out)
    assert found.ordered("q")[0][0] == "owl"
    assert set(found.scores["q"]) == {"sieve", "sea", "owl"}
    shallow = tamis("rerank", first, "--dataset", collection, "--out", out, "--depth", "2")
    assert shallow.exit_code == 0, shallow.output
    assert set(read_run(out).scores["q"]) == {"sieve", "sea"}


def test_a_run_of_another_collection_is_refused(tamis, collection, tmp_path):
    first = tmp_path / "first.trec"
    for scores, named in (({"q": {"whale": 1.0}}, "'whale'"), ({"z": {"owl": 1.0}}, "'z'")):
        Run(scores).write(first)
        result = tamis("rerank", first, "--dataset", collection, "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert named in result.stderr


def add_lines(path, *rows):
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_queries_need_no_judgements_and_documents_no_text(tamis, collection, tmp_path):
    shutil.rmtree(collection / "qrels")
    add_lines(collection / "queries.jsonl", {"_id": "new", "text": "sift flour"})
    add_lines(collection / "corpus.jsonl", *({"_id": name, "text": " "} for name in ("e1", "e2")))
    first, out = tmp_path / "first.trec", tmp_path / "second.trec"
    scores = {"e1": 0.5, "e2": 0.4, "sea": 0.3, "owl": 0.2, "sieve": 0.1}
    Run({"q": scores, "new": scores}).write(first)
    result = tamis("rerank", first, "--dataset", collection, "--out", out, "--depth", "5", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["queries"], summary["left_out"], summary["without_text"]) == (2, 0, 2)
    found = {query: [doc for doc, _ in read_run(out).ordered(query)] for query in ("q", "new")}
    assert found["q"][0] == "owl"
    assert [order[3:] for order in found.values()] == [["e1", "e2"]] * 2
    said = tamis("rerank", first, "--dataset", collection, "--out", out, "--depth", "3").stdout
    assert "4 documents below the depth left out, 2 without text ranked last" in said


def test_a_split_of_msmarco_is_reranked_without_judgements(tamis, tmp_path):
    folder, first, out = tmp_path / "msmarco", tmp_path / "first.trec", tmp_path / "second.trec"
    folder.mkdir()
    (folder / "collection.tsv").write_text("0\tfish swim in the sea\n1\towls hunt at night\n")
    (folder / "queries.eval.tsv").write_text("7\twhen do owls hunt\n")
    Run({"7": {"0": 2.0, "1": 1.0}}).write(first)
    words = ("rerank", first, "--dataset", "msmarco", "--data", tmp_path, "--out", out)
    assert tamis(*words, "--split", "eval").exit_code == 0
    assert read_run(out).ordered("7")[0][0] == "1"
    refused = tamis(*words)
    assert refused.exit_code == 2
    assert "found no queries; name a split whose files are there" in refused.stderr


def test_a_query_without_text_is_refused(tamis, collection, tmp_path):
    add_lines(collection / "queries.jsonl", {"_id": "blank", "text": " "})
    Run({"q": {"owl": 1.0}, "blank": {"owl": 1.0}}).write(tmp_path / "first.trec")
    result = tamis(
        "rerank", tmp_path / "first.trec", "--dataset", collection, "--out", tmp_path / "out"
    )
    assert result.exit_code == 2
    assert "found 1 empty in birds, such as 'blank'" in result.stderr


def test_search_reranks_its_best_hits(tamis, index):
    result = tamis("search", index, "hunting at night", "--rerank", "3", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["timings"]["rerank_ms"] > 0
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("stored", [False, True])
def test_eval_reranks_the_best_of_an_index_as_search_does(tamis, collection, tmp_path, stored):
    folder, out = tmp_path / "index", tmp_path / "out.trec"
    words = ["--encoder", "bm25", "--rerank-cache"][: 3 if stored else 2]
    assert tamis("index", collection, "--out", folder, *words).exit_code == 0
    (collection / "queries.jsonl").write_text('{"_id": "q", "text": "flour in the snow and sea"}')
    result = tamis("eval", collection, "--index", folder, "--rerank", "2", "--run", out, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["system"], report["settings"]["depth"]) == ("index+rerank", 2)
    assert report["settings"]["reranker"]["stored_keys"] is stored
    assert report["timings"]["latency_ms"]["rerank_ms"]["p50"] > 0
    searched = tamis("search", folder, "flour in the snow and sea", "--rerank", "2", "--json")
    hits = {hit["id"]: hit["score"] for hit in json.loads(searched.stdout)["hits"]}
    assert len(hits) == 3
    assert dict(read_run(out).scores["q"]) == pytest.approx(hits, abs=1e-5)


def test_eval_reranks_what_an_encoder_finds(tamis, collection):
    words = ("--encoder", "bm25", "--rerank", "3", "--baseline", "bm25", "--json")
    first, again = json.loads(tamis("eval", collection, *words).stdout)
    assert (first["system"], again["system"]) == ("bm25", "tamis-bm25+rerank")
    assert "stored_keys" not in again["settings"]["reranker"]


def test_eval_refuses_to_rerank_documents_that_the_dataset_lacks(tamis, collection, tmp_path):
    with (collection / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "more", "text": "how owls hunt"}\n')
    assert tamis("index", collection, "--out", tmp_path / "i", "--encoder", "bm25").exit_code == 0
    lines = (collection / "corpus.jsonl").read_text().splitlines()
    (collection / "corpus.jsonl").write_text("\n".join(lines[:-1]))
    result = tamis("eval", collection, "--index", tmp_path / "i", "--rerank", "2")
    assert result.exit_code == 2
    assert "found 'more', which it has not" in result.stderr


def test_index_stores_the_keys_of_its_documents(tamis, collection, tmp_path):
    out = tmp_path / "index"
    result = tamis("index", collection, "--out", out, "--encoder", "bm25", "--rerank-cache")
    assert result.exit_code == 0, result.output
    assert "document keys of 3 texts" in result.stderr
    stored = out / "rerank-keys" / "store.json"
    assert json.loads(stored.read_text())["texts"] == 3
    assert tamis("verify", out).exit_code == 0
    assert tamis("delete", out, "owl").exit_code == 0
    result = tamis("optimize", out, "--rerank-cache", "--rerank-bits", "4")
    assert result.exit_code == 0, result.output
    about = json.loads(stored.read_text())
    assert (about["texts"], about["settings"]["bits"]) == (2, 4)
    size = sum(path.stat().st_size for path in stored.parent.glob("*.bin"))
    assert f"{size / 2:,.0f} bytes each" in result.stderr
    assert stored.with_name("contents.bin").stat().st_size % (12 * (16 + 2)) == 0  # twelve heads
    assert tamis("search", out, "sieve", "--rerank", "2").exit_code == 0
    assert tamis("optimize", out, "--rerank-cache", "--rerank-bits", "5").exit_code == 2


def test_a_collection_of_no_documents_has_keys_of_none(tamis, collection, tmp_path):
    out = tmp_path / "index"
    assert tamis("index", collection, "--out", out, "--encoder", "bm25").exit_code == 0
    assert tamis("delete", out, "sieve", "owl", "sea").exit_code == 0
    result = tamis("optimize", out, "--rerank-cache")
    assert result.exit_code == 0, result.output
    assert "document keys of 0 texts" in result.stderr
    assert json.loads(tamis("search", out, "owl", "--rerank", "3", "--json").stdout)["hits"] == []


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense") / "model")


def test_index_stores_dense_vectors_that_searches_and_evaluations_add(
    tamis, collection, dense, tmp_path
):
    out, words = tmp_path / "index", ("--encoder", "bm25")
    result = tamis("index", collection, "--out", out, *words, "--dense-store", dense)
    assert result.exit_code == 0, result.output
    assert "dense vectors of 3 texts" in result.stderr
    asked = ("flour in the snow and sea", "--rerank", "2", "--reranker", "dense")
    answer = json.loads(tamis("search", out, *asked, "--explain", "--json").stdout)
    assert answer["reranked"] == {"documents": 2, "not_stored": 0}
    for hit in answer["hits"][:2]:
        assert [part["name"] for part in hit["score_parts"]] == ["first stage", "dense"]
        total = sum(part["contribution"] for part in hit["score_parts"])
        assert total == pytest.approx(hit["score"], abs=1e-6)
    printed = tamis("search", out, *asked, "--explain").stdout
    assert "reranked by" in printed
    assert "first stage" in printed
    (collection / "queries.jsonl").write_text('{"_id": "q", "text": "flour in the snow and sea"}')
    run = tmp_path / "out.trec"
    found = tamis("eval", collection, "--index", out, *asked[1:], "--run", run, "--json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert report["system"] == "index+dense"
    assert report["settings"]["reranker"]["name"] == "dense"
    hits = {hit["id"]: hit["score"] for hit in answer["hits"]}
    assert dict(read_run(run).scores["q"]) == pytest.approx(hits, abs=1e-5)


def test_a_dense_encoder_that_is_none_is_told_before_anything_is_built(tamis, collection, tmp_path):
    out = tmp_path / "index"
    refused = tamis("index", collection, "--out", out, "--dense-store", tmp_path / "none")
    assert refused.exit_code == 2
    assert not out.exists()


def test_a_text_that_is_not_stored_is_told(tamis, collection, dense, tmp_path):
    out = tmp_path / "index"
    assert tamis("index", collection, "--out", out, "--encoder", "bm25").exit_code == 0
    asked = ("search", out, "flour in the snow", "--rerank", "3", "--reranker", "dense")
    refused = tamis(*asked)
    assert refused.exit_code == 2
    assert "`tamis optimize --dense-store ENCODER`" in " ".join(refused.stderr.split())
    assert tamis("optimize", out, "--dense-store", dense).exit_code == 0
    more = tmp_path / "more.jsonl"
    more.write_text('{"_id": "new", "text": "flour again"}\n')
    assert tamis("add", out, more).exit_code == 0
    said = " ".join(tamis(*asked).stdout.split())
    assert "1 of 3 reranked documents are not among what is stored" in said
    again = tamis("optimize", out, "--dense-store", dense)
    assert "dense vectors of 4 texts" in again.stderr
