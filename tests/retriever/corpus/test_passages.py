import gzip
import io
import json

import pytest
import zstandard

from tamis.index import InputError
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.corpus.passages import read_documents, read_passages

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
        ('{"_id": "a", "text"', "expected JSON, found broken JSON"),
        ("[1, 2]", "expected a JSON object, found list"),
        ('{"text": "x"}', "expected an id under one of _id, id"),
        ('{"_id": "a"}', "expected a text under one of text"),
        ('{"_id": "a", "text": " "}', "expected some text, found none for id 'a'"),
        ('{"_id": "a", "text": 3}', "expected a string as text, found int"),
        ('{"_id": true, "text": "x"}', "expected a string as _id, found bool"),
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
    first = {"c.jsonl": LINE, "c.tsv": "0\ttext\n", "c.csv": "id\ttext\n"}
    path.write_text(first[name])
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


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding, newline="")
    return path


def test_the_fields_of_id_title_and_text_can_be_named(tmp_path):
    path = write(
        tmp_path / "c.jsonl", '{"isbn": "7", "name": "N", "body": "b", "text": "t", "p": 1}'
    )
    (passage,) = read_passages(path, id_field="isbn", title_field="name", text_field="text")
    assert (passage.doc_id, passage.title, passage.text) == ("7", "N", "t")
    assert passage.fields == {"body": "b", "p": 1}


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("c.csv", "id,body text\n1,x\n", "found the fields id, body text; add it, or name one wi"),
        ("c.tsv", "docid\tcontent\n1\tx\n", None),  # not a header: MS MARCO's id and text
        ("c.csv", "key,text\n1,x\n", "expected an id under one of _id, id, docid, doc_id; found"),
    ],
)
def test_a_table_without_a_needed_column_lists_its_columns(tmp_path, name, head, said):
    path = write(tmp_path / name, head)
    if said is None:
        assert [passage.doc_id for passage in passages(path)] == ["docid", "1"]
        return
    with pytest.raises(InputError, match=said):
        passages(path)


@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.parquet"])
def test_a_column_that_comes_twice_is_refused(tmp_path, name):
    path = tmp_path / name
    if name == "c.parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        from pyarrow import Table

        names = ["id", "text", "text"]
        parquet.write_table(Table.from_arrays([["1"], ["x"], ["y"]], names=names), path)
    else:
        mark = "\t" if name == "c.tsv" else ","
        write(path, "\n".join(map(mark.join, [("id", "text", " text"), ("1", "x", "y")])))
    with pytest.raises(InputError, match="expected each column once, found 'text' twice"):
        passages(path)


def test_a_named_column_that_is_missing_is_told(tmp_path):
    path = write(tmp_path / "c.csv", "id,text\n1,x\n")
    with pytest.raises(InputError, match="a title under 'headline'; found the fields id, text"):
        list(read_passages(path, title_field="headline"))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_cells_stand_between_commas_semicolons_or_tabs(tmp_path, mark):
    lines = ["id", "title", "text"], ["1", "T", '"a, b; c\td"']
    path = write(tmp_path / "c.csv", "\r\n".join(map(mark.join, lines)) + "\r\n")
    (passage,) = passages(path)
    assert (passage.title, passage.text, passage.line) == ("T", "a, b; c\td", 2)


def test_a_quoted_cell_may_hold_lines(tmp_path):
    path = write(tmp_path / "c.csv", 'id,text\n1,"one\n\ntwo"\n\n2,three\n')
    assert [(p.text, p.line) for p in passages(path)] == [("one\n\ntwo", 4), ("three", 6)]


def test_a_row_of_too_many_cells_is_refused(tmp_path):
    path = write(tmp_path / "c.csv", "id,text\n1,fine\n2,one, two\n")
    with pytest.raises(InputError, match=":3: expected 2 cells as in the header, found 3"):
        passages(path)


def test_a_tsv_with_a_header_is_a_table(tmp_path):
    path = write(tmp_path / "c.tsv", "id\ttitle\ttext\tyear\n7\tT\twords\t1999\n")
    (passage,) = passages(path)
    assert (passage.doc_id, passage.title, passage.fields) == ("7", "T", {"year": "1999"})


def test_ms_marco_documents_have_four_columns(tmp_path):
    path = write(tmp_path / "msmarco-docs.tsv", "D1\thttps://a.b\tTitle\tBody\n")
    (passage,) = passages(path)
    assert (passage.doc_id, passage.title, passage.fields) == (
        "D1",
        "Title",
        {"url": "https://a.b"},
    )


@pytest.mark.parametrize(
    "text",
    [
        '[{"id": "a", "contents": "x"}, {"id": "b", "contents": "y"}]',
        '{"id": "a", "contents": "x"}\n{"id": "b", "contents": "y"}\n',
    ],
)
def test_anserini_s_json_is_an_array_or_lines(tmp_path, text):
    path = write(tmp_path / "c.json", text)
    assert [(p.doc_id, p.text) for p in passages(path)] == [("a", "x"), ("b", "y")]


def test_a_folder_of_anserini_s_json_is_read_in_the_order_of_its_names(tmp_path):
    write(tmp_path / "b.json", '{\n "id": "2",\n "contents": "y"\n}\n')
    write(tmp_path / "a.jsonl", '{"id": "1", "contents": "x"}\n')
    write(tmp_path / "README.md", "about these files")
    with pytest.warns(CorpusWarning, match=r"1 entry is not read: 1 \.md"):
        assert [p.doc_id for p in passages(tmp_path)] == ["1", "2"]
    write(tmp_path / "notes.txt", "a text")
    with pytest.raises(InputError, match="expected either records or texts, found both, such as"):
        passages(tmp_path)


