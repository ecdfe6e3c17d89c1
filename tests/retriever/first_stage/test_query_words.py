"""Synonyms and stop words of a collection's own: kept, changed without building, and told."""

import pytest
from letter_encoder import LetterEncoder

from tamis.index import InputError
from tamis.index.generations.settings import QueryWords
from tamis.index.upkeep.snapshot import write_snapshot
from tamis.retriever import Editor, Passage, Searcher, index_corpus
from tamis.retriever.first_stage.query_words import query_words, set_query_words

TEXTS = {"sofa": "a red sofa", "couch": "a couch", "york": "new york hotels", "hotel": "one hotel"}


@pytest.fixture
def path(tmp_path):
    index_corpus([Passage(*one) for one in TEXTS.items()], tmp_path / "index", encoder=None)
    return tmp_path / "index"


def hits(searcher, query, **options):
    (found,) = searcher.search([query], **options)
    return [hit.doc_id for hit in found.hits], found


def test_synonyms_are_found_told_and_add_up_to_the_score(path):
    searcher = Searcher.open(path)
    assert hits(searcher, "sofa")[0] == ["sofa"]
    set_query_words(path, QueryWords(synonyms=["sofa, couch", "nyc => new york"]))
    searcher = searcher.refresh()
    found, result = hits(searcher, "sofa", explain=True)
    assert set(found) == {"sofa", "couch"}
    assert result.understood.also == ({"from": "sofa", "to": "couch"},)
    for hit in result.hits:
        assert sum(one.contribution for one in hit.matched_terms) == pytest.approx(hit.score)
    assert hits(searcher, "nyc", typos="auto")[0] == ["york"]
    assert hits(searcher, "york")[0] == ["york"]
    assert hits(searcher, "red +sofa", syntax="operators")[0] == ["sofa"]


def test_own_stop_words_are_left_out_of_queries_and_told(path):
    set_query_words(path, QueryWords(stop_words=["hotels"]))
    searcher = Searcher.open(path)
    found, result = hits(searcher, "york hotel")
    assert (found, result.understood.left_out) == (["york"], ("hotel",))
    found, result = hits(searcher, "hotel")  # nothing else would be left
    assert (set(found), result.understood) == ({"york", "hotel"}, None)


def test_they_stay_through_writes_merges_and_snapshots(path, tmp_path):
    words = QueryWords(synonyms=["sofa, couch"], stop_words=["red"])
    set_query_words(path, words)
    with Editor.open(path) as editor:
        editor.put([Passage("new", "another couch")])
        editor.optimize()
    assert query_words(path) == words
    assert set(hits(Searcher.open(path), "sofa")[0]) == {"sofa", "couch", "new"}
    write_snapshot(path, tmp_path / "copy")
    assert query_words(tmp_path / "copy") == words
    set_query_words(path, QueryWords())
    assert hits(Searcher.open(path), "sofa")[0] == ["sofa"]


def test_faulty_rules_change_nothing(path):
    generation = Searcher.open(path).collection.generation
    with pytest.raises(InputError, match="expected rule 1"):
        set_query_words(path, QueryWords(synonyms=["sofa"]))
    assert query_words(path) == QueryWords()
    assert Searcher.open(path).collection.generation == generation


def test_an_index_without_words_has_no_synonyms(tmp_path):
    passages = [Passage("d", "a")]
    index_corpus(passages, tmp_path / "index", encoder=LetterEncoder(), lexical=None)
    with pytest.raises(InputError, match="an index with words"):
        set_query_words(tmp_path / "index", QueryWords(synonyms=["a, b"]))
