"""``tamis tune`` reads plain and JSON lines, and says what is wrong with others."""

import pytest

from tamis.index import InputError
from tamis.scripts.tune import read_queries


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("queries.txt", "red owl\r\n\nwhite\u2028owl\n"),
        ("queries.jsonl", '{"text": "red owl"}\n{"_id": "2", "text": "white\u2028owl"}\n'),
    ],
)
def test_each_line_is_a_query(tmp_path, name, written):
    (tmp_path / name).write_bytes(written.encode())
    assert [query.strip() for query in read_queries(tmp_path / name)] == [
        "red owl",
        "white\u2028owl",
    ]


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("queries.txt", b"\xff\xfe", "expected text in UTF-8"),
        ("queries.jsonl", b"[1]\n", "expected lines such as"),
    ],
)
def test_another_file_is_refused(tmp_path, name, written, words):
    (tmp_path / name).write_bytes(written)
    with pytest.raises(InputError, match=words):
        read_queries(tmp_path / name)
