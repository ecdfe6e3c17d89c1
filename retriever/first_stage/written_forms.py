"""WrittenForms: how the words of an index, which are stems, are written in its documents."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tamis.retriever.types import content_of
from tamis.retriever.words.fields import split_key

if TYPE_CHECKING:
    from tamis.index.collection import Collection
    from tamis.retriever.words.analysis import Analyzer

READ = 2  # documents that are looked into
ALIKE = 2  # letters that a stem and its forms begin with together, if it has so many
LONGEST_READ = 20_000  # characters of each
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class WrittenForms:
    """Looks into a few documents that hold a word."""

    collection: Collection
    analyzer: Analyzer

    def of(self, term: int) -> list[str]:
        """How a word is spelled there, most frequent first; the stem itself where it is in none."""
        assert self.collection.dictionary is not None
        _, stem = split_key(self.collection.dictionary.word(term))
        begins, found = stem[:ALIKE], Counter[str]()
        for text in self.texts_with(term):
            found.update(_beginning_so(self.analyzer.spelled(text), begins))
        written = [(-found[word], word) for word in self._stemmed_so(list(found), stem)]
        return [word for _, word in sorted(written)] or [stem]

    def texts_with(self, term: int) -> list[str]:
        """The beginnings of a few documents that hold a word."""
        fields = self.collection.settings.text_fields
        return [
            content_of(self.collection.document(doc), fields)[:LONGEST_READ]
            for doc in self.collection.index.some_docs_holding(term, READ)
        ]

    def _stemmed_so(self, words: list[str], stem: str) -> list[str]:
        """Those of the words that give a stem; all at once first, as most do not."""
        stems = self.analyzer.stems(words)  # of all words, in one language after the other
        give = {words[at % len(words)] for at, own in enumerate(stems) if own == stem}
        may = [word for word in words if word in give or not (word.isascii() and word.isalpha())]
        return [word for word in may if self._has(word, stem)]

    def _has(self, word: str, stem: str) -> bool:
        return self.analyzer.folded(word).startswith(stem[:ALIKE]) and (
            stem in self.analyzer.words_of(word)
        )


def _beginning_so(text: str, begins: str) -> list[str]:
    """The words of a text that begin so, and all that may once their marks are gone."""
    if text.isascii():
        return re.findall(rf"(?<![^\W_]){re.escape(begins)}[^\W_]*", text)
    words = _WORD.findall(text)
    return [word for word in words if word.startswith(begins) or not word.isascii()]
