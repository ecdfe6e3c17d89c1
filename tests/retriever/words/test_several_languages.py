"""Words of several languages in one collection."""

from __future__ import annotations

import sys

import pytest

from tamis.index.errors import InputError
from tamis.retriever.words.analysis import Analyzer, LexicalConfig
from tamis.retriever.words.several_languages import SeveralLanguages, analyzer_of

NAMED = LexicalConfig(language="english", languages=("german", "french"), language_field="lang")
TEXTS = {
    "english": "The owls were hunting in the forests of the north.",
    "german": "Die Eulen jagten nachts in den Wäldern des Nordens.",
    "french": "Les chouettes chassaient la nuit dans les forêts de l'est.",
}


@pytest.fixture(scope="module")
def mixed():
    return analyzer_of(NAMED)


def alone(language):
    return Analyzer(LexicalConfig(language=language))


def test_one_language_costs_nothing_and_several_give_their_own_analyser(mixed):
    assert type(analyzer_of(LexicalConfig(language="german"))) is Analyzer
    assert isinstance(mixed, SeveralLanguages)


@pytest.mark.parametrize("named", ["de", "DE", "german", "de-AT", " German "])
def test_a_document_is_analysed_in_the_language_that_it_names(mixed, named):
    (own,) = mixed.for_records([{"lang": named}], [TEXTS["english"]])
    assert own.analyze(TEXTS["german"]) == alone("german").analyze(TEXTS["german"])


def test_documents_of_other_languages_are_read_as_the_first_and_told(mixed):
    records = [{"lang": "sw"}, {"lang": "sw"}, {}, {"lang": 7}, {"lang": "fr"}]
    found = list(mixed.for_records(records, [""] * 5))
    assert [one.config.language for one in found] == ["english"] * 4 + ["french"]
    assert mixed.take_unknown_languages() == {"sw": 2, "none": 2}
    assert not mixed.take_unknown_languages()


def test_languages_are_found_where_no_field_names_them():
    finding = analyzer_of(LexicalConfig(language="english", languages=("german", "french")))
    found = finding.for_records([{}] * 3, list(TEXTS.values()))
    assert [one.config.language for one in found] == list(TEXTS)


def test_each_word_of_a_query_has_its_stem_in_every_language_once(mixed):
    for word in ("hunting", "Wäldern", "forêts", "tamis"):
        expected = dict.fromkeys(stem for name in TEXTS for stem in alone(name).analyze_query(word))
        assert mixed.analyze_query(word) == list(expected)
    assert mixed.analyze_query("tamis") == list(dict.fromkeys(mixed.words_of("tamis")))


@pytest.mark.parametrize("language", list(TEXTS))
def test_a_query_finds_every_word_that_its_own_language_finds(mixed, language):
    own = alone(language)
    assert set(own.analyze_query(TEXTS[language])) <= set(mixed.analyze_query(TEXTS[language]))


def test_only_the_language_that_a_query_shows_leaves_function_words_out(mixed):
    assert "war" in mixed.analyze_query("war")  # was, in German
    assert mixed.analyze_query("war poems") == mixed.analyze_query("poems")  # nothing tells
    kept = mixed.analyze_query("what is the cause of the war")
    assert not {"the", "of", "is", "what"} & set(kept)
    assert "war" in kept
    assert "war" in mixed.analyze_query("the war")  # there is nothing else
    assert mixed.analyze_query("the of") == mixed.analyze("the of")


def test_a_query_whose_language_is_given_is_of_that_alone(mixed):
    for named in ("de", "german"):
        own = mixed.speaking(named)
        assert own.analyze_query(TEXTS["german"]) == alone("german").analyze_query(TEXTS["german"])
    assert mixed.speaking(None) is mixed
    with pytest.raises(InputError, match="english, german, french, found 'sw'"):
        mixed.speaking("sw")
    with pytest.raises(InputError, match="of the index: german, found 'fr'"):
        alone("german").speaking("fr")


def test_what_every_text_with_a_word_holds_is_one_word_in_each_language(mixed):
    (any_of,) = mixed.sure_lists("hunting")
    assert set(any_of) == {one for name in TEXTS for one in alone(name).sure_words("hunting")}
    assert mixed.sure_lists("war") == ()  # German texts leave it out
    assert mixed.sure_lists("東京都") == (("東京",), ("京都",))


def test_an_elided_article_goes_in_queries_of_all_languages(mixed):
    assert mixed.analyze_query("l'hiver") == list(
        dict.fromkeys(word for name in TEXTS for word in alone(name).analyze("hiver"))
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"languages": ("klingon",)}, "found 'klingon'"),
        ({"languages": ("german", "german")}, "each language once"),
        ({"languages": ("english",)}, "each language once"),
        ({"language_field": "lang"}, "several languages for the field 'lang'"),
    ],
)
def test_faulty_languages_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        LexicalConfig(language="english", **settings)


def test_a_language_that_is_not_found_in_texts_wants_a_field():
    asked = analyzer_of(LexicalConfig(language="english", languages=("yiddish",)))
    with pytest.raises(
        InputError, match=r"py3langid finds in texts, found yiddish; .*--language-f"
    ):
        asked.for_records([{}], ["a text"])


def test_without_the_package_that_finds_languages_it_is_told_how_to_go_on(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    asked = analyzer_of(LexicalConfig(language="english", languages=("german",)))
    with pytest.raises(InputError, match=r"pip install 'tamis\[languages\]'"):
        asked.for_records([{}], ["a text"])
