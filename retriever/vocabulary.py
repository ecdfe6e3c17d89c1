"""What terms are called: a vocabulary is ranges of terms, one after the other.

Each range names terms of one kind. The word pieces of an encoder are a range, and the words of a
collection another. A further kind of term is a further range whose names no other range has.
Nothing here knows models or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tamis.index.errors import InputError
from tamis.retriever.words.fields import is_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tamis.index.segment.dictionary import Dictionary
    from tamis.retriever.words.analysis import Analyzer


class TermRange(Protocol):
    """Terms of one kind, counted from 0."""

    @property
    def size(self) -> int:
        """Number of terms."""

    def name(self, term: int) -> str:
        """How a term is printed."""

    def term(self, name: str) -> int | None:
        """The term that is printed so; None where the range has none."""

    def terms_of(self, text: str) -> set[int]:
        """The terms that a text itself holds."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All terms of a vector.

    Attributes:
        ranges: the first begins at term 0, each other one where the one before it ends.
    """

    ranges: tuple[TermRange, ...]

    @property
    def size(self) -> int:
        """Number of terms."""
        return sum(one.size for one in self.ranges)

    def name(self, term: int) -> str:
        """How a term is printed.

        Raises:
            InputError: there is no such term.
        """
        for first, one in self._placed():
            if first <= term < first + one.size:
                return one.name(term - first)
        raise InputError(f"expected a term from 0 to {self.size - 1}, found {term}")

    def term(self, name: str) -> int | None:
        """The term that is printed so; None if the vocabulary has none."""
        for first, one in self._placed():
            found = one.term(name)
            if found is not None:
                return first + found
        return None

    def terms_of(self, text: str) -> set[int]:
        """The terms that a text itself holds; any other term of its vector is an expansion."""
        return {first + term for first, one in self._placed() for term in one.terms_of(text)}

    def _placed(self) -> Iterator[tuple[int, TermRange]]:
        first = 0
        for one in self.ranges:
            yield first, one
            first += one.size


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a collection's lexical channel, printed ``=word``.

    Attributes:
        dictionary: all words that documents had.
        analyzer: finds the words of a text.
    """

    dictionary: Dictionary
    analyzer: Analyzer

    @property
    def size(self) -> int:
        """Number of words so far."""
        return len(self.dictionary)

    def name(self, term: int) -> str:
        """How a word is printed."""
        return word_name(self.dictionary.word(self.dictionary.first_term + term))

    def term(self, name: str) -> int | None:
        """The word that is printed so; None where no document has it."""
        word = parse_word(name)
        return None if word is None else self._term(word)

    def terms_of(self, text: str) -> set[int]:
        """The words of a text that some document has."""
        found = (self._term(word) for word in self.analyzer.analyze(text))
        return {term for term in found if term is not None}

    def _term(self, word: str) -> int | None:
        found = self.dictionary.lookup(word)
        counted = int(self.dictionary.document_frequency([found])[0])
        return found - self.dictionary.first_term if counted else None


@dataclass(frozen=True, slots=True)
class Numbers:
    """Terms without names, printed as the numbers they are: those of imported vectors.

    Attributes:
        size: number of terms.
    """

    size: int

    def name(self, term: int) -> str:
        """How a term is printed."""
        return str(term)

    def term(self, name: str) -> int | None:
        """The term that is printed so; None where there is none."""
        is_number = name.isascii() and name.isdecimal() and len(name) <= len(str(self.size))
        return int(name) if is_number and str(int(name)) == name and int(name) < self.size else None

    def terms_of(self, text: str) -> set[int]:
        """None: no text says which numbers it holds."""
        return set()


@dataclass(frozen=True, slots=True)
class Latents:
    """Latents of a sparse code, printed ``~0417``, all with as many digits.

    Attributes:
        size: number of latents.
    """

    size: int

    def name(self, term: int) -> str:
        """How a latent is printed."""
        return f"~{term:0{len(str(self.size - 1))}}"

    def term(self, name: str) -> int | None:
        """The latent that is printed so; None where there is none."""
        if not is_latent(name) or len(name) > 1 + len(str(self.size)):
            return None
        term = int(name[1:])
        return term if term < self.size and self.name(term) == name else None

    def terms_of(self, text: str) -> set[int]:
        """None: no text says which latents it has."""
        return set()


def is_latent(name: str) -> bool:
    """Whether `Latents` print a term so."""
    return len(name) > 1 and name[0] == "~" and name[1:].isdecimal() and name.isascii()


def word_name(word: str) -> str:
    """How a word of the lexical channel is printed: ``=word``, in one field ``=title:word``."""
    return f"={word[1:] if word[:1] == ':' and is_key(word[1:]) else word}"


def parse_word(name: str) -> str | None:
    """The word that `word_name` printed; None for what `piece_name` printed.

    A word in a field comes as its key. Words never begin with ``=``, so ``==`` always begins a
    word piece.
    """
    if name[:1] != "=" or name[1:2] in ("", "="):
        return None
    return f":{name[1:]}" if is_key(name[1:]) else name[1:]


def piece_name(piece: str) -> str:
    """How a word piece is printed: as it is, its ``=`` doubled where it begins with one."""
    return f"={piece}" if piece.startswith("=") else piece


def parse_piece(name: str) -> str | None:
    """The word piece that `piece_name` printed; None for what `word_name` printed."""
    if parse_word(name) is not None:
        return None
    return name[1:] if name.startswith("==") else name
