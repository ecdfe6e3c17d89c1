import math

import numpy as np
import pytest
from letter_encoder import LetterEncoder

from tamis.index import InputError, MismatchError, SearchParams
from tamis.index.segment.loops.arrays import MAX_QUERY_TERMS
from tamis.retriever import Editor, LexicalConfig, Passage, Searcher, create_index, indexing
from tamis.retriever.indexing import index_corpus
from tamis.retriever.words.lexical import LexicalQueries

TEXTS = ["a cab", "the dog barks", "dogs and cats", "a dog", "zebra"]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    path = tmp_path_factory.mktemp("searcher") / "index"
    passages = [Passage(f"d{i}", text) for i, text in enumerate(TEXTS)]
    encoder = LetterEncoder()
    collection = index_corpus(passages, path, encoder=encoder, source="test")
    lexical = LexicalQueries.from_settings(
        collection.settings.lexical, collection.dictionary, collection.with_words
    )
    return Searcher(encoder, collection, lexical)


def bm25(frequency, length, documents_with_word, average):
    """The formula, written out: Lucene's idf, k1 = 0.9, b = 0.4."""
    documents = len(TEXTS)
    idf = math.log(1 + (documents - documents_with_word + 0.5) / (documents_with_word + 0.5))
    return idf * frequency * 1.9 / (frequency + 0.9 * (1 - 0.4 + 0.4 * length / average))


def test_a_score_is_letters_times_two_plus_bm25(searcher):
    """Words without stop words: cab | dog bark | dog cat | dog | zebra: 7 in 5 documents."""
    (result,) = searcher.search(["dog"], k=5)
    found = {hit.doc_id: hit.score for hit in result.hits}
    letters = {text: sum(text.count(letter) for letter in "dog") for text in TEXTS}
    assert found["d1"] == pytest.approx(2 * letters["the dog barks"] + bm25(1, 2, 3, 7 / 5))
    assert found["d3"] == pytest.approx(2 * letters["a dog"] + bm25(1, 1, 3, 7 / 5))
    assert "d0" not in found


def test_hits_are_ranked_from_one_and_carry_their_documents(searcher):
    (result,) = searcher.search(["dog"], k=2)
    assert [hit.rank for hit in result.hits] == [1, 2]
    assert result.hits[0].score >= result.hits[1].score
    assert result.hits[0].document["text"] == TEXTS[int(result.hits[0].doc_id[1:])]
    assert result.generation == 1
    assert result.times.total_ms > 0


def test_contributions_sum_to_the_score_and_name_their_channel(searcher):
    for query in ("dog", "cats and dogs", "zebra cab", "z"):
        (result,) = searcher.search([query], k=5, explain=True)
        for hit in result.hits:
            total = sum(term.contribution for term in hit.matched_terms)
            assert total == pytest.approx(hit.score, abs=1e-4)
            for term in hit.matched_terms:
                assert term.contribution == pytest.approx(term.query_weight * term.doc_weight)
    (result,) = searcher.search(["dog"], k=1, explain=True)
    assert {term.term for term in result.hits[0].matched_terms} == {"d", "o", "g", "=dog"}


def test_a_term_the_text_does_not_hold_is_marked_as_an_expansion(searcher):
    (result,) = searcher.search(["z"], k=5, explain=True)
    marks = {
        hit.doc_id: [t.expansion for t in hit.matched_terms if t.term == "z"] for hit in result.hits
    }
    assert marks["d4"] == [False]
    assert marks["d3"] == [True]


def test_the_lexical_weight_scales_words_alone(searcher):
    (with_words, without) = (
        searcher.search(["dog"], k=5, lexical_weight=weight)[0].hits for weight in (3.0, 0.0)
    )
    scores = {hit.doc_id: hit.score for hit in without}
    assert scores["d3"] == pytest.approx(6.0)
    tripled = {hit.doc_id: hit.score for hit in with_words}["d3"]
    assert tripled == pytest.approx(6.0 + 3 * bm25(1, 1, 3, 7 / 5))


@pytest.mark.parametrize("exact", [True, False])
def test_search_params_weigh_the_words_of_query_vectors(searcher, exact):
    """The letters of "dog" are worth 6 in "a dog"; its word is worth what BM25 says."""
    index, vectors = searcher.collection.index, searcher.encode(["dog"])
    (doc,) = (doc for doc in range(5) if searcher.collection.doc_id(doc) == "d3")
    for factor in (0.0, 0.25, 1.0, 3.0, 1e9):
        found = index.search(vectors, 5, exact=exact, params=SearchParams(lexical_weight=factor))
        scores = dict(zip(*(column.tolist() for column in found.row(0)), strict=True))
        assert scores[doc] == pytest.approx(6.0 + factor * bm25(1, 1, 3, 7 / 5))


def test_weights_by_term_name_both_channels(searcher):
    (result,) = searcher.search([{"d": 1.5, "=dog": 2.0}], k=5, explain=True)
    assert {term.term for term in result.hits[0].matched_terms} == {"d", "=dog"}
    d3 = next(hit for hit in result.hits if hit.doc_id == "d3")
    stored = {term.term: term.doc_weight for term in d3.matched_terms}
    assert d3.score == pytest.approx(1.5 * 1 + 2.0 * stored["=dog"])


