"""A dry run reports everything at once: against a corpus whose faults were counted by hand."""

import json

import pytest

from tamis.index import InputError
from tamis.retriever import Passage, index_corpus
from tamis.retriever.corpus.dry_run import check_corpus
from tamis.retriever.corpus.sampling import Spread

ENGLISH = "The sieve is used to take the stones out of the soil before it is sold."
GERMAN = "Das Sieb wird auch in der Küche benutzt, um die Kerne von den Früchten zu trennen."
LINES = [
    {"_id": "1", "title": "One", "text": ENGLISH, "year": 1999, "tag": "x"},
    {"_id": "2", "text": "word " * 351, "year": 2.5},
    {"_id": "3", "text": GERMAN, "year": None},
    {"_id": "2", "text": "cafÃ© and â€œquotesâ€\u009d"},
    {"_id": "4", "title": "One", "text": ENGLISH},
    {"_id": "5", "title": "One " + ENGLISH, "text": ""},
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "c.jsonl"
    lines = [json.dumps(line).encode() for line in LINES]
    faulty = [b'{"_id": "6"}', b'{"_id": "7", "text": "caf\xe9"}', b"{"]
    path.write_bytes(b"\n".join([*lines, *faulty]) + b"\n")
    return path


def test_everything_is_reported_at_once(corpus):
    found = check_corpus(corpus)
    assert found.documents == 6
    assert found.faults == 3
    assert [fault.removeprefix(f"{corpus}:")[:2] for fault in found.first_faults] == [
        "7:", "8:", "9:",
    ]  # fmt: skip
    assert (found.duplicate_ids, found.first_duplicate_ids) == (1, ("2",))
    assert found.duplicate_texts == 2
    assert found.first_duplicates == ("4 = 1", "5 = 1")
    assert found.broken_characters == 1
    assert found.long_documents == 1
    assert (found.words["smallest"], found.words["largest"]) == (3, 351)
    assert {name: (f.type, f.documents) for name, f in found.fields.items()} == {
        "year": ("float", 2),
        "tag": ("string", 1),
    }
    assert found.languages["english"] == pytest.approx(4 / 6)  # "and" tells in a short one


def test_an_empty_corpus_and_equal_texts_are_reported_not_refused(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("\n \n")
    assert check_corpus(path).documents == 0
    path.write_text("".join(f'{{"id": "{i}", "text": "same"}}\n' for i in range(50)))
    assert check_corpus(path).duplicate_texts == 49
    with pytest.raises(InputError, match="found nothing; check the path"):
        check_corpus(tmp_path / "missing.jsonl")


def test_equal_texts_are_indexed_and_found_in_their_order(tmp_path):
    from tamis.retriever import Searcher

    passages = [Passage(f"d{i}", "all the same") for i in range(30)]
    index_corpus(passages, tmp_path / "i", encoder=None)
    (result,) = Searcher.open(tmp_path / "i").search(["same"], 10)
    assert [hit.doc_id for hit in result.hits] == [f"d{i}" for i in range(10)]
    assert len({hit.score for hit in result.hits}) == 1


@pytest.mark.parametrize("count", [0, 1, 9, 10, 19, 20, 21, 1003])
def test_a_sample_is_spread_over_the_whole_stream(count):
    spread = Spread(10)
    for item in range(count):
        spread.take(item)
    kept = spread.kept()
    assert spread.count == count
    assert len(kept) == min(count, 10)
    assert kept == sorted(set(kept))
    if count:
        assert kept[0] == 0
        assert kept[-1] >= 0.8 * (count - 1)


def test_a_check_tells_all_that_an_index_would_refuse(tmp_path):
    lines = [
        {"_id": "1", "text": "a", "year": 1999, "tags": {"x": 1}},
        {"_id": "2", "text": "b", "year": "soon"},
        {"_id": "1", "text": "c", "year": 2000},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = check_corpus(path, fields={"year": "integer", "tags": "string", "colour": None})
    assert (found.documents, found.faults) == (1, 2)
    assert "found an object in document '1'" in found.first_faults[0]
    assert "found 'soon' in document '2'" in found.first_faults[1]
    (missing,) = found.missing_fields
    assert missing.startswith("expected the field 'colour' in the first 3 documents")
    again = check_corpus(path)
    assert set(again.fields) == {"year", "tags.x"}
    assert again.first_duplicate_places == (f"'1' in {path}:1 and {path}:3",)
