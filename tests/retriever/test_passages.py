import gzip
import io
import json

import pytest
import zstandard

from tamis.index import InputError
from tamis.retriever.passages import read_passages

LINE = '{"_id": "a", "title": "T", "text": "words", "year": 1999}\n'


def passages(path):
    return list(read_passages(path))


def test_a_json_line_becomes_a_passage_with_its_other_fields(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(LINE + "\n" + '{"id": 7, "contents": "more"}\n')
    first, second = passages(path)
    assert (first.doc_id, first.title, first.text) == ("a", "T", "words")
    assert first.content == "T words"
    assert first.fields == {"year": 1999}
    assert first.line == 1
    assert (second.doc_id, second.content, second.line) == ("7", "more", 3)


def test_a_record_keeps_every_field(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(LINE)
    (passage,) = passages(path)
    assert passage.record() == {"_id": "a", "title": "T", "text": "words", "year": 1999}


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("c.jsonl", bytes),
        ("c.jsonl.gz", gzip.compress),
        ("c.jsonl.zst", lambda data: zstandard.ZstdCompressor().compress(data)),
        ("c.ndjson", bytes),
    ],
)
def test_compression_is_told_by_the_name(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(LINE.encode()))
    assert [passage.doc_id for passage in passages(tmp_path / name)] == ["a"]


def test_a_beir_folder_means_its_corpus(tmp_path):
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(LINE.encode()))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "not a document"}\n')
    assert [passage.doc_id for passage in passages(tmp_path)] == ["a"]


def test_tsv_is_id_tab_text_and_the_text_may_hold_tabs(tmp_path):
    path = tmp_path / "collection.tsv"
    path.write_text("1\tfirst text\n2\tsecond\ttext\n")
    assert [(p.doc_id, p.text) for p in passages(path)] == [
        ("1", "first text"),
        ("2", "second\ttext"),
    ]


def test_csv_has_a_header_and_quoted_fields(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text('id,text,lang\n1,"a, b",en\n')
    (passage,) = passages(path)
    assert (passage.doc_id, passage.text, passage.fields) == ("1", "a, b", {"lang": "en"})


def test_a_folder_of_text_files_is_read_in_the_order_of_its_names(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("second")
    (tmp_path / "a.md").write_text("first")
    (tmp_path / "ignored.bin").write_bytes(b"\xff")
    assert [(p.doc_id, p.text) for p in passages(tmp_path)] == [
        ("a.md", "first"),
        ("sub/b.txt", "second"),
    ]


def test_standard_input_is_json_lines(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(LINE.encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    assert [passage.doc_id for passage in passages("-")] == ["a"]


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINE.encode())
    assert passages(path)[0].doc_id == "a"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"_id": "a", "text"', "expected one JSON object on the line, found broken JSON"),
        ("[1, 2]", "expected a JSON object, found list"),
        ('{"text": "x"}', "expected an id under one of _id, id"),
        ('{"_id": "a"}', "expected a text under one of text"),
        ('{"_id": "a", "text": " "}', "expected some text, found none for id 'a'"),
        ('{"_id": "a", "text": 3}', "expected a string as text, found int"),
        ('{"_id": true, "text": "x"}', "expected a string as id, found bool"),
        ('{"_id": "", "text": "x"}', "expected an id of 1 to 512 bytes"),
        ('{"_id": "a\\u0000", "text": "x"}', "without control characters"),
        ('{"_id": "a", "text": "\\ud800"}', "broken JSON"),
    ],
)
def test_a_faulty_line_is_named_by_file_and_number(tmp_path, line, words):
    path = tmp_path / "c.jsonl"
    path.write_text(LINE + line + "\n")
    with pytest.raises(InputError, match=words) as caught:
        passages(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["c.jsonl", "c.tsv", "c.csv"])
def test_bytes_that_are_not_utf8_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"id\ttext,x\n" * (name != "c.jsonl") + LINE.encode() * (name == "c.jsonl"))
    with path.open("ab") as file:
        file.write(b"1\tcaf\xe9\n")
    with pytest.raises(InputError, match=r":2: expected UTF-8, found byte 0xe9 at position 5"):
        passages(path)


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(LINE.encode() for _ in range(99)))[:-9])
    with pytest.raises(InputError, match="check that the file is whole"):
        passages(path)
    path = tmp_path / "c.jsonl.zst"
    path.write_bytes(b"no zstd")
    with pytest.raises(InputError, match=":1: expected a readable line"):
        passages(path)


@pytest.mark.parametrize("name", ["missing.jsonl", "c.docx"])
def test_what_cannot_be_read_lists_what_can(tmp_path, name):
    (tmp_path / "c.docx").write_bytes(b"x")
    with pytest.raises(InputError, match="BEIR folder"):
        passages(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="found a folder without any of them"):
        passages(tmp_path)


def test_parquet_rows_become_passages(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    from pyarrow import Table

    parquet.write_table(Table.from_pylist([json.loads(LINE)]), tmp_path / "c.parquet")
    (passage,) = passages(tmp_path / "c.parquet")
    assert (passage.doc_id, passage.fields) == ("a", {"year": 1999})
