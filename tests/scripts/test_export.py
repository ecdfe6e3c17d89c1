"""What `tamis export` writes, `tamis index --vectors` reads."""

import json
import re
import signal

import httpx
import numpy as np
import pytest

from tamis.index import Index, SparseVectors


def document(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def one_line(result):
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    return result.stderr


@pytest.fixture
def vectors(tmp_path):
    """An index of three vectors over 31 terms, the last terms unused."""
    rows = [{0: 1.5, 7: 0.3}, {}, {7: 2.25, 20: 0.001}]
    Index.build(tmp_path / "index", SparseVectors.from_dicts(rows, 31), ["a", "b", "c"])
    return tmp_path / "index"


@pytest.mark.parametrize(
    ("to", "name", "more"),
    [
        ("anserini", "v.jsonl", ["--vocab-size", "31"]),
        ("anserini", "v.jsonl.gz", ["--vocab-size", "31"]),
        ("seismic", "v.jsonl", ["--vocab-size", "31"]),
        ("opensearch", "v.ndjson", ["--vocab-size", "31"]),
        ("qdrant", "v.jsonl.gz", ["--vocab-size", "31"]),
        ("csr", "v.npz", []),
        ("csr", "v.safetensors", []),
    ],
)
def test_an_export_can_be_indexed_again(tamis, vectors, tmp_path, to, name, more):
    out, again = tmp_path / name, tmp_path / "again"
    told = document(tamis("export", vectors, "--to", to, "--out", out, "--json"))
    assert (told["documents"], told["size_bytes"]) == (3, out.stat().st_size)
    assert document(tamis("index", "--vectors", out, "--out", again, *more, "--json"))
    first, second = Index.open(vectors), Index.open(again)
    assert [second.doc_id(doc) for doc in range(3)] == ["a", "b", "c"]
    assert second.vocab_size == 31
    for doc in range(3):
        for mine, theirs in zip(first.row(doc), second.row(doc), strict=True):
            assert np.array_equal(mine, theirs)


def test_impacts_for_lucene_are_whole_numbers(tamis, vectors, tmp_path):
    out = tmp_path / "v.jsonl"
    assert (
        "3 documents"
        in tamis("export", vectors, "--format", "anserini", "--out", out, "--scale", "100").stdout
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["vector"] for line in lines] == [{"0": 150, "7": 30}, {}, {"7": 225}]


def test_deleted_documents_stay_behind(tamis, corpus, tmp_path):
    folder, out = tmp_path / "index", tmp_path / "v.jsonl"
    assert tamis("index", corpus, "--out", folder, "--encoder", "bm25").exit_code == 0
    assert tamis("delete", folder, "owl").exit_code == 0
    assert document(tamis("export", folder, "--to", "anserini", "--out", out, "--json"))
    ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert ids == ["sieve", "bat"]


def test_terms_that_are_spelled_need_an_encoder_that_knows_them(tamis, tmp_path):
    from tamis.retriever import load_query_encoder

    given = tmp_path / "v.jsonl"
    arguments = ["index", "--vectors", given, "--encoder", "default", "--out"]
    given.write_text('{"id": "a", "vector": {"2019": 1, "flour": 2}}\n')
    assert document(tamis(*arguments, tmp_path / "out", "--json"))
    index, encoder = Index.open(tmp_path / "out"), load_query_encoder()
    assert index.vocab_size == encoder.description.vocab_size
    found = dict(zip(*(part.tolist() for part in index.row(0)), strict=True))
    assert {encoder.vocabulary.name(term): weight for term, weight in found.items()} == {
        "flour": 2.0,
        "2019": 1.0,
    }
    given.write_text('{"id": "a", "vector": {"no such word": 2}}\n')
    said = one_line(tamis(*arguments, tmp_path / "other"))
    assert "found 'no such word'" in said
    assert not (tmp_path / "other").exists()


def test_a_term_that_is_a_number_is_one_unless_an_encoder_is_named(tamis, tmp_path):
    """Whatever the other lines hold: a year is a piece of the encoder, or a term's number."""
    from tamis.retriever import load_query_encoder

    given, piece = tmp_path / "v.jsonl", load_query_encoder().vocabulary.term("2019")
    year, word = '{"id": "a", "vector": {"2019": 1}}\n', '{"id": "b", "vector": {"flour": 2}}\n'
    for name, text in (("alone", year), ("beside", year + word)):
        given.write_text(text)
        out = tmp_path / name
        document(tamis("index", "--vectors", given, "--encoder", "default", "--out", out, "--json"))
        assert Index.open(out).row(0)[0].tolist() == [piece]
    refused = one_line(tamis("index", "--vectors", given, "--out", tmp_path / "none"))
    assert f"{given}:2: expected a term that is a number" in refused
    given.write_text(year)
    document(tamis("index", "--vectors", given, "--out", tmp_path / "none", "--json"))
    assert Index.open(tmp_path / "none").row(0)[0].tolist() == [2019]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--encoder", "default", "--vocab-size", "7"], "--encoder takes no --vocab-size"),
        (["--device", "cpu"], "--vectors takes no --device"),
    ],
)
def test_options_without_effect_on_vectors_are_refused(tamis, tmp_path, option, words):
    refused = tamis("index", "--vectors", tmp_path / "v.jsonl", "--out", tmp_path / "x", *option)
    assert refused.exit_code == 2
    assert words in " ".join(refused.stderr.split())


