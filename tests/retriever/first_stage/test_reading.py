"""Small queries with answers worked out by hand: typing errors, prefixes, suggestions."""

import pytest
from letter_encoder import LetterEncoder

from tamis.index import InputError
from tamis.retriever import LexicalConfig, Passage, Searcher, index_corpus

TEXTS = {
    "storm": "The hurricane reached the coast; hurricanes are storms.",
    "coast": "A coast road along the coastal hills.",
    "tv": "Television was first shown in Glasgow.",
    "run": "He was running, and runs still.",
    "mail": "An email from the president.",
    "jack": "A jacket for Jackson, by Jack.",
    "ice": "Ice and cream.",
    "x": "Model AC-528 of 2004.",
}


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    path = tmp_path_factory.mktemp("reading") / "index"
    index_corpus([Passage(*one) for one in TEXTS.items()], path, encoder=None)
    return Searcher.open(path)


@pytest.mark.parametrize(
    ("query", "corrections", "hits"),
    [
        ("hurricain", {"hurricain": "hurricane"}, {"storm"}),
        ("Huricanes coast", {"Huricanes": "hurricanes"}, {"storm", "coast"}),
        ("hurrciane", {"hurrciane": "hurricane"}, {"storm"}),
        ("televison", {"televison": "television"}, {"tv"}),
        ("presidnt?", {"presidnt": "president"}, {"mail"}),
        ("coasst", {"coasst": "coast"}, {"coast", "storm"}),
        ("icecream", {"icecream": "ice cream"}, {"ice"}),
        ("hurricanes", {}, {"storm"}),
        ("cat", {}, set()),  # too short to tell
        ("roadz", {"roadz": "road"}, {"coast"}),
        ("zzzzzzz", {}, set()),
        ("AC-529", {}, {"x"}),  # codes are meant as they are
        ("2005", {}, set()),
        ("thhe coast", {}, {"coast", "storm"}),
    ],
)
def test_typing_errors(searcher, query, corrections, hits):
    (found,) = searcher.search([query], typos="auto")
    assert {one["from"]: one["to"] for one in found.corrections} == corrections
    assert {hit.doc_id for hit in found.hits} == hits


def test_words_in_quotes_and_after_signs_are_meant_as_they_are(searcher):
    (found,) = searcher.search(['"hurricain" coast'], syntax="operators", typos="auto")
    assert (found.corrections, found.hits) == ((), ())
    (found,) = searcher.search(["-coastt hurricain"], syntax="operators", typos="auto")
    assert [one["from"] for one in found.corrections] == ["hurricain"]
    assert found.understood.text == "hurricane"


def test_typing_errors_are_left_alone_where_that_is_not_asked_for(searcher):
    (found,) = searcher.search(["hurricain"])
    assert (found.corrections, found.hits, found.unknown_terms) == ((), (), ("=hurricain",))


def test_a_word_that_the_encoder_knows_is_no_typing_error(tmp_path):
    encoder = LetterEncoder()
    collection = index_corpus([Passage("d", "coast")], tmp_path / "index", encoder=encoder)
    searcher = Searcher(
        encoder, collection, Searcher.open(tmp_path / "index", encoder=encoder).lexical
    )
    piece = encoder.vocabulary.name(0)
    assert searcher._reader.knows(piece)
    assert not searcher._reader.knows("coasst")


@pytest.mark.parametrize(
    ("query", "hits", "words"),
    [
        ("jack*", {"jack"}, 3),
        ("coas*", {"coast", "storm"}, 2),
        ("runni*", {"run"}, 1),
        ("zz*", set(), 0),
        ("h*", {"storm", "coast", "run"}, 3),
        ("+hill* coast", {"coast"}, 1),
        ("coast -hurr*", {"coast"}, 1),
    ],
)
def test_prefixes(searcher, query, hits, words):
    (found,) = searcher.search([query], syntax="operators", explain=True)
    assert {hit.doc_id for hit in found.hits} == hits
    assert found.understood.prefixes[0].words == words
    for hit in found.hits:
        assert sum(term.contribution for term in hit.matched_terms) == pytest.approx(hit.score)


def test_a_word_with_a_hyphen_finds_it_without(searcher):
    (found,) = searcher.search(["e-mail"], typos="auto")
    assert [hit.doc_id for hit in found.hits] == ["mail"]
    assert found.understood.also == ({"from": "e-mail", "to": "email"},)


@pytest.mark.parametrize(
    ("text", "suggested"),
    [
        ("hurr", ["hurricane"]),
        ("the jac", ["the jack", "the jacket", "the jackson"]),
        ("Coast", ["coast", "coastal"]),
        ("runni", ["running"]),
        ("hurricane ", []),
        ("zz", []),
        ("", []),
    ],
)
def test_suggestions(searcher, text, suggested):
    assert [one.text for one in searcher.suggest(text)] == suggested


def test_suggestions_are_bounded_and_need_words(searcher, tmp_path):
    assert len(searcher.suggest("c", 1)) == 1
    with pytest.raises(InputError, match="1 to 100 suggestions, found 0"):
        searcher.suggest("c", 0)
    encoder = LetterEncoder()
    passages = [Passage("d", "a")]
    collection = index_corpus(passages, tmp_path / "index", encoder=encoder, lexical=None)
    with pytest.raises(InputError, match="an index with words"):
        Searcher(encoder, collection).suggest("c")
    (found,) = Searcher(encoder, collection).search(['"a"'], syntax="operators", typos="auto")
    assert "no words" in found.understood.notes[0]


def test_other_languages_keep_their_letters(tmp_path):
    passages = [Passage("d", "Die Straße führt über München nach Österreich")]
    path = tmp_path / "index"
    index_corpus(passages, path, encoder=None, lexical=LexicalConfig("german"))
    searcher = Searcher.open(path)
    (found,) = searcher.search(["Österreihc"], typos="auto")
    assert [hit.doc_id for hit in found.hits] == ["d"]
    assert [one.text for one in searcher.suggest("mün")] == ["münchen"]


def test_the_work_for_a_query_is_bounded_and_told(searcher):
    words = [f"hurricain{'abcdefghij'[at % 10]}{'abcdefghij'[at // 10]}" for at in range(60)]
    (found,) = searcher.search([" ".join(words)], typos="auto")
    assert 0 < len(found.corrections) <= 32
    assert "first 32 words" in found.understood.notes[0]
    with pytest.raises(InputError, match="at most 64 phrases, signs and prefixes"):
        searcher.search(["+coast " * 65], syntax="operators")
