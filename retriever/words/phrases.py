"""Phrases: whether words stand in a text just so, one after the other.

Words are compared as they are written, not as stems, and with those that an index leaves out
(``the who``). Case does not count, nor do marks where the stemmer does not see them, nor what
stands between two words: ``New-York`` holds ``new york``, ``COVID19`` holds ``covid 19``. Scripts
without spaces have no bounds of words.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from tamis.retriever.words.analysis import either
from tamis.retriever.words.characters import marks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.retriever.words.analysis import Analyzer

KEPT_PHRASES = 1 << 10


class Phrase:
    """Words in order; of several languages, as one of them spells them and the text.

    Attributes:
        text: as it was asked for.
        words: it has, as they are spelled.
        index_words: of the index; every text with the phrase holds one of each. There may be none.
    """

    def __init__(self, text: str, analyzer: Analyzer) -> None:
        self.text = text
        self._spelled = [_Spelled(text, one) for one in analyzer.alone]
        self.words = self._spelled[0].words
        sure = zip(*(one.sure for one in self._spelled), strict=True)
        each = [either(of_word) for of_word in sure]
        self.index_words = tuple(dict.fromkeys(chain.from_iterable(each)))
        if _is_code(self.words):
            code = "".join(self.words)
            self.index_words = tuple((*chain.from_iterable(of), code) for of in each if of)

    def stands_in(self, text: str) -> bool:
        """Whether a text holds it."""
        return any(one.stands_in(text) for one in self._spelled)


class _Spelled:
    """A phrase as one language spells it."""

    def __init__(self, text: str, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self.words = tuple(_words().findall(analyzer.spelled(text)))
        self.sure = [analyzer.sure_words(word) for word in self.words]
        self._ways: list[tuple[str, ...]] = [self.words]
        if _is_code(self.words):
            self._ways.append(("".join(self.words),))

    def stands_in(self, text: str) -> bool:
        spelled = self._analyzer.spelled(text)
        return any(self._stands(words, spelled) for words in self._ways)

    def _stands(self, words: tuple[str, ...], spelled: str) -> bool:
        if not all(word in spelled for word in words):
            return False
        at = spelled.find(words[0])
        while at >= 0 and not self._stands_at(words, spelled, at):
            at = spelled.find(words[0], at + 1)
        return at >= 0

    def _stands_at(self, words: tuple[str, ...], spelled: str, at: int) -> bool:
        """Whether the words stand one after the other from a place on, each of them whole."""
        for word in words:
            while at < len(spelled) and _is_joint(spelled[at]):
                at += 1
            if not spelled.startswith(word, at) or self._goes_on(spelled, at):
                return False
            at += len(word)
            if self._goes_on(spelled, at) or (
                at < len(spelled) and _is_mark(spelled[at]) and not self._is_unspaced(word[-1])
            ):
                return False
        return True

    def _goes_on(self, spelled: str, at: int) -> bool:
        """Whether one word has the characters on both sides of a place."""
        sides = spelled[max(at - 1, 0) : at + 1]
        return (
            0 < at < len(spelled)
            and (sides[0].isalnum() or _is_mark(sides[0]))
            and sides[1].isalnum()
            and not any(map(self._is_unspaced, sides))
        )

    def _is_unspaced(self, character: str) -> bool:
        return not character.isascii() and self._analyzer.is_unspaced(character)


class AnyWord:
    """Words of an index of which a text holds one."""

    def __init__(self, words: Iterable[str], analyzer: Analyzer) -> None:
        self._words, self._analyzer = frozenset(words), analyzer

    def stands_in(self, text: str) -> bool:
        """Whether a text holds one."""
        return not self._words.isdisjoint(self._analyzer.analyze(text))


@lru_cache(KEPT_PHRASES)
def phrase_of(text: str, analyzer: Analyzer) -> Phrase:
    """The phrase of a text; the same one for the same text."""
    return Phrase(text, analyzer)


@lru_cache(1)
def _words() -> re.Pattern[str]:
    return re.compile(rf"(?:[^\W_]+[{marks()}]*)+")


def _is_mark(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] == "M"


def _is_joint(character: str) -> bool:
    return not character.isalnum() and not _is_mark(character)


def _is_code(words: tuple[str, ...]) -> bool:
    """Whether they are letters and digits that are joined as often: ``covid 19``, ``covid19``."""
    return len(words) == 2 and any(
        one.isalpha() and other.isdigit() for one, other in (words, words[::-1])
    )