@pytest.mark.parametrize("name", ["v.npz", "v.safetensors", "v.jsonl", "v.ciff"])
def test_every_kind_of_file_takes_the_size_of_the_vocabulary(tamis, vectors, tmp_path, name):
    form = {".npz": "csr", ".safetensors": "csr", ".jsonl": "anserini", ".ciff": "ciff"}
    to, scale = form[(tmp_path / name).suffix], ["--scale", "100"] if name == "v.ciff" else []
    document(tamis("export", vectors, "--to", to, "--out", tmp_path / name, *scale, "--json"))
    arguments = ["index", "--vectors", tmp_path / name, "--vocab-size", "9999", "--out"]
    document(tamis(*arguments, tmp_path / "again", "--json"))
    assert Index.open(tmp_path / "again").vocab_size == 9999


@pytest.mark.parametrize(
    ("to", "name", "words"),
    [
        ("anserini", "v.npz", ".jsonl or .jsonl.gz"),
        ("qdrant", "v.ciff", ".jsonl or .jsonl.gz"),
        ("csr", "v.jsonl", ".npz or .safetensors"),
        ("ciff", "v.jsonl", ".ciff or .ciff.gz"),
    ],
)
def test_a_file_of_another_ending_is_refused(tamis, vectors, tmp_path, to, name, words):
    assert words in one_line(tamis("export", vectors, "--to", to, "--out", tmp_path / name))
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["v.ciff", "v.ciff.gz"])
def test_inverted_lists_can_be_indexed_again(tamis, vectors, tmp_path, name):
    out, again = tmp_path / name, tmp_path / "again"
    refused = tamis("export", vectors, "--to", "ciff", "--out", out)
    assert "expected whole weights below 2**31" in one_line(refused)
    document(tamis("export", vectors, "--to", "ciff", "--out", out, "--scale", "100", "--json"))
    document(tamis("index", "--vectors", out, "--out", again, "--vocab-size", "31", "--json"))
    found = Index.open(again)
    assert [found.doc_id(doc) for doc in range(3)] == ["a", "b", "c"]
    rows = [dict(zip(*map(np.ndarray.tolist, found.row(doc)), strict=True)) for doc in range(3)]
    assert rows == [{0: 150, 7: 30}, {}, {7: 225}]


