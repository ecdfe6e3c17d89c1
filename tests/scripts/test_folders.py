"""Folders of texts from the command line: what is left out is told, long texts are divided."""

import json

import pytest

TEXT = "The sieve takes the stones out of the soil before it is sold."


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text(f"---\ntags: [kitchen]\ndate: 2024-05-31\n---\n# Drum\n\n{TEXT}")
    (folder / "empty.md").write_text("")
    (folder / "b.pdf").write_bytes(b"%PDF")
    return folder


def test_one_bad_file_is_named_with_the_way_out_or_left_out(tamis, folder, tmp_path):
    arguments = ["index", folder, "--encoder", "bm25", "--out"]
    refused = tamis(*arguments, tmp_path / "i")
    assert refused.exit_code == 2
    assert f"{folder / 'empty.md'}:1: expected some text" in refused.stderr
    assert refused.stderr.strip().endswith("or leave out what cannot be read with --skip-bad")
    done = tamis(*arguments, tmp_path / "j", "--skip-bad", "--json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["documents"] == 1
    assert answer["skipped"]["count"] == 1
    assert "1 entry is not read: 1 .pdf" in done.stderr
    assert "left out 1 that could not be read" in done.stderr
    (folder / "c.txt").write_text("the new stones")
    added = tamis("add", tmp_path / "j", folder, "--skip-bad")
    assert added.exit_code == 0, added.stderr
    assert "2 documents written" in added.stdout


@pytest.mark.parametrize("lines", ['{"_id": "a", "text": "x"\n', '{"_id": "a"}\n', "[1]\n"])
def test_a_bad_line_is_told_once_with_the_way_out(tamis, tmp_path, lines):
    (tmp_path / "bad.jsonl").write_text(lines)
    refused = tamis("index", tmp_path / "bad.jsonl", "--encoder", "bm25", "--out", tmp_path / "i")
    assert refused.exit_code == 2
    assert f"{tmp_path / 'bad.jsonl'}:1: expected" in refused.stderr
    assert refused.stderr.count("--skip-bad") == 1
    assert not (tmp_path / "i").exists()


def test_a_check_names_the_fields_that_no_document_has(tamis, folder):
    (folder / "empty.md").unlink()
    refused = tamis("index", folder, "--check", "--fields", "colour,date")
    assert refused.exit_code == 2
    assert "expected the field 'colour' in the first 1 documents" in refused.stderr
    refused = tamis("index", folder, "--check", "--chunk", "5000")
    assert "expected passages of at most" in refused.stderr


@pytest.mark.long
def test_long_texts_are_divided_unasked_and_found_as_documents(tamis, folder, tmp_path):
    (folder / "empty.md").unlink()
    long = "\n\n".join(f"## Part {n}\n\n" + f"{TEXT} Owl {n}. " * 20 for n in range(4))
    (folder / "long.md").write_text(f"# Manual\n\n{long}")
    done = tamis("index", folder, "--out", tmp_path / "i")
    assert done.exit_code == 0, done.stderr
    assert "documents become passages of 200 tokens, as with --chunk 200:40" in done.stderr
    found = json.loads(tamis("search", tmp_path / "i", "owl", "--json").stdout)
    assert [hit["group"] for hit in found["hits"]] == ["long.md"]
    assert found["hits"][0]["document"]["title"].startswith("Manual > Part")
    passages = tamis("search", tmp_path / "i", "owl", "--group-by", "none", "--json").stdout
    assert len(json.loads(passages)["hits"]) > 3
    whole = tamis("index", folder, "--out", tmp_path / "j", "--chunk", "none", "--json")
    assert json.loads(whole.stdout)["documents"] == 2
