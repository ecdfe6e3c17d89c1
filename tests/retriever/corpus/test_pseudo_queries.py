"""What an index is calibrated with before anybody has asked it anything."""

import pytest

from tamis.index.files.storage import Storage
from tamis.index.segment.calibration import SMALL
from tamis.index.segment.documents import Documents, DocumentWriter
from tamis.retriever.corpus.pseudo_queries import MOST_DOCUMENTS, pseudo_queries
from tamis.retriever.indexing import index_corpus
from tamis.retriever.types import Passage
from tamis.retriever.words.lexical import LexicalConfig


@pytest.fixture
def stored(tmp_path):
    def store(records):
        storage = Storage(tmp_path)
        with DocumentWriter(storage, ".") as writer:
            for record in records:
                writer.append(record)
        return Documents(storage, ".", writer.entries)

    return store


def test_titles_and_first_sentences_take_turns_and_empty_documents_are_left_out(stored):
    texts, own = pseudo_queries(
        stored(
            [
                {"title": "Drum sieves", "text": "A tamis is fine. It is flat."},
                {"title": "Mills", "text": "They turn in the wind. Slowly!"},
                {"title": "", "text": ""},
                {"title": "", "text": " ".join(["word"] * 99)},
            ]
        )
    )
    assert texts == ["Drum sieves", "They turn in the wind.", " ".join(["word"] * 24)]
    assert own.tolist() == [0, 1, 3]


def test_a_large_collection_is_asked_at_equal_distances(stored):
    texts, own = pseudo_queries(stored({"text": f"number {i}"} for i in range(999)))
    assert len(texts) == MOST_DOCUMENTS
    assert (own[0], own[-1]) == (0, 998)
    assert texts[-1] == "number 998"


def test_an_index_of_many_passages_is_calibrated_with_their_sentences(tmp_path):
    words = [f"w{i}" for i in range(211)]
    passages = (
        Passage(str(i), " ".join(words[(i * step) % 211] for step in range(1, 12)) + ".")
        for i in range(SMALL + 3)
    )
    made = index_corpus(passages, tmp_path / "index", encoder=None, lexical=LexicalConfig())
    assert made.index.calibration.source == "sentences"
    assert made.index.calibration.queries > 0
