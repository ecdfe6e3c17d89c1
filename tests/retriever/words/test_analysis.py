"""Truth: words worked out by hand, and the Snowball stemmer itself."""

# ruff: noqa: RUF001  letters of other alphabets are meant
from __future__ import annotations

import threading
import time
import unicodedata

import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tamis.index.errors import InputError, MismatchError
from tamis.index.segment.dictionary import DictionaryWriter
from tamis.retriever.recorded import lexical_settings
from tamis.retriever.words import analysis
from tamis.retriever.words.analysis import (
    LONGEST_WORD,
    Analyzer,
    LexicalConfig,
    analysed_otherwise,
    languages,
    may_differ,
    warn_of_other_analysis,
)
from tamis.retriever.words.bm25f import Averages

PLAIN = Analyzer(LexicalConfig("none"))
ENGLISH = Analyzer(LexicalConfig())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The horses of Norway were running", ["hors", "norway", "were", "run"]),
        ("Einstein's theory, the Einsteins’s", ["einstein", "theori", "einstein"]),
        ("well-known state-of-the-art", ["well", "known", "state", "art"]),
        ("Armenian_Apostolic_Church", ["armenian", "apostol", "church"]),
        ("vitamin C and hepatitis B", ["vitamin", "c", "hepat", "b"]),
        ("café résumés naïve Łódź", ["cafe", "resum", "naiv", "lodz"]),
        ("cafe resumes naive Lodz", ["cafe", "resum", "naiv", "lodz"]),
        ("", []),
        ("the of and", []),
        (" .,;-- '' ", []),
    ],
)
def test_english_words_are_folded_stopped_and_stemmed(text, words):
    assert ENGLISH.analyze(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("COVID-19", ["covid", "19", "covid19"]),
        ("COVID\u201119", ["covid", "19", "covid19"]),  # a non-breaking hyphen
        ("covid19", ["covid19"]),
        ("3.14", ["3", "14", "3.14"]),
        ("ISO-8601", ["iso", "8601", "iso8601"]),
        ("x86_64", ["x86", "64", "x86_64"]),
        ("B12", ["b12"]),
        ("1990-1995", ["1990", "1995", "1990-1995"]),
        ("12:30", ["12", "30", "12:30"]),
        ("1,000,000", ["1000000"]),
        ("1,000.50", ["1", "000", "50", "1,000.50"]),
        ("in 1990, 1991", ["in", "1990", "1991"]),
        ("snake_case and kebab-case", ["snake", "case", "and", "kebab", "case"]),
        ("end.2 2.end", ["end", "2", "2", "end"]),
        ("٢٠٢٠ २०२०", ["2020", "2020"]),
        ("\ufdfa1", ["صلى", "الله", "عليه", "وسلم1"]),  # one character that is four words
    ],
)
def test_codes_give_their_parts_and_themselves(text, words):
    assert PLAIN.analyze(text) == words


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("german", "Die Häuser an der Straße", ["haus", "strass"]),
        ("german", "HÄUSER STRASSE", ["haus", "strass"]),
        ("french", "L’économie de l'État", ["econom", "etat"]),
        ("french", "ECONOMIE ETAT", ["econom", "etat"]),
        ("spanish", "los años y las canciones", ["años", "cancion"]),
        ("russian", "в новых домах и мой", ["нов", "дом", "мо"]),
        ("turkish", "İSTANBUL IŞIK KIZ", ["istanbul", "ışık", "kız"]),
        ("swedish", "Åsa och år", ["åsa", "år"]),
        ("none", "Ὀδυσσεύς ΟΔΟΣ", ["ὀδυσσεύσ", "οδοσ"]),
    ],
)
def test_marks_go_where_the_language_does_not_tell_words_by_them(language, text, words):
    assert Analyzer(LexicalConfig(language)).analyze(text) == words


ELIDED = [  # and the words that the same text without its elisions has
    ("catalan", "l'home L’HOME d'avui s'estima", "home home avui estima"),
    ("french", "lorsqu’il parle d'économie", "il parle économie"),
    ("french", "la vitamine C et qu'importe", "la vitamine C et importe"),
    ("french", "va-t-il aujourd'hui", "va-t-il aujourd hui"),
    ("french", "l' avion d’1 jour", "l avion 1 jour"),
    ("italian", "DELL'arte sull’isola c'è", "arte isola è"),
    ("irish", "D'fhág m’athair b'fhéidir", "fhág athair fhéidir"),
    ("english", "rock'n'roll l'oreal", "rock n roll l oreal"),
    ("spanish", "l'hospitalet", "l hospitalet"),
]


@pytest.mark.parametrize(("language", "text", "bare"), ELIDED)
def test_what_stands_elided_before_an_apostrophe_is_no_word(language, text, bare):
    analyzer = Analyzer(LexicalConfig(language))
    words = analyzer.analyze(bare)
    assert words
    for either in (text, text.translate(str.maketrans("'’", "’'"))):
        assert analyzer.analyze(either) == words
        assert analyzer.analyze_query(either) == words


