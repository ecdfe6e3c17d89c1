"""Readers of published formats, and the line each broken file is blamed on."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from tamis.eval.formats import read_corpus, read_qrels, read_queries
from tamis.index.errors import InputError

TOPICS = """<top>
<num> Number: 401
<title> foreign minorities, Germany

<desc> Description:
What language and cultural differences?
</top>

<top>
<num>402</num>
<title>behavioral
genetics</title>
</top>
"""


def test_beir_queries_are_read_by_id(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"_id": "7", "text": "a", "metadata": {}}\n\n{"_id": 8, "text": "b"}\n')
    assert read_queries(path) == {"7": "a", "8": "b"}


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_tsv_queries_are_read(tmp_path, ending):
    data = b"\xef\xbb\xbf1\twhat is a tamis\r\n2\tdrum\tsieve\r\n"
    pack = gzip.compress if ending == ".gz" else zstandard.ZstdCompressor().compress
    path = tmp_path / f"queries.dev.tsv{ending}"
    path.write_bytes(pack(data))
    assert read_queries(path) == {"1": "what is a tamis", "2": "drum\tsieve"}


def test_trec_topics_give_number_and_title(tmp_path):
    path = tmp_path / "topics.401-402.txt"
    path.write_text(TOPICS)
    assert read_queries(path) == {
        "401": "foreign minorities, Germany",
        "402": "behavioral genetics",
    }


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td 3\t0\n",
        "q1\td1\t2.0\nq1\td 3\t0\n",
        "q1\t0\td1\t2\nq1\t0\td 3\t0\n",
    ],
)
def test_judgements_of_beir_and_trec_read_the_same(tmp_path, text):
    path = tmp_path / "qrels.tsv"
    path.write_text(text)
    assert read_qrels(path).grades == {"q1": {"d1": 2, "d 3": 0}}


def test_trec_judgements_may_be_separated_by_spaces(tmp_path):
    path = tmp_path / "qrels.txt"
    path.write_text("19335 Q0 1017759  0\n19335 Q0 1082489  -1\n")
    assert read_qrels(path).grades == {"19335": {"1017759": 0, "1082489": -1}}


def test_repeated_judgements_are_counted_and_the_higher_grade_stays(tmp_path):
    path = tmp_path / "qrels.tsv"
    path.write_text("q\td\t1\nq\td\t3\nq\td\t0\n")
    judgements = read_qrels(path)
    assert judgements.grades == {"q": {"d": 3}}
    assert judgements.repeated == 2


def test_collections_keep_documents_without_text(tmp_path):
    beir, msmarco = tmp_path / "corpus.jsonl", tmp_path / "collection.tsv"
    beir.write_text('{"_id": "1", "text": ""}\n{"_id": "2", "text": "b", "title": null}\n')
    msmarco.write_text("1\t\n2\tb\n")
    read = [[(p.doc_id, p.content) for p in read_corpus(path)] for path in (beir, msmarco)]
    assert read == [[("1", ""), ("2", "b")]] * 2


@pytest.mark.parametrize(
    ("name", "data", "line", "expected"),
    [
        ("queries.jsonl", b'{"_id": "1", "text": "a"}\n{"_id": "2"}\n', 2, "_id"),
        ("queries.jsonl", b'{"_id": "1", "text": "a"}\n{oops\n', 2, "JSON object a line"),
        ("queries.jsonl", b'{"_id": "1", "text": "a"}\n' * 2, 2, "distinct query ids"),
        ("queries.jsonl", b'{"_id": "1", "text": "caf\xe9"}\n', 1, "UTF-8"),
        ("queries.tsv", b"1\ta\n2 b\n", 2, "tab"),
        ("topics.trec", b"<top>\n<num> 4\n</top>\n", 1, "<title>"),
        ("qrels.tsv", b"q\td\t1\nq\td\n", 2, "3 columns"),
        ("qrels.tsv", b"q\td\t1\nq\te\t0.5\n", 2, "whole number"),
        ("qrels.tsv", b"q\td\t1\nq\te\thigh\n", 2, "whole number"),
    ],
)
def test_a_broken_line_is_named(tmp_path, name, data, line, expected):
    path = tmp_path / name
    path.write_bytes(data)
    read = read_qrels if name.startswith("qrels") else read_queries
    with pytest.raises(InputError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: expected ")


@pytest.mark.parametrize(("name", "read"), [("queries.jsonl", read_queries), ("q.tsv", read_qrels)])
def test_empty_and_absent_files_are_refused(tmp_path, name, read):
    path = tmp_path / name
    with pytest.raises(InputError, match="found none"):
        read(path)
    path.write_bytes(b"\n")
    with pytest.raises(InputError, match="found none"):
        read(path)


def test_cut_compressed_files_are_refused(tmp_path):
    path = tmp_path / "qrels.tsv.gz"
    path.write_bytes(gzip.compress(b"q\td\t1\n" * 1000)[:40])
    with pytest.raises(InputError, match=r"qrels\.tsv\.gz:\d+: .*whole"):
        read_qrels(path)
