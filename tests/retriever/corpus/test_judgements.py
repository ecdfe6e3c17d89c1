"""Judgements of BEIR and TREC read the same, and a broken line is named."""

from __future__ import annotations

import gzip

import pytest

from tamis.index.errors import InputError
from tamis.retriever.corpus.judgements import (
    Judgement,
    Judgements,
    beir_judgements,
    judgement_lines,
    read_judgements,
)


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td 3\t0\n",
        "\n\nqid\tdocid\trelevancy\nq1\td1\t2\nq1\td 3\t0\n",
        "\ufeffq1\td1\t2\r\nq1\td 3\t0\r\n",
        "q1\td1\t2.0\nq1\td 3\t0e0\n",
        "q1\t0\td1\t2\nq1\t0\td 3\t0\n",
        "q1 \t0\t d1\t2 \nq1\t0\td 3\t0\n",
    ],
)
def test_judgements_of_beir_and_trec_read_the_same(tmp_path, text):
    path = tmp_path / "qrels.tsv"
    path.write_bytes(text.encode())
    assert read_judgements(path).grades == {"q1": {"d1": 2, "d 3": 0}}


def test_trec_judgements_may_be_separated_by_blanks(tmp_path):
    path = tmp_path / "qrels.txt"
    path.write_text("19335 Q0 1017759  0\n19335 Q0 d\u00a02  -1\n")
    assert read_judgements(path).grades == {"19335": {"1017759": 0, "d\u00a02": -1}}


@pytest.mark.parametrize("first", ["query d1 1", "topic d1 1.0", "qid 0 d1 1"])
def test_a_first_line_with_a_grade_is_no_header_whatever_its_query_is_called(tmp_path, first):
    path = tmp_path / "qrels.txt"
    path.write_text(f"{first}\nq d2 0\n")
    assert [one.doc_id for one in judgement_lines(path)] == ["d1", "d2"]


def test_lines_are_numbered_as_they_stand(tmp_path):
    path = tmp_path / "qrels.tsv"
    path.write_text("query-id\tcorpus-id\tscore\n\nq\td\t1\nq\td\t0\n")
    assert list(judgement_lines(path)) == [Judgement(3, "q", "d", 1), Judgement(4, "q", "d", 0)]


def test_repeated_judgements_are_counted_and_the_higher_grade_stays(tmp_path):
    path = tmp_path / "qrels.tsv"
    path.write_text("q\td\t1\nq\td\t3\nq\td\t0\n")
    assert read_judgements(path) == Judgements({"q": {"d": 3}}, repeated=2)


@pytest.mark.parametrize(
    ("data", "line", "expected"),
    [
        (b"q\td\t1\nq\td\n", 2, "3 columns"),
        (b"q\td\t1\nq\n", 2, "3 columns"),
        (b"q\td\t1\nq\t0\td\t1\tx\n", 2, "found 5"),
        (b"q\td\t1\nq\te\t0.5\n", 2, "whole number"),
        (b"q\td\t1\nq\te\thigh\n", 2, "whole number"),
        (b"q\td\t1\nq\te\t\n", 2, "whole number"),
        (b"q\td\t1\nq\te\t1_0\n", 2, "whole number"),
        (b"q\td\t1\nq\te\tnan\n", 2, "whole number"),
        (b"q\td\t1\nq\te\t1000001\n", 2, "whole number up to 1,000,000"),
        (b"q\td\t1\n\td\t1\n", 2, "ids of a query and a document"),
        (b"q1\td1\thigh\nq\te\t1\n", 1, "whole number"),
        (b"q1\td1\t\nq\te\t1\n", 1, "whole number"),
        (b"query-id\tcorpus-id\tscore\nquery-id\tcorpus-id\tscore\n", 2, "whole number"),
    ],
)
def test_a_broken_line_is_named(tmp_path, data, line, expected):
    path = tmp_path / "qrels.tsv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=expected) as caught:
        read_judgements(path)
    assert str(caught.value).startswith(f"{path}:{line}: expected ")


def test_empty_and_absent_files_are_refused(tmp_path):
    path = tmp_path / "q.tsv"
    with pytest.raises(InputError, match="found none"):
        read_judgements(path)
    path.write_bytes(b"query-id\tcorpus-id\tscore\n")
    with pytest.raises(InputError, match="found none"):
        read_judgements(path)


def test_cut_compressed_files_are_refused(tmp_path):
    path = tmp_path / "qrels.tsv.gz"
    path.write_bytes(gzip.compress(b"q\td\t1\n" * 1000)[:40])
    with pytest.raises(InputError, match=r"qrels\.tsv\.gz:\d+: .*whole"):
        read_judgements(path)


def test_a_split_may_be_packed_and_a_missing_one_names_those_there_are(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv.gz").write_bytes(gzip.compress(b"q\td\t1\n"))
    assert read_judgements(beir_judgements(tmp_path, "dev")).grades == {"q": {"d": 1}}
    with pytest.raises(InputError, match=r"test\.tsv: .*splits there: dev"):
        beir_judgements(tmp_path, "test")