def test_texts_and_weights_mix_in_one_batch_in_their_order(searcher):
    mixed = searcher.search(["dog", {"z": 1.0}, "zebra"], k=3)
    alone = [searcher.search([query], k=3)[0] for query in ("dog", {"z": 1.0}, "zebra")]
    assert [[(h.doc_id, h.score) for h in r.hits] for r in mixed] == [
        [(h.doc_id, h.score) for h in r.hits] for r in alone
    ]


@pytest.mark.parametrize("term", ["=unknown", "ab", "=", "é", ""])
def test_an_unknown_term_adds_nothing_and_is_told(searcher, term):
    known, both, alone = searcher.search([{"d": 2.0}, {term: 1.0, "d": 2.0}, {term: 1.0}], k=5)
    assert [(hit.doc_id, hit.score) for hit in both.hits] == [
        (hit.doc_id, hit.score) for hit in known.hits
    ]
    assert alone.hits == ()
    assert [result.unknown_terms for result in (known, both, alone)] == [(), (term,), (term,)]


def test_words_of_a_text_that_no_document_holds_are_told_in_their_order(searcher):
    texts = ["zebra dog", "the owl and the dog, a yak; OWLS", {"=yak": 1.0}, ""]
    found = [result.unknown_terms for result in searcher.search(texts)]
    assert found == [(), ("=owl", "=yak"), ("=yak",), ()]
    without_words = searcher.search(texts[:2], lexical_weight=0)
    assert [result.unknown_terms for result in without_words] == [(), ()]


@pytest.mark.parametrize("term", ["d", "=unknown"])
@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_checked_whether_or_not_its_term_is_known(searcher, term, weight):
    with pytest.raises(InputError, match="finite weights above zero"):
        searcher.search([{term: weight}])


def test_a_long_query_is_answered_with_its_heaviest_terms(tmp_path):
    """One document holds every word with weight 1; word number i weighs i + 1 in the query."""
    words = [f"=w{number}" for number in range(MAX_QUERY_TERMS + 700)]
    create_index(tmp_path / "index", encoder=None)
    with Editor.open(tmp_path / "index") as editor:
        editor.put_weighted([Passage("all", "")], [dict.fromkeys(words, 1.0)])
        editor.put_weighted([Passage("light", "")], [{words[0]: 1.0}])
    weights = {word: number + 1.0 for number, word in enumerate(words)}
    searcher = Searcher.open(tmp_path / "index")
    long, short = searcher.search([weights, {words[0]: 1.0}], exact=True)
    assert [(hit.doc_id, hit.score) for hit in long.hits] == [("all", sum(range(701, 8893)))]
    assert [hit.doc_id for hit in short.hits] == ["all", "light"]
    assert (long.terms_cut, short.terms_cut) == (700, 0)
    (by_text,) = searcher.search([" ".join(word[1:] for word in words)])
    assert (by_text.hits[0].doc_id, by_text.terms_cut) == ("all", 700)


@pytest.mark.parametrize("weight", [-0.1, 1e7, 1e300, float("nan"), float("inf")])
def test_a_lexical_weight_must_lie_between_zero_and_a_million(searcher, weight):
    with pytest.raises(InputError, match="lexical weight from 0 to 1,000,000"):
        searcher.search(["dog"], lexical_weight=weight)


def test_one_string_is_refused_instead_of_searched_letter_by_letter(searcher):
    with pytest.raises(InputError, match="expected a list of queries, found one string"):
        searcher.search("dog")


def test_no_queries_give_no_results(searcher):
    assert searcher.search([]) == []


def test_a_query_of_nothing_known_finds_nothing(searcher):
    (empty, digits) = searcher.search(["", "12345 67"], k=3)
    assert empty.hits == ()
    assert digits.hits == ()


def test_the_query_vectors_are_over_the_collection_s_terms(searcher):
    vectors = searcher.encode(["dog", ""])
    assert vectors.vocab_size == searcher.collection.index.vocab_size
    assert np.diff(vectors.offsets).tolist() == [4, 0]


def test_words_alone_open_without_an_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK_DOCUMENTS", 2)
    passages = [Passage(f"d{i}", text) for i, text in enumerate(TEXTS)]
    index_corpus(passages, tmp_path / "index", encoder=None, lexical=LexicalConfig())
    searcher = Searcher.open(tmp_path / "index")
    (result,) = searcher.search(["dogs"], k=5)
    assert [hit.doc_id for hit in result.hits] == ["d3", "d1", "d2"]
    assert result.hits[0].score == pytest.approx(bm25(1, 1, 3, 7 / 5))


def test_an_encoder_that_has_changed_is_refused(tmp_path, monkeypatch):
    encoder = LetterEncoder()
    index_corpus([Passage("a", "text")], tmp_path / "index", encoder=encoder)
    changed = LetterEncoder("others")
    monkeypatch.setattr(
        "tamis.retriever.models.own_encoder.load_query_encoder", lambda location: changed
    )
    with pytest.raises(MismatchError, match="name a place of the index's own encoder"):
        Searcher.open(tmp_path / "index")
    monkeypatch.setattr(
        "tamis.retriever.models.own_encoder.load_query_encoder", lambda location: encoder
    )
    assert Searcher.open(tmp_path / "index").search(["text"])[0].hits[0].doc_id == "a"
