"""Syntax: what quotes, ``+``, ``-`` and ``*`` mean in a query's text. Knows no index.

- ``"new york"``: the words stand in a document just so, one after the other;
- ``+word``, ``-word``: a document holds the word, or must not; either stands before quotes too;
- ``jack*``: all words that begin so.

A sign counts at the beginning of a word alone, so that ``covid-19`` and ``C++`` are plain words. A
query is what people type: what is no operator after all is text, and a note says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Sign = Literal["", "+", "-"]
Kind = Literal["word", "phrase", "prefix"]

_TOKEN = re.compile(r'(?P<sign>[+-]?)(?:"(?P<straight>[^"]*)"|“(?P<curly>[^”]*)”)|(?P<word>\S+)')
_SIGNED = re.compile(r"(?P<sign>[+-])(?P<rest>\w.*)")
_PREFIX = re.compile(r"\w+\*")
_OPENED = re.compile(r'[+-]?["“]')
_MARKED = re.compile(r'["“*]|(?:^|\s)[+-]\w')
UNCLOSED = "a quote that is not closed is read as text: close it to ask for the words in order"
EMPTY = "quotes without a word between them are left out: put words there"
ONLY_EXCLUDED = "there is nothing to rank by: add words that documents should hold"


@dataclass(frozen=True, slots=True)
class Clause:
    """One word, phrase or prefix of a query.

    Attributes:
        sign: ``+`` must hold, ``-`` must not, none may.
        kind: what it is; a phrase must hold, whatever its sign.
        text: its words, without the operators.
    """

    sign: Sign
    kind: Kind
    text: str

    @property
    def spelled(self) -> str:
        """As it is typed, without the sign."""
        return {"word": self.text, "phrase": f'"{self.text}"', "prefix": f"{self.text}*"}[self.kind]


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query's clauses in their order, and what was no operator after all."""

    clauses: tuple[Clause, ...]
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What documents are ranked by: all words but those that they must not hold."""
        return " ".join(
            clause.text for clause in self.clauses if clause.sign != "-" and clause.kind != "prefix"
        )

    @property
    def is_plain(self) -> bool:
        """Whether it is words alone."""
        return not self.notes and all(
            clause.kind == "word" and not clause.sign for clause in self.clauses
        )


def parse(text: str) -> ParsedQuery:
    """The clauses of a query."""
    clauses: list[Clause] = []
    notes: dict[str, None] = {}  # each once, in order
    for token in _TOKEN.finditer(text):
        clause = _phrase(token) if token["word"] is None else _word(token["word"])
        if not re.search(r"\w", clause.text) and clause.kind == "phrase":
            notes[EMPTY] = None
            continue
        if clause.kind == "word" and _OPENED.match(clause.text):
            notes[UNCLOSED] = None
        clauses.append(clause)
    if clauses and all(clause.sign == "-" for clause in clauses):
        notes[ONLY_EXCLUDED] = None
    return ParsedQuery(tuple(clauses), tuple(notes))


def looks_used(text: str) -> bool:
    """Whether a text would mean something else with operators than without."""
    return _MARKED.search(text) is not None and not parse(text).is_plain


def _phrase(token: re.Match[str]) -> Clause:
    inside = token["straight"] if token["straight"] is not None else token["curly"]
    return Clause(_sign(token["sign"]), "phrase", " ".join(inside.split()))


def _word(word: str) -> Clause:
    signed = _SIGNED.fullmatch(word)
    sign, rest = (_sign(signed["sign"]), signed["rest"]) if signed else (_sign(""), word)
    if _PREFIX.fullmatch(rest):
        return Clause(sign, "prefix", rest[:-1])
    return Clause(sign, "word", rest)


def _sign(sign: str) -> Sign:
    return "+" if sign == "+" else "-" if sign == "-" else ""
