"""An index that any release wrote is read, or upgraded and read, for ever."""

import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from letter_encoder import LetterEncoder
from storages import Failing

from tamis.index import Collection, FormatError, SparseVectors
from tamis.index.files.array_file import write_arrays
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import FORMAT, UPGRADABLE, format_of, publish, read_current
from tamis.index.generations.parts import Origin
from tamis.index.upkeep.snapshot import restore, write_snapshot
from tamis.index.upkeep.tuning import tune
from tamis.index.upkeep.upgrade import upgrade
from tamis.index.upkeep.verification import examine
from tamis.retriever import Editor, Passage, Searcher
from tamis.retriever.words import analysis
from tamis.retriever.words.lexical import LexicalQueries

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def _analysis_of_the_golden_indexes(monkeypatch):
    """Theirs is the present one, whichever Python runs the tests."""
    monkeypatch.setattr(analysis, "stemmer_version", lambda: "3.1.0")
    monkeypatch.setattr(analysis, "unicode_version", lambda: "14.0.0")


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
    refusal = "has format 1, this version reads 2 and 3; bring it to this format with `tamis upgra"
    with pytest.raises(FormatError, match=refusal):
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


@pytest.mark.parametrize("number", [2, 3])
def test_an_index_holds_its_changes_and_the_writes_of_its_log(tmp_path, number):
    path = extracted(number, tmp_path / "c")
    report = examine(path)
    assert (report.problems, report.waiting) == ((), 1)
    with Collection.open(path) as collection:
        assert collection.doc("d1") is None
        assert collection.document(collection.doc("d3"))["text"] == "a heron and its nest"
        assert collection.doc("d31") is None
        assert next(iter(found(collection, "heron"))) == "d3"
    with Editor.open(path, LetterEncoder()) as editor:
        assert editor.commit() == report.generation + 1
    assert format_of(Storage(path)) == FORMAT
    with Collection.open(path) as collection:
        assert len(collection) == report.documents + 1
        assert next(iter(found(collection, "owl nobody"))) == "d31"


def told(path):
    """What the manifest says of the words of each segment."""
    with Collection.open(path) as collection:
        return [entry.with_words for entry in collection.index.manifest.segments]


def test_format_2_tells_after_an_upgrade_how_many_documents_hold_words(tmp_path):
    path = extracted(2, tmp_path / "c")
    assert told(path) == [None, None]
    assert upgrade(path) == 2
    assert told(path) == [26, 3]  # of 30 documents four are deleted
    report = examine(path)
    assert (report.problems, report.waiting, report.documents) == ((), 1, 29)
    assert upgrade(path) == FORMAT
    assert examine(path).generation == report.generation


@pytest.mark.parametrize("number", [1, 2])
def test_an_upgrade_that_is_killed_at_any_step_is_done_by_the_next(tmp_path, number):
    """From the step on nothing more reaches the disk; then the next upgrade comes."""
    whole = extracted(number, tmp_path / "whole")
    counted = Failing(whole, at=0)
    assert upgrade(whole, counted) == number
    with Collection.open(whole) as collection:
        truth = found(collection, "heron owl dog =dog")
    for at in range(1, counted.steps + 1):
        path = extracted(number, tmp_path / str(at))
        with suppress(OSError):  # the last steps tidy up
            upgrade(path, Failing(path, at, lasting=True))
        upgrade(path)
        assert (format_of(Storage(path)), examine(path).problems) == (FORMAT, ())
        with Collection.open(path) as collection:
            assert found(collection, "heron owl dog =dog") == truth


def test_an_upgrade_fills_in_what_a_write_to_format_2_left_open(tmp_path):
    path = extracted(2, tmp_path / "c")
    with Editor.open(path, LetterEncoder(), merge=False) as editor:
        editor.put([Passage("mute", "...")])
    assert None in told(path)
    assert upgrade(path) == FORMAT
    with Collection.open(path) as collection:
        words = [
            (terms >= collection.index.first_word).any()
            for terms, _ in map(collection.index.row, collection.index.live_docs().tolist())
        ]
        assert collection.with_words == sum(words) == len(collection) - 1


