"""Reading: what a query's text means to one collection. Text in, a `ReadQuery` out.

The words are encoded as those of any text. What quotes and signs ask for becomes `Constraints`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.retriever.first_stage.constraints import Constraints
from tamis.retriever.types import Understood
from tamis.retriever.words.phrases import Phrase, phrase_of
from tamis.retriever.words.syntax import looks_used, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tamis.retriever.first_stage.constraints import Terms
    from tamis.retriever.search_options import Syntax
    from tamis.retriever.words.lexical import LexicalQueries
    from tamis.retriever.words.syntax import Clause, ParsedQuery

PLAIN_SYNTAX = (
    "quotes, +, - and * were read as plain text, as the syntax is plain; ask with the syntax "
    "operators to have them mean something"
)
NO_WORDS = (
    "quotes, +, - and * were read as plain text: the index has no words to look them up among; "
    "build it with the lexical channel"
)


@dataclass(frozen=True, slots=True, eq=False)
class ReadQuery:
    """What a query asks for.

    Attributes:
        text: what documents are ranked by; empty for a query of weights.
        constraints: what documents must hold.
        understood: what is told of it; None for words alone.
    """

    text: str = ""
    constraints: Constraints = Constraints()  # noqa: RUF009  frozen
    understood: Understood | None = None


def read_query(text: str, syntax: Syntax, lexical: LexicalQueries | None) -> ReadQuery:
    """What a text means.

    Args:
        text: of a query.
        syntax: of `SearchOptions`.
        lexical: words of the collection; without them operators are text.
    """
    if syntax == "plain" or lexical is None:
        if not looks_used(text):
            return ReadQuery(text)
        note = PLAIN_SYNTAX if lexical is not None else NO_WORDS
        return ReadQuery(text, understood=Understood(text, notes=(note,)))
    parsed = parse(text)
    if parsed.is_plain:
        return ReadQuery(text)
    return ReadQuery(parsed.text, _constraints(parsed, lexical), _understood(parsed))


def _understood(parsed: ParsedQuery) -> Understood:
    def signed(sign: str) -> tuple[str, ...]:
        return tuple(clause.spelled for clause in parsed.clauses if clause.sign == sign)

    phrases = (one.text for one in parsed.clauses if one.kind == "phrase" and one.sign != "-")
    return Understood(parsed.text, tuple(phrases), signed("+"), signed("-"), parsed.notes)


def _constraints(parsed: ParsedQuery, lexical: LexicalQueries) -> Constraints:
    must: list[Terms] = []
    must_not: list[Terms] = []
    phrases: list[Phrase] = []
    not_phrases: list[Phrase] = []
    for clause in parsed.clauses:
        if clause.kind == "word" and not clause.sign:
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
