"""Pieces of a corpus, indexed apart and put together, are the collection of one process."""

import json

import pytest
from letter_encoder import LetterEncoder

from tamis.index import Collection, FormatError, InputError, MismatchError
from tamis.index.upkeep.verification import examine
from tamis.retriever import Editor, Passage, Searcher, index_corpus, indexing
from tamis.retriever.corpus.passages import read_passages
from tamis.retriever.corpus.shares import Share
from tamis.retriever.pieces import assemble, index_piece
from tamis.retriever.words.lexical import LexicalConfig

QUERIES = ["cats", "passage 7", "dogs and cats", "title", "zebra", "nothing of this"]
KINDS = {
    "words": {"encoder": None},
    "learned": {"encoder": LetterEncoder(), "lexical": None},
    "both": {"encoder": LetterEncoder()},
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 4)


@pytest.fixture
def corpus(tmp_path):
    """Words first met in the middle, texts of many lengths, and one without any word."""
    path = tmp_path / "corpus.jsonl"
    rows = [
        {
            "_id": f"d{i}",
            "title": f"Title {i}",
            "text": f"passage {i} about {'cats' if i % 3 else 'dogs and cats'} " + "zebra " * (i % 5),
            "year": 1990 + i,
        }
        for i in range(30)
    ]
    rows[11] = {"_id": "d11", "text": "!!!", "year": 0}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def built(corpus, out, **options):
    options = {"source": str(corpus), "fields": {"year": "integer"}, **options}
    return index_corpus(read_passages(corpus), out, **options)


def pieces_of(corpus, folder, of, **options):
    options = {"source": str(corpus), "fields": {"year": "integer"}, **options}
    for number in range(1, of + 1):
        share = Share(number, of)
        index_piece(read_passages(corpus, share=share), folder / str(number), share, **options)
    return folder


def state(path, encoder):
    """What a collection is to its users: ids, statistics, and what exact searches find."""
    searcher = Searcher.open(path, encoder=encoder)
    index = searcher.collection.index
    made = index.manifest
    dictionary = searcher.collection.dictionary
    return {
        "settings": made.settings,
        "statistics": [made.documents, made.vocab_size, made.with_words, index.awaiting],
        "words": dictionary.fingerprint if dictionary is not None else None,
        "frequencies": [part.tolist() for part in index.frequencies()],
        "ids": [searcher.collection.doc_id(doc) for doc in range(len(index))],
        "found": [
            [(hit.doc_id, hit.score) for hit in result.hits]
            for result in searcher.search(QUERIES, 30, exact=True)
        ],
        "filtered": [
            [hit.doc_id for hit in result.hits]
            for result in searcher.search(QUERIES, 30, exact=True, filter={"field": "year", "range": {"gte": 2000}})
        ],
    }


@pytest.mark.parametrize("of", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_the_collection_of_one_process(corpus, tmp_path, kind, of):
    options = KINDS[kind]
    built(corpus, tmp_path / "whole", **options)
    pieces = pieces_of(corpus, tmp_path / "pieces", of, **options)
    assemble([pieces], tmp_path / "assembled", encoder=options["encoder"])
    encoder = options["encoder"]
    assert state(tmp_path / "assembled", encoder) == state(tmp_path / "whole", encoder)
    assert not examine(tmp_path / "assembled").problems
