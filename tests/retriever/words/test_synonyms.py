"""Rules of synonyms, with answers worked out by hand."""

import pytest

from tamis.index import InputError
from tamis.index.generations.settings import QueryWords
from tamis.retriever.words.analysis import Analyzer, LexicalConfig
from tamis.retriever.words.synonyms import MOST_RULES, MOST_SYNONYMS, OwnWords

ENGLISH = Analyzer(LexicalConfig())


def own(*rules, stop_words=()):
    return OwnWords.of(QueryWords(synonyms=list(rules), stop_words=list(stop_words)), ENGLISH)


def meant(rules, text):
    return [
        (one.words.text, one.meaning.text)
        for one in own(*rules).meant_by(ENGLISH.analyze_query(text))
    ]


@pytest.mark.parametrize(
    ("rules", "text", "expected"),
    [
        (["sofa, couch"], "a sofa", [("sofa", "couch")]),
        (["sofa, couch"], "couches", [("couch", "sofa")]),
        (["a  sofa ,couch, settee"], "couch", [("couch", "a sofa"), ("couch", "settee")]),
        (["nyc => new york"], "nyc hotels", [("nyc", "new york")]),
        (["nyc => new york"], "new york hotels", []),
        (["new york => nyc"], "hotels in new york", [("new york", "nyc")]),
        (["new york => nyc"], "york new", []),
        (["sofa => couch", "couch => sofa"], "sofa", [("sofa", "couch")]),
        (["ash => birch", "birch => cedar"], "ash", [("ash", "birch")]),
        (["ash, elm => birch, oak"], "elm", [("elm", "birch"), ("elm", "oak")]),
        (["sofa, couch", "couch, sofa"], "sofa", [("sofa", "couch")]),
        (["runs, running, jog"], "run", [("runs", "jog")]),
        ([], "sofa", []),
    ],
)
def test_what_words_also_mean(rules, text, expected):
    assert meant(rules, text) == expected


@pytest.mark.parametrize("rule", ["sofa", "", "sofa,", "=> couch", "a => b => c", "-- => sofa"])
def test_what_is_no_rule_is_refused_by_its_number(rule):
    with pytest.raises(InputError, match="expected rule 2 as 'sofa, couch' or 'nyc => new york'"):
        own("ash, elm", rule)


def test_rules_are_bounded():
    with pytest.raises(InputError, match=f"at most {MOST_SYNONYMS} synonyms of one word"):
        own("word => " + ", ".join(f"other{number}" for number in range(MOST_SYNONYMS + 1)))
    with pytest.raises(InputError, match="at most 10,000 synonym rules, found 10,001"):
        own(*["a, b"] * (MOST_RULES + 1))
    with pytest.raises(InputError, match="characters in rule 1"):
        own("a, " + "b" * 3000)


def test_stop_words_are_kept_as_the_index_has_them():
    assert own(stop_words=["Planets", " the "]).stop_words == {"planet"}
