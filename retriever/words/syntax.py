"""Syntax: what quotes, ``+``, ``-`` and ``*`` mean in a query's text. Knows no index.

- ``"new york"``: the words stand in a document just so, one after the other;
- ``+word``, ``-word``: a document holds the word, or must not; either stands before quotes too;
- ``jack*``: all words that begin so;
- ``brand:acme``, ``title:"new york"``, ``brand:ac*``: the same in one searched field of the index,
  where a document holds it.

A sign counts at the beginning of a word alone, so that ``covid-19`` and ``C++`` are plain words. A
query is what people type: what is no operator after all is text, and a note says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from tamis.retriever.words.fields import NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

Sign = Literal["", "+", "-"]
Kind = Literal["word", "phrase", "prefix"]

_IN_FIELD = re.compile(rf"({NAME}):(\w.*)")
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
        field: that it stands in, and must; empty where it may stand in any.
    """

    sign: Sign
    kind: Kind
    text: str
    field: str = ""

    @property
    def spelled(self) -> str:
        """As it is typed, without the sign."""
        said = {"word": self.text, "phrase": f'"{self.text}"', "prefix": f"{self.text}*"}[self.kind]
        return f"{self.field}:{said}" if self.field else said

    @property
    def is_operator(self) -> bool:
        """Whether it is more than a word to rank by."""
        return self.kind != "word" or self.sign != "" or self.field != ""


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
        return not self.notes and not any(clause.is_operator for clause in self.clauses)


def parse(text: str, fields: Sequence[str] = ()) -> ParsedQuery:
    """The clauses of a query; ``fields`` are those that its index searches."""
    clauses: list[Clause] = []
    notes: dict[str, None] = {}  # each once, in order
    for token in _token(tuple(fields)).finditer(text):
        clause = _phrase(token) if token["word"] is None else _word(token["word"], fields)
        if fields and clause.kind == "word" and not clause.field and _IN_FIELD.match(clause.text):
            notes[_no_field(clause.text, fields)] = None
        if not re.search(r"\w", clause.text) and clause.kind == "phrase":
            notes[EMPTY] = None
            continue
        if clause.kind == "word" and _OPENED.match(clause.text):
            notes[UNCLOSED] = None
        clauses.append(clause)
    if clauses and all(clause.sign == "-" for clause in clauses):
        notes[ONLY_EXCLUDED] = None
    return ParsedQuery(tuple(clauses), tuple(notes))


def looks_used(text: str, fields: Sequence[str] = ()) -> bool:
    """Whether a text would mean something else with operators than without."""
    if _MARKED.search(text) is not None:
        return not parse(text, fields).is_plain
    return ":" in text and any(clause.field for clause in parse(text, fields).clauses)


def _no_field(word: str, fields: Sequence[str]) -> str:
    name = word.partition(":")[0]
    return f"{name}: is read as text: the searched fields are {', '.join(fields)}"


@lru_cache(64)
def _token(fields: tuple[str, ...]) -> re.Pattern[str]:
    """Finds words and phrases, the latter also in fields."""
    names = "|".join(map(re.escape, fields))
    field = rf"(?:(?P<field>{names}):)?" if fields else "(?P<field>)"
    quotes = r'(?:"(?P<straight>[^"]*)"|“(?P<curly>[^”]*)”)'
    return re.compile(rf"(?P<sign>[+-]?){field}{quotes}|(?P<word>\S+)")


def _phrase(token: re.Match[str]) -> Clause:
    inside = token["straight"] if token["straight"] is not None else token["curly"]
    return Clause(_sign(token["sign"]), "phrase", " ".join(inside.split()), token["field"] or "")


def _word(word: str, fields: Sequence[str]) -> Clause:
    signed = _SIGNED.fullmatch(word)
    sign, rest = (_sign(signed["sign"]), signed["rest"]) if signed else (_sign(""), word)
    found = _IN_FIELD.fullmatch(rest)
    field, rest = found.groups() if found is not None and found[1] in fields else ("", rest)
    if _PREFIX.fullmatch(rest):
        return Clause(sign, "prefix", rest[:-1], field)
    return Clause(sign, "word", rest, field)


def _sign(sign: str) -> Sign:
    return "+" if sign == "+" else "-" if sign == "-" else ""
