"""Reading: what a query's text means to one collection. Text in, a `ReadQuery` out.

The words are encoded as those of any text, typing errors corrected first. What quotes and signs ask
for becomes `Constraints`; what a prefix stands for becomes further terms of the query's vector.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.segment.alike import distances
from tamis.retriever.first_stage.completion import beginning_so
from tamis.retriever.first_stage.constraints import Constraints
from tamis.retriever.types import Prefix, Understood
from tamis.retriever.words.lexical import idf
from tamis.retriever.words.phrases import Phrase, phrase_of
from tamis.retriever.words.syntax import Clause, ParsedQuery, looks_used, parse
from tamis.retriever.words.typing_errors import is_known, meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tamis.retriever.first_stage.constraints import Terms
    from tamis.retriever.first_stage.written_forms import WrittenForms
    from tamis.retriever.search_options import Syntax, Typos
    from tamis.retriever.types import Replacement
    from tamis.retriever.words.lexical import LexicalQueries

PLAIN_SYNTAX = (
    "quotes, +, - and * were read as plain text, as the syntax is plain; ask with the syntax "
    "operators to have them mean something"
)
NO_WORDS = (
    "quotes, +, - and * were read as plain text: the index has no words to look them up among; "
    "build it with the lexical channel"
)
MOST_RANKED = 50  # words of a prefix that documents are ranked by
MOST_HELD = 10_000  # and that decide what a document holds
_LETTERS = re.compile(r"[^\W\d_]+")
_PLAIN_WORD = re.compile(r"\W*[^\W\d_]+(?:['\u2019-][^\W\d_]+)*\W*")
_HYPHENATED = re.compile(r"\W*([^\W\d_]+(?:-[^\W\d_]+)+)\W*")


@dataclass(frozen=True, slots=True, eq=False)
class ReadQuery:
    """What a query asks for.

    Attributes:
        text: what documents are ranked by; empty for a query of weights.
        constraints: what documents must hold.
        added: terms that documents are ranked by too, and their weights as words.
        understood: what is told of it; None for words alone.
        corrections: what was taken for typing errors.
    """

    text: str = ""
    constraints: Constraints = Constraints()  # noqa: RUF009  frozen
    added: Mapping[int, float] = field(default_factory=dict)
    understood: Understood | None = None
    corrections: tuple[Replacement, ...] = ()


@dataclass(frozen=True, slots=True)
class QueryReader:
    """Reads queries of one collection.

    Attributes:
        lexical: its words.
        forms: how they are written.
        knows: whether the encoder knows a word that no document has: no typing error then.
    """

    lexical: LexicalQueries
    forms: WrittenForms
    knows: Callable[[str], bool]

    def read(self, text: str, syntax: Syntax, typos: Typos) -> ReadQuery:
        """What a text means; ``syntax`` and ``typos`` are those of `SearchOptions`."""
        if syntax == "plain" and typos == "off" and not looks_used(text):
            return ReadQuery(text)
        parsed = parse(text) if syntax == "operators" else _plain(text)
        corrections: dict[str, Replacement] = {}
        also: dict[str, Replacement] = {}
        added: dict[int, float] = {}
        if typos == "auto":
            added |= self._unhyphenated(parsed.clauses, also)
            clauses = tuple(self._corrected(one, corrections, also) for one in parsed.clauses)
            parsed = replace(parsed, clauses=clauses)
        prefixes, ranked = self._prefixes(parsed)
        found = ReadQuery(parsed.text if corrections or not parsed.is_plain else text)
        notes = parsed.notes
        if syntax == "plain" and looks_used(text):
            notes = (PLAIN_SYNTAX,)
        if parsed.is_plain and not (notes or also or corrections):
            return found
        return replace(
            found,
            constraints=self._constraints(parsed),
            added=added | ranked,
            understood=_understood(parsed, found.text, prefixes, tuple(also.values()), notes)
            if notes or also or not parsed.is_plain
            else None,
            corrections=tuple(corrections.values()),
        )

    def _corrected(
        self,
        clause: Clause,
        corrections: dict[str, Replacement],
        also: Mapping[str, Replacement],
    ) -> Clause:
        """The clause with its typing errors corrected, which are written down."""
        if clause.kind != "word" or clause.sign or not _PLAIN_WORD.fullmatch(clause.text):
            return clause
        if (found := _HYPHENATED.fullmatch(clause.text)) is not None and found[1] in also:
            return clause
        text = _LETTERS.sub(lambda word: self._meant(word[0], corrections), clause.text)
        return clause if text == clause.text else replace(clause, text=text)

    def _meant(self, word: str, corrections: dict[str, Replacement]) -> str:
        analyzer, dictionary = self.lexical.analyzer, self.lexical.dictionary
        if is_known(word, analyzer, dictionary) or self.knows(word):
            return word
        found = meant(analyzer.spelled(word), analyzer, dictionary)
        if not found:
            return word
        written = found if isinstance(found, str) else self._closest(analyzer.spelled(word), found)
        corrections[word] = {"from": word, "to": written}
        return written

    def _closest(self, word: str, terms: Iterable[int]) -> str:
        """Of the ways terms are written, the one nearest to a word; the first of equal ones."""
        written = [one for term in terms for one in self.forms.of(term)]
        return written[int(distances(word, written, len(word)).argmin())]

    def _unhyphenated(
        self, clauses: Iterable[Clause], also: dict[str, Replacement]
    ) -> dict[int, float]:
        """Words that a hyphen divides, written as one where documents do: ``e-mail``, ``email``."""
        added: dict[int, float] = {}
        for clause in clauses:
            found = _HYPHENATED.fullmatch(clause.text) if clause.kind == "word" else None
            if found is None or clause.sign:
                continue
            joined = found[1].replace("-", "")
            weights = self._weights(self.lexical.analyzer.words_of(joined))
            if weights:
                also[found[1]] = {"from": found[1], "to": joined}
                added |= weights
        return added

    def _weights(self, words: Iterable[str]) -> dict[int, float]:
        """The terms of words that documents have, with the weights they have in a query."""
        terms = _terms(words, self.lexical)
        counts = self.lexical.dictionary.document_frequency(terms)
        weights = idf(counts, self.lexical.documents)
        return {
            int(term): float(weight)
            for term, weight, count in zip(terms, weights, counts, strict=True)
            if count
        }

    def _prefixes(self, parsed: ParsedQuery) -> tuple[tuple[Prefix, ...], dict[int, float]]:
        """What prefixes stand for. All words of one weigh as one word in all their documents."""
        told, added = [], dict[int, float]()
        for clause in parsed.clauses:
            if clause.kind != "prefix":
                continue
            terms = beginning_so(clause.text, self.lexical, self.forms)
            ranked = terms[:MOST_RANKED] if clause.sign != "-" else terms[:0]
            told.append(Prefix(clause.text, terms.size, ranked.size))
            documents = int(self.lexical.dictionary.document_frequency(ranked).sum())
            documents = min(documents, self.lexical.documents)
            weight = float(idf(np.array([documents]), self.lexical.documents)[0])
            added |= dict.fromkeys(ranked.tolist(), weight)
        return tuple(told), added

    def _constraints(self, parsed: ParsedQuery) -> Constraints:
        lexical = self.lexical
        must: list[Terms] = []
        must_not: list[Terms] = []
        phrases: list[Phrase] = []
        not_phrases: list[Phrase] = []
        for clause in parsed.clauses:
            if clause.kind != "phrase" and not clause.sign:
                continue
            if clause.kind == "prefix":
                held = beginning_so(clause.text, lexical, self.forms)[:MOST_HELD]
                (must_not if clause.sign == "-" else must).append(held.astype(np.int32))
                continue
            words = _single_word(clause, lexical)
            if words is None:
                phrase = phrase_of(clause.text, lexical.analyzer)
                if clause.sign == "-":
                    not_phrases.append(phrase)
                else:
                    phrases.append(phrase)
                    must += [_terms(any_of, lexical) for any_of in phrase.index_words]
            else:
                (must_not if clause.sign == "-" else must).append(_terms(words, lexical))
        return Constraints(tuple(must), tuple(must_not), tuple(phrases), tuple(not_phrases))


def read_as_text(text: str) -> ReadQuery:
    """What a text means to a collection without words: nothing but text."""
    if not looks_used(text):
        return ReadQuery(text)
    return ReadQuery(text, understood=Understood(text, notes=(NO_WORDS,)))


def _plain(text: str) -> ParsedQuery:
    return ParsedQuery(tuple(Clause("", "word", word) for word in text.split()))


def _understood(
    parsed: ParsedQuery,
    text: str,
    prefixes: tuple[Prefix, ...],
    also: tuple[Replacement, ...],
    notes: tuple[str, ...],
) -> Understood:
    def signed(sign: str) -> tuple[str, ...]:
        return tuple(clause.spelled for clause in parsed.clauses if clause.sign == sign)

    phrases = (one.text for one in parsed.clauses if one.kind == "phrase" and one.sign != "-")
    return Understood(text, tuple(phrases), signed("+"), signed("-"), prefixes, also, notes)


def _single_word(clause: Clause, lexical: LexicalQueries) -> list[str] | None:
    """The word of the index that a word asks for; None where it is looked up in the texts.

    The index leaves stop words out, and has several words for a code.
    """
    if clause.kind == "phrase":
        return None
    words = lexical.analyzer.analyze(clause.text)
    is_one = len(words) == 1 == len(phrase_of(clause.text, lexical.analyzer).words)
    return words if is_one else None


def _terms(words: Iterable[str], lexical: LexicalQueries) -> Terms:
    """The terms of words, without those that no document has."""
    found = lexical.dictionary.lookup_many(list(words))
    return np.asarray(found[found >= 0], np.int32)
