"""Vectors that documents brought are told from others where no segment records it."""

from dataclasses import replace

import pytest

from tamis.index import Collection
from tamis.index.files.storage import Storage
from tamis.index.generations.manifest import publish, read_current
from tamis.index.generations.parts import ORIGINS
from tamis.retriever import Editor, Passage, create_index, origins

OWN = {"own": {"=alpha": 2.0, "=cat": 0.5}, "bare": {"=owl": 1.5}, "both": {"=cat": 0.25}}
TEXTS = {
    "text": "the cat sees an owl and a cat",
    "other": "running cats",
    "none": "",
    "both": "cat owl",
}


def fill(path):
    """Documents of both kinds, in two segments that do not tell which are which."""
    create_index(path, encoder=None)
    with Editor.open(path, merge=False) as editor:
        editor.put([Passage(name, text) for name, text in TEXTS.items()], wait="searchable")
        passages = [Passage(name, TEXTS.get(name, "owl")) for name in OWN]
        editor.put_weighted(passages, list(OWN.values()), wait="searchable")
    storage = Storage(path)
    manifest = read_current(storage)
    publish(
        storage,
        replace(
            manifest,
            generation=manifest.generation + 1,
            segments=tuple(
                replace(entry, tells_origins=False, with_words=None) for entry in manifest.segments
            ),
            files={name: e for name, e in manifest.files.items() if not name.endswith(ORIGINS)},
        ),
    )


def vectors(path):
    with Collection.open(path) as collection:
        found = {}
        for doc in collection.index.live_docs().tolist():
            terms, weights = collection.index.row(doc)
            words = (f"={collection.dictionary.word(term)}" for term in terms.tolist())
            found[collection.doc_id(doc)] = dict(zip(words, weights.tolist(), strict=True))
        return found


@pytest.mark.parametrize("stemmer", ["same", "other"])
def test_they_are_kept_where_it_is_not_recorded(tmp_path, monkeypatch, stemmer):
    fill(tmp_path / "c")
    before = vectors(tmp_path / "c")
    if stemmer == "other":  # then words may differ, but not how many there are
        monkeypatch.setattr(origins, "stemmer_version", lambda: "another")
    with Editor.open(tmp_path / "c", merge=False) as editor:
        editor.put([Passage("new", "newt")])
        editor.optimize()
        recorded = editor.writer.index.parts[0].origins().tolist()
    after = vectors(tmp_path / "c")
    assert {name: after[name] for name in OWN} == OWN == {name: before[name] for name in OWN}
    assert after["text"].keys() == {"=cat", "=see", "=owl"}
    assert after["text"] != before["text"]  # the average length is another
    assert after["other"].keys() == {"=run", "=cat"}
    assert dict(zip(after, recorded, strict=True)) == {name: int(name in OWN) for name in after}


def test_a_merge_passes_on_what_it_does_not_know(tmp_path):
    fill(tmp_path / "c")
    with Editor.open(tmp_path / "c", merge=False) as editor:
        editor.put_weighted([Passage("later", "")], [{"=newt": 1.0}])
        editor.writer.optimize()
        (part,) = editor.writer.index.parts
        assert part.origins().tolist() == [2] * (len(part.live_docs) - 1) + [1]
        editor.optimize()
    assert {name: vectors(tmp_path / "c")[name] for name in OWN} == OWN
