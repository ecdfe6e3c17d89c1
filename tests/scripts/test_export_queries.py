"""Query vectors and the names of terms, beside an export of documents."""

import json
from collections import Counter

import pytest

from tamis.index import Index, SparseVectors
from tamis.index.exchange.matrices import read_csr, read_ids
from tamis.retriever import Searcher

QUERIES = {"q1": "owls hunt owls", "q 2": "night", "q3": "zebra"}


@pytest.fixture
def queries(tmp_path):
    path = tmp_path / "queries.jsonl"
    rows = [json.dumps({"_id": query, "text": text}) for query, text in QUERIES.items()]
    path.write_text("\n".join(rows))
    return path


def expected(index, scale):
    """Whole weights by the number of a term, of each query that has any."""
    vectors = Searcher.open(index).encode(list(QUERIES.values())).to_dicts()
    return {
        query: {str(term): round(weight * scale) for term, weight in row.items()}
        for query, row in zip(QUERIES, vectors, strict=True)
        if row
    }


@pytest.mark.parametrize(("to", "after"), [("anserini", "\t"), ("bmp", ": ")])
def test_terms_stand_as_often_as_they_weigh(tamis, index, queries, tmp_path, to, after):
    out = tmp_path / "queries.tsv"
    result = tamis(
        "export", index, "--to", to, "--queries", queries, "--out", out, "--scale", 10, "--json"
    )
    assert result.exit_code == 0, result.output
    found = {}
    for line in out.read_text().splitlines():
        query, _, text = line.partition(after)
        found[query] = dict(Counter(text.split(" ")))
    assert found == expected(index, 10)
    assert json.loads(result.stdout)["without_terms"] == 1


def test_seismic_reads_queries_as_documents(tamis, index, queries, tmp_path):
    out = tmp_path / "queries.jsonl.out.jsonl"
    result = tamis("export", index, "--to", "seismic", "--queries", queries, "--out", out)
    assert "1 have no term of the index: left out" in result.stdout
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["id"], one["content"]) for one in found] == [
        ("q1", "owls hunt owls"),
        ("q 2", "night"),
    ]
    vectors = Searcher.open(index).encode(list(QUERIES.values())).to_dicts()
    assert found[0]["vector"] == pytest.approx({str(term): w for term, w in vectors[0].items()})


def test_a_matrix_keeps_every_query_and_finds_the_same(tamis, index, queries, tmp_path):
    out = tmp_path / "queries.npz"
    assert tamis("export", index, "--to", "csr", "--queries", queries, "--out", out).exit_code == 0
    read = read_csr(out)
    assert read_ids(out) == list(QUERIES)
    searcher = Searcher.open(index)
    assert read.to_dicts() == searcher.encode(list(QUERIES.values())).to_dicts()
    top = searcher.collection.index.search(read, 3, exact=True)
    (best,) = searcher.search(["owls hunt owls"], 3, exact=True)
    docs, _ = top.row(0)
    assert [searcher.collection.doc_id(doc) for doc in docs] == [hit.doc_id for hit in best.hits]


def test_a_file_tells_what_each_term_stands_for(tamis, index, tmp_path):
    out, terms = tmp_path / "v.jsonl", tmp_path / "terms.txt"
    assert tamis("export", index, "--to", "anserini", "--out", out, "--terms", terms).exit_code == 0
    names = terms.read_text().splitlines()
    vocabulary = Searcher.open(index).vocabulary
    assert len(names) == vocabulary.size
    assert [vocabulary.term(name) for name in names] == list(range(len(names)))
    assert "=owl" in names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "ciff", "--queries", "Q"], "write queries for bmp"),
        (["--to", "bmp", "--queries", "Q"], "expected --scale with queries for bmp"),
        (["--to", "bmp", "--queries", "Q", "--scale", "1000000"], "give a smaller --scale"),
        (["--to", "bmp"], "expected --queries with bmp"),
        (["--to", "csr", "--queries", "missing.jsonl"], "missing.jsonl"),
        (["--to", "csr", "--queries", "Q"], "expected a file ending in .npz or .safetensors"),
    ],
)
def test_mistakes_are_told(tamis, index, queries, tmp_path, arguments, told):
    filled = [str(queries) if one == "Q" else one for one in arguments]
    result = tamis("export", index, *filled, "--out", tmp_path / "out.tsv")
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.stderr.split())


def test_an_id_that_a_format_cannot_hold_is_told(tamis, index, tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"_id": "a:b", "text": "owls"}\n')
    arguments = ["--queries", path, "--out", tmp_path / "out", "--scale", "10"]
    result = tamis("export", index, "--to", "bmp", *arguments)
    assert (result.exit_code, "found 'a:b'" in result.stderr) == (2, True)


def test_imported_vectors_have_no_names(tamis, tmp_path):
    Index.build(tmp_path / "index", SparseVectors.from_dicts([{0: 1.5}], 3), ["a"])
    arguments = ["--to", "csr", "--out", tmp_path / "v.npz", "--terms", tmp_path / "t"]
    result = tamis("export", tmp_path / "index", *arguments)
    assert (result.exit_code, "whose terms are numbers" in result.stderr) == (2, True)
