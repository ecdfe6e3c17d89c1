"""Synonyms and stop words of a collection's own: what its queries' words also mean.

Nothing of the index depends on them, so they change without building anything again. A rule is a
line, as Solr and Lucene have them::

    sofa, couch, settee           each of these also means the others
    nyc => new york city          the left means the right as well, and not the other way round

Rules are applied once to what was typed, never to what rules have added: so a circle of rules is
none, and ``a => b``, ``b => c`` does not lead from a to c. Words of a rule match as the index has
them, stemmed; several words match side by side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tamis.index.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tamis.index.generations.settings import QueryWords
    from tamis.retriever.words.analysis import Analyzer

    Stems = tuple[str, ...]

MOST_RULES = 10_000
MOST_STOP_WORDS = 10_000
MOST_SYNONYMS = 50  # of one word
LONGEST_RULE = 2_000  # characters
ARROW = "=>"


class Side(NamedTuple):
    """Words of a rule.

    Attributes:
        text: as they stand there.
        stems: as the index has them.
    """

    text: str
    stems: tuple[str, ...]


class Synonym(NamedTuple):
    """What words of a rule are taken to mean too."""

    words: Side
    meaning: Side


@dataclass(frozen=True, slots=True)
class OwnWords:
    """The rules of one collection, its words as the index has them.

    Attributes:
        meanings: by words that stand side by side, what they also mean.
        longest: most words that stand side by side in one.
        stop_words: left out of queries.
    """

    meanings: Mapping[Stems, tuple[Synonym, ...]]
    longest: int
    stop_words: frozenset[str]

    @staticmethod
    def of(words: QueryWords, analyzer: Analyzer) -> OwnWords:
        """Read rules and stop words.

        Raises:
            InputError: a rule is none, there are too many, or a word has too many synonyms.
        """
        _check_at_most("synonym rules", len(words.synonyms), MOST_RULES)
        _check_at_most("stop words", len(words.stop_words), MOST_STOP_WORDS)
        found: dict[Stems, dict[Stems, Synonym]] = {}
        for number, rule in enumerate(words.synonyms, start=1):
            each = (pair for one in analyzer.each for pair in _pairs(rule, number, one))
            for left, right in each:
                meanings = found.setdefault(left.stems, {})
                meanings.setdefault(right.stems, Synonym(left, right))
                if len(meanings) > MOST_SYNONYMS:
                    raise InputError(
                        f"expected at most {MOST_SYNONYMS} synonyms of one word, found more for "
                        f"{left.text!r} in rule {number}; leave the rarer ones out"
                    )
        stop_words = (stem for word in words.stop_words for stem in analyzer.words_of(word.strip()))
        return OwnWords(
            {stems: tuple(meanings.values()) for stems, meanings in found.items()},
            max(map(len, found), default=0),
            frozenset(stop_words),
        )

    def meant_by(self, words: Sequence[str]) -> Iterator[Synonym]:
        """What words of a query, as the index has them, also mean."""
        for at in range(len(words)):
            for stop in range(at + 1, min(at + self.longest, len(words)) + 1):
                yield from self.meanings.get(tuple(words[at:stop]), ())


def _pairs(rule: str, number: int, analyzer: Analyzer) -> Iterator[tuple[Side, Side]]:
    """Each words that a rule is about, with each that they also mean."""
    _check_at_most(f"characters in rule {number}", len(rule), LONGEST_RULE)
    sides = [_side(side, rule, number, analyzer) for side in rule.split(ARROW)]
    if len(sides) > 2 or (len(sides) == 1 and len(sides[0]) < 2):
        raise _no_rule(rule, number)
    for left in sides[0]:
        for right in sides[-1]:
            if left.stems != right.stems:
                yield left, right


def _side(side: str, rule: str, number: int, analyzer: Analyzer) -> list[Side]:
    texts = [" ".join(text.split()) for text in side.split(",")]
    if not all(re.search(r"\w", text) for text in texts):
        raise _no_rule(rule, number)
    return [Side(text, _stems(text, analyzer)) for text in texts]


def _stems(text: str, analyzer: Analyzer) -> Stems:
    """The words of a text; those of stop words too where there are no others."""
    return tuple(analyzer.analyze(text) or analyzer.stems(analyzer.spelled(text).split()))


def _no_rule(rule: str, number: int) -> InputError:
    return InputError(
        f"expected rule {number} as 'sofa, couch' or 'nyc => new york', with words on "
        f"both sides, found {rule[:80]!r}; write it so"
    )


def _check_at_most(what: str, found: int, most: int) -> None:
    if found > most:
        raise InputError(f"expected at most {most:,} {what}, found {found:,}; leave some out")
