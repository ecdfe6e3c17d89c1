"""A folder as people keep it: what is read, what is not, and that one bad file stops nothing."""

import os
from pathlib import Path

import pytest

from tamis.index import InputError
from tamis.retriever.corpus.advice import CorpusWarning
from tamis.retriever.corpus.faults import Faults
from tamis.retriever.corpus.passages import read_passages


def ids(folder, **options):
    return [passage.doc_id for passage in read_passages(folder, **options)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    return tmp_path


def test_files_that_are_not_read_are_counted_by_ending(folder):
    for name in ("b.pdf", "c.PDF", "d.png", "Makefile", "settings.json", ".hidden"):
        (folder / name).write_bytes(b"x")
    said = (
        r"5 entries are not read: 2 \.pdf, 1 no ending, 1 \.png, 1 \.json; "
        "make texts of PDF and Office files first, with pdftotext or pandoc"
    )
    with pytest.warns(CorpusWarning) as told:
        assert ids(folder) == ["a.txt"]
    message = str(told[0].message)
    assert message.startswith(f"{folder}: 5 entries are not read: 2 .pdf, ")
    assert all(part in message for part in ("1 .png", "1 .json", "1 no ending", "pdftotext")), said
    assert Path(told[0].filename).name == "test_folders.py"


def test_a_circle_of_links_ends_and_is_told(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "gone.txt").symlink_to(folder / "nowhere.txt")
    (folder / "same.txt").symlink_to(folder / "a.txt")
    with pytest.warns(
        CorpusWarning, match="1 linked folder, 1 broken link|1 broken link, 1 linked"
    ):
        assert ids(folder) == ["a.txt", "same.txt"]


BAD = {
    "empty.html": b"",
    "script.html": b"<title>An app</title><script>var all = 1;</script>",
    "frames.html": b"<frameset><frame src=a.html></frameset>",
    "front.md": b"---\na: b: c\n---\ntext",
    "latin.txt": b"caf\xe9",
    "wrong.html": b"<meta charset=shift_jis><p>\xff\xff caf\xe9</p>",
    "unknown.html": b"<meta charset=no-such-thing><p>caf\xe9</p>",
    "codec.html": b"<meta charset=unicode_escape><p>caf\xe9 \\q</p>",
}


def test_one_bad_file_is_named_or_left_out(folder):
    for name, data in BAD.items():
        (folder / name).write_bytes(data)
        with pytest.raises(InputError) as caught:
            ids(folder)
        assert str(caught.value).startswith(f"{folder / name}:1: expected ")
        assert "\n" not in str(caught.value)
        (folder / name).unlink()
    for name, data in BAD.items():
        (folder / name).write_bytes(data)
    faults = Faults()
    assert ids(folder, fault=faults) == ["a.txt"]
    assert faults.count == len(faults.first) == len(BAD)
    assert {Path(said.split(":")[0]).name for said in faults.first} == set(BAD)


def test_a_page_in_utf_8_is_read_as_such_whatever_it_says(folder):
    (folder / "a.html").write_text("<meta charset=iso-8859-1><p>caf\u00e9</p>", encoding="utf-8")
    (folder / "b.html").write_bytes(b"<meta charset=iso-8859-1><p>\x93caf\xe9\x94</p>")
    (folder / "c.html").write_text("<p>caf\u00e9</p>", encoding="utf-16")
    found = {passage.doc_id: passage.text for passage in read_passages(folder)}
    assert found["a.html"] == found["c.html"] == "caf\u00e9"
    assert found["b.html"] == "\u201ccaf\u00e9\u201d"  # as browsers read it


def test_a_file_that_changes_while_it_is_read_is_refused(folder, monkeypatch):
    whole = Path.read_bytes

    def growing(path):
        data = whole(path)
        with path.open("ab") as file:
            file.write(b" more")
        return data

    monkeypatch.setattr(Path, "read_bytes", growing)
    with pytest.raises(InputError, match="found it changed while it was read"):
        ids(folder)


def test_a_file_that_is_gone_or_closed_is_named(folder, monkeypatch):
    def gone(path):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "read_bytes", gone)
    with pytest.raises(InputError, match=r"a\.txt:1: expected a file that can be read, found No"):
        ids(folder)


def test_names_that_are_no_text_are_refused_in_a_line(folder):
    name = os.fsencode(folder) + b"/caf\xe9.txt"
    Path(os.fsdecode(name)).write_text("text")
    with pytest.raises(InputError, match="expected an id in UTF-8"):
        ids(folder)
    faults = Faults()
    assert ids(folder, fault=faults) == ["a.txt"]
    assert faults.count == 1


def test_a_damaged_shard_leaves_the_others(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "x"}\n')
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "c.jsonl").write_text('{"id": "3", "text": "x"}\n')
    faults = Faults()
    assert ids(tmp_path, fault=faults) == ["1", "3"]
    assert faults.count == 1


def test_sources_of_sphinx_are_restructured_text(tmp_path):
    (tmp_path / "index.rst.txt").write_text("Sieves\n======\n\nText.\n")
    (tmp_path / "notes.adoc").write_text("= Notes\n\nText.\n")
    (tmp_path / "plan.org").write_text("#+TITLE: Plan\nText.\n")
    assert [(p.title, p.text) for p in read_passages(tmp_path)] == [
        ("Sieves", "Text."), ("Notes", "Text."), ("Plan", "Text."),
    ]  # fmt: skip


def test_a_source_beside_its_page_is_no_document_of_its_own(tmp_path):
    (tmp_path / "_sources" / "how").mkdir(parents=True)
    (tmp_path / "how").mkdir()
    (tmp_path / "how" / "to.html").write_text("<p>page</p>")
    (tmp_path / "_sources" / "how" / "to.rst.txt").write_text("page")
    (tmp_path / "_sources" / "lone.rst.txt").write_text("no page")
    with pytest.warns(CorpusWarning, match="1 entry is not read: 1 .txt"):
        assert ids(tmp_path) == ["_sources/lone.rst.txt", "how/to.html"]
