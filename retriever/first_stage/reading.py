"""Reading: what a query's text means to one collection. Text in, a `ReadQuery` out.

The words are encoded as those of any text, typing errors corrected first. What quotes and signs ask
for becomes `Constraints`; what a prefix stands for becomes further terms of the query's vector.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from tamis.index.errors import InputError
from tamis.index.interrupts import check_for_interrupts
from tamis.index.segment.alike import distances
from tamis.retriever.first_stage.completion import beginning_so
from tamis.retriever.first_stage.constraints import Constraints, Looked
from tamis.retriever.types import Prefix, Understood
from tamis.retriever.words.fields import TITLE_AND_TEXT, field_key, main_field
from tamis.retriever.words.lexical import idf
from tamis.retriever.words.phrases import AnyWord, phrase_of
from tamis.retriever.words.syntax import Clause, ParsedQuery, looks_used, parse
from tamis.retriever.words.typing_errors import is_known, meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tamis.retriever.first_stage.constraints import Terms
    from tamis.retriever.first_stage.written_forms import WrittenForms
    from tamis.retriever.search_options import Syntax, Typos
    from tamis.retriever.types import Replacement
    from tamis.retriever.words.lexical import LexicalQueries
    from tamis.retriever.words.synonyms import OwnWords

PLAIN_SYNTAX = (
    "quotes, +, - and * were read as plain text, as the syntax is plain; ask with the syntax "
    "operators to have them mean something"
)
NO_WORDS = (
    "quotes, +, - and * were read as plain text: the index has no words to look them up among; "
    "build it with the lexical channel"
)
MOST_CLAUSES = 64  # phrases, signs and prefixes of a query
MOST_LOOKED_UP = 32  # words of a query that no document has
MOST_RANKED = 50  # words of a prefix that documents are ranked by
MOST_HELD = 10_000  # and that decide what a document holds
MANY_ERRORS = (
    f"only the first {MOST_LOOKED_UP} words that no document has were looked at for typing errors"
)
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


@dataclass(slots=True)
class _Told:
    """What is found out of a query while it is read: see `ReadQuery` and `Understood`."""

    corrections: dict[str, Replacement] = field(default_factory=dict)
    also: dict[str, Replacement] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    added: dict[int, float] = field(default_factory=dict)
    looked_up: int = 0


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

    def speaking(self, language: str | None) -> QueryReader:
        """This one for queries of one language, see `Analyzer.speaking`."""
        lexical = self.lexical.speaking(language)
        return self if lexical is self.lexical else replace(self, lexical=lexical)

    def read(self, text: str, syntax: Syntax, typos: Typos) -> ReadQuery:
        """What a text means; ``syntax`` and ``typos`` are those of `SearchOptions`.

        Raises:
            InputError: more than `MOST_CLAUSES` operators.
        """
        own, fields = self.lexical.own, self.fields
        if syntax == "plain" and typos == "off" and own is None and not looks_used(text, fields):
            return ReadQuery(text)
        parsed, told = parse(text, fields) if syntax == "operators" else _plain(text), _Told()
        _check_clauses(parsed)
        if typos == "auto":
            self._unhyphenated(parsed.clauses, told)
            clauses = tuple(self._corrected(one, told) for one in parsed.clauses)
            parsed = replace(parsed, clauses=clauses)
        ranked = parsed.text if told.corrections or not parsed.is_plain else text
        prefixes = self._prefixes(parsed, told)
        if own is not None:
            self._means_too(own, ranked, told)
        notes = (PLAIN_SYNTAX,) if syntax == "plain" and looks_used(text, fields) else parsed.notes
        notes += (MANY_ERRORS,) if told.looked_up > MOST_LOOKED_UP else ()
        understood = None
        if notes or told.also or told.left_out or not parsed.is_plain:
            left_out = tuple(told.left_out)
            also = tuple(told.also.values())
            understood = _understood(parsed, ranked, prefixes, also, left_out, notes)
        constraints, corrections = self._constraints(parsed), tuple(told.corrections.values())
        return ReadQuery(ranked, constraints, told.added, understood, corrections)

    def constraints_of(self, text: str) -> Constraints:
        """What quotes and signs of a text ask for, which was read as one with operators before."""
        return self._constraints(parse(text, self.fields))

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the searched fields; none where title and text are one."""
        return tuple(one.name for one in self.lexical.analyzer.config.fields)

    def _key(self, field: str) -> str:
        """How the terms of a field's words begin; as words do for all fields, or the main one."""
        main = main_field(self.lexical.analyzer.config.fields)
        return "" if field in ("", main) else field_key(field, "")

    def _means_too(self, own: OwnWords, text: str, told: _Told) -> None:
        """Add what words of the query also mean by the collection's own rules."""
        words = self.lexical.analyzer.analyze_query(text)
        if self.lexical.words_of(text) != words:
            told.left_out += [word for word in dict.fromkeys(words) if word in own.stop_words]
        for words_of_rule, meaning in own.meant_by(words):
            weights = self._weights(meaning.stems)
            most = max(self._weights(words_of_rule.stems).values(), default=inf)
            for term, weight in weights.items():
                worth = min(weight, most) / len(meaning.stems)
                told.added[term] = max(worth, told.added.get(term, 0.0))
            told.also[meaning.text] = {"from": words_of_rule.text, "to": meaning.text}

    def _corrected(self, clause: Clause, told: _Told) -> Clause:
        """The clause with its typing errors corrected, which are written down."""
        if clause.kind != "word" or clause.sign or not _PLAIN_WORD.fullmatch(clause.text):
            return clause
        if (found := _HYPHENATED.fullmatch(clause.text)) is not None and found[1] in told.also:
            return clause
        text = _LETTERS.sub(lambda word: self._meant(word[0], clause.field, told), clause.text)
        return clause if text == clause.text else replace(clause, text=text)

    def _meant(self, word: str, field: str, told: _Told) -> str:
        """A word, or what it is an error of; in a field, among the words of that field."""
        analyzer, dictionary, key = self.lexical.analyzer, self.lexical.dictionary, self._key(field)
        if is_known(word, analyzer, dictionary, key) or (not field and self._is_meant(word)):
            return word
        check_for_interrupts()
        told.looked_up += 1
        if told.looked_up > MOST_LOOKED_UP:
            return word
        found = meant(analyzer.spelled(word), analyzer, dictionary, key)
        if not found or (field and isinstance(found, str)):
            return word
        written = found if isinstance(found, str) else self._closest(analyzer.spelled(word), found)
        of = f"{field}:" if field else ""
        told.corrections[of + word] = {"from": of + word, "to": of + written}
        return written

    def _is_meant(self, word: str) -> bool:
        """Whether a word that no document has is none the less no error."""
        own = self.lexical.own
        return self.knows(word) or (
            own is not None and self.lexical.analyzer.words_of(word) in own.meanings
        )

    def _closest(self, word: str, terms: Iterable[int]) -> str:
        """Of the ways terms are written, the one nearest to a word; the first of equal ones."""
        written = [one for term in terms for one in self.forms.of(term)]
        return written[int(distances(word, written).argmin())] if len(written) > 1 else written[0]

    def _unhyphenated(self, clauses: Iterable[Clause], told: _Told) -> None:
        """Add words that a hyphen divides as one where documents have it: ``e-mail``, ``email``."""
        for clause in clauses:
            found = None if clause.is_operator else _HYPHENATED.fullmatch(clause.text)
            if found is None:
                continue
            joined = found[1].replace("-", "")
            weights = self._weights(self.lexical.analyzer.words_of(joined))
            if weights:
                told.also[found[1]] = {"from": found[1], "to": joined}
                told.added |= weights

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

    def _prefixes(self, parsed: ParsedQuery, told: _Told) -> tuple[Prefix, ...]:
        """Add what prefixes stand for. All words of one weigh as one in all their documents."""
        found = []
        for clause in parsed.clauses:
            if clause.kind != "prefix":
                continue
            terms = beginning_so(clause.text, self.lexical, self.forms, self._key(clause.field))
            ranked = terms[:MOST_RANKED] if clause.sign != "-" else terms[:0]
            found.append(Prefix(clause.spelled[:-1], terms.size, ranked.size))
            documents = int(self.lexical.dictionary.document_frequency(ranked).sum())
            documents = min(documents, self.lexical.documents)
            weight = float(idf(np.array([documents]), self.lexical.documents)[0])
            told.added |= dict.fromkeys(ranked.tolist(), weight)
        return tuple(found)

    def _constraints(self, parsed: ParsedQuery) -> Constraints:
        must: list[Terms] = []
        must_not: list[Terms] = []
        phrases: list[Looked] = []
        not_phrases: list[Looked] = []
        for clause in parsed.clauses:
            if clause.kind != "phrase" and not (clause.sign or clause.field):
                continue
            lists, looked = self._asked(clause)
            if clause.sign != "-":
                must += lists
                phrases += looked
            elif looked:
                not_phrases += looked
            else:
                must_not += lists
        return Constraints(tuple(must), tuple(must_not), tuple(phrases), tuple(not_phrases))

    def _asked(self, clause: Clause) -> tuple[list[Terms], list[Looked]]:
        """The terms of which a document holds one each, and what is looked up in its fields."""
        lexical, key = self.lexical, self._key(clause.field)
        fields = (clause.field,) if clause.field else self.fields or TITLE_AND_TEXT
        if clause.kind == "prefix":
            held = beginning_so(clause.text, lexical, self.forms, key)[:MOST_HELD].astype(np.int32)
        elif (words := _single_word(clause, lexical)) is not None:
            held = _terms(words, lexical, key)
        else:
            phrase = phrase_of(clause.text, lexical.analyzer)
            lists = [_terms(any_of, lexical, key) for any_of in phrase.index_words]
            return lists, [Looked(phrase, fields)]
        if not clause.field or key:
            return [held], []
        any_word = AnyWord(map(lexical.dictionary.word, held.tolist()), lexical.analyzer)
        return [held], [Looked(any_word, fields)]  # words of the main field are not stored apart