def test_a_letter_is_a_word_where_nothing_is_elided():
    assert Analyzer(LexicalConfig("french")).analyze("la vitamine C") == ["vitamin", "c"]
    assert Analyzer(LexicalConfig("catalan")).analyze("grup D, l'home") == ["grup", "d", "hom"]


def test_elided_words_go_where_stop_words_stay():
    analyzer = Analyzer(LexicalConfig("french", stop_words=False))
    assert analyzer.analyze("l'avion de la mer") == ["avion", "de", "la", "mer"]


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("catalan", "l'home", ["l", "hom"]),
        (
            "french",
            "L'économie, lorsqu'il parle de vitamine C",
            ["econom", "lorsqu", "parl", "vitamin"],
        ),
        ("italian", "dell'arte, c'è", ["arte", "c"]),
    ],
)
def test_a_collection_of_version_1_keeps_its_words(language, text, words):
    newest = recorded(LexicalConfig(language))
    assert newest.analyzer == 2
    analyzer = Analyzer(LexicalConfig.of(structs.replace(newest, analyzer=1)))
    assert analyzer.analyze(text) == words
    assert recorded(analyzer.config).analyzer == 1


def test_arabic_words_meet_with_and_without_vowel_marks():
    arabic = Analyzer(LexicalConfig("arabic"))

    assert arabic.analyze("الكِتَابُ فِي المَدْرَسَةِ")[0] == arabic.analyze("كتاب")[0]
    assert arabic.analyze("الكتاب") == arabic.analyze("كتاب")
    assert arabic.analyze("في من على") == []


