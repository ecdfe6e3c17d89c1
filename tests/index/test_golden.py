"""An index that any release wrote is read, or upgraded and read, for ever."""

import zipfile
from pathlib import Path

import pytest
from letter_encoder import LetterEncoder

from tamis.index import Collection, FormatError
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import FORMAT, UPGRADABLE, format_of
from tamis.index.upkeep.upgrade import upgrade
from tamis.index.upkeep.verification import examine
from tamis.retriever import Editor, Searcher
from tamis.retriever.words.lexical import LexicalQueries

GOLDEN = Path(__file__).parent / "golden"


def extracted(number, folder):
    with zipfile.ZipFile(GOLDEN / f"format-{number}.zip") as golden:
        golden.extractall(folder)
    return folder


def found(collection, text):
    lexical = LexicalQueries.from_settings(
        collection.settings.lexical, collection.dictionary, collection.with_words
    )
    (result,) = Searcher(LetterEncoder(), collection, lexical).search([text], 40, exact=True)
    return {hit.doc_id: round(hit.score, 4) for hit in result.hits}


def test_there_is_a_golden_index_of_each_format():
    assert {int(path.stem[7:]) for path in GOLDEN.glob("format-*.zip")} == {*UPGRADABLE, FORMAT}


def test_format_1_is_refused_then_upgraded_and_changed(tmp_path):
    path = extracted(1, tmp_path / "c")
    with pytest.raises(FormatError, match="has format 1, this version reads 2; bring it to this"):
        Collection.open(path)
    assert upgrade(path) == 1
    assert format_of(Storage(path)) == FORMAT
    assert upgrade(path) == FORMAT
    with Collection.open(path) as collection:
        assert len(collection) == 30
        dogs = {doc_id for doc_id, score in found(collection, "=dog dogs").items() if score > 20}
        assert dogs == {f"d{i}" for i in range(0, 30, 3)}
    with Editor.open(path, LetterEncoder()) as editor:
        editor.delete(["d0"])
        editor.optimize()
    with Collection.open(path) as collection:
        assert len(collection) == 29
    assert not examine(path).problems


def test_format_2_holds_its_changes_and_the_writes_of_its_log(tmp_path):
    path = extracted(2, tmp_path / "c")
    report = examine(path)
    assert (report.problems, report.waiting, report.documents) == ((), 1, 29)
    with Collection.open(path) as collection:
        assert collection.doc("d1") is None
        assert collection.document(collection.doc("d3"))["text"] == "a heron and its nest"
        assert collection.doc("d31") is None
        assert next(iter(found(collection, "heron"))) == "d3"
    with Editor.open(path, LetterEncoder()) as editor:
        assert editor.commit() == report.generation + 1
    with Collection.open(path) as collection:
        assert next(iter(found(collection, "owl nobody"))) == "d31"
