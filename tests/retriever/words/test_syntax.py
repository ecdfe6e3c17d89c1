"""What operators mean, worked out by hand."""

import pytest

from tamis.retriever.words.syntax import EMPTY, ONLY_EXCLUDED, UNCLOSED, looks_used, parse


def spelled(query):
    return [clause.sign + clause.spelled for clause in parse(query).clauses]


@pytest.mark.parametrize(
    ("query", "clauses", "text"),
    [
        ("owls hunt", ["owls", "hunt"], "owls hunt"),
        ('"new york" hotels', ['"new york"', "hotels"], "new york hotels"),
        ('"new   york', ['"new', "york"], '"new york'),
        ("“new york”", ['"new york"'], "new york"),
        ("hotels -cheap +pool", ["hotels", "-cheap", "+pool"], "hotels pool"),
        ('-"new york" hotels', ['-"new york"', "hotels"], "hotels"),
        ("jack* river", ["jack*", "river"], "river"),
        ("+jack* -jac*", ["+jack*", "-jac*"], ""),
        ("covid-19 C++ state-of-the-art", ["covid-19", "C++", "state-of-the-art"], None),
        ("a - b + c -- --d", ["a", "-", "b", "+", "c", "--", "--d"], None),
        ("**bold** * a*b", ["**bold**", "*", "a*b"], None),
        ("+Éclair -東京", ["+Éclair", "-東京"], "Éclair"),
    ],
)
def test_a_query_is_read_as_people_mean_it(query, clauses, text):
    assert spelled(query) == clauses
    assert parse(query).text == (query if text is None else text)


@pytest.mark.parametrize(
    ("query", "notes"),
    [
        ('5" nails', []),
        ('the "unclosed', [UNCLOSED]),
        ('"" owls "--"', [EMPTY]),
        ('-cheap -"new york"', [ONLY_EXCLUDED]),
    ],
)
def test_what_is_no_operator_after_all_is_told(query, notes):
    assert list(parse(query).notes) == notes


@pytest.mark.parametrize("query", ["owls hunt", "covid-19", "C++", "a - b", "x*y", "rock 'n' roll"])
def test_plain_words_look_like_no_operators(query):
    assert not looks_used(query)
    assert parse(query).is_plain


@pytest.mark.parametrize("query", ['"new york"', "-cheap", "x +y", "jack*", 'an "open quote'])
def test_operators_look_used(query):
    assert looks_used(query)