def test_format_3_tells_which_vectors_documents_brought(tmp_path):
    path = extracted(3, tmp_path / "c")
    assert told(path) == [26, 3]
    with Collection.open(path) as collection:
        part, doc = collection.index.locate(collection.doc("given"))
        assert part.origins()[doc] == Origin.GIVEN
        terms, weights = collection.index.row(collection.doc("given"))
        assert weights.tolist() == [0.5, 2.0]
        assert collection.dictionary.word(int(terms[1])) == "newt"


def with_parts(path, **parts):
    """An index in the next generation, with parts of a later version."""
    storage = Storage(path)
    manifest = replace(read_current(storage), parts=parts, written_by="9.1", generation=3)
    publish(storage, manifest)
    return path


def test_a_part_that_readers_must_know_is_refused_by_its_name(tmp_path):
    path = with_parts(extracted(3, tmp_path / "c"), fields="readers", summaries="nobody")
    refusal = "no parts that this version cannot read, found 'fields' of tamis 9.1; use that versi"
    with pytest.raises(FormatError, match=refusal):
        Collection.open(path)
    with pytest.raises(FormatError, match=refusal):
        Editor.open(path, LetterEncoder())


def test_a_knower_that_is_not_known_is_taken_for_a_reader(tmp_path):
    path = with_parts(extracted(3, tmp_path / "c"), fields="mergers")
    with pytest.raises(FormatError, match="cannot read, found 'fields'"):
        Collection.open(path)


def test_a_part_that_writers_must_know_can_be_read_and_not_changed(tmp_path):
    path = with_parts(extracted(3, tmp_path / "c"), tokens="writers", fields="writers")
    with Collection.open(path) as collection:
        assert next(iter(found(collection, "heron"))) == "d3"
    refusal = "cannot change, found 'fields', 'tokens' of tamis 9.1"
    queries = SparseVectors.from_dicts([{0: 1.0}] * 60, 65)
    for change in (
        lambda: Editor.open(path, LetterEncoder()),
        lambda: tune(path, queries),
        lambda: upgrade(path),
    ):
        with pytest.raises(FormatError, match=refusal):
            change()
    assert not examine(path).problems
    write_snapshot(path, tmp_path / "s")
    restore(tmp_path / "s", tmp_path / "again")
    with Collection.open(tmp_path / "again") as collection:
        assert collection.index.manifest.parts == {"tokens": "writers", "fields": "writers"}


def test_a_part_that_nobody_must_know_stays_while_its_segment_does(tmp_path):
    path = extracted(3, tmp_path / "c")
    storage = Storage(path)
    file = "segments/000001/summaries.best"
    files = write_arrays(storage, "", {file: np.arange(9)})
    manifest = read_current(storage)
    manifest = replace(manifest, generation=3, files=manifest.files | files)
    publish(storage, replace(manifest, parts={"summaries": "nobody"}))
    with Editor.open(path, LetterEncoder(), merge=False) as editor:
        editor.delete(["d4"])
    with Collection.open(path) as collection:
        assert collection.index.manifest.parts == {"summaries": "nobody"}
        assert file in collection.index.manifest.files
    assert not examine(path).problems
    with Editor.open(path, LetterEncoder(), merge=False) as editor:
        editor.optimize()
    with Collection.open(path) as collection:
        assert file not in collection.index.manifest.files
        assert next(iter(found(collection, "heron"))) == "d3"


def test_a_format_to_come_is_refused_in_one_line(tmp_path):
    path = extracted(3, tmp_path / "c")
    current = path / "CURRENT"
    current.write_bytes(current.read_bytes().replace(b"tamis 3 ", b"tamis 4 "))
    for open_it in (Collection.open, examine, upgrade, lambda path: Editor.open(path)):
        with pytest.raises(FormatError, match="format 4, this version reads 2 and 3; use the ver"):
            open_it(path)