def test_texts_go_along_to_other_engines(tamis, corpus, tmp_path):
    folder = tmp_path / "index"
    assert tamis("index", corpus, "--out", folder, "--encoder", "bm25").exit_code == 0
    for to in ("seismic", "opensearch", "qdrant"):
        assert tamis("export", folder, "--to", to, "--out", tmp_path / f"{to}.jsonl").exit_code == 0
    seismic, opensearch, qdrant = (
        [json.loads(line) for line in (tmp_path / f"{to}.jsonl").read_text().splitlines()]
        for to in ("seismic", "opensearch", "qdrant")
    )
    assert seismic[0]["id"] == "owl"
    assert seismic[0]["content"].startswith("Owls Owls hunt at night")
    assert opensearch[2] == {"index": {"_id": "sieve"}}
    assert opensearch[3]["year"] == 2
    assert qdrant[1]["payload"]["_id"] == "sieve"
    assert len({point["id"] for point in qdrant}) == 3
    assert seismic[0]["vector"] == opensearch[1]["vector"]
    assert list(map(float, seismic[1]["vector"])) == qdrant[1]["vector"]["vector"]["indices"]


@pytest.fixture
def imported(tamis, tmp_path):
    """Points of Qdrant, as they are given back, in an index."""
    points = [
        {
            "id": 7,
            "payload": {"city": "Berlin", "text": "the wall"},
            "vector": point([1, 3], [1, 2]),
        },
        {"id": 8, "payload": {"city": "Bonn"}, "vector": point([3], [1])},
    ]
    (tmp_path / "p.json").write_text(json.dumps(points))
    arguments = ["--vectors", tmp_path / "p.json", "--fields", "city", "--out", tmp_path / "points"]
    document(tamis("index", *arguments, "--json"))
    return tmp_path / "points"


def point(indices, values):
    return {"vector": {"indices": indices, "values": values}}


def test_imported_vectors_are_searched_by_weights(tamis, imported):
    found = document(tamis("search", imported, "--vector", '{"3": 2, "77": 1}', "--json"))
    assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [("7", 4.0), ("8", 2.0)]
    assert found["unknown_terms"] == ["77"]
    where = ["--filter", '{"field": "city", "in": ["Berlin"]}', "--explain"]
    shown = tamis("search", imported, "--vector", '{"3": 2, "1": 0.5}', *where).stdout
    assert "4.5000  7" in shown
    assert "the wall" in shown
    assert "1 hit; " in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["owl"], 'expected weights by term, such as {"vector": {"2003": 1.5}}, found a text'),
        ([], "give a TEXT, --vector JSON, --batch FILE or --filter JSON"),
        (["owl", "--vector", '{"3": 1}'], "--vector takes no TEXT"),
        (["--vector", '{"3": 1}', "--lexical-weight", "1"], "--vector takes no --lexical-weight"),
        (["--vector", "{}"], "expected a term in --vector, found none"),
        (["--vector", "[3]"], "expected a JSON object after --vector"),
        (["--vector", "3: 1"], "expected JSON after --vector"),
        (["--vector", '{"3": 1, "3": 2}'], "found '3' twice"),
        (["--vector", '{"3": "1"}'], "weight of term '3', found '1'"),
        (["--vector", '{"3": -1}'], "found -1"),
        (["--vector", '{"3": 0}'], "found 0"),
        (["--vector", '{"3": 1}', "--rerank", "5"], "a reranker reads words"),
    ],
)
def test_a_query_that_imported_vectors_cannot_answer_is_told(tamis, imported, arguments, words):
    refused = tamis("search", imported, *arguments)
    assert refused.exit_code == 2
    assert words in " ".join(refused.stderr.split())


def test_imported_vectors_are_served(start_tamis, imported):
    server = start_tamis("serve", imported, "--port", "0")
    address = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())[0]
    url = f"{address}/v1/indexes/points/search"
    for body in ({"query": {"vector": {"3": 2}}}, {"query": {"vector": {"3": 2}}, "explain": True}):
        found = httpx.post(url, json=body).json()
        assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [("7", 4.0), ("8", 2.0)]
    refused = httpx.post(url, json={"query": "owl"})
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_input")
    assert "the index holds imported vectors" in refused.json()["detail"]
    shown = httpx.get(f"{address}/v1/indexes/points").json()
    assert (shown["documents"], shown["encoder"]) == (2, None)
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=20)[1] == ""
