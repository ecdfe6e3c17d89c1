"""Phrases against words side by side, and what of an index every text with a phrase holds."""

import random
import re

import pytest

from tamis.retriever.words.analysis import Analyzer, LexicalConfig
from tamis.retriever.words.phrases import Phrase

ENGLISH = Analyzer(LexicalConfig())
TEXT = "The quick New-York café's guide to the Who in COVID19, 3.14 and 東京大学 abc東京 tower"


@pytest.mark.parametrize(
    ("phrase", "stands"),
    [
        ("new york", True),
        ("New  YORK", True),
        ("york new", False),
        ("ew york", False),
        ("new yor", False),
        ("quick york", False),
        ("the who", True),
        ("who the", False),
        ("york cafe", True),
        ("café s guide", True),
        ("covid 19", True),
        ("covid-19", True),
        ("ovid 19", False),
        ("3 14", True),
        ("東京", True),
        ("京大", True),
        ("大東", False),
        ("abc", True),
    ],
)
def test_a_phrase_is_whole_words_in_order(phrase, stands):
    assert Phrase(phrase, ENGLISH).stands_in(TEXT) == stands


def test_a_phrase_is_what_a_search_word_by_word_finds():
    draw = random.Random(5)
    words = ["a", "ab", "abc", "the", "b", "x1", "running"]
    for _ in range(2_000):
        text = "".join(draw.choice(words) + draw.choice([" ", ", ", "-", "_"]) for _ in range(9))
        phrase = [draw.choice(words) for _ in range(draw.randrange(1, 4))]
        held = re.split("[^a-z0-9]+", text)
        found = any(held[at : at + len(phrase)] == phrase for at in range(len(held)))
        assert Phrase(" ".join(phrase), ENGLISH).stands_in(text) == found, (phrase, text)


@pytest.mark.parametrize("language", ["english", "french", "turkish", "none", "bigrams"])
def test_every_text_with_a_phrase_holds_a_word_of_each_of_its_index_words(language):
    analyzer, draw = Analyzer(LexicalConfig(language)), random.Random(7)
    words = ["l'avion", "New-York", "covid-19", "İstanbul", "cafés", "東京大学", "대학교", "the"]
    words += ["driver's", "1,000", "AC-528", "x86_64", "3.14", "D", "naïve", "états", "หนังสือ", "i"]
    for _ in range(300):
        text = [draw.choice(words) for _ in range(6)]
        start = draw.randrange(5)
        phrase = Phrase(" ".join(text[start : start + 2]), analyzer)
        assert phrase.stands_in(" ".join(text)), phrase.text
        held = set(analyzer.analyze(" ".join(text)))
        assert all(held & set(any_of) for any_of in phrase.index_words), (phrase.text, held)
