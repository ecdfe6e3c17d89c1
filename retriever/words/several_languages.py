"""Words of a collection whose documents are in several languages.

Each document is analysed in its own language: the one that its field names, or that is found. A
query is of all of them: each of its words stands for its stems in every language, once each, since
a document holds that of its own. What is a function word in one language may tell something in
another (``war``, ``die``), and is rare there, so that it would weigh much. A query with two
function words of a language, and more than of any other, is taken to be in it, and leaves them
out; any other query leaves out what is a function word in any language, where words are left.
A query whose language is given is analysed in that language alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from tamis.index.segment.values import value_in
from tamis.retriever.words.analysis import Analyzer, LexicalConfig
from tamis.retriever.words.finding_languages import LanguageFinder
from tamis.retriever.words.language_names import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LEAST_FUNCTION_WORDS = 2  # of a query, by which its language is told


def analyzer_of(config: LexicalConfig) -> Analyzer:
    """What analyses documents and queries of a collection."""
    return SeveralLanguages(config) if config.languages else Analyzer(config)


class SeveralLanguages(Analyzer):
    """Analyses each document in its language, and queries in all of them.

    Attributes:
        own: the analyser of each language.
    """

    def __init__(self, config: LexicalConfig) -> None:
        super().__init__(replace(config, languages=(), language_field=None))
        self.config = config
        self.own = {
            name: Analyzer(replace(config, language=name, languages=(), language_field=None))
            for name in (config.language, *config.languages)
        }
        self._elided = frozenset().union(*(one.elided for one in self.own.values()))
        self._unknown: Counter[str] = Counter()

    @property
    def words_cut(self) -> int:
        """Words that were too long, in any language."""
        return sum(one.words_cut for one in self.own.values())

    def for_records(
        self, records: Sequence[Mapping[str, Any]], contents: Sequence[str]
    ) -> Iterable[Analyzer]:
        """The analyser of each document's language."""
        field = self.config.language_field
        if field is None:
            return [self.own[self._finder.language_of(text)] for text in contents]
        return [self._named(value_in(record, field)) for record in records]

    @property
    def each(self) -> tuple[Analyzer, ...]:
        """This one, and that of each language."""
        return (self, *self.own.values())

    @property
    def alone(self) -> tuple[Analyzer, ...]:
        """The analyser of each language."""
        return tuple(self.own.values())

    def take_unknown_languages(self) -> Counter[str]:
        """Languages that documents have named since the last call and the collection has not."""
        found, self._unknown = self._unknown, Counter()
        return found

    def analyze(self, text: str) -> list[str]:
        """The stems of each word in every language, one word after the other."""
        return [word for words, _ in self._all(text) for word in words]

    def analyze_query(self, text: str) -> list[str]:
        """As `analyze`, without the function words of the language that a query shows, or any."""
        found = self._all(text)
        spoken = _told_by(Counter(chain.from_iterable(without for _, without in found)))
        told = {spoken} if spoken is not None else set(self.own)
        kept = [word for words, without in found if not told & without for word in words]
        return kept or self.analyze(text)

    def words_of(self, chunk: str) -> tuple[str, ...]:
        """The stems of a chunk in every language, each once."""
        each = (one.words_of(part) for one in self.own.values() for part in one.chunks(chunk))
        return tuple(dict.fromkeys(chain.from_iterable(each)))

    def stems(self, words: Sequence[str]) -> list[str]:
        """All words' stems in the first language, then in the next."""
        return [stem for one in self.own.values() for stem in one.stems(words)]

    def folded(self, word: str) -> str:
        """Without marks where a language drops them."""
        for one in self.own.values():
            word = one.folded(word)
        return word

    def spelled(self, text: str) -> str:
        """As the first language spells it where all do alike, else with its marks."""
        spelled = {one.spelled(text) for one in self.own.values()}
        return max(spelled, key=lambda one: (not one.isascii(), one))

    @cached_property
    def _finder(self) -> LanguageFinder:
        return LanguageFinder(tuple(self.own))

    def _named(self, value: object) -> Analyzer:
        name = value.strip().lower() if isinstance(value, str) else ""
        name = CODES.get(name.replace("_", "-").partition("-")[0], name)
        if name not in self.own:
            self._unknown[name or "none"] += 1
        return self.own.get(name, self.own[self.config.language])

    def _all(self, text: str) -> list[tuple[tuple[str, ...], frozenset[str]]]:
        """Each chunk's stems in every language, and the languages that leave it out."""
        found = []
        for chunk in self.chunks(text):
            of_each = {name: self._in_query(one, chunk) for name, one in self.own.items()}
            stems = dict.fromkeys(chain.from_iterable(of_each.values()))
            without = frozenset(name for name, words in of_each.items() if not words)
            found.append((tuple(stems), without))
        return found

    @staticmethod
    def _in_query(analyzer: Analyzer, chunk: str) -> list[str]:
        """The words of a chunk for one language; none where it only asks."""
        words, asks = analyzer.of_query(chunk)
        return [] if asks else list(words)


def _told_by(left_out: Counter[str]) -> str | None:
    """The language that leaves out most words of a query; None where that is not told."""
    ranked = left_out.most_common(2)
    if not ranked or ranked[0][1] < LEAST_FUNCTION_WORDS:
        return None
    is_tie = len(ranked) > 1 and ranked[1][1] == ranked[0][1]
    return None if is_tie else ranked[0][0]
