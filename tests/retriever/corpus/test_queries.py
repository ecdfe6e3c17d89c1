"""Queries of published formats, and the line each broken file is blamed on."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from tamis.index.errors import InputError
from tamis.retriever.corpus.queries import read_queries, read_query_texts

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
    ("name", "data", "line", "expected"),
    [
        ("queries.jsonl", b'{"_id": "1", "text": "a"}\n{"_id": "2"}\n', 2, "_id"),
        ("queries.jsonl", b'{"_id": "1", "text": "a"}\n{oops\n', 2, "broken JSON"),
        ("queries.jsonl", b'{"_id": "1", "text": "a"}\n' * 2, 2, "distinct query ids"),
        ("queries.jsonl", b'{"_id": "1", "text": "caf\xe9"}\n', 1, "UTF-8"),
        ("queries.tsv", b"1\ta\n2 b\n", 2, "tab"),
        ("topics.trec", b"<top>\n<num> 4\n</top>\n", 1, "<title>"),
    ],
)
def test_a_broken_line_is_named(tmp_path, name, data, line, expected):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=expected) as caught:
        read_queries(path)
    assert str(caught.value).startswith(f"{path}:{line}: expected ")


def test_empty_and_absent_files_are_refused(tmp_path):
    path = tmp_path / "queries.jsonl"
    with pytest.raises(InputError, match="found none"):
        read_queries(path)
    path.write_bytes(b"\n")
    with pytest.raises(InputError, match="found none"):
        read_queries(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("queries.jsonl", '{"text": "what is a tamis"}\n{"_id": 2, "text": "drum\\tsieve"}\n'),
        ("queries.tsv", "1\twhat is a tamis\n2\tdrum\tsieve\n"),
        ("queries.txt", "what is a tamis\n\ndrum\tsieve\n"),
    ],
)
def test_texts_alone_are_read_without_their_ids(tmp_path, name, data):
    path = tmp_path / name
    path.write_text(data)
    assert read_query_texts(path) == ["what is a tamis", "drum\tsieve"]


def test_texts_alone_of_topics_are_their_titles(tmp_path):
    path = tmp_path / "topics.txt"
    path.write_text(TOPICS)
    assert read_query_texts(path) == ["foreign minorities, Germany", "behavioral genetics"]
