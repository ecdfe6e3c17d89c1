"""Phrases: whether words stand in a text just so, one after the other.

Words are compared as they are written, not as stems, and with those that an index leaves out
(``the who``). Case does not count, nor do marks where the stemmer does not see them, nor what
stands between two words: ``New-York`` holds ``new york``, ``COVID19`` holds ``covid 19``. Scripts
without spaces have no bounds of words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from tamis.retriever.words.characters import marks

if TYPE_CHECKING:
    from tamis.retriever.words.analysis import Analyzer

KEPT_PHRASES = 1 << 10
_BETWEEN = r"(?:[\W_](?<![{marks}]))*"


class Phrase:
    """Words in order.

    Attributes:
        text: as it was asked for.
        words: it has, as they are spelled.
        index_words: of the index; every text with the phrase holds one of each. There may be none.
    """

    def __init__(self, text: str, analyzer: Analyzer) -> None:
        self.text = text
        self.words = tuple(_words().findall(analyzer.spelled(text)))
        self._analyzer = analyzer
        between = rf"(?:[\W_](?<![{marks()}]))*"
        ways = [between.join(_bounded(word, analyzer.unspaced) for word in self.words)]
        each = {word: analyzer.sure_words(word) for word in self.words}
        if _is_code(self.words):
            code = "".join(self.words)
            ways.append(_bounded(code, analyzer.unspaced))
            each = {word: (*found, code) for word, found in each.items() if found}
            self.index_words = tuple(each.values())
        else:
            self.index_words = tuple((word,) for found in each.values() for word in found)
        self._pattern = re.compile("|".join(ways))

    def stands_in(self, text: str) -> bool:
        """Whether a text holds it."""
        spelled = self._analyzer.spelled(text)
        return all(word in spelled for word in self.words) and (
            self._pattern.search(spelled) is not None
        )


@lru_cache(KEPT_PHRASES)
def phrase_of(text: str, analyzer: Analyzer) -> Phrase:
    """The phrase of a text; the same one for the same text."""
    return Phrase(text, analyzer)


@lru_cache(1)
def _words() -> re.Pattern[str]:
    return re.compile(rf"(?:[^\W_]+[{marks()}]*)+")


def _bounded(word: str, unspaced: str) -> str:
    """The pattern of a whole word; letters of scripts without spaces bound any word.

    It begins with the word itself, which a regular expression finds fastest.
    """
    literal = re.escape(word)
    begins = rf"(?:(?<![^\W_]{literal})|(?<=[{unspaced}]{literal}))"
    ends = rf"(?![{marks()}])(?:(?![^\W_])|(?=[{unspaced}]))"
    bound = f"[{unspaced}]"
    return (
        literal
        + ("" if re.match(bound, word) else begins)
        + ("" if re.match(bound, word[-1]) else ends)
    )


def _is_code(words: tuple[str, ...]) -> bool:
    """Whether they are letters and digits that are joined as often: ``covid 19``, ``covid19``."""
    return len(words) == 2 and any(
        one.isalpha() and other.isdigit() for one, other in (words, words[::-1])
    )