def test_broken_json_in_a_whole_file_names_its_line(tmp_path):
    path = write(tmp_path / "c.json", '[\n{"id": "1", "text": "x"},\n{"id": }\n]')
    with pytest.raises(InputError, match=r"c\.json:3: expected JSON, found broken JSON"):
        passages(path)
    with pytest.raises(InputError, match="expected a JSON object, found int"):
        passages(write(tmp_path / "d.json", "[1]"))


def test_markdown_loses_its_markup_and_gives_its_title(tmp_path):
    write(
        tmp_path / "a.md",
        "---\ntags: x\n---\n# The *drum* sieve\n\nA [tamis](http://x.y) is `round`.\nIt sifts.\n\n"
        "- flour\n- soil\n\n```\ncode here\n```\n\n| a | b |\n|---|---|\n| c | d |\n",
    )
    (passage,) = passages(tmp_path)
    assert passage.title == "The drum sieve"
    assert passage.text.split("\n\n") == [
        "A tamis is round. It sifts.", "flour", "soil", "code here", "a | b\nc | d",
    ]  # fmt: skip
    write(tmp_path / "a.md", '---\ntitle: "From the front"\n---\nText')
    assert passages(tmp_path)[0].title == "From the front"


PAGE = """<!doctype html><html><head><title>Sieves &amp; co</title><style>p {}</style>
<meta charset=%s></head><body><nav>Home | Shop</nav><h1>Drum <em>sieves</em></h1>
<p>Caf&eacute; caf\u00e9s, <b>bo</b>ld.<br>Next</p><script>var x = "<p>no</p>";</script>
<ul><li>one<li>two</ul></body></html>"""


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_html_is_read_as_a_browser_shows_it(tmp_path, encoding):
    write(tmp_path / "a.html", PAGE % encoding, encoding)
    (passage,) = passages(tmp_path)
    assert (passage.doc_id, passage.title) == ("a.html", "Drum sieves")
    assert passage.text.split("\n\n") == ["Caf\u00e9 caf\u00e9s, bold.\nNext", "one", "two"]


def test_one_text_file_is_a_corpus_and_hidden_ones_are_none(tmp_path):
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".git" / "b.txt", "hidden")
    path = write(tmp_path / "my notes.txt", "seen")
    assert [p.doc_id for p in passages(path)] == [p.doc_id for p in passages(tmp_path)]
    assert passages(path)[0].doc_id == "my notes.txt"


def test_a_text_file_of_another_encoding_names_the_line(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo caf\u00e9\n", "latin-1")
    with pytest.raises(InputError, match=r"a\.txt:2: .*byte 0xe9 at position 7.*WINDOWS-1252"):
        passages(tmp_path)
    write(path, "one", "utf-16")
    with pytest.raises(InputError, match=r"a\.txt:1: .*iconv -f UTF-16"):
        passages(tmp_path)


def test_a_line_of_two_gigabytes_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "c.jsonl"
    with path.open("wb") as file:
        file.write(LINE.encode())
        file.truncate(2 << 30)  # a hole: no bytes on disk
    with pytest.raises(InputError, match=":2: expected lines of at most 64 MiB, found a longer"):
        passages(path)


@pytest.mark.parametrize("doc_id", ["a b/c d", "ä/ö?x=1&y=%20", "../up", "x" * 512])
def test_ids_may_hold_spaces_and_slashes(tmp_path, doc_id):
    path = write(tmp_path / "c.jsonl", json.dumps({"id": doc_id, "text": "x"}))
    assert passages(path)[0].doc_id == doc_id


def test_all_faults_can_be_counted_in_place_of_ending_at_the_first(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(LINE.encode() + b'{"id": "b"}\nno json\n{"id": "c", "text": "caf\xe9"}\n[]\n')
    told = []
    found = list(read_passages(path, fault=told.append))
    assert [(p.doc_id, p.text) for p in found] == [("a", "words")]
    assert [str(error).removeprefix(str(path))[:3] for error in told] == [
        ":2:",
        ":3:",
        ":4:",
        ":5:",
    ]


def test_parquet_without_the_text_column_lists_its_columns(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    from pyarrow import Table

    rows = [{"id": 7, "abstract": "x", "seen": None}]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"found the fields id, abstract, seen; .* --text-field"):
        passages(tmp_path)
    (passage,) = read_passages(tmp_path, text_field="abstract")
    assert (passage.doc_id, passage.text, passage.line) == ("7", "x", 1)
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="expected Parquet, found"):
        passages(tmp_path)


def test_collections_keep_documents_without_text(tmp_path):
    beir, msmarco = tmp_path / "corpus.jsonl", tmp_path / "collection.tsv"
    beir.write_text('{"_id": "1", "text": ""}\n{"_id": "2", "text": "b", "title": null}\n')
    msmarco.write_text("1\t\n2\tb\n")
    read = [[(p.doc_id, p.content) for p in read_documents(path)] for path in (beir, msmarco)]
    assert read == [[("1", ""), ("2", "b")]] * 2
    with pytest.raises(InputError, match=r"corpus\.jsonl:1: expected some text, found none"):
        list(read_passages(beir))