def test_vowel_signs_of_indic_scripts_stay_in_their_words():
    assert PLAIN.analyze("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert len(Analyzer(LexicalConfig("hindi")).analyze("हिन्दी भाषा")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("水", ["水"]),
        ("東京、水", ["東京", "水"]),
        ("2020年に開業", ["2020", "年に", "に開", "開業"]),
        ("ｶﾞｽ", ["ガス"]),  # half width, its voicing mark apart
        ("か\u3099す", ["がす"]),
        ("ภาษาไทย", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("ก็ดี", ["ก็ดี"]),  # a character is taken with its marks
        ("ကမ္ဘာ", ["ကမ္", "မ္ဘာ"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("\U00020000\U00020001", ["\U00020000\U00020001"]),
    ],
)
def test_scripts_without_spaces_give_pairs_of_characters(text, words):
    assert PLAIN.analyze(text) == words
    assert ENGLISH.analyze(text) == words


def test_bigrams_cut_hangul_too_and_leave_other_scripts_whole():
    bigrams = Analyzer(LexicalConfig("bigrams"))

    assert bigrams.analyze("한국어를 learning 東京") == ["한국", "국어", "어를", "learning", "東京"]
    assert bigrams.analyze("ᄒ\u1161ᆫ국") == ["한국"]  # letters that compose into syllables


@pytest.mark.parametrize(
    "text",
    ["soft\u00adware", "soft\u200dware", "soft\u2060ware\ufeff", "\u200esoftware\u200f"],
    ids=ascii,
)
def test_characters_that_nobody_sees_do_not_part_words(text):
    assert ENGLISH.analyze(text) == ["softwar"]


def test_zero_width_spaces_part_words_and_lone_surrogates_belong_to_none():
    assert PLAIN.analyze("a\u200bb \ud800c\udfff") == ["a", "b", "c"]


@given(st.text(max_size=60))
def test_any_text_gives_words_that_can_be_stored_and_hold_no_space(text):
    for analyzer in (PLAIN, ENGLISH):
        for word in analyzer.analyze(text):
            assert word
            assert word.encode().decode() == word
            assert word.split() == [word]
            assert word[0] not in "=-"


@given(st.text("abXY12-_.,:'’ éÉß水京가\u0301", max_size=40))
def test_words_of_chunks_are_the_words_of_the_text(text):
    by_chunk = [word for chunk in ENGLISH.chunks(text) for word in ENGLISH.words_of(chunk)]

    assert ENGLISH.analyze(text) == by_chunk
    assert ENGLISH.analyze(f"{text} {text}") == by_chunk * 2


@given(st.text("abcdefgXYZ'- ", max_size=60))
def test_ascii_words_are_the_same_beside_other_scripts(text):
    assert PLAIN.analyze(text + " é") == [*PLAIN.analyze(text), "é"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("How does a glacier form?", ["glacier", "form"]),
        ("what is WHO doing", ["who", "do"]),
        ("who is the who", ["who", "who"]),
        ("What’s a glacier? Where's one?", ["glacier", "one"]),
        ("WHAT IS LOVE", ["love"]),
        ("The Who", ["who"]),
        ("the of", []),
        ("", []),
    ],
)
def test_words_that_only_ask_go_from_queries_but_never_all_of_them(query, words):
    assert ENGLISH.analyze_query(query) == words


def test_without_stop_words_queries_and_documents_keep_every_word():
    keeping = Analyzer(LexicalConfig(stop_words=False))

    assert keeping.analyze("how does the") == ["how", "doe", "the"]
    assert keeping.analyze_query("how does the") == ["how", "doe", "the"]


@pytest.mark.parametrize("language", Stemmer.algorithms())
def test_every_snowball_language_stems_as_snowball_does(language):
    plain = Analyzer(LexicalConfig(language, stop_words=False, fold_marks=False))
    stem = Stemmer.Stemmer(language, 0).stemWord

    assert plain.analyze("nationalization") == [stem("nationalization")]


def test_a_million_characters_take_linear_time():
    started = time.process_time()
    for text in (
        "a" * 10**6,
        "ab " * 333_333,
        "水" * 10**6,
        "1-" * 500_000,
        "a\u0301\u0323" * 333_333,
    ):
        PLAIN.analyze(text)

    assert time.process_time() - started < 30  # a quadratic step would take hours


def test_long_words_are_cut_and_counted():
    analyzer = Analyzer(LexicalConfig("none"))

    assert analyzer.analyze("x" * LONGEST_WORD) == ["x" * LONGEST_WORD]
    assert analyzer.words_cut == 0
    assert analyzer.analyze("x" * (LONGEST_WORD + 1) + " é" + "y" * 10**6) == [
        "x" * LONGEST_WORD,
        "é" + "y" * (LONGEST_WORD - 1),
    ]
    assert analyzer.words_cut == 2


def test_a_long_joined_code_gives_its_parts_alone():
    text = "-".join(["12"] * 500)

    assert PLAIN.analyze(text) == ["12"] * 500


def test_unknown_languages_are_refused_with_the_list():
    with pytest.raises(InputError, match=r"none, bigrams, arabic.*found 'klingon'"):
        LexicalConfig("klingon")
    assert {"none", "bigrams", "english", "german"} <= set(languages())


@pytest.mark.parametrize(
    "numbers", [{"k1": -0.1}, {"k1": float("nan")}, {"b": 1.1}, {"b": -1}, {"weight": -1}]
)
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(InputError, match="expected"):
        LexicalConfig(**numbers)


def recorded(config):
    """What a collection without a word records of its words."""
    return lexical_settings(config, DictionaryWriter().dictionary(), Averages(0.0), 0)


def test_settings_survive_a_manifest():
    config = LexicalConfig("french", stop_words=False, k1=1.2, b=0.75, weight=0.3)

    assert LexicalConfig.of(recorded(config)) == config


def test_words_of_another_analyser_version_are_refused():
    for version in (0, 3):
        with pytest.raises(MismatchError, match=f"version 1 to 2, found version {version}; build"):
            LexicalConfig.of(structs.replace(recorded(LexicalConfig()), analyzer=version))
    with pytest.raises(InputError, match=r"one of the versions \(1, 2\), found 3"):
        LexicalConfig(analyzer=3)


OTHERS = [  # recorded, and what is said of it
    ({"stemmer": "1.0"}, "expected PyStemmer 1.0 that made"),
    ({"stemmer": None}, "expected PyStemmer of the version, not recorded, that made"),
    ({"unicode": "1.1"}, "expected Unicode 1.1 that made"),
]


@pytest.mark.parametrize(("recorded_as", "said"), OTHERS)
def test_words_that_other_versions_made_are_told(recorded_as, said):
    settings = structs.replace(recorded(LexicalConfig()), **recorded_as)

    assert analysed_otherwise(settings).startswith(said)
    assert may_differ(settings)
    with pytest.warns(UserWarning, match=f"{said}.*with `tamis upgrade DIR`"):
        warn_of_other_analysis(settings)


def test_words_of_the_present_versions_are_not():
    settings = recorded(LexicalConfig())

    assert settings.unicode == unicodedata.unidata_version
    assert (analysed_otherwise(settings), may_differ(settings)) == (None, False)
    warn_of_other_analysis(settings)


def test_versions_count_where_they_decide():
    unstemmed = structs.replace(recorded(LexicalConfig("none")), stemmer="1.0")
    assert not may_differ(unstemmed)
    unrecorded = structs.replace(recorded(LexicalConfig()), unicode=None)
    assert (analysed_otherwise(unrecorded), may_differ(unrecorded)) == (None, True)


def test_threads_share_an_analyzer():
    words = [f"nationalization{'s' * (i % 3)} running{i}" for i in range(300)]
    expected = [ENGLISH.analyze(word) for word in words]
    found: list[list[list[str]]] = []
    threads = [
        threading.Thread(target=lambda: found.append([ENGLISH.analyze(word) for word in words]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 8


def test_as_many_chunks_of_queries_are_remembered_as_it_says(monkeypatch):
    monkeypatch.setattr(analysis, "REMEMBERED_CHUNKS", 5)
    analyzer = Analyzer(LexicalConfig())
    for number in range(23):
        assert analyzer.analyze_query(f"what owls{number} hunt") == [f"owls{number}", "hunt"]
        assert len(analyzer._remembered) <= 5
    assert analyzer._remembered
