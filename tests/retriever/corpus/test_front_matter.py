"""Front matter is plain data as it was written; what cannot be read is refused in one line."""

import pytest

from tamis.index import InputError
from tamis.retriever.corpus.front_matter import split_front_matter
from tamis.retriever.corpus.passages import read_passages

YAML = """---
title: "On: sieves"
date: 2024-05-31
tags: [kitchen, "2024"]
price: 12.50
version: 1.10
weight: 0.5
year: 1999
zip: 01234
draft: true
country: NO
author:
  name: Ann
  born: 1970-01-02
empty:
---
# Heading
Text
"""
TOML = """+++
title = "On: sieves"
date = 2024-05-31
when = 2024-05-31T12:00:00Z
price = 12.50
weight = 0.5
tags = ["kitchen", "2024"]
[author]
name = "Ann"
+++
Text
"""


def test_yaml_is_stored_as_it_is_written():
    fields, text, lines = split_front_matter(YAML)
    assert fields == {
        "title": "On: sieves",
        "date": "2024-05-31",
        "tags": ["kitchen", "2024"],
        "price": "12.50",
        "version": "1.10",
        "weight": 0.5,
        "year": 1999,
        "zip": "01234",
        "draft": True,
        "country": "NO",
        "author": {"name": "Ann", "born": "1970-01-02"},
    }
    assert (text, lines) == ("# Heading\nText\n", 16)


def test_toml_is_stored_as_it_is_written():
    fields, text, _ = split_front_matter(TOML)
    assert fields == {
        "title": "On: sieves",
        "date": "2024-05-31",
        "when": "2024-05-31T12:00:00+00:00",
        "price": "12.50",
        "weight": 0.5,
        "tags": ["kitchen", "2024"],
        "author": {"name": "Ann"},
    }
    assert text == "Text\n"


@pytest.mark.parametrize(
    "text", ["---\n\nText between rules\n\n---\nmore", "---\n", "--- a\nb", "text", "---\n---\nx"]
)
def test_a_rule_is_no_front_matter(text):
    assert split_front_matter(text) == ({}, text, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("---\ntitle: a: b\n---\n", "mapping values are not allowed here in its line 1"),
        ("---\na: 1\na: 2\n---\n", "the name 'a' twice in its line 2"),
        ("---\na: &x [1]\nb: *x\n---\n", "an alias"),
        ("---\na: !!python/object:os.system {}\n---\n", "could not determine a constructor"),
        ("---\n- a\n- b\n---\n", "a list of single values"),
        ("---\na: " + "[" * 3000 + "\n---\n", "RecursionError"),
        ("---\na: |\n" + "  x\n" * 20000 + "---\n", "at most 64 KiB"),
        ("+++\na = \n+++\n", "Invalid value"),
        ("+++\na = 1\na = 2\n+++\n", "Cannot overwrite a value"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text, said):
    with pytest.raises(InputError, match="expected front matter") as caught:
        split_front_matter(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_front_matter_gives_its_title_and_fields(tmp_path):
    (tmp_path / "a.md").write_text(YAML)
    (passage,) = read_passages(tmp_path)
    assert (passage.title, passage.text) == ("On: sieves", "Heading\n\nText")
    assert passage.fields["tags"] == ["kitchen", "2024"]
    assert "title" not in passage.fields
    (tmp_path / "a.md").write_text("---\ntext: mine\n---\nText")
    with pytest.raises(InputError, match=r"a\.md:1: expected front matter without text, which"):
        list(read_passages(tmp_path))
    (tmp_path / "a.md").write_text("---\na: b: c\n---\nText")
    with pytest.raises(InputError, match=r"a\.md:1: expected front matter that can be read"):
        list(read_passages(tmp_path))