def read_as_text(text: str) -> ReadQuery:
    """What a text means to a collection without words: nothing but text."""
    if not looks_used(text):
        return ReadQuery(text)
    return ReadQuery(text, understood=Understood(text, notes=(NO_WORDS,)))


def _check_clauses(parsed: ParsedQuery) -> None:
    operators = sum(clause.is_operator for clause in parsed.clauses)
    if operators > MOST_CLAUSES:
        raise InputError(
            f"expected at most {MOST_CLAUSES} phrases, signs and prefixes in a query, found "
            f"{operators}; ask for fewer"
        )


def _plain(text: str) -> ParsedQuery:
    return ParsedQuery(tuple(Clause("", "word", word) for word in text.split()))


def _understood(
    parsed: ParsedQuery,
    text: str,
    prefixes: tuple[Prefix, ...],
    also: tuple[Replacement, ...],
    left_out: tuple[str, ...],
    notes: tuple[str, ...],
) -> Understood:
    must = (one for one in parsed.clauses if one.sign == "+" or (one.field and not one.sign))
    must_not = (one for one in parsed.clauses if one.sign == "-")
    phrases = (
        one.text
        for one in parsed.clauses
        if one.kind == "phrase" and one.sign != "-" and not one.field
    )
    return Understood(
        text,
        tuple(phrases),
        tuple(one.spelled for one in must),
        tuple(one.spelled for one in must_not),
        prefixes,
        also,
        left_out,
        notes,
    )


def _single_word(clause: Clause, lexical: LexicalQueries) -> list[str] | None:
    """The word of the index that a word asks for; None where it is looked up in the texts.

    The index leaves stop words out, and has several words for a code.
    """
    if clause.kind == "phrase":
        return None
    words = lexical.analyzer.analyze(clause.text)
    is_one = len(words) == 1 == len(phrase_of(clause.text, lexical.analyzer).words)
    return words if is_one else None


def _terms(words: Iterable[str], lexical: LexicalQueries, key: str = "") -> Terms:
    """The terms of words, without those that no document has; with a ``key``, in its field."""
    found = lexical.dictionary.lookup_many([key + word for word in words])
    return np.asarray(found[found >= 0], np.int32)
