"""``tamis tune`` reads plain and JSON lines, packed or not, and says what is wrong with others."""

import gzip

import pytest
import zstandard

from tamis.index import InputError
from tamis.retriever.corpus.queries import read_query_texts

QUERIES = ["red owl", "white\u2028owl"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("queries.txt", "red owl\r\n\nwhite\u2028owl\n"),
        ("queries.jsonl", '{"text": "red owl"}\n{"_id": "2", "text": "white\u2028owl"}\n'),
    ],
)
@pytest.mark.parametrize(
    ("ending", "pack"),
    [("", bytes), (".gz", gzip.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_each_line_is_a_query(tmp_path, name, written, ending, pack):
    file = tmp_path / f"{name}{ending}"
    file.write_bytes(pack(written.encode()))
    assert read_query_texts(file) == QUERIES


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("queries.txt", b"\xff\xfe", "queries.txt:1: expected UTF-8"),
        ("queries.jsonl", b"[1]\n", "queries.jsonl:1: expected a JSON object, found list"),
        ("queries.jsonl", b'{"text": "a"}\n{"text": null}\n', "queries.jsonl:2: .* found None"),
        ("queries.jsonl", b'{"text": ""}\n', "found a blank text"),
        ("queries.jsonl", b'{"query": "a"}\n', "found no text"),
        ("queries.jsonl.gz", b'{"text": "not packed"}\n', "queries.jsonl.gz:1: "),
    ],
)
def test_another_file_is_refused(tmp_path, name, written, words):
    (tmp_path / name).write_bytes(written)
    with pytest.raises(InputError, match=words):
        read_query_texts(tmp_path / name)
